"""Owns how values are written into SQL: the statements of a batch are one packet, so they are text."""

from collections.abc import Iterable

from pymysql.converters import escape_string


def text(value: str) -> str:
    """Quote a string; sessions have backslash escapes on and speak utf8mb4."""
    return f"'{escape_string(value)}'"


def binary(value: bytes) -> str:
    """Write bytes as a hexadecimal literal."""
    return f"x'{value.hex()}'"


def numbers(values: Iterable[int]) -> str:
    """Write integers, separated by commas."""
    return ",".join(str(int(value)) for value in values)
