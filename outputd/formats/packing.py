"""Bodies that are compressed as files are, and not by their content coding: told and unpacked in bounded memory."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Protocol

from outputd.formats.reader import NotOfThisFormat

_MOST_XZ_BYTES = 80 * 1024 * 1024  # for the dictionary of `xz -9`; of its pages, only those that output fills are real
_FIRST_STEP_BYTES = 256
_STEP_BYTES = 256 * 1024


class TooLong(Exception):
    """A body that is longer than it may be, once it is unpacked."""


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gunzip:
    """gzip as the others are: what it could not take yet, it keeps."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._member.decompress(self._member.unconsumed_tail + data, max_length)


def _unxz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_BYTES)


_UNPACKERS: dict[bytes, Callable[[], _Unpacker]] = {
    b"\x1f\x8b\x08": _Gunzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": _unxz,
}


def is_packed(body: bytes) -> bool:
    """Whether a body begins as gzip, bzip2 or xz do."""
    return _unpacker(body) is not None


def unpacked(body: bytes, most_bytes: int) -> bytes:
    """What a packed body holds, all its members; TooLong beyond so many bytes, NotOfThisFormat where it is damaged."""
    make = _unpacker(body)
    if make is None:
        return body
    made, at = BytesIO(), 0
    while at < len(body):
        unpacker, step_bytes = make(), _FIRST_STEP_BYTES
        while not unpacker.eof:
            chunk = body[at : at + step_bytes] if unpacker.needs_input else b""
            if unpacker.needs_input and not chunk:
                raise NotOfThisFormat("it cannot be unpacked: it is cut short")
            at += len(chunk)
            step_bytes = min(_STEP_BYTES, 4 * step_bytes)  # what lies behind a member is copied
            try:
                made.write(unpacker.decompress(chunk, _STEP_BYTES))
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise NotOfThisFormat(f"it cannot be unpacked: {error}") from error
            if made.tell() > most_bytes:
                raise TooLong
        at -= len(unpacker.unused_data)
    return made.getvalue()


def _unpacker(body: bytes) -> Callable[[], _Unpacker] | None:
    return next((make for magic, make in _UNPACKERS.items() if body.startswith(magic)), None)
