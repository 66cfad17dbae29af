"""Models as the user names them, loaded: Python, networks as data, exported programs, files of weights."""
