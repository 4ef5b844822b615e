"""What an operator has chosen for the archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outputd.archive.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The flags of an archive, checked."""

    place: Place
    every_s: float
    """So long results wait for others that come with them into one object."""
    credentials: Path | None
    max_backlog_bytes: int
    """What closed files may weigh that wait to be shipped; above it the oldest is given up."""
    name: str | None
    """What the instance is called; None: as its host."""
