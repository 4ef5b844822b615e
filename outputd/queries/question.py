"""A question, declared once: what may be asked, what is answered, and by what.

Its route, the meaning of its query string, its part of the OpenAPI document and its CSV follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

from outputd.queries.session import Session
from outputd.queries.tables import Rows, Table
from outputd.web.shapes import Schema

A = TypeVar("A")
Found = Rows | Table | None
"""An answer, which needs its session still; None when there is nothing with this name."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A column of addresses, or of lists of them, and how the names begin of the columns that say more of these."""

    column: str
    prefix: str = ""
    are_lists: bool = False
    member: str | None = None
    """The member that is the address, where the lists are of objects."""

    @property
    def each(self) -> str:
        """SQL of an address of a list that is read by json_each as j."""
        return "j.value" if self.member is None else f"j.value ->> '$.{self.member}'"


@dataclass(frozen=True, slots=True, eq=False)
class Question(Generic[A]):
    """Something that may be asked of the files."""

    name: str
    """That of its operation, which is `getTargets` for Targets."""
    path: str
    asked: type[A]
    """A dataclass whose fields are its parameters; those that are in the path are `<parts>` of it."""
    find: Callable[[Session, A, float], Found]
    """Finds the answer in a thread, with what is asked and the time now in seconds since 1970."""
    _: KW_ONLY
    schemas: Mapping[str, Schema]
    """What is answered, by name."""
    whole: str
    """The schema of the answer in JSON."""
    row: str
    """The schema of a line of NDJSON."""
    summary: str
    description: str = ""
    misses: str = ""
    """What it means when there is nothing with this name, where that can be."""
    addresses: Sequence[Addresses] = ()
    """Of what it says more where the service has names or networks of addresses."""
    labelled: Sequence[str] = ()
    """Schemas of objects that then have the further members, beside that of a row."""
    is_paged: bool = False
    is_from_summary: bool = False
    """Whether it waits a little for the summary of the files to be brought up to date."""
    is_dear: bool = True
    """Whether it may go through much of the files, so that no page of another site may lead a browser to it."""
