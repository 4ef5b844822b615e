"""Failure: what does not work now, and since when."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

FULL: Final = re.compile(r"full|no space|quota", re.IGNORECASE)
"""What a reason says when there is no room on the disk."""


class Failure(NamedTuple):
    """A reason in one line, and the time it began, in seconds since 1970."""

    reason: str
    since_s: float


class Unusable(Exception):
    """Something that the operator gave cannot be used; the text says what and why."""
