"""What a body weighs: about how much memory it takes once it is read, told from its bytes before. Pure."""

from __future__ import annotations

_BYTES_A_COMMA = 72  # of values with their cells, and of objects with their rows, there are no more than commas
_BYTES_AN_ITEM = 256  # one that is read by itself, and what is kept of it when it is rejected
_FOUR_BYTE_LEADS = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")  # UTF-8 of what lies beyond the 16-bit characters


def most_bytes(body: bytes) -> int:
    """What the results of a body take while it is read, its own bytes not counted."""
    return text_bytes(body) + _BYTES_A_COMMA * body.count(b",")


def items_bytes(count: int) -> int:
    """What so many items take more when each is read by itself, because some of them are no results."""
    return _BYTES_AN_ITEM * count


def text_bytes(body: bytes) -> int:
    """What the texts of a body may take.

    Each character of a text takes as much as its widest one, up to four bytes; a text with escapes is put together
    first, and SQLite has one beyond ASCII in UTF-8 besides.
    """
    if body.isascii() and (b"\\" not in body or b"\\u" not in body):
        return len(body)
    is_wide = b"\\ud" in body or b"\\uD" in body or any(lead in body for lead in _FOUR_BYTE_LEADS)
    return len(body) * (6 if is_wide else 4)
