"""The file that is being written, with its one writing connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from outputd.results import timestamps
from outputd.results.rows import Batch
from outputd.sqlite.files import (
    COMPANIONS,
    Identity,
    State,
    identity_of,
    is_replaced,
    keep_to,
    let_go,
    sight_of,
    size_of,
    state_of,
    wal_of,
)  # fmt: skip
from outputd.sqlite.pools import OpenPool
from outputd.store import file as resultfile
from outputd.store.directory import DataDir
from outputd.store.file import FileInfo
from outputd.store.ids import Ids
from outputd.store.limits import Limits
from outputd.store.rescue import write_again, write_under_free_name
from outputd.store.writer import Writer, Written, prepare


class Current:
    """The file that is being written, with its one writing connection."""

    def __init__(self, info: FileInfo, limits: Limits, open_pool: OpenPool, opened_s: float) -> None:
        self.info = info
        self.opened_s = opened_s
        self.unsaved = ""
        """Why it cannot be written again, when it was deleted or replaced."""
        self.last_batch_id = info.last_batch_id
        self.created_s = timestamps.seconds(info.created_at)
        self.size_bytes = size_of(info.path)
        self._identity = identity_of(info.path)
        keep_to(info.path)
        self._wal_identity: Identity | None = None
        self._state: State | None = None
        """That of the file after our last turn; None before it was opened."""
        self._wal_state: State | None = None
        self.has_foreign_wal = False
        """Whether it is whole, but has a WAL that someone else has written, into which nothing more may go."""
        self._limits = limits
        self._writer: Writer | None = None
        self.pool = open_pool(info.path, self._prepare)

    def is_gone(self) -> bool:
        """Whether the file or its WAL was deleted, moved or replaced by someone else."""
        return self._is_other(identity_of(self.info.path), identity_of(wal_of(self.info.path)))

    def _is_other(self, file: Identity | None, wal: Identity | None) -> bool:
        return file != self._identity or (self._wal_identity is not None and wal != self._wal_identity)

    @property
    def is_replaced(self) -> bool:
        """Whether another file has its name."""
        return is_replaced(self.info.path)

    @property
    def is_here(self) -> bool:
        """Whether the file itself is where it was, whatever has become of its WAL."""
        return identity_of(self.info.path) == self._identity

    def rescue(self, db: sqlite3.Connection, directory: DataDir, now_s: float) -> Path:
        """In the pool's thread: write it again when it, or its WAL, was deleted or replaced; returns where."""
        path = self.info.path
        if self.is_replaced:
            self._take_wal_away()
            path = write_under_free_name(db, directory, now_s)
            let_go(self.info.path)
            return path
        write_again(db, directory, path, over=self.is_here)
        return path

    def _take_wal_away(self) -> None:
        """Leave no WAL of ours beside another file, which would take it for its own."""
        if identity_of(wal_of(self.info.path)) == self._wal_identity:
            for ending in COMPANIONS:
                Path(f"{self.info.path}{ending}").unlink(missing_ok=True)

    def _prepare(self, db: sqlite3.Connection) -> None:
        prepare(db, self._limits.wal_bytes)
        self._writer = Writer(db, self._limits.rejected_bytes, self._limits.raw_bytes)
        self._wal_identity = identity_of(wal_of(self.info.path))
        self._remember()

    def _remember(self) -> None:
        """What we have written ourselves is in the file, or in its WAL."""
        self._state = state_of(self.info.path)
        self._wal_state = state_of(wal_of(self.info.path))

    @property
    def is_touched(self) -> bool:
        """Whether someone else may have written into the file or its WAL.

        Certain only in the pool's thread, between two turns.
        """
        path = self.info.path
        return _differs(state_of(path), self._state) or _differs(state_of(wal_of(path)), self._wal_state)

    def is_still_touched(self, _: sqlite3.Connection) -> bool:
        """See is_touched, in the pool's thread."""
        return self.is_touched

    def accept(self, _: sqlite3.Connection) -> None:
        """In the pool's thread: it is whole, whoever has touched it; what follows in a WAL of others would not be."""
        if _differs(state_of(wal_of(self.info.path)), self._wal_state):
            self.has_foreign_wal = True
        else:
            self._state = state_of(self.info.path)

    def begin(self, db: sqlite3.Connection, next_ids: Ids) -> None:
        """In the pool's thread: see file.begin."""
        resultfile.begin(db, next_ids)
        self._remember()

    def write(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> Written:
        """In the pool's thread. Raises FileNotFoundError when the file is no longer where it was.

        Raises OSError when someone else has written into its WAL: what follows a gap there would be lost.
        """
        file, wal = sight_of(self.info.path), sight_of(wal_of(self.info.path))
        if self._is_other(file and file[0], wal and wal[0]):
            if self.is_replaced:
                self._take_wal_away()
                raise FileNotFoundError(f"{self.info.path.name} was replaced by another file")
            raise FileNotFoundError(f"{self.info.path.name} was deleted or moved away")
        if _differs(wal and wal[1], self._wal_state):
            raise OSError(f"someone else has written into {wal_of(self.info.path).name}")
        assert self._writer is not None, "a connection is prepared before it is used"
        touched = self._state if _differs(file and file[1], self._state) else None
        try:
            return self._writer.write(db, batches)
        finally:
            if self._wal_identity is None:
                self._wal_identity = identity_of(wal_of(self.info.path))
            self._remember()
            self._state = touched or self._state  # a turn hides nothing from the next look


def _differs(state: State | None, known: State | None) -> bool:
    return state is not None and known is not None and state != known
