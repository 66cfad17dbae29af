"""A machine's speeds as a file, and the bound that they set to a layer's time."""
