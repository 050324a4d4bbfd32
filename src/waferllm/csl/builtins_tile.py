"""Builtins of one PE's code (being written)."""
