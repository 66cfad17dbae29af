"""Where the time of a real layer goes, and what would make it faster."""
