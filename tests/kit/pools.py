"""Databases and threads in the test's own thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from outputd.sqlite.connections import uri

FULL = "database or disk is full", sqlite3.SQLITE_FULL
MALFORMED = "database disk image is malformed", sqlite3.SQLITE_CORRUPT


def sqlite_error(reason: str, code: int) -> sqlite3.DatabaseError:
    """An error as SQLite raises it: the class follows from the code, by which the house decides."""
    damaged = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    error = sqlite3.DatabaseError(reason) if damaged else sqlite3.OperationalError(reason)
    error.sqlite_errorcode = code
    return error


P = ParamSpec("P")
T = TypeVar("T")


async def inline(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """An InThread in the caller's own thread."""
    return work(*args, **kwargs)


class InlinePool:
    """A Pool on a real file, in the caller's own thread; `failing` makes it raise, `gate` makes it wait."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], object], owner: InlinePools) -> None:
        self._db = sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)
        self._owner = owner
        self._name = path.name
        prepare(self._db)

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        gate = self._owner.gates.get(self._kind)
        if gate is not None:
            await gate
        failure = self._owner.failing.get(self._kind)
        if failure is not None:
            raise failure
        return work(self._db, *args, **kwargs)

    async def close(self) -> None:
        self._db.close()

    @property
    def _kind(self) -> str:
        return "ledger" if self._name.endswith(".sqlite3") else "store"


class InlinePools:
    """An OpenPool; what is in `failing` and `gates` goes for the pools of the "store" or of the "ledger"."""

    def __init__(self) -> None:
        self.failing: dict[str, Exception] = {}
        self.gates: dict[str, Deferred[None]] = {}

    def __call__(self, path: Path, prepare: Callable[[sqlite3.Connection], object]) -> InlinePool:
        return InlinePool(path, prepare, self)


def outcome(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that need not wait returns; what it raises is raised."""
    outcomes: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcomes.append)
    assert outcomes, "it waits"
    if isinstance(outcomes[0], Failure):
        outcomes[0].raiseException()
    return cast(T, outcomes[0])
