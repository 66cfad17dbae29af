"""The subject: what a convolution is, the blocks of the catalogue, and what they cost."""
