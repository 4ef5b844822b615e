"""Brings a database of the tests' schema up, and is killed at a point that is put from outside.

`python -m tests.sqlite.killed PATH statement 7` ends by SIGKILL before the seventh statement; with `write 8192` it ends
as abruptly within the first write that would go beyond this size of a file.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
from importlib.resources import files as files_of
from pathlib import Path

from outputd.sqlite.connections import writing
from outputd.sqlite.schema import Schema

SCHEMA = Schema(files_of("tests.sqlite") / "schema", 3, application_id=0x74657374)


def at_statement(db: sqlite3.Connection, number: int) -> None:
    """Die before the statement of this number."""
    left = [number]

    def begun(_: str) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    db.set_trace_callback(begun)


def within_write(size_bytes: int) -> None:
    """Die within the first write beyond this size: what fits is written, and the rest is not."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def main(path: str, point: str, number: str) -> None:
    """Bring it up, or die on the way."""
    with writing(Path(path)) as db:
        if point == "statement":
            at_statement(db, int(number))
        else:
            within_write(int(number))
        SCHEMA.bring_up(db)


if __name__ == "__main__":
    main(*sys.argv[1:])
