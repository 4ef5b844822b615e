"""Trouble: what does not work now, and since when."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a failure is, for those who must decide by it; its reason is only for people."""

    FULL = "there is no room on the disk"
    DAMAGED = "a file is malformed, or no database"
    GONE = "a file is not there, or cannot be opened"
    FOREIGN = "a database does not have the tables that ours have"
    OTHER = "anything else"


class Failure(NamedTuple):
    """A reason in one line, the time it began, in seconds since 1970, and its kind."""

    reason: str
    since_s: float
    kind: Kind = Kind.OTHER


class Trouble:
    """Something that fails and works again: it is told once when it begins, and how long it lasted when it ends.

    `now` is the time of day, for people; `seconds` a clock that nobody sets, for how long it lasted.
    """

    def __init__(
        self, now: Callable[[], float], seconds: Callable[[], float],
        began: Callable[[str], object] = lambda reason: None, ended: Callable[[float], object] = lambda seconds: None,
    ) -> None:  # fmt: skip
        self._now = now
        self._seconds = seconds
        self._began = began
        self._ended = ended
        self._began_s = 0.0
        self.failure: Failure | None = None
        """The newest reason and the time of the first, None while all is well."""

    def begin(self, reason: str, kind: Kind = Kind.OTHER) -> bool:
        """It fails, or still does and the reason is another one; whether this is news."""
        if self.failure is not None:
            self.failure = self.failure._replace(reason=reason, kind=kind)
            return False
        self._began_s = self._seconds()
        self.failure = Failure(reason, self._now(), kind)
        self._began(reason)
        return True

    def end(self) -> None:
        """It works, or works again."""
        if self.failure is not None:
            self.failure = None
            self._ended(self._seconds() - self._began_s)


class Unusable(Exception):
    """Something that the operator gave cannot be used; the text says what and why."""
