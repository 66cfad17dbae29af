"""Accounts of the times of real layers, and hints that trials confirm."""
