"""outputd that kills itself, as a power cut would, at a named point: `python -m tests.system.faulty POINT TIMES flags`.

The points are put around the product's own functions from outside; the product knows nothing of them.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outputd import __main__
from outputd.ledger import ledger
from outputd.results.parse import Parser
from outputd.sqlite.table import Table
from outputd.store import copying, manifest
from outputd.store import file as resultfile
from outputd.store.directory import DataDir
from outputd.store.writer import Writer
from outputd.summary.summary import Summary

Passed = Callable[[], None]


def _around(owner: Any, name: str, before: Passed | None = None, after: Passed | None = None) -> None:
    inner = getattr(owner, name)

    def passing(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before()
        value = inner(*args, **kwargs)
        if after is not None:
            after()
        return value

    setattr(owner, name, passing)


def _inside_insert(into: str) -> Callable[[Passed], None]:
    def put(passed: Passed) -> None:
        inner = Table.insert

        def insert(self: Table, db: sqlite3.Connection, flat: list[Any]) -> int:
            inserted = inner(self, db, flat)
            if self.name == into and flat:
                passed()
            return inserted

        Table.insert = insert  # type: ignore[method-assign]  # the point is put around it from outside

    return put


def _between_unlinks(passed: Passed) -> None:
    """The WAL of a result file is to be unlinked, or the file itself, which is all that is left of it."""
    inner = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.name.endswith((".db-wal", ".db")):
            passed()
        inner(self, missing_ok)

    Path.unlink = unlink  # type: ignore[method-assign]  # as above


POINTS: dict[str, Callable[[Passed], None]] = {
    "a body is parsed": lambda passed: _around(Parser, "parse", after=passed),
    "results are inserted, their batch is not": _inside_insert("traceroute_hops"),
    "all is inserted, not committed": _inside_insert("batches"),
    "results are committed, not answered": lambda passed: _around(Writer, "write", after=passed),
    "results are answered, the ledger has not heard": lambda passed: _around(ledger.Ledger, "commit", before=passed),
    "hops are inserted into the ledger, not committed": _inside_insert("known"),
    "the ledger has committed": lambda passed: _around(ledger.Ledger, "commit", after=passed),
    "input_service has answered, the ledger does not know": lambda passed: _around(
        ledger, "delete_waiting", before=passed
    ),
    "a delivery is committed": lambda passed: _around(ledger, "delete_waiting", after=passed),
    "a new file is made, without a name": lambda passed: _around(DataDir, "publish", before=passed),
    "a new file has its name and is not used": lambda passed: _around(DataDir, "publish", after=passed),
    "a new file is opened, the old one written": lambda passed: _around(resultfile, "begin", after=passed),
    "the new file is written, the old one has its WAL": lambda passed: _around(resultfile, "finish", before=passed),
    "the old file is finished": lambda passed: _around(resultfile, "finish", after=passed),
    "a manifest is made, not written": lambda passed: _around(manifest, "write", before=passed),
    "a file is to be pruned": lambda passed: _around(DataDir, "remove", before=passed),
    "a file is pruned in part": _between_unlinks,
    "a file is pruned": lambda passed: _around(DataDir, "remove", after=passed),
    "the summary has taken a step": lambda passed: _around(Summary, "step", after=passed),
    "a dump is copied, not sent": lambda passed: _around(copying, "copy_live", after=passed),
    "a dump's digest is to be made": lambda passed: _around(copying, "digest_of", before=passed),
}


def main(point: str, times: int) -> None:
    """Run outputd until it has passed the point so many times."""
    left = [times]

    def passed() -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    POINTS[point](passed)
    __main__.main()


if __name__ == "__main__":
    name, number = sys.argv[1:3]
    sys.argv[1:3] = []
    main(name, int(number))
