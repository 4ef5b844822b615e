"""Names of objects: which batches of which instance are in it, and on which day they arrived. Pure.

Numbers are padded, so that names sort as what they hold.
"""

from __future__ import annotations

import re
from typing import NamedTuple

RESULTS, REJECTED = "results", "rejected"
KINDS = (RESULTS, REJECTED)
"""Of objects, in the order in which those of a span are put."""
_NAME = re.compile(
    r"(results|rejected)/date=(\d{4}-\d\d-\d\d)/([A-Za-z0-9._]{1,97})-(\d{19})-(\d{19})\.parquet"
).fullmatch
_DATE = re.compile(r"date=(\d{4}-\d\d-\d\d)").fullmatch
INSTANCE = r"[A-Za-z0-9][A-Za-z0-9._]{0,96}"
is_instance = re.compile(INSTANCE).fullmatch
"""Whether an instance may have this name: it has no dash, which ends it in the name of an object, and begins with a
letter or a digit, since engines take what begins with . or _ for hidden."""


class Name(NamedTuple):
    """What the name of an object says."""

    first_batch_id: int
    last_batch_id: int
    date: str
    kind: str
    instance: str

    def __str__(self) -> str:
        """It, as a path in the archive."""
        beginning = beginning_of(self.kind, self.date, self.instance)
        return f"{beginning}{self.first_batch_id:019}-{self.last_batch_id:019}.parquet"

    @property
    def ids(self) -> tuple[int, int]:
        """The first batch and the last one."""
        return self.first_batch_id, self.last_batch_id


def name_of(path: str) -> Name | None:
    """What a path in the archive says; None where it is none of ours."""
    match = _NAME(path)
    if match is None:
        return None
    kind, date, instance, first, last = match.groups()
    return Name(int(first), int(last), date, kind, instance)


def beginning_of(kind: str, date: str, instance: str) -> str:
    """How the names of an instance and a day begin."""
    return f"{folder_of(kind, date)}/{instance}-"


def folder_of(kind: str, date: str) -> str:
    """Where the objects of a day are."""
    return f"{kind}/date={date}"


def date_of(folder: str) -> str | None:
    """The day of a folder, by its own name; None where it is none of ours."""
    match = _DATE(folder)
    return match and match[1]
