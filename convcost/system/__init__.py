"""Services of the operating system: signals, whole files, streams, the processor, git."""
