"""How many POSTs go at a time, and how large they are: what a slow line bears. Pure."""

from __future__ import annotations

from typing import Final

from outputd.sender.source import MOST_BODY_BYTES

PATIENCE_S: Final = 120.0
"""For so long a POST may go without progress at first: no byte of it is taken, or it is taken and not answered."""
MOST_PATIENCE_S: Final = 480.0
"""More than outputd gives a body in all, which is five minutes."""
LEAST_BYTES: Final = 64 * 1024
_SLOW_S = 60.0
_QUICK_S = 5.0
_QUICK_ONES = 4


class Pace:
    """What is sent at a time. A time-out, or an answer after more than a minute, halves it; quick answers bring it
    back."""

    def __init__(self, connections: int) -> None:
        self._most_connections = connections
        self._quick = 0
        self.connections = connections
        """POSTs at a time."""
        self.body_bytes = MOST_BODY_BYTES
        """A longer body is cut."""
        self.patience_s = PATIENCE_S
        """For so long a POST may go without progress."""

    @property
    def is_reduced(self) -> bool:
        """Whether less is sent at a time than could be."""
        return self.connections < self._most_connections or self.body_bytes < MOST_BODY_BYTES

    @property
    def words(self) -> str:
        """What is sent at a time."""
        posts = "1 POST" if self.connections == 1 else f"{self.connections} POSTs"
        return f"{posts} at a time, of {self.body_bytes >> 10:,} KiB at most"

    def timed_out(self, size_bytes: int) -> None:
        """A POST of this size was cut off for lack of progress, or after a long time."""
        self._reduce(size_bytes)
        self.patience_s = min(2 * self.patience_s, MOST_PATIENCE_S)

    def answered(self, size_bytes: int, seconds: float) -> None:
        """A POST of this size was answered for good after so many seconds."""
        if seconds > _SLOW_S:
            self._reduce(size_bytes)
            return
        self._quick = self._quick + 1 if seconds < _QUICK_S else 0
        if self._quick == _QUICK_ONES:
            self._quick = 0
            self.connections = min(self.connections + 1, self._most_connections)
            self.body_bytes = min(2 * self.body_bytes, MOST_BODY_BYTES)

    def _reduce(self, size_bytes: int) -> None:
        self._quick = 0
        self.connections = max(1, self.connections // 2)
        self.body_bytes = min(self.body_bytes, max(LEAST_BYTES, size_bytes // 2))
