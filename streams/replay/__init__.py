"""Finished turns worked on once more, and what came out otherwise."""
