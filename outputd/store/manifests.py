"""The manifests of all closed files: read, or made once in the background, and believed while a file is what it was."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_LOOK_S = 10.0  # whether those that are known are what they were
_AGAIN_S = 60.0  # after one could not be made: a program may have had the file locked


@dataclass(slots=True)
class _Known:
    """What is known of one closed file."""

    manifest: Manifest | None = None
    failed: tuple[Stamp, float] | None = None
    """Of which state none could be made, and when."""
    is_missing: bool = False


class Manifests:
    """What is known of the closed files. One file is read at a time; `closed` says which files change no more."""

    def __init__(
        self, directory: DataDir, closed: Callable[[], Sequence[Path]], in_thread: InThread, clock: IReactorTime
    ) -> None:
        self._directory = directory
        self._closed = closed
        self._in_thread = in_thread
        self._known: dict[Path, _Known] = {}
        self._looked_s = -_LOOK_S
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
                self._known.setdefault(path, _Known()).manifest = manifest
            return manifest

    def _believed(self, path: Path, state: os.stat_result) -> Manifest | None:
        known = self._known.get(path)
        manifest = None if known is None else known.manifest
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
        if not (paths := self._to_be_looked_at()):
            return
        for path, stamp in (await self._in_thread(_stamps_of, paths)).items():
            if self._is_stopping:
                return
            known = self._known.setdefault(path, _Known())
            if stamp is None:
                self._note_that_it_is_missing(path, known)
                continue
            self._compare(path, known, stamp)
            if known.manifest is None and not self._has_failed(known, stamp):
                await self._make(path, known, stamp)

    def _to_be_looked_at(self) -> Sequence[Path]:
        """Those that were closed since the last look, from time to time all; nothing stays known of others."""
        closed = self._closed()
        for gone in self._known.keys() - set(closed):
            del self._known[gone]
        if self._seconds() - self._looked_s < _LOOK_S:
            return [path for path in closed if path not in self._known]
        self._looked_s = self._seconds()
        return closed

    def _compare(self, path: Path, known: _Known, stamp: Stamp) -> None:
        known.is_missing = False
        if known.manifest is not None and known.manifest.stamp != stamp:
            known.manifest = None
            _log.warn("{name} was replaced or changed by someone else after it was closed", name=path.name)

    def _has_failed(self, known: _Known, stamp: Stamp) -> bool:
        failed, failed_s = known.failed or (None, 0.0)
        return failed == stamp and self._seconds() - failed_s < _AGAIN_S

    async def _make(self, path: Path, known: _Known, stamp: Stamp) -> None:
        with contextlib.suppress(OSError):  # it was deleted meanwhile, or the whole directory
            if await self.of(path) is None:
                known.failed = stamp, self._seconds()

    def _note_that_it_is_missing(self, path: Path, known: _Known) -> None:
        if not known.is_missing and path in self._closed():  # not pruned meanwhile
            known.is_missing = True
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
