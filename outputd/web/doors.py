"""Who makes room when all places of a site are taken, and how many were turned away for what."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from outputd.process.log import Logger
from outputd.process.trouble import Failure, Trouble
from outputd.web.porch import Porch, Stranger

_log = Logger()
FULL, NO_REQUEST, SLOW, CROWDING, LATE = "full", "no_request", "slow", "crowding", "late"
REASONS = {
    FULL: "it was closed at once: nobody made room",
    NO_REQUEST: "it made room before it had sent the head of a request",
    SLOW: "it made room since it took its time",
    CROWDING: "it made room since its network had more places than others",
    LATE: "the head of its request took too long",
}
"""Why a connection was turned away, by a short name: all that there are."""
_PATIENCE_S = 1.0
_QUIET_S = 60.0
_LOOK_EVERY_S = 0.1
_LOOK_EVERY_S_A_PLACE = 1e-4
_PORCH = 8  # strangers may have one in so many places before they go before who is slow


class Guest(Stranger, Protocol):
    """What is known of a connection that has a place."""

    was_answered: bool
    """It has had what it asked for, where nobody is asked who he is."""

    @property
    def is_known(self) -> bool:
        """Whether it has shown a token."""

    def kept_waiting_s(self, now_s: float) -> float:
        """Seconds that it has kept us waiting, beyond what its bytes may take; none while we work for it."""


G = TypeVar("G", bound=Guest)


class Doors(Generic[G]):
    """The doors of one port, by a name for people: they choose who makes room for a newcomer.

    First goes who has shown no token and sent no request, however young, by the rules of the porch; then who is slow,
    and among those who are about as slow, who has most company of its network. Who has shown a token stays; where
    nobody needs one, so does who has been answered, while its network does not have more than half of all places. Who
    is slow is looked up a few times a second, however many come.
    """

    def __init__(self, name: str, seconds: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self.name = name
        self.porch: Porch[G] = Porch()
        self.turned_away: Counter[str] = Counter()
        self._seconds = seconds
        self._trouble = Trouble(
            now, seconds,
            lambda reason: _log.warn("{reason}", reason=reason),
            lambda lasted_s: _log.info(
                "{name} accepts every connection again, after {lasted_s:.0f} s", name=name, lasted_s=lasted_s
            ),
        )  # fmt: skip
        self._newest_s = 0.0
        self._looked_s = -math.inf
        self._slow: list[G] = []
        self._idle: list[G] = []

    @property
    def failure(self) -> Failure | None:
        """Whether somebody had to go, or could not come in, in the last minute."""
        if self._seconds() - self._newest_s > _QUIET_S:
            self._trouble.end()
        return self._trouble.failure

    def count(self, reason: str) -> None:
        """A connection was turned away for this reason."""
        self.turned_away[reason] += 1

    def make_room(self, guests: Collection[G], most: int, network: str) -> G | None:
        """Who has to go for a newcomer of this network; None when the newcomer has to. It is counted."""
        guest, reason = self._choose(guests, most, network)
        self.count(reason)
        self._newest_s = self._seconds()
        self._trouble.begin(f"{self.name} refuses connections: all {most} places are taken")
        return guest

    def _choose(self, guests: Collection[G], most: int, network: str) -> tuple[G | None, str]:
        stranger = self.porch.first()
        if stranger is not None and (len(self.porch) > most // _PORCH or self._keeps_waiting(stranger)):
            return stranger, NO_REQUEST
        now_s = self._seconds()
        if now_s - self._looked_s >= _LOOK_EVERY_S + _LOOK_EVERY_S_A_PLACE * most:
            self._look(guests, most, now_s)
        while self._slow:
            guest = self._slow.pop()
            if guest in guests and not self._may_stay(guest) and self._is_slow(guest):
                return guest, SLOW
        if stranger is not None:
            return stranger, NO_REQUEST
        while self._idle and self._idle[-1].network != network:
            guest = self._idle.pop()
            if guest in guests and not guest.is_known and self._is_slow(guest):
                return guest, CROWDING
        return None, FULL

    def _look(self, guests: Collection[G], most: int, now_s: float) -> None:
        """Put into order who may have to go, the first of them last."""
        self._looked_s = now_s
        shares = Counter(guest.network for guest in guests)
        slow: list[tuple[int, int, float, int, G]] = []
        idle: list[tuple[float, int, G]] = []
        for number, guest in enumerate(guests):
            if guest.is_known:
                continue
            waited_s, share = guest.kept_waiting_s(now_s), shares[guest.network]
            if guest.was_answered:
                if share > most // 2:
                    idle.append((waited_s, number, guest))
            elif waited_s >= _PATIENCE_S:
                slow.append((int(waited_s).bit_length(), share, waited_s, number, guest))
        self._slow = [each[-1] for each in sorted(slow)]
        self._idle = [each[-1] for each in sorted(idle)]

    def _keeps_waiting(self, guest: Guest) -> bool:
        return guest.kept_waiting_s(self._seconds()) >= _PATIENCE_S

    def _is_slow(self, guest: Guest) -> bool:
        return self._keeps_waiting(guest) and not guest.waits_for_us

    @staticmethod
    def _may_stay(guest: Guest) -> bool:
        return guest.is_known or guest.was_answered
