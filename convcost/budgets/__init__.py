"""Budgets as plain values: limits, the lock, verdicts, changes of a model, and their reports."""
