"""Presence: keeps the TTL device keys, and tells who comes and goes."""
