"""The content coding of a body: gzip, in bounded steps. Pure."""

from __future__ import annotations

import zlib
from io import BytesIO

from msgspec import Struct

_STEP_BYTES = 256 * 1024
_FIRST_STEP_BYTES = 256


class BadCoding(Struct, frozen=True):
    """A body that is not what its Content-Encoding says; `reason` tells why."""

    reason: str


class Gunzip:
    """One gzip body with all its members, decoded up to a limit that may be raised."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._member = zlib.decompressobj(wbits=31)
        self._step_bytes = _FIRST_STEP_BYTES
        self._decoded = BytesIO()

    def up_to(self, most_bytes: int) -> bytes | BadCoding | None:
        """The decoded body; None when it is longer, of which no more than a byte beyond the limit is decoded."""
        while self._at < len(self._data) or not self._member.eof:
            if self._member.eof:
                self._member, self._step_bytes = zlib.decompressobj(wbits=31), _FIRST_STEP_BYTES
            chunk = self._member.unconsumed_tail or self._next_chunk()
            if not chunk:
                return BadCoding("the gzip body is cut short")
            room_bytes = most_bytes - self._decoded.tell()
            try:
                self._decoded.write(self._member.decompress(chunk, min(_STEP_BYTES, room_bytes + 1)))
            except zlib.error as error:
                return BadCoding(f"the body is not gzip: {error}")
            self._at -= len(self._member.unused_data)
            if self._decoded.tell() > most_bytes:
                return None
        return self._decoded.getvalue()

    def _next_chunk(self) -> bytes:
        """More of the data. What lies behind a member is copied, so a body of small ones is read in small steps."""
        chunk = self._data[self._at : self._at + self._step_bytes]
        self._at += len(chunk)
        self._step_bytes = min(_STEP_BYTES, 4 * self._step_bytes)
        return chunk
