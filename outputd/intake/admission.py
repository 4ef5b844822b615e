"""Admission: the memory that POSTs hold until they are answered, bounded; and when to come again."""

from __future__ import annotations

import math
from collections.abc import Callable

from outputd.intake.counters import Stats
from outputd.web.answers import Answer, problem

_LONGEST_WAIT_S = 60
_HALF_LIFE_S = 5.0
_MEAN_LIFE_S = _HALF_LIFE_S / math.log(2)
_MEASURE_S = 0.01
_SMALL_BYTES = 64 * 1024
_ROWS_BYTES_A_BODY_BYTE = 5
_OTHERS = 8  # the part of the limit that is left to all others while one is over it


class Admission:
    """Counts bytes held against a limit, measures how fast they are let go, and turns away what finds no room."""

    def __init__(self, limit_bytes: int, seconds: Callable[[], float], stats: Stats | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._stats = stats or Stats()
        self._seconds = seconds
        self._measured_at = seconds()
        self._busy_s = 0.0
        self._drained_bytes = 0.0
        self._just_drained = 0
        self._giant: Reservation | None = None

    def reserve(self) -> Reservation:
        """What one request holds, nothing yet."""
        return Reservation(self)

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much more may be held, beside one that is over the limit if there is one."""
        if self._giant is not None:
            return self.held_bytes - self._giant.size_bytes + size_bytes <= self.limit_bytes // _OTHERS
        return self.held_bytes + size_bytes <= self.limit_bytes

    def may_go_over(self, reservation: Reservation, more_bytes: int) -> bool:
        """Whether one may hold so much more though there is no room: one at a time, while the others hold little.

        Else the sender of a body that becomes more than the limit would try for ever on a service that is never idle.
        """
        if self._giant not in (None, reservation):
            return False
        if self.held_bytes - reservation.size_bytes > self.limit_bytes // _OTHERS:
            return False
        if self.held_bytes + more_bytes > self.limit_bytes:
            self._giant = reservation
        return True

    def has_room_for_body(self, size_bytes: int) -> bool:
        """Whether a body of this size may come in.

        Large ones leave half of the limit to the rows that bodies become, or what their own usually take: to take one
        in, and only then find no room for its rows, would waste half of the work under overload. Small ones may have
        all.
        """
        if size_bytes < _SMALL_BYTES:
            return self.has_room(size_bytes)
        return self.has_room(size_bytes + max(self.limit_bytes // 2, _ROWS_BYTES_A_BODY_BYTE * size_bytes))

    def change(self, more_bytes: int) -> None:
        """Count what reservations hold more, or less. It is measured when that begins or ends, and now and then."""
        held_bytes = self.held_bytes + more_bytes
        if not held_bytes or not self.held_bytes or self._seconds() - self._measured_at > _MEASURE_S:
            self._measure()
        self.held_bytes = held_bytes
        if self.held_bytes <= self.limit_bytes:
            self._giant = None

    def drained(self, size_bytes: int) -> None:
        """So many of the bytes held were stored and answered."""
        self._just_drained += size_bytes

    def turn_away(self, detail: str = "too much is waiting for the disk") -> Answer:
        """The answer to a request of which nothing is stored now, counted: 503, and when to come again."""
        self._stats.refused_posts += 1
        return problem(503, detail, retry_after_s=self.retry_after_s())

    def retry_after_s(self) -> int:
        """Whole seconds after which what is held now should be on disk, at the measured rate; 1 to 60."""
        self._measure()
        drained = self._drained_bytes + self._just_drained
        # Before the first POST is stored nothing is known but the time that it has taken so far.
        wait_s = self.held_bytes * self._busy_s / drained if drained else self._busy_s
        return max(1, math.ceil(min(float(_LONGEST_WAIT_S), wait_s)))

    def _measure(self) -> None:
        """Let old measurements fade with the time in which bytes were held; idle time counts for nothing."""
        now = self._seconds()
        elapsed, self._measured_at = now - self._measured_at, now
        if self.held_bytes and elapsed > 0:
            keep = 0.5 ** (elapsed / _HALF_LIFE_S)
            busy_s = (1 - keep) * _MEAN_LIFE_S
            self._busy_s = self._busy_s * keep + busy_s
            self._drained_bytes = self._drained_bytes * keep + self._just_drained * busy_s / elapsed
            self._just_drained = 0


class Reservation:
    """The memory that one request holds: it grows with what its body becomes, and is let go once, at the end."""

    __slots__ = ("_admission", "size_bytes")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size_bytes = 0

    def admit(self, size_bytes: int) -> bool:
        """Hold the memory of a body before it comes in; False, and nothing held, without room."""
        return self._take(size_bytes, self._admission.has_room_for_body(size_bytes))

    def grow(self, more_bytes: int) -> bool:
        """Hold so much more; False, and no more held, without room."""
        return self._take(more_bytes, self._admission.has_room(more_bytes))

    def shrink(self, size_bytes: int) -> None:
        """Hold this and no more."""
        self._hold(min(0, size_bytes - self.size_bytes))

    def become(self, size_bytes: int) -> bool:
        """Hold this in all; False, and no more held than before, without room for more."""
        if size_bytes > self.size_bytes:
            return self.grow(size_bytes - self.size_bytes)
        self.shrink(size_bytes)
        return True

    def let_go(self) -> None:
        """Hold nothing any more."""
        self.shrink(0)

    def _take(self, more_bytes: int, has_room: bool) -> bool:
        if not has_room and not self._admission.may_go_over(self, more_bytes):
            return False
        self._hold(more_bytes)
        return True

    def _hold(self, more_bytes: int) -> None:
        if more_bytes:
            self._admission.change(more_bytes)
            self.size_bytes += more_bytes
