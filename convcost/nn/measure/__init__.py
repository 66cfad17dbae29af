"""Real layers and models timed by one protocol, and the machine they run on."""
