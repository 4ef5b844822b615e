"""What is to be sent: a file, or a pipe that is read once and kept in a file without a name. Blocking."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec

from outputd.formats.warts import MAGIC

MOST_BODY_BYTES: Final = 8 << 20
"""A longer line, or an array's item that is as long, is not sent: the service would not take it."""
CHUNK_BYTES: Final = 256 * 1024
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
Layout = Literal["lines", "array", "records", "whole"]
"""A body a line, an array or records of warts that are cut into bodies, or one body."""


class Broken(Exception):
    """The file cannot be read on from here; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something to be sent: what it is, and the SHA-256 of its bytes as they lie on the disk."""

    path: Path
    size_bytes: int
    digest: str
    layout: Layout
    kept: BinaryIO | None = None
    """What came through a pipe."""

    @property
    def is_nameless(self) -> bool:
        """Whether its name says nothing of what it holds: a pipe, or standard input."""
        return self.kept is not None or is_of_the_system(self.path)

    @contextmanager
    def opened(self) -> Iterator[tuple[io.BufferedReader[Any], Callable[[], int]]]:
        """What it holds, decompressed and without a byte order mark, and how far it was read as it lies on the disk."""
        with self._raw() as raw:
            zipped = raw.peek(2).startswith(_GZIP)
            stream: io.BufferedReader[Any] = (
                io.BufferedReader(gzip.GzipFile(fileobj=raw), CHUNK_BYTES) if zipped else raw
            )
            try:
                if stream.peek(3).startswith(_BOM):
                    stream.read(3)
                yield stream, raw.tell
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise Broken(f"the gzip data is damaged: {error}") from None

    def beginning(self, size_bytes: int) -> str:
        """The SHA-256 of its first bytes, if more lines follow them; empty where that cannot be told."""
        if self.layout != "lines" or not 0 <= size_bytes < self.size_bytes:
            return ""
        with self._raw() as raw:
            if raw.peek(2).startswith(_GZIP):
                return ""
            digest, left, last = hashlib.sha256(), size_bytes, b"\n"
            while left and (chunk := raw.read(min(left, CHUNK_BYTES))):
                digest.update(chunk)
                left, last = left - len(chunk), chunk[-1:]
            return digest.hexdigest() if b"\n" in (last, raw.read(1)) else ""

    def close(self) -> None:
        """It is not read any more."""
        if self.kept is not None:
            self.kept.close()

    def _raw(self) -> io.BufferedReader:
        if self.kept is None:
            return self.path.open("rb")
        self.kept.seek(0)
        return os.fdopen(os.dup(self.kept.fileno()), "rb")


def is_of_the_system(path: Path) -> bool:
    """Whether a name is one that the system gives, as to standard input."""
    return path.is_relative_to("/dev") or path.is_relative_to("/proc")


def examine(path: Path, is_foreign: bool = False) -> Source:
    """Read all of it for its digest, and its beginning for its layout. Raises OSError and Broken.

    What is of another format is an array, warts, or one body: nobody can tell here where else it may be cut.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        kept = None if is_file else tempfile.TemporaryFile()  # noqa: SIM115  # it is read when this has returned
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            if kept is not None:
                kept.write(chunk)
    source = Source(path, size, digest.hexdigest(), "lines", kept)
    try:
        with source.opened() as (stream, _):
            if stream.peek(len(MAGIC)).startswith(MAGIC):
                return replace(source, layout="records")
            if is_foreign:
                return replace(source, layout="array" if _begins_with_array(stream) else "whole")
            return replace(source, layout=_layout(path.name, stream))
    except BaseException:
        source.close()
        raise


def _begins_with_array(stream: BinaryIO) -> bool:
    while chunk := stream.read(CHUNK_BYTES):
        if chunk.strip():
            return chunk.lstrip().startswith(b"[")
    return False


def _layout(name: str, stream: BinaryIO) -> Layout:
    """By its name, else by its beginning: a JSON text on the first line and something after it are lines."""
    if name.removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        return "lines"
    first = stream.readline(MOST_BODY_BYTES + 1)
    while first and not first.strip():
        first = stream.readline(MOST_BODY_BYTES + 1)
    if not first.strip():
        return "lines"
    if not first.lstrip().startswith(b"["):
        raise Broken("it begins with no JSON array")
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return "array"
    while following := stream.read(CHUNK_BYTES):
        if following.strip():
            return "lines"
    return "array"
