"""What is remembered: sessions (a Faust table), the cache (Redis), history (SQLite)."""
