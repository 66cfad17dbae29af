"""Blocks on one layer shape, as plain values: request, rows, columns, explanation, result."""
