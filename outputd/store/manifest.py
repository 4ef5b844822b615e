"""The manifest of a closed file: what it holds, and the digest of its bytes, kept beside it. Blocking, for a thread."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from outputd.process.files import open_ours
from outputd.process.log import Logger
from outputd.process.trouble import Kind
from outputd.results import timestamps
from outputd.sqlite.connections import reading
from outputd.sqlite.errors import kind_of
from outputd.store import file as resultfile
from outputd.store.directory import DataDir, manifest_of

_log = Logger()
_PART_BYTES = 1 << 20
_MOST_BYTES = 64 * 1024

Stamp = tuple[int, int, int]
"""What tells one file, and one state of it, from another."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a closed file without reading it.

    A count is None where the file is damaged, a time where there is none.
    """

    file: str
    size_bytes: int
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    results: int | None = None
    rejected: int | None = None
    traceroutes: int | None = None
    hops: int | None = None
    first_measured: str | None = None
    last_measured: str | None = None
    first_arrived: str | None = None
    last_arrived: str | None = None
    inode: int
    modified_ns: int

    @property
    def stamp(self) -> Stamp:
        """That of the file for which it was made; it is believed of no other."""
        return self.inode, self.modified_ns, self.size_bytes

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the file."""
        return bytes.fromhex(self.sha256)


def stamp_of(state: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return state.st_ino, state.st_mtime_ns, state.st_size


def digest_of(handle: int, goes_on: Callable[[], bool] = lambda: True) -> bytes:
    """The SHA-256 of an open file. Raises OSError when it shall not go on."""
    digest = hashlib.sha256()
    part = memoryview(bytearray(_PART_BYTES))  # kept: new memory for each would cost half as much as the digest
    at = 0
    while size_bytes := os.preadv(handle, (part,), at):
        digest.update(part[:size_bytes])
        at += size_bytes
        if not goes_on():
            raise OSError(errno.ECANCELED, "outputd is shutting down")
    return digest.digest()


def read(path: Path) -> Manifest | None:
    """The manifest beside a file; None without one that can be read."""
    try:
        with open(open_ours(manifest_of(path), os.O_RDONLY), "rb") as file:
            manifest = msgspec.json.decode(file.read(_MOST_BYTES), type=Manifest)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return manifest if manifest.file == path.name else None


def is_closed_for_good(path: Path) -> bool:
    """Whether a result file is never to be written again: it was analysed, or has a manifest that is believed."""
    manifest = read(path)
    return resultfile.is_analysed(path) or (manifest is not None and manifest.stamp == stamp_of(os.stat(path)))


def make(path: Path, goes_on: Callable[[], bool]) -> Manifest:
    """Read all of a closed file. Raises OSError, sqlite3.OperationalError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        inode, modified_ns, size_bytes = stamp = stamp_of(os.fstat(handle))
        sha256 = digest_of(handle, goes_on).hex()
        contents = _contents_of(path)
        if stamp_of(os.stat(path)) != stamp:
            raise OSError(errno.ESTALE, "it has changed while it was read", str(path))
    finally:
        os.close(handle)
    return Manifest(
        file=path.name, size_bytes=size_bytes, sha256=sha256, inode=inode, modified_ns=modified_ns, **contents
    )


def write(directory: DataDir, path: Path, manifest: Manifest) -> None:
    """Put a manifest beside its file, durably. Raises OSError."""
    directory.overwrite(manifest_of(path), msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")


def _contents_of(path: Path) -> dict[str, Any]:
    try:
        with reading(path) as db:
            return {name: value for names, query in _CONTENTS for name, value in _named(names, db.execute(query))}
    except sqlite3.DatabaseError as error:
        if kind_of(error) is not Kind.DAMAGED:
            raise
        _log.error("{name} is damaged, and what it holds cannot be counted: {error!s}", name=path.name, error=error)
        return {}


_CONTENTS = (
    ("results first_measured last_measured", "SELECT count(*), min(timestamp), max(timestamp) FROM ping_results"),
    ("rejected", "SELECT count(*) FROM rejected_results"),
    ("traceroutes", "SELECT count(*) FROM traceroute_results"),
    ("hops", "SELECT count(*) FROM traceroute_hops"),
    ("first_arrived last_arrived", "SELECT min(received_at), max(received_at) FROM batches"),
)


def _named(names: str, rows: sqlite3.Cursor) -> Iterator[tuple[str, Any]]:
    """The values of the one row by their names, times as the API prints them."""
    for name, value in zip(names.split(), rows.fetchone(), strict=True):
        yield name, timestamps.printed(value) if isinstance(value, str) else value
