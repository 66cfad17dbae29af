"""A model as the user names it, loaded: Python, networks as data, exported programs, files of weights."""
