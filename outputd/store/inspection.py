"""Looks through the newest files once, beside the service, so that damage is told and not only met."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, succeed

from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Kind
from outputd.sqlite.connections import reading
from outputd.sqlite.errors import kind_of
from outputd.store.file import FileInfo, place_of

_log = Logger()
_NEWEST = 2
"""The current file, and the one that a crash may have met instead."""
_MOST_FAULTS = 3
_LOOK_EVERY = 1_000_000
"""Steps of SQLite's machine, tens of milliseconds."""


class Inspection:
    """A `quick_check` of the newest files, one after the other, after a start."""

    def __init__(self, files: Callable[[], Sequence[FileInfo]], in_thread: InThread, now: Callable[[], float]) -> None:
        self._files = files
        self._in_thread = in_thread
        self._now = now
        self._found: dict[str, Failure] = {}
        self._is_stopping = False
        self._done: Deferred[None] = succeed(None)

    @property
    def found(self) -> Mapping[str, Failure]:
        """The damaged files that are still there, by name, with what is wrong."""
        if not self._found:
            return self._found
        names = {info.path.name for info in self._files()}
        return {name: failure for name, failure in self._found.items() if name in names}

    def start(self) -> None:
        """Begin."""
        self._done = Deferred.fromCoroutine(self._inspect())
        self._done.addErrback(lambda failure: _log.failure("the newest files cannot be inspected", failure=failure))

    def stop(self) -> Deferred[None]:
        """Fires when no file is read any more."""
        self._is_stopping = True
        return self._done

    async def _inspect(self) -> None:
        for info in list(self._files())[: -_NEWEST - 1 : -1]:
            try:
                fault = await self._in_thread(fault_of, info.path, lambda: self._is_stopping)
            except (sqlite3.Error, OSError) as error:
                if not self._is_stopping:
                    _log.warn("{name} cannot be inspected now: {error!s}", name=info.path.name, error=error)
                continue
            if fault is not None:
                _log.error("{name} is damaged: {fault}", name=info.path.name, fault=fault)
                self._found[info.path.name] = Failure(fault, self._now(), Kind.DAMAGED)


def fault_without(info: FileInfo, last_batch_id: int) -> str | None:
    """What is wrong with a file whose last batch is this one, unless someone else has written over it."""
    try:
        with reading(info.path) as db:
            place = place_of(db)
            first, last = db.execute("SELECT (SELECT min(id) FROM batches), (SELECT max(id) FROM batches)").fetchone()
    except TypeError:  # None is no row
        return "it does not say what it is"
    except sqlite3.DatabaseError as error:
        if kind_of(error) in (Kind.DAMAGED, Kind.FOREIGN):
            return str(error)
        raise
    if place != (info.sequence, info.created_at):
        return "it is another file now"
    if last_batch_id >= info.first_batch_id and (last is None or last < last_batch_id):
        return f"batch {last_batch_id}, which was stored in it, is not there"
    if first is not None and first < info.first_batch_id:
        return f"batch {first}, which is in it, is of another file"
    return fault_of(info.path)


def fault_of(path: Path, is_ended: Callable[[], bool] = lambda: False) -> str | None:
    """What is wrong with the structure of a file; None when nothing is found. Raises sqlite3.Error."""
    try:
        with reading(path) as db:
            db.set_progress_handler(is_ended, _LOOK_EVERY)
            faults = [text for (text,) in db.execute(f"PRAGMA quick_check({_MOST_FAULTS})")]
    except sqlite3.DatabaseError as error:
        if kind_of(error) is Kind.DAMAGED:
            return str(error)
        raise
    return None if faults == ["ok"] else "; ".join(faults)
