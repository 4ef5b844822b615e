"""The content coding of a body: gzip, in bounded steps. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable

_STEP_BYTES = 256 * 1024


class BadCoding(Exception):
    """The body is not what its Content-Encoding says."""


class TooLarge(Exception):
    """The decoded body is over the limit."""


def gunzip(data: bytes, most_bytes: int, keep: Callable[[int], object] = lambda size: None) -> bytes:
    """Decompress all members of a gzip body, never more than most_bytes; `keep` is told of each step's size.

    Raises BadCoding and TooLarge.
    """
    parts: list[bytes] = []
    size, rest = 0, data
    while rest or not parts:
        member = zlib.decompressobj(wbits=31)
        try:
            while not member.eof:
                part = member.decompress(rest, _STEP_BYTES)
                rest = member.unconsumed_tail
                size += len(part)
                if size > most_bytes:
                    raise TooLarge
                keep(len(part))
                parts.append(part)
                if not part and not rest and not member.eof:
                    raise BadCoding("the gzip body is cut short")
        except zlib.error as error:
            raise BadCoding(f"the body is not gzip: {error}") from None
        rest = member.unused_data
    return b"".join(parts)
