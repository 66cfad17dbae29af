"""The history of timings, in an SQLite database."""
