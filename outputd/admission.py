"""Admission: the memory that POSTs hold until they are answered, bounded; and when to come again."""

from __future__ import annotations

import math
from collections.abc import Callable

_LONGEST_WAIT_S = 60
_HALF_LIFE_S = 5.0


class Admission:
    """Counts bytes held against a limit, and measures how fast they are let go."""

    def __init__(self, limit_bytes: int, seconds: Callable[[], float]) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._seconds = seconds
        self._rate = 0.0
        self._measured_at = seconds()
        self._drained = 0

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much more may be held."""
        return self.held_bytes + size_bytes <= self.limit_bytes

    def hold(self, size_bytes: int) -> None:
        """Hold more memory."""
        self.held_bytes += size_bytes

    def let_go(self, size_bytes: int) -> None:
        """Hold less."""
        self.held_bytes -= size_bytes

    def drained(self, size_bytes: int) -> None:
        """So many bytes of bodies were stored and answered."""
        self._drained += size_bytes

    def retry_after_s(self) -> int:
        """Whole seconds after which what is held now should be on disk, at the measured rate; 1 to 60."""
        elapsed = self._seconds() - self._measured_at
        if elapsed >= 1.0:
            keep = 0.5 ** (elapsed / _HALF_LIFE_S)
            self._rate = self._rate * keep + self._drained / elapsed * (1 - keep)
            self._measured_at, self._drained = self._seconds(), 0
        if self._rate <= 0:
            return 1 if not self._drained else _LONGEST_WAIT_S if elapsed > _LONGEST_WAIT_S else 1
        return min(_LONGEST_WAIT_S, max(1, math.ceil(self.held_bytes / self._rate)))
