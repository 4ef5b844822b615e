"""How a copy of a result file is made, and a closed one opened. Blocking, for a thread."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from outputd.process.trouble import Kind
from outputd.sqlite.connections import pragma, reading, writing
from outputd.sqlite.errors import kind_of
from outputd.sqlite.files import make_empty
from outputd.store.directory import DataDir
from outputd.store.manifest import Manifest, Stamp, digest_of, stamp_of

_PAGES_A_STEP = 256
_CACHE_KIB = 200  # no page is needed twice, and so few stay in the processor's cache
_WRITTEN_BYTES = 64 * 1024


class NoRoom(Exception):
    """There is no room for a copy: on the disk, or beside those that are being read."""


class Opened(NamedTuple):
    """An open file that does not change any more."""

    name: str
    handle: int
    size_bytes: int
    digest: bytes
    stamp: Stamp


def open_closed(path: Path, manifest: Manifest | None = None) -> Opened:
    """Open a file that stands by itself; its digest is that of its manifest, unless the file is another by now."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        state = os.fstat(handle)
        stamp = stamp_of(state)
        digest = manifest.digest if manifest is not None and manifest.stamp == stamp else digest_of(handle)
    except BaseException:
        os.close(handle)
        raise
    return Opened(path.name, handle, state.st_size, digest, stamp)


def lacking_bytes(directory: DataDir, path: Path, spare_bytes: int) -> int:
    """So much less is free than a copy of a file takes, if so much is to be spared."""
    with reading(path) as db:
        size_bytes = pragma(db, "page_count") * pragma(db, "page_size")
    return size_bytes + spare_bytes - directory.free_bytes()


def copy_live(directory: DataDir, path: Path) -> Opened:
    """Copy a file that may be written meanwhile, as it is at a moment after the call, and open the nameless copy.

    Raises NoRoom.
    """
    target = directory.temporary("dump")
    try:
        make_empty(target)
        with reading(path) as source, writing(target) as copy:
            source.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            _write_in_large_pages(copy)
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema").fetchone()  # the snapshot is taken here
            source.backup(copy, pages=_PAGES_A_STEP, sleep=0)
            source.execute("COMMIT")
            copy.execute("PRAGMA journal_mode=DELETE")  # takes the WAL mark out of the header
        file = open_closed(target)
        return file._replace(name=path.name)
    except (sqlite3.OperationalError, OSError) as error:
        if kind_of(error) is Kind.FULL:
            raise NoRoom(f"no room for a copy: {error}") from error
        raise
    finally:
        target.unlink(missing_ok=True)
        Path(f"{target}-journal").unlink(missing_ok=True)


def _write_in_large_pages(copy: sqlite3.Connection) -> None:
    """Prepare an empty database for a backup, which SQLite makes by the pages that the database has.

    The file has the pages of its source in the end, but is written by fewer and larger ones: in half of the time.
    """
    copy.execute("PRAGMA synchronous=OFF")
    copy.execute("PRAGMA journal_mode=OFF")
    copy.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    copy.execute(f"PRAGMA page_size={_WRITTEN_BYTES}")
    copy.execute("PRAGMA user_version=1")  # the size of a database that is not empty is settled
