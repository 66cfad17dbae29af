"""Grids of layer shapes, as plain values: axes, conditions, parts, predictions, and what is kept of them."""
