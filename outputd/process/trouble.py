"""Trouble: what does not work now, and since when."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """A reason in one line, and the time it began, in seconds since 1970."""

    reason: str
    since_s: float


class Unusable(Exception):
    """Something that the operator gave cannot be used; the text says what and why."""
