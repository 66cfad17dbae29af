"""`convcost kernel`: kernels as matrices, their exact rank and factors, and a network's weights."""
