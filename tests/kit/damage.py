"""Damage to database files, as a bad sector or a flipped bit does it."""

from __future__ import annotations

from pathlib import Path

_TABLE_LEAF = 13


def spoil_leaf(path: Path, text: bytes) -> None:
    """Make the first leaf of a table of a result file in which this text stands unreadable."""
    data = path.read_bytes()
    for at in leaves(data):
        if text in data[at : at + page_bytes(data)]:
            with path.open("r+b") as file:
                file.seek(at)
                file.write(b"\xff")
            return
    raise AssertionError(f"{text!r} is on no leaf of {path}")


def leaves(data: bytes) -> list[int]:
    """Where the leaves of tables begin in a database, but for its first page."""
    return [at for at in range(page_bytes(data), len(data), page_bytes(data)) if data[at] == _TABLE_LEAF]


def page_bytes(data: bytes) -> int:
    """The size of a database's pages, as its header says it."""
    return int.from_bytes(data[16:18], "big")


def flipped(data: bytes, at: int) -> bytes:
    """The same with one bit flipped in the byte at this place."""
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
