"""Company: whether it pays to wait a moment for others, which would share the cost of one look and of one turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

_WITNESSES = 8
_WAITS = 8
_AWAY = 3
_OFF_S = 0.5


class Company:
    """Remembers the latest arrivals, and says how long the next should wait for others: `longest_s` seconds at most.

    It should if the last eight came within eight such waits, and each from a source that had been away for three of
    them since it was last answered. So a lonely arrival never waits, nor does a client that sends again as soon as it
    is answered; while such a client, or a new one, is among those who come, nobody does. The more come the less they
    wait, about as long as eight of them take, and not at all while a turn is under way, whose end they wait for anyhow.
    """

    def __init__(self, longest_s: float, is_busy: Callable[[], bool]) -> None:
        self._longest_s = longest_s
        self._is_busy = is_busy
        self._lately: deque[float] = deque(maxlen=_WITNESSES)
        self._off_until_s = -inf
        self.arrivals = 0

    def came(self, came_s: float, answered_s: float | None) -> None:
        """One has arrived at `came_s` whose source was last answered at `answered_s`, None when it never was."""
        self.arrivals += 1
        if answered_s is None or came_s - answered_s < _AWAY * self._longest_s:
            self._lately.clear()
        else:
            self._lately.append(came_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds that one who arrives now should wait."""
        if len(self._lately) < _WITNESSES or now_s < self._off_until_s or self._is_busy():
            return 0.0
        took_s = now_s - self._lately[0]
        return min(self._longest_s, took_s) if took_s < _WAITS * self._longest_s else 0.0

    def disturb(self, now_s: float) -> None:
        """Something else has waited to be served, too: for half a second nobody waits."""
        self._off_until_s = now_s + _OFF_S
