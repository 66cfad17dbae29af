"""Services of the operating system: signals, files, streams, the processor, git."""
