"""The subject: convolutions, the blocks of the catalogue, and their costs."""
