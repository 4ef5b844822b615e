"""What only an open connection still has, written again under the name of its file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from outputd.sqlite.files import make_empty
from outputd.store.directory import DataDir


def rescue(db: sqlite3.Connection, directory: DataDir, path: Path, over: bool) -> None:
    """Write what only this connection still has, since the file or its WAL was deleted, under the file's name again.

    `over` says that the file of this name is the connection's own, without its WAL, and to be replaced.
    """
    made = directory.temporary("rescued")
    try:
        make_empty(made)
        db.execute("VACUUM INTO ?", (str(made),))
        if over:
            os.replace(made, path)
            directory.sync()
        else:
            if not path.exists():  # its WAL is left, with pages that a new file of this name would take for its own
                directory.remove(path)
            directory.put_back(made, path)
    finally:
        made.unlink(missing_ok=True)
