"""Rotation: asks every second whether the current file is due, changes it for a new one, and prunes the oldest."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.trouble import Failure, Trouble
from outputd.sqlite.errors import kind_of
from outputd.store.store import Store, StoreFailed

_log = Logger()
_EVERY_S = 1.0


class Elsewhere(Protocol):
    """Keeps what must outlive a result file."""

    @property
    def kept(self) -> int:
        """The last batch that is on disk there, with all before it."""

    async def flush(self) -> None:
        """Bring all that it has heard of to disk. Raises sqlite3.Error, OSError."""


class Rotation:
    """Asks the store every second. A file is pruned only when what it holds of hops and keys is kept elsewhere.

    And, where there is an archive, only when no batch of it is above `archived`.
    """

    def __init__(
        self, store: Store, clock: IReactorTime, elsewhere: Elsewhere, archived: Callable[[], int] | None = None
    ) -> None:
        self._store = store
        self._archived = archived
        self._elsewhere = elsewhere
        self._asking = Every(_EVERY_S, self.ask, clock)
        self._trouble = Trouble(store.now, clock.seconds, _say_that_it_fails, _say_that_it_works)

    @property
    def failure(self) -> Failure | None:
        """Why no file can be changed for a new one, or no old one deleted, or None."""
        return self._trouble.failure

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
                await self._store.look_after_current()
                why = self._store.why_due()
                if why is not None:
                    await self._change(why)
            finally:  # a full disk, where no new file can be made, must not keep its own relief from coming
                left = await self._prune()
            await self._store.finish_closed()
            if self._store.failure is not None:
                await self._store.prove()  # is it well again?
            if left is None:
                self._trouble.end()
            else:
                self._trouble.begin(left)
        except StoreFailed:
            pass  # the store has said so
        except Exception as error:
            if self._trouble.begin(str(error), kind_of(error)) and not isinstance(error, sqlite3.Error | OSError):
                _log.failure("the rotation failed unexpectedly")

    async def _prune(self) -> str | None:
        """Delete old files; why one of them cannot be deleted, or None: the archive tells itself that it is behind."""
        archived = sys.maxsize if self._archived is None or not self._store.excess else self._archived()
        if not any(info.last_batch_id <= archived for info in self._store.excess):
            return None
        failure = ""
        try:
            await self._elsewhere.flush()
        except (sqlite3.Error, OSError) as error:  # a full disk: what it has of older files is their relief
            failure = str(error)
        try:
            for name in await self._store.prune(min(self._elsewhere.kept, archived)):
                _log.info("pruned {name}", name=name)
        except OSError as error:
            return f"an old file cannot be deleted: {error}"
        left = [info.path.name for info in self._store.excess if info.last_batch_id <= archived]
        if not failure or not left:
            return None
        names = ", ".join(left)
        return f"{names} cannot be deleted before the hop ledger has what it holds: {failure}"


def _say_that_it_fails(reason: str) -> None:
    _log.error("rotation failed, trying again: {reason}", reason=reason)


def _say_that_it_works(seconds: float) -> None:
    _log.info("rotation works again, after {seconds:.0f} s", seconds=seconds)
