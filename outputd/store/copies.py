"""Copies of result files for those who ask: whole, consistent, with a digest, at the reader's pace.

Copies are few, and they take room that results may need. One is shared as long as it holds all that was stored; one
that nobody reads any more is soon gone; one that is read slowly gives way to who would have none, and each of them when
the disk runs low.
"""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.threads import InThread
from outputd.store import copying
from outputd.store.copying import NoRoom, Opened
from outputd.store.directory import DataDir
from outputd.store.manifest import stamp_of
from outputd.store.manifests import Manifests

_log = Logger()
MOST_COPIES = 3
_LOOK_EVERY_S = 1.0
_UNREAD_S = 2.0
_NEW_S = 10.0
_GATHER_S = 1.0
_SLOW_BYTES_A_S = 256 * 1024


class Reader:
    """One who reads a copy, until `end`; `cut_off` is called when the copy must give way before."""

    def __init__(self, copy: Copy, since_s: float) -> None:
        self.copy = copy
        self.since_s = since_s
        self.read_bytes = 0
        self.cut_off: Callable[[], object] = lambda: None

    def end(self) -> None:
        """It has read enough, or is gone."""
        self.copy.leave(self)

    def pace(self, now_s: float) -> float:
        """Bytes a second so far; of one that has only begun, infinite."""
        age_s = now_s - self.since_s
        return self.read_bytes / age_s if age_s >= _NEW_S else math.inf


class Copy:
    """An open file, without a name or closed for good; its handle is closed when nobody reads it and it is not kept."""

    def __init__(
        self, file: Opened, path: Path, seconds: Callable[[], float], close: Callable[[Copy], Coroutine[Any, Any, None]]
    ) -> None:  # fmt: skip
        self.name, self.handle, self.size_bytes, self.digest, self.stamp = file
        self.path = path
        self.state: object = None
        self.is_kept = True
        self.unread_since_s = seconds()
        self.readers: set[Reader] = set()
        self._seconds = seconds
        self._close = close
        self._is_closing = False
        self._closed: Deferred[None] = Deferred()

    @property
    def is_open(self) -> bool:
        """Whether it still takes room."""
        return not self._closed.called

    @property
    def repr_digest(self) -> bytes:
        """The header of RFC 9530."""
        return b"sha-256=:" + base64.b64encode(self.digest) + b":"

    @property
    def etag(self) -> str:
        """A strong one: the same bytes have the same, of whichever file."""
        return f'"{self.digest.hex()}"'

    def reader(self) -> Reader:
        """One reader more."""
        reader = Reader(self, self._seconds())
        self.readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """One reader less."""
        self.readers.discard(reader)
        self.unread_since_s = self._seconds()
        self._close_if_done()

    def end(self) -> None:
        """It is not kept without readers any more."""
        self.is_kept = False
        self._close_if_done()

    async def give_way(self) -> None:
        """Cut off its readers; returns when its room is free."""
        for reader in list(self.readers):
            reader.cut_off()
        self.end()
        if self.is_open:
            await self._closed

    def pace(self, now_s: float) -> float:
        """That of its quickest reader; 0 without any."""
        return max((reader.pace(now_s) for reader in self.readers), default=0.0)

    def _close_if_done(self) -> None:
        if not self.readers and not self.is_kept and not self._is_closing:
            self._is_closing = True
            Deferred.fromCoroutine(self._close(self)).chainDeferred(self._closed)


class Copies:
    """Makes copies in a thread, one at a time, and opens closed files. `state` changes whenever anything is stored."""

    def __init__(
        self, directory: DataDir, in_thread: InThread, clock: IReactorTime, state: Callable[[], object],
        spare_bytes: int, manifests: Manifests,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._in_thread = in_thread
        self._clock = clock
        self._state = state
        self._spare_bytes = spare_bytes
        self._manifests = manifests
        self._is_copying = False
        self._is_stopping = False
        self._next: dict[Path, list[Deferred[Reader]]] = {}
        self._made: list[Copy] = []
        self._made_s = -math.inf
        self._opening = DeferredLock()
        self._opened: dict[Path, Copy] = {}
        self._looking = Every(_LOOK_EVERY_S, self._look_after_copies, clock)

    async def current(self, path: Path) -> Reader:
        """Read a copy of a live file that holds all that was stored before the call. Raises NoRoom."""
        state = self._state()
        for copy in self._made:
            if copy.path == path and copy.state == state and copy.is_kept:
                return copy.reader()
        wanted: Deferred[Reader] = Deferred()
        self._next.setdefault(path, []).append(wanted)
        if not self._is_copying:
            self._is_copying = True
            Deferred.fromCoroutine(self._copy_all()).addErrback(
                lambda failure: _log.failure("copying for a dump failed", failure=failure)
            )
        return await wanted

    async def closed(self, path: Path) -> Reader:
        """Read a file that stands by itself, as it is; its digest is that of its manifest. Raises FileNotFoundError."""
        manifest = await self._manifests.of(path)
        async with self._opening:
            stamp = stamp_of(await self._in_thread(os.stat, path))
            copy = self._opened.get(path)  # after the wait: its last reader may have closed it meanwhile
            if copy is None or copy.stamp != stamp:
                file = await self._in_thread(copying.open_closed, path, manifest)
                copy = self._opened[path] = Copy(file, path, self._clock.seconds, self._close_opened)
            reader = copy.reader()
            copy.end()
            return reader

    def stop(self) -> None:
        """Keep no copy without readers, one that is still being made included."""
        self._is_stopping = True
        self._looking.stop()
        for copy in list(self._made):
            copy.end()

    async def _copy_all(self) -> None:
        try:
            while self._next:
                path = next(iter(self._next))
                try:
                    await self._make_room(path)
                except Exception as error:  # told to everyone who waits for it
                    _fail(self._next.pop(path), error)
                    continue
                waiting, state = self._next.pop(path), self._state()
                try:
                    file = await self._in_thread(copying.copy_live, self._directory, path)
                except Exception as error:  # as above
                    _fail(waiting, error)
                    continue
                self._share(file, path, state, waiting)
        finally:
            self._is_copying = False

    def _share(self, file: Opened, path: Path, state: object, waiting: list[Deferred[Reader]]) -> None:
        copy = Copy(file, path, self._clock.seconds, self._close_made)
        copy.state = state
        self._made.append(copy)
        self._made_s = self._clock.seconds()
        readers = [copy.reader() for _ in waiting]
        for wanted, reader in zip(waiting, readers, strict=True):
            wanted.callback(reader)
        if self._is_stopping:
            copy.end()
        else:
            self._looking.start(now=False)

    async def _make_room(self, path: Path) -> None:
        """See to it that one more copy has a place and room. Raises NoRoom.

        The last place is taken a second after the one before it: whoever comes meanwhile shares it.
        """
        while True:
            lacking = await self._in_thread(copying.lacking_bytes, self._directory, path, self._spare_bytes)
            if lacking <= 0 and len(self._made) < MOST_COPIES:
                wait_s = self._made_s + _GATHER_S - self._clock.seconds()
                if len(self._made) < MOST_COPIES - 1 or wait_s <= 0:
                    return
                await deferLater(self._clock, wait_s)
                continue
            slowest = self._slowest()
            if slowest is None or slowest.pace(self._clock.seconds()) > _SLOW_BYTES_A_S:
                if lacking > 0:
                    raise NoRoom(f"a copy needs {-(-lacking >> 20)} MiB more of free disk")
                raise NoRoom(f"{MOST_COPIES} copies are being read already")
            await slowest.give_way()

    async def _look_after_copies(self) -> None:
        """End those that are of no use any more, and make them give way to results when the disk runs low."""
        self._end_useless()
        await self._keep_disk_free()
        if not self._made:
            self._looking.stop()

    def _end_useless(self) -> None:
        before_s, state = self._clock.seconds() - _UNREAD_S, self._state()
        for copy in list(self._made):
            if copy.state != state or (not copy.readers and copy.unread_since_s <= before_s):
                copy.end()

    async def _keep_disk_free(self) -> None:
        try:
            while (slowest := self._slowest()) and await self._free_bytes() < self._spare_bytes:
                _log.warn("the disk is nearly full: a copy of {name} for /dump gives way", name=slowest.name)
                await slowest.give_way()
        except OSError as error:
            _log.warn("the free disk space cannot be determined: {error!s}", error=error)

    async def _free_bytes(self) -> int:
        return await self._in_thread(self._directory.free_bytes)

    def _slowest(self) -> Copy | None:
        now = self._clock.seconds()
        return min(self._made, key=lambda copy: copy.pace(now), default=None)

    async def _close_opened(self, copy: Copy) -> None:
        if self._opened.get(copy.path) is copy:
            del self._opened[copy.path]
        os.close(copy.handle)

    async def _close_made(self, copy: Copy) -> None:
        try:
            await self._in_thread(os.close, copy.handle)  # which deletes a large file
        finally:
            self._made.remove(copy)


def _fail(waiting: list[Deferred[Reader]], error: Exception) -> None:
    for wanted in waiting:
        wanted.errback(error)
