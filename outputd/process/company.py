"""Company: whether it pays to wait a moment for others, which would share the cost of one turn."""

from __future__ import annotations

from collections import deque
from math import inf

_WITNESSES = 4
_WAITS = 4.0


class Company:
    """Remembers the latest arrivals, and decides whether a new one should wait `wait_s` seconds for others.

    It should if the last four arrived within four such waits, all of them from other sources than its own. So a lonely
    arrival never waits. Nor does a client that sends again as soon as it is answered, nor the first arrival from a
    source, which may be such a client on a new connection.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._lately: deque[float] = deque(maxlen=_WITNESSES)

    def wait_s(self, came_s: float, last_s: float | None) -> float:
        """Seconds to wait for one that arrived at `came_s`; `last_s` is when its source was last heard of before."""
        lately = self._lately
        first_s = min(lately) if len(lately) == _WITNESSES else -inf
        lately.append(came_s)
        is_promised = last_s is not None and first_s > last_s and first_s > came_s - _WAITS * self._wait_s
        return self._wait_s if is_promised else 0.0
