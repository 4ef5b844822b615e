"""Result files as the archive's child reads them: a page at a time, so that it holds up neither a checkpoint nor the
end of a file that is closed. Blocking."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from outputd.export.page import NEVER_STORED
from outputd.process.trouble import Kind
from outputd.sqlite import connections
from outputd.sqlite.connections import pragma, transaction
from outputd.sqlite.errors import NewerFile, corrupt, kind_of
from outputd.sqlite.files import Identity, identity_of
from outputd.store.file import SCHEMA


class Unreadable(Exception):
    """A result file is not what it was, or cannot be read; the text says why."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"{path.name} cannot be read: {error}")
        self.path = path
        self.kind = Kind.DAMAGED if isinstance(error, (TypeError, *NEVER_STORED)) else kind_of(error)


@contextlib.contextmanager
def page_of(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction in which a result file is read, over a connection of its own. Raises Unreadable."""
    try:
        with connections.reading(path) as db, transaction(db, "BEGIN"):
            if pragma(db, "application_id") != SCHEMA.application_id:
                raise corrupt("it does not bear the mark of our files")
            SCHEMA.version_of(db)
            yield db
    except (sqlite3.Error, OSError, NewerFile, TypeError, *NEVER_STORED) as error:  # None is no row
        raise Unreadable(path, error) from error


@contextlib.contextmanager
def encoding(path: Path) -> Iterator[None]:
    """Within it, a value of a file that outputd never stores is Unreadable."""
    try:
        yield
    except NEVER_STORED as error:
        raise Unreadable(path, error) from error


class Still:
    """Tells whether a file is still the one that it was first."""

    def __init__(self, path: Path) -> None:
        """Raises Unreadable where there is none."""
        self._path = path
        self._known = self._identity()

    def check(self) -> None:
        """Raise Unreadable unless what was read since is all of one file."""
        if self._identity() != self._known:
            raise Unreadable(self._path, FileNotFoundError(2, "it was replaced by another file"))

    def _identity(self) -> Identity:
        try:
            found = identity_of(self._path)
        except OSError as error:
            raise Unreadable(self._path, error) from error
        if found is None:
            raise Unreadable(self._path, FileNotFoundError(2, "it is not there any more"))
        return found
