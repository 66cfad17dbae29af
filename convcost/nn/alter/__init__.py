"""A model with blocks of the catalogue in the place of its convolutions."""
