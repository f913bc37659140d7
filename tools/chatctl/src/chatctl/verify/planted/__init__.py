"""Bugs that are planted to be caught: each a real service from a composition root of ours with one part replaced.

The product has no switch for any of them.
"""
