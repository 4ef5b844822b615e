"""Copies of result files for those who ask: whole, consistent, with a digest, at the reader's pace."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred

from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.sqlite.connections import reading
from outputd.sqlite.files import make_empty
from outputd.store.directory import DataDir

_log = Logger()
_PAGES_A_STEP = 256
_CACHE_KIB = 200
_MAPPED_BYTES = 1 << 30
_ROOM_BYTES = 16 << 20


class NoRoom(Exception):
    """There is no room on the disk for a copy."""


@dataclass(slots=True)
class Copy:
    """An open file, without a name or finished for good, that is all its own; closed when its last reader is done."""

    name: str
    handle: int
    size_bytes: int
    digest: bytes
    readers: int = 0

    @property
    def repr_digest(self) -> bytes:
        """The header of RFC 9530."""
        return b"sha-256=:" + base64.b64encode(self.digest) + b":"

    def release(self) -> None:
        """One reader less."""
        self.readers -= 1
        if self.readers == 0:
            os.close(self.handle)


class Copies:
    """Makes copies in a thread, one at a time; those who ask while one waits to begin share it."""

    def __init__(self, directory: DataDir, in_thread: InThread) -> None:
        self._directory = directory
        self._in_thread = in_thread
        self._copying = False
        self._next: dict[Path, list[Deferred[Copy]]] = {}
        self._digests: dict[tuple[Path, int, int], bytes] = {}

    async def current(self, path: Path) -> Copy:
        """A copy of a live file, holding all that was committed before the call. Raises NoRoom."""
        wanted: Deferred[Copy] = Deferred()
        self._next.setdefault(path, []).append(wanted)
        if not self._copying:
            self._copying = True
            Deferred.fromCoroutine(self._copy_all()).addErrback(
                lambda failure: _log.failure("copying for a dump failed", failure=failure)
            )
        return await wanted

    async def closed(self, path: Path) -> Copy:
        """A file that stands by itself, as it is. Raises FileNotFoundError."""
        copy = await self._in_thread(self._open, path)
        copy.readers = 1
        return copy

    async def _copy_all(self) -> None:
        try:
            while self._next:
                path = next(iter(self._next))
                waiting = self._next.pop(path)
                try:
                    copy = await self._in_thread(_copy, self._directory, path)
                except Exception as error:  # told to everyone who waits for it
                    for wanted in waiting:
                        wanted.errback(error)
                    continue
                copy.readers = len(waiting)
                for wanted in waiting:
                    wanted.callback(copy)
        finally:
            self._copying = False

    def _open(self, path: Path) -> Copy:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        state = os.fstat(handle)
        key = (path, state.st_mtime_ns, state.st_size)
        digest = self._digests.get(key)
        if digest is None:
            self._digests.clear()
            digest = self._digests[key] = _digest(handle)
        return Copy(path.name, handle, state.st_size, digest)


def _copy(directory: DataDir, path: Path) -> Copy:
    target = directory.temporary("dump")
    try:
        make_empty(target)
        with reading(path) as source, contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            size = source.execute("PRAGMA page_count").fetchone()[0] * source.execute("PRAGMA page_size").fetchone()[0]
            if directory.free_bytes() < size + _ROOM_BYTES:
                raise NoRoom(f"a copy needs {(size + _ROOM_BYTES) >> 20} MiB of free disk")
            copy.execute("PRAGMA synchronous=OFF")
            copy.execute("PRAGMA journal_mode=OFF")
            copy.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")  # each page is written once and never read
            source.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema").fetchone()  # the snapshot is taken here
            source.backup(copy, pages=_PAGES_A_STEP, sleep=0)
            source.execute("COMMIT")
            copy.execute("PRAGMA journal_mode=DELETE")  # takes the WAL mark out of the header
        handle = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        return Copy(path.name, handle, os.fstat(handle).st_size, _digest(handle))
    except (sqlite3.OperationalError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        if "full" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom(f"no room for a copy: {error}") from error
        raise
    finally:
        target.unlink(missing_ok=True)
        Path(f"{target}-journal").unlink(missing_ok=True)


def _digest(handle: int) -> bytes:
    digest = hashlib.sha256()
    at = 0
    while chunk := os.pread(handle, 1 << 20, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.digest()
