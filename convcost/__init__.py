"""What a convolution really costs: the formula, the count and the clock, side by side."""
