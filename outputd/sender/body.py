"""What is sent by one POST, and how much of a file that may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CUT_RESULTS: Final = 1000
CUT_BYTES: Final = 4 << 20
"""An array is cut into bodies of at most so many results and bytes; one result may be longer. Part of the keys."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of one POST."""

    number: int
    """From 0, in the order of the file."""
    where: str
    """Where it is in the file, for a person."""
    data: bytes
    position: int
    """Bytes of the file, as it lies on the disk, that were read so far."""
    items: int
    """Results in it; its bytes where it is no JSON array, and none can say."""
    fault: str = ""
    """Why it cannot be sent at all; `data` is empty then."""
