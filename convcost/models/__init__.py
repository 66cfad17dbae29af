"""Models as plain values: networks as data, and the rows and totals of a traced model."""
