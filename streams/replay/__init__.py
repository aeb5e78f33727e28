"""Recordings of finished turns, and working on them once more with today's code."""
