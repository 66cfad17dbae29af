"""A model's forward pass traced and counted, and the counters it is checked against."""
