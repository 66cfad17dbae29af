"""The steps of each command, from a request to a result: one file for each command."""
