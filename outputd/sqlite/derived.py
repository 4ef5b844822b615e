"""A database that is made from others, a step at a time: opened at the first step, and anew when it was deleted."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from outputd.process.files import check_ours
from outputd.sqlite.connections import connect, write_ahead
from outputd.sqlite.files import delete_database, identity_of, keep_to, let_go, make_empty, size_of, wal_of


class Outdated(Exception):
    """A database is of no use to this version, and is made anew."""


class Derived:
    """One such database, for one thread."""

    def __init__(self, path: Path, cache_kib: int, wal_bytes: int) -> None:
        self.path = path
        self._cache_kib = cache_kib
        self._wal_bytes = wal_bytes
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make of an opened file, which may be empty, what a step needs. Raises Outdated."""
        raise NotImplementedError

    def opened(self) -> sqlite3.Connection:
        """The one connection, to a file that is made anew when there is none."""
        if self._db is not None and self.is_there:
            return self._db
        self.close()
        check_ours(self.path)
        with contextlib.suppress(FileExistsError):
            make_empty(self.path)
        db = self._db = connect(self.path)
        self._identity = identity_of(self.path)
        keep_to(self.path)
        write_ahead(db, "NORMAL", self._cache_kib, checkpoint_bytes=self._wal_bytes, keep_bytes=self._wal_bytes)
        try:
            self._prepare(db)
        except Outdated:
            self.remove()
            return self.opened()
        return db

    @property
    def is_there(self) -> bool:
        """Whether the file is the one that the last step has written."""
        return identity_of(self.path) == self._identity

    @property
    def size_bytes(self) -> int:
        """What it takes of the disk."""
        return size_of(self.path) + size_of(wal_of(self.path))

    def interrupt(self) -> None:
        """End the step that is under way, from another thread; nothing of it is kept."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
                self._db.interrupt()

    def close(self) -> None:
        """Close the file; the next step would open it again."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("SELECT 1")  # an interrupt that met no statement would end the checkpoint of the close
            self._db.close()
            self._db = None
            let_go(self.path)

    def leave(self) -> None:
        """Close the file without WAL, the one that a crash left and no step has met included."""
        if self._db is None and wal_of(self.path).exists():
            with contextlib.suppress(sqlite3.Error, OSError):
                self.opened()
        self.close()

    def remove(self) -> None:
        """Give its room back; the next step makes it anew."""
        self.close()
        delete_database(self.path)
