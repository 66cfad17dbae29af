"""Where a call's time goes: parts that sum to it, oneDNN's own words as a witness, and hints that a trial bears out."""
