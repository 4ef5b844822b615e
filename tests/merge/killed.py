"""Merges files, and is killed at a point that is put from outside.

`python -m tests.merge.killed write 8192 OUT FILE...` ends within the first write that would go beyond this size: what
fits is written, and the rest is not. `step 70` ends by SIGKILL at that step of the work in the merged file; `step 0`
does all of it, and the last thing that it prints is the number of steps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from outputd.merge import making
from outputd.merge.command import main
from tests.sqlite.killed import within_write

_INSTRUCTIONS_A_STEP = 50
"""Of SQLite's virtual machine."""


def at_step(number: int) -> Iterator[int]:
    """Die at this step, if there is one; the next value is how many there were."""
    steps = count()
    owner: Any = making  # the point is put around its function from outside
    inner = owner.writing

    def passed() -> None:
        if next(steps) == number - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def writing(path: Path, busy_ms: int) -> Iterator[sqlite3.Connection]:
        with inner(path, busy_ms) as db:
            db.set_progress_handler(passed, _INSTRUCTIONS_A_STEP)
            yield db

    owner.writing = writing
    return steps


if __name__ == "__main__":
    point, number = sys.argv[1], int(sys.argv[2])
    if point == "write":
        within_write(number)
        main(sys.argv[3:])
    steps = at_step(number)
    try:
        main(sys.argv[3:])
    finally:
        print(next(steps))
