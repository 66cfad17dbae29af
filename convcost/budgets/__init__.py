"""Budgets as plain values: limits, the lock, verdicts, and their reports."""
