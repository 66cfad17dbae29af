"""Torch modules built from the plain values of `convcost.convolution`."""
