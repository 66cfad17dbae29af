"""The only package that may import torch or fvcore."""
