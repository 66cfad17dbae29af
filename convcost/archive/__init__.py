"""The history of timings: an SQLite database, written whole or not at all, and found again."""
