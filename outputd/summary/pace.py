"""How often the summary is brought up to date: seldom and much at once, as far as nobody asks."""

from __future__ import annotations

REST_S = 20.0
"""So old the oldest result that is not counted becomes: a step of hundreds costs a tenth a result of what one of a few
costs, in CPU and on the disk. After a minute /health would warn."""
MANY = 2000
"""So many results are not left to wait, since who asks next would wait for them."""
FAR = 5000
"""So many results are not counted while somebody waits."""
_LOOK_S = 1.0
_CROWD_PER_S = 1000


class Pace:
    """Up to where all is counted, and how fast results come. Its numbers are those of results since the start."""

    def __init__(self, now_s: float, rest_s: float = REST_S) -> None:
        self._rest_s = rest_s
        self._counted = 0
        self._seen, self._seen_s, self._per_s, self._per_s_before = 0, now_s, 0.0, 0.0
        self.counted_s = now_s
        """What was stored before is counted."""

    def look(self, results: int, now_s: float) -> None:
        """So many are stored now."""
        past_s = now_s - self._seen_s
        if past_s >= _LOOK_S:
            self._per_s, self._per_s_before = (results - self._seen) / past_s, self._per_s
            self._seen, self._seen_s = results, now_s

    def count(self, results: int, now_s: float) -> None:
        """All that was stored then is counted."""
        self._counted, self.counted_s = results, now_s

    def is_due(self, results: int, now_s: float) -> bool:
        """Whether what has come since is old enough, or enough."""
        return results - self._counted >= MANY or now_s - self.counted_s >= self._rest_s

    def is_in_vain(self, results: int) -> bool:
        """Whether an answer had better not wait: in a crowd more has come before it is made, and what takes long to
        count is not there in time. One body of many results is no crowd."""
        return min(self._per_s, self._per_s_before) > _CROWD_PER_S or results - self._counted > FAR
