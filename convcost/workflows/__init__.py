"""What a command does, from a request to a result: one file a command."""
