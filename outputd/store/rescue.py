"""What only an open connection still has, written again into a file that has a name."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from outputd.process.files import sync
from outputd.sqlite.connections import uri
from outputd.sqlite.files import let_go, make_empty
from outputd.store.directory import DataDir


def write_again(db: sqlite3.Connection, directory: DataDir, path: Path, over: bool) -> None:
    """Write what only this connection still has, since the file or its WAL was deleted, under the file's name again.

    `over` says that the file of this name is the connection's own, without its WAL, and to be replaced.
    """
    with _written_aside(db, directory) as made:
        if over:
            os.replace(made, path)
            directory.sync()
        else:
            if not path.exists():  # its WAL is left, with pages that a new file of this name would take for its own
                directory.remove(path)
            directory.put_back(made, path)
    let_go(path)


def write_under_free_name(db: sqlite3.Connection, directory: DataDir, now_s: float) -> Path:
    """Write what only this connection still has under a free name of this time, since another file has its own."""
    with _written_aside(db, directory) as made:
        return directory.publish(made, now_s)


@contextlib.contextmanager
def _written_aside(db: sqlite3.Connection, directory: DataDir) -> Iterator[Path]:
    made = directory.temporary("rescued")
    try:
        make_empty(made)
        db.execute("VACUUM INTO ?", (uri(made, "rw"),))
        sync(made)
        yield made
    finally:
        made.unlink(missing_ok=True)
