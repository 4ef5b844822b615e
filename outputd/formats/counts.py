"""Foreign counts as ours, and what a list of replies comes to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

MOST_ITEM_BYTES = 512 * 1024
"""The longest text that is decoded as one object: what it becomes takes many times as much."""
MOST_TTL = 255
"""The last TTL there is."""

_MOST = 2**63 - 1


def count(number: Decimal) -> int:
    """The whole number that a number or a text spells; ValueError unless it is in 0..2^63-1."""
    if not number.is_finite() or number.adjusted() >= len(str(_MOST)) or number != (whole := int(number)):
        raise ValueError("not a whole number")
    if not 0 <= whole <= _MOST:
        raise ValueError("not a count")
    return whole


class Replies:
    """Round-trip times in nanoseconds, of which there may be millions, taken together one by one."""

    def __init__(self, rtts_ns: Iterable[int] = ()) -> None:
        self.count = self._sum_ns = self.worst_ns = self.best_ns = 0
        for rtt_ns in rtts_ns:
            self.add(rtt_ns)

    def add(self, rtt_ns: int) -> None:
        """One more."""
        self.best_ns = min(self.best_ns, rtt_ns) if self.count else rtt_ns
        self.worst_ns = max(self.worst_ns, rtt_ns)
        self._sum_ns += rtt_ns
        self.count += 1

    @property
    def average_ns(self) -> int:
        """Their mean, to the nearest nanosecond; there must be one."""
        return round(Fraction(self._sum_ns, self.count))
