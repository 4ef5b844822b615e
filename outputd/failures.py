"""Failure: what does not work now, and since when."""

from __future__ import annotations

import re
import sqlite3
from typing import Final, NamedTuple

FULL: Final = re.compile(r"full|no space|quota", re.IGNORECASE)
"""What a reason says when there is no room on the disk."""
GONE: Final = re.compile("unable to open|no such table")
"""What SQLite says of a database that was deleted, or is not made yet."""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that a file is malformed or no database; locked and full are subclasses of that error."""
    return type(error) is sqlite3.DatabaseError


class Failure(NamedTuple):
    """A reason in one line, and the time it began, in seconds since 1970."""

    reason: str
    since_s: float


class Unusable(Exception):
    """Something that the operator gave cannot be used; the text says what and why."""
