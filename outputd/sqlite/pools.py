"""adbapi pools of one thread and one connection each: what the rest of the house means by a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Protocol

from twisted.enterprise import adbapi
from twisted.internet.threads import deferToThreadPool

from outputd.process.threads import Job, P, T
from outputd.sqlite.connections import Connection, uri

Prepare = Callable[[sqlite3.Connection], object]
_CACHED_STATEMENTS = 256


class Pool(Protocol):
    """One connection to one database; what is run goes first in, first out, never in the reactor thread."""

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work(connection, ...) and return what it returns; an exception rolls back what is open."""

    async def close(self) -> None:
        """Close the connection once all that was asked for is done."""


OpenPool = Callable[[Path, Prepare], Pool]
"""Opens an existing database; `prepare` is called with the connection, in its thread, before anything else."""


class AdbapiPool:
    """A Pool over twisted.enterprise.adbapi. The connection opens at the first run."""

    def __init__(self, reactor: Any, path: Path, prepare: Prepare) -> None:
        self._reactor = reactor
        self._closed = False
        self._pool = adbapi.ConnectionPool(
            "sqlite3", uri(path, "rw"), uri=True, check_same_thread=False, isolation_level=None,
            factory=Connection, cached_statements=_CACHED_STATEMENTS, cp_min=1, cp_max=1, cp_openfun=prepare,
            cp_reactor=reactor, cp_noisy=False,
        )  # fmt: skip

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See Pool; a closed pool would never answer, so that is an error."""
        if self._closed:
            raise sqlite3.ProgrammingError("this database is closed")
        job = Job(lambda db: work(db, *args, **kwargs))
        await self._pool.runWithConnection(_done, job)
        return job.outcome()

    async def close(self) -> None:
        """See Pool. The last close of a database checkpoints it, so it is done in the thread, and only then joined."""
        self._closed = True
        await deferToThreadPool(self._reactor, self._pool.threadpool, self._disconnect)
        self._pool.close()

    def _disconnect(self) -> None:
        connection = self._pool.connections.get(self._pool.threadID())
        if connection is not None:
            self._pool.disconnect(connection)


def _done(db: sqlite3.Connection, job: Job[Any]) -> None:
    """Do a job in the connection's thread. adbapi would roll back after an exception alone, and commit after this."""
    if not job.run(db):
        db.rollback()
