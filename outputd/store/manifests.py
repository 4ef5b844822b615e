"""The manifests of all closed files: read, or made once in the background, and believed while a file is what it was."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.threads import InThread
from outputd.store import manifest as manifest_file
from outputd.store.directory import DataDir
from outputd.store.manifest import Manifest, Stamp, stamp_of

_log = Logger()
_EVERY_S = 1.0
_AGAIN_S = 60.0  # after one could not be made: a program may have had the file locked


class Manifests:
    """What is known of the closed files. One file is read at a time; `closed` says which files change no more."""

    def __init__(
        self, directory: DataDir, closed: Callable[[], Sequence[Path]], in_thread: InThread, clock: IReactorTime
    ) -> None:
        self._directory = directory
        self._closed = closed
        self._in_thread = in_thread
        self._known: dict[Path, Manifest] = {}
        self._failed: dict[Path, tuple[Stamp, float]] = {}
        self._missing: set[Path] = set()
        self._seconds = clock.seconds
        self._making = DeferredLock()
        self._is_stopping = False
        self._every = Every(_EVERY_S, self._make_missing, clock)

    def start(self) -> None:
        """Make those that are missing, from now on."""
        self._every.start()

    def stop(self) -> Deferred[None]:
        """Fires when nothing is read any more."""
        self._is_stopping = True
        return self._every.stop()

    def look(self, path: Path) -> tuple[int, Manifest | None]:
        """The size of a file and its manifest, if there is one to be believed. Blocking. Raises FileNotFoundError."""
        state = os.stat(path)
        return state.st_size, self._believed(path, state)

    async def of(self, path: Path) -> Manifest | None:
        """The manifest of a closed file, made where there is none to be believed; None when it cannot be made now.

        Raises OSError when there is no such file.
        """
        manifest = self._believed(path, await self._in_thread(os.stat, path))
        if manifest is not None:
            return manifest
        async with self._making:
            if manifest := self._believed(path, await self._in_thread(os.stat, path)):
                return manifest
            if manifest := await self._in_thread(self._read_or_make, path):
                self._known[path] = manifest
            return manifest

    def _believed(self, path: Path, state: os.stat_result) -> Manifest | None:
        manifest = self._known.get(path)
        return manifest if manifest is not None and manifest.stamp == stamp_of(state) else None

    def _read_or_make(self, path: Path) -> Manifest | None:
        known = manifest_file.read(path)
        if known is not None and known.stamp == stamp_of(os.stat(path)):
            return known
        try:
            made = manifest_file.make(path, lambda: not self._is_stopping)
        except FileNotFoundError:
            raise
        except (OSError, sqlite3.Error) as error:
            if not self._is_stopping:
                _log.warn("the manifest of {name} cannot be made now: {error!s}", name=path.name, error=error)
            return None
        try:
            manifest_file.write(self._directory, path, made)
        except OSError as error:
            _log.warn("the manifest of {name} cannot be written: {error!s}", name=path.name, error=error)
        return made

    async def _make_missing(self) -> None:
        closed = self._closed()
        for gone in self._known.keys() - set(closed):
            del self._known[gone]
        for path, stamp in (await self._in_thread(_stamps_of, closed)).items():
            if self._is_stopping or stamp is None or self._is_settled(path, stamp):
                self._note_whether_it_is_there(path, stamp is not None)
                continue
            with contextlib.suppress(OSError):  # it was deleted meanwhile, or the whole directory
                if await self.of(path) is None:
                    self._failed[path] = stamp, self._seconds()

    def _is_settled(self, path: Path, stamp: Stamp) -> bool:
        known = self._known.get(path)
        if known is not None and known.stamp != stamp:
            _log.warn("{name} was replaced or changed by someone else after it was closed", name=path.name)
        failed, failed_s = self._failed.get(path, (None, 0.0))
        has_failed = failed == stamp and self._seconds() - failed_s < _AGAIN_S
        return has_failed or (known is not None and known.stamp == stamp)

    def _note_whether_it_is_there(self, path: Path, is_there: bool) -> None:
        if is_there:
            self._missing.discard(path)
        elif path not in self._missing and not self._is_stopping and path in self._closed():  # not pruned meanwhile
            self._missing.add(path)
            _log.warn("the closed file {name} was deleted by someone else", name=path.name)


def _stamps_of(paths: Sequence[Path]) -> dict[Path, Stamp | None]:
    """The stamp of each file, None of one that is not there."""
    stamps: dict[Path, Stamp | None] = {}
    for path in paths:
        try:
            stamps[path] = stamp_of(os.stat(path))
        except OSError:
            stamps[path] = None
    return stamps
