"""Rotation: asks every second whether the current file is due, changes it for a new one, and prunes the oldest."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.trouble import Failure
from outputd.store.store import Store, StoreFailed

_log = Logger()
_EVERY_S = 1.0


class Rotation:
    """Asks the store every second. `before_prune` makes sure that a file's hops and keys are kept elsewhere."""

    def __init__(self, store: Store, clock: IReactorTime, before_prune: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._before_prune = before_prune
        self._asking = Every(_EVERY_S, self.ask, clock)
        self.failure: Failure | None = None

    def start(self) -> None:
        """Ask from now on."""
        self._asking.start()

    async def stop(self) -> None:
        """Return when a rotation under way has ended; ask no more."""
        await self._asking.stop()

    async def rotate(self, why: str) -> Path:
        """Begin a new file now. Raises OSError and sqlite3.Error when none can be made; then the old one goes on."""
        path = await self._change(why)
        await self._prune()
        return path

    async def _change(self, why: str) -> Path:
        old = self._store.current.info.path.name
        path = await self._store.rotate()
        _log.info("rotated from {old} to {new} ({why})", old=old, new=path.name, why=why)
        return path

    async def ask(self) -> None:
        """Do what is due. An error is logged, and the next second tries again."""
        try:
            try:
                why = self._store.why_due()
                if why is not None:
                    await self._change(why)
            finally:  # a full disk, where no new file can be made, must not keep its own relief from coming
                left = await self._prune()
            await self._store.finish_closed()
            if self._store.failure is not None:
                await self._store.prove()  # is it well again?
            self.failure = None if left is None else self.failure or left
        except StoreFailed:
            pass  # the store has said so
        except Exception as error:
            if self.failure is None:
                if isinstance(error, sqlite3.Error | OSError):
                    _log.error("rotation failed and is tried again: {error!s}", error=error)
                else:
                    _log.failure("rotation failed and is tried again")
                self.failure = Failure(str(error), self._store.now())

    async def _prune(self) -> Failure | None:
        if len(self._store.files) > self._store.limits.keep_files:
            try:
                await self._before_prune()
            except (sqlite3.Error, OSError) as error:  # a full disk must not keep its own relief from coming
                _log.warn("pruning although the hop ledger cannot be written: {error!s}", error=error)
            try:
                for name in await self._store.prune():
                    _log.info("pruned {name}", name=name)
            except OSError as error:
                if self.failure is None:
                    _log.error("an old file cannot be deleted: {error!s}", error=error)
                return Failure(f"an old file cannot be deleted: {error}", self._store.now())
        return None
