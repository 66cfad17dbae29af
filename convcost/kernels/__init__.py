"""Kernels as matrices: their exact rank and factors, and how separable a network's weights are."""
