"""Merges files, and is killed at a point that is put from outside.

`python -m tests.merge.killed write 8192 OUT FILE...` ends within the first write that would go beyond this size: what
fits is written, and the rest is not. `step 70` ends by SIGKILL at that step of the work in the merged file; `step 0`
does all of it, and the last thing that it prints is the number of steps. `endless 0` comes to a statement without end.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

from outputd.merge import making
from outputd.merge.command import main
from tests.sqlite.killed import within_write

_INSTRUCTIONS_A_STEP = 50
"""Of SQLite's virtual machine."""


def before_transactions(work: Callable[[sqlite3.Connection], object]) -> None:
    """Put this before each transaction in the merged file."""
    owner: Any = making
    inner = owner.transaction

    def transaction(db: sqlite3.Connection, *begin: str) -> AbstractContextManager[None]:
        work(db)
        wrapped: AbstractContextManager[None] = inner(db, *begin)
        return wrapped

    owner.transaction = transaction


def at_step(number: int) -> Iterator[int]:
    """Die at this step, if there is one; the next value is how many there were."""
    steps = count()

    def passed() -> None:
        if next(steps) == number - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    before_transactions(lambda db: db.set_progress_handler(passed, _INSTRUCTIONS_A_STEP))
    return steps


def endlessly(db: sqlite3.Connection) -> None:
    """Print a line, and never come to an end."""
    print("endless", flush=True)
    db.execute("WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c").fetchone()


if __name__ == "__main__":
    point, number = sys.argv[1], int(sys.argv[2])
    steps = at_step(number) if point == "step" else count()
    if point == "write":
        within_write(number)
    elif point == "endless":
        before_transactions(endlessly)
    try:
        main(sys.argv[3:])
    finally:
        print(next(steps))
