"""What an operating system is asked for: signals, whole files, streams, the processor, git."""
