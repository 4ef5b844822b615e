"""Damage to database files, as a bad sector or a flipped bit does it."""

from __future__ import annotations

from pathlib import Path

_TABLE_LEAF = 13
_PAGE_BYTES = 8192


def spoil_leaf(path: Path, text: bytes) -> None:
    """Make the first leaf of a table of a result file in which this text stands unreadable."""
    data = path.read_bytes()
    for at in range(_PAGE_BYTES, len(data), _PAGE_BYTES):
        page = data[at : at + _PAGE_BYTES]
        if page[0] == _TABLE_LEAF and text in page:
            with path.open("r+b") as file:
                file.seek(at)
                file.write(b"\xff")
            return
    raise AssertionError(f"{text!r} is on no leaf of {path}")


def flipped(data: bytes, at: int) -> bytes:
    """The same with one bit flipped in the byte at this place."""
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
