"""The content coding of a body: gzip, in bounded steps. Pure."""

from __future__ import annotations

import zlib

_STEP_BYTES = 256 * 1024
_FIRST_STEP_BYTES = 256


class BadCoding(Exception):
    """The body is not what its Content-Encoding says."""


class TooLarge(Exception):
    """The decoded body is over the limit."""


def gunzip(data: bytes, most_bytes: int) -> bytes:
    """Decompress all members of a gzip body, never more than most_bytes.

    Raises BadCoding and TooLarge.
    """
    parts: list[bytes] = []
    size = at = 0
    while at < len(data) or not at:
        member = zlib.decompressobj(wbits=31)
        step = _FIRST_STEP_BYTES  # what lies behind a member is copied, so a body of small ones is read in small steps
        while not member.eof:
            chunk = member.unconsumed_tail
            if not chunk:
                chunk = data[at : at + step]
                at += len(chunk)
                step = min(_STEP_BYTES, 4 * step)
            if not chunk:
                raise BadCoding("the gzip body is cut short")
            try:
                part = member.decompress(chunk, _STEP_BYTES)
            except zlib.error as error:
                raise BadCoding(f"the body is not gzip: {error}") from None
            size += len(part)
            if size > most_bytes:
                raise TooLarge
            if part:
                parts.append(part)
        at -= len(member.unused_data)
    return b"".join(parts)
