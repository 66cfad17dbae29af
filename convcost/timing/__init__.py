"""What is known about a time: options, statistics, conditions, the machine, its bound, and where the time goes."""
