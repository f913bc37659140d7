"""Measures the whole system from outside. It must never be imported by a service, and never weakens a setting."""
