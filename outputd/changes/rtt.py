"""The round-trip time to one target, as one node measures it."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import msgspec

from outputd.changes.change import News
from outputd.changes.thresholds import (
    AGREE_SHARE,
    BUCKET,
    BUCKETS_A_DAY,
    BUCKETS_APART,
    BUCKETS_IN_A_ROW,
    DEVIATIONS,
    FEW_BUCKETS,
    LEARN_BUCKETS,
    LEAST_SHARE,
    LEAST_US,
    LEAST_VALUES,
    MOST_BUCKETS,
    MOST_VALUES,
    NORMAL,
    PART_INSIDE,
    RECKON_BUCKETS,
)

_ENTRY = struct.Struct("=II")
_VALUE = struct.Struct("=I")
_MOST_BYTES = MOST_VALUES * _VALUE.size


class Rtt(msgspec.Struct, array_like=True, gc=False):
    """The bucket that fills, the medians of the day before, and those in a row that have left them.

    Times are microseconds. Without a usual one, none can be left.
    """

    since: str = ""
    values: bytes = b""
    """Of the bucket, 32 bits each."""
    history: bytes = b""
    """Of buckets their numbers and their medians, 32 bits each."""
    usual: int = 0
    width: int = 0
    reckon_in: int = 0
    astray: list[tuple[str, int]] = []
    """Buckets that have left the usual one on the same side: when each began, and its median."""

    def see(self, at: str, rtt_us: int) -> News | None:
        """Take in the round-trip time of a result, under an hour."""
        news = None
        if not at.startswith(self.since[:BUCKET]) or not self.since:
            if len(self.values) >= LEAST_VALUES * _VALUE.size:
                news = self._close()
                self.values = b""
            if not self.values:
                self.since = at
        if len(self.values) < _MOST_BYTES:
            self.values += _VALUE.pack(rtt_us)
        return news

    def _close(self) -> News | None:
        """A bucket is full."""
        values = sorted(array("I", self.values))
        median, most = values[len(values) // 2], len(values) // PART_INSIDE
        if self.reckon_in <= 0:
            self._reckon()
        self.reckon_in -= 1
        is_above, is_below = values[most] > self.usual + self.width, values[-1 - most] < self.usual - self.width
        if not self.usual or not (is_above or is_below):
            self._take([*self.astray, (self.since, median)])
            self.astray = []
            return None
        if self.astray and (self.astray[0][1] > self.usual) is not is_above:
            self._take(self.astray)
            self.astray = []
        self.astray = [*self.astray, (self.since, median)]
        return None if len(self.astray) < BUCKETS_IN_A_ROW else self._judge()

    def _judge(self) -> News | None:
        """Whether the medians that went astray are a new level, or noise."""
        medians = [median for _, median in self.astray]
        level, before = _median(medians), self.usual
        if max(abs(median - level) for median in medians) >= AGREE_SHARE * abs(level - before):
            self._take(self.astray[:1])
            self.astray = self.astray[1:]
            return None
        since = self.astray[0][0]
        self.history = b""
        self._take(self.astray)
        self.astray = []
        self.usual, self.width = level, max(self.width, _least(level))
        self.reckon_in = LEARN_BUCKETS - BUCKETS_IN_A_ROW
        return News("rtt_shifted", since, before * 1000, level * 1000)

    def _take(self, buckets: Sequence[tuple[str, int]]) -> None:
        """They belong to what is usual, of which a part stands for all once there is enough."""
        for since, median in buckets:
            number = _number(since)
            newest = _ENTRY.unpack_from(self.history, len(self.history) - _ENTRY.size)[0] if self.history else number
            if len(self.history) < FEW_BUCKETS * _ENTRY.size or not 0 <= number - newest < BUCKETS_APART:
                self.history = (self.history + _ENTRY.pack(number, median))[-MOST_BUCKETS * _ENTRY.size :]

    def _reckon(self) -> None:
        """Work out what was usual in the day before."""
        now = _number(self.since)
        entries = [entry for entry in _ENTRY.iter_unpack(self.history) if abs(now - entry[0]) <= BUCKETS_A_DAY]
        if len(entries) * _ENTRY.size < len(self.history):
            self.history = b"".join(_ENTRY.pack(*entry) for entry in entries)
        medians = [median for _, median in entries]
        self.reckon_in = RECKON_BUCKETS
        if len(medians) < LEARN_BUCKETS:
            self.reckon_in = min(RECKON_BUCKETS, LEARN_BUCKETS - len(medians))
            if not medians:
                self.usual = 0  # nothing was measured for a day
            return
        self.usual = usual = _median(medians)
        deviation = _median([abs(median - usual) for median in medians])
        self.width = max(int(DEVIATIONS * NORMAL * deviation), _least(usual))


def _median(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2]


def _least(level: int) -> int:
    return max(LEAST_US, int(LEAST_SHARE * level))


def _number(at: str) -> int:
    """The number of the bucket of a stored time since the year 1."""
    return _day(at[:10]) * BUCKETS_A_DAY + int(at[11:13]) * 6 + int(at[14])


@lru_cache(maxsize=64)
def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal()
