"""What SQLite's and the system's errors mean for this house, decided by their numbers where they are caught."""

from __future__ import annotations

import errno
import sqlite3
from sqlite3 import Error as DatabaseFailed
from sqlite3 import OperationalError as DatabaseUnusable
from typing import Final

from outputd.process.trouble import Kind, Unusable

__all__ = ["Damaged", "DatabaseFailed", "DatabaseUnusable", "NewerFile", "corrupt", "kind_of"]

_BY_ERRNO: Final = {
    errno.ENOSPC: Kind.FULL, errno.EDQUOT: Kind.FULL, errno.ENOENT: Kind.GONE, errno.ENOTDIR: Kind.GONE,
}  # fmt: skip
_BY_CODE: Final = {
    sqlite3.SQLITE_FULL: Kind.FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE: Kind.FULL,  # the -shm cannot grow: so does a full disk show to who opens a WAL
    sqlite3.SQLITE_CORRUPT: Kind.DAMAGED,
    sqlite3.SQLITE_NOTADB: Kind.DAMAGED,
    sqlite3.SQLITE_IOERR_SHORT_READ: Kind.DAMAGED,  # a WAL that was cut off: it ends before a page that it has
    sqlite3.SQLITE_CANTOPEN: Kind.GONE,
    sqlite3.SQLITE_ERROR: Kind.FOREIGN,
}


def kind_of(error: BaseException) -> Kind:
    """The kind of a failure; an error that was raised from another is of that one's kind."""
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, Kind.OTHER)
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return _BY_CODE.get(code, _BY_CODE.get(code & 0xFF, Kind.OTHER))
    return Kind.OTHER if error.__cause__ is None else kind_of(error.__cause__)


def corrupt(reason: str) -> sqlite3.DatabaseError:
    """What SQLite raises for a damaged file, where it does not notice the damage or cannot say it."""
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


class NewerFile(Unusable):
    """A file under our mark was written by a newer outputd."""


class Damaged(Exception):
    """A file under our mark cannot be read; the text says why."""
