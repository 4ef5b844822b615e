"""Ranges of bytes, as RFC 9110 has them."""

from __future__ import annotations


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """First byte and end of a single Range of RFC 9110; None for no range or one to be ignored.

    Raises ValueError when it lies outside.
    """
    unit, _, spec = (header or "").partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not (first + last).isdecimal() or not (first + last).isascii():
        return None
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
        if not int(last):
            raise ValueError("an empty range")
    else:
        start, end = int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
        if last and int(last) < start:
            return None
    if start >= size_bytes:
        raise ValueError("outside of the file")
    return start, end
