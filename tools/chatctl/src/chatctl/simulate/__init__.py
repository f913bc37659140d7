"""Deterministic simulation: the real services on twins of Redis and MySQL, in one process, under virtual time."""
