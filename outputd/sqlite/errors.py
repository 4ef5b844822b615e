"""What SQLite's errors mean for this house: full, gone, damaged, too new."""

from __future__ import annotations

import re
import sqlite3
from sqlite3 import Error as DatabaseFailed
from sqlite3 import OperationalError as DatabaseUnusable
from typing import Final

from outputd.process.trouble import Unusable

__all__ = ["FULL", "GONE", "Damaged", "DatabaseFailed", "DatabaseUnusable", "NewerFile", "is_damage"]

FULL: Final = re.compile(r"full|no space|quota", re.IGNORECASE)
"""What a reason says when there is no room on the disk."""
GONE: Final = re.compile("unable to open|no such table")
"""What SQLite says of a database that was deleted, or is not made yet."""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that a file is malformed or no database; locked and full are subclasses of that error."""
    return type(error) is sqlite3.DatabaseError


class NewerFile(Unusable):
    """A file under our mark was written by a newer outputd."""


class Damaged(Exception):
    """A file under our mark cannot be read; the text says why."""
