"""Timings as plain values: options, conditions, statistics, the machine and its bounds, accounts and hints."""
