"""The time that a question is about, and how it is cut into buckets."""

from __future__ import annotations

import math
from typing import NamedTuple

from outputd.results import timestamps

DAY_S = 86_400
MOST_BUCKETS = 10_000
"""A bucket that is too short for it is made longer."""
MOST_BUCKET_S = 10_000 * 366 * DAY_S
USUAL_BUCKETS = 200
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)


class Span(NamedTuple):
    """From `since` to `until`, which is not included; in the stored form."""

    since: str
    until: str

    @property
    def lasts_s(self) -> float:
        """Its length, never below 0."""
        return max(0.0, timestamps.seconds(self.until) - timestamps.seconds(self.since))

    @property
    def printed(self) -> dict[str, str]:
        """Its members in an answer."""
        return {"since": timestamps.printed(self.since), "until": timestamps.printed(self.until)}

    def bucket_s(
        self, asked_s: int | None, unit_s: int = 1, usual: int = USUAL_BUCKETS, most: int = MOST_BUCKETS
    ) -> int:
        """How long its buckets are, in whole units: as asked, or as a person would choose, but never too many."""
        wanted_s = nice(self.lasts_s / usual) if asked_s is None else asked_s
        units = max(math.ceil(wanted_s / unit_s), math.ceil(self.lasts_s / most / unit_s))
        return unit_s * min(MOST_BUCKET_S // unit_s, units)


def span_of(since: str | None, until: str | None, now_s: float, usual_s: int) -> Span:
    """What is asked for: until now and for the usual time, unless it is said otherwise."""
    end = until or timestamps.at(now_s)
    return Span(since or timestamps.earlier(end, usual_s), end)


def nice(seconds: float) -> int:
    """The next length of a bucket that a person would choose."""
    for nice in _NICE_S:
        if seconds <= nice:
            return nice
    return int(-(-seconds // DAY_S) * DAY_S)
