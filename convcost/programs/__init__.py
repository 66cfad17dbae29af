"""Blocks as programs in the words of a framework: torch, Keras, and oneDNN's problem texts."""
