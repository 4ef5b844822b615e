"""Takes the hops that wait in the ledger to input_service (rules 19 and 20).

Turn by turn: ask the ledger what waits, post it, tell the ledger what became of it. Who has said 2xx has taken the
hops, and a second delivery would be one too many (rule 18).

There is no stack of halves. A refused batch halves the size of the next one, and as the ledger hands out the oldest
first, the offender is in it again until it stands alone. Two successes in a row double the size, so that an
input_service that takes only small bodies is not asked to refuse a large one for each small one.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from outputd.client.delivery import Delivery
from outputd.client.exchange import Poster
from outputd.process.log import Logger

_log = Logger()
MOST_HOPS: Final = 1000
GATHER_S: Final = 0.25
"""Between two posts that are not full, so that a hop that has company does not travel alone."""
_IDLE_S: Final = 60.0
_REFUSALS: Final = frozenset({400, 413, 422})


class Owed(Protocol):
    """What the feed needs of the ledger."""

    async def waiting(self, most: int) -> list[str]:
        """At most that many addresses that input_service lacks, the oldest first, in canonical text."""

    async def delivered(self, addresses: Sequence[str]) -> None:
        """Those of the last `waiting` have arrived; durable when it returns."""

    async def refused(self, address: str, status: int) -> None:
        """One of the last `waiting` is never to be posted again; durable when it returns."""


class HopFeed(Delivery):
    """Delivers every address that waits in the ledger, while it runs."""

    name = "feed"

    def __init__(
        self,
        ledger: Owed,
        post: Poster,
        url: str,
        clock: IReactorTime,
        count_sent: Callable[[int], object],
        *,
        token: Callable[[], str] = str,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(post, url, clock, _say_outage, _say_its_end, token=token, now=now, jitter=jitter)
        self._ledger = ledger
        self._count_sent = count_sent
        self.posts_succeeded = self.posts_refused = 0
        self.hops_refused = 0
        self._size = MOST_HOPS
        self._successes = 0  # since the last refusal
        self._taken: Sequence[str] = ()  # by input_service, which the ledger has yet to write down

    async def _turn(self) -> None:
        await self._settle()
        self._news = False
        asked = self._size
        hops = await self._ledger.waiting(asked)
        if not hops:
            await self._until_woken(_IDLE_S)  # the ledger is asked once a minute all the same
            await self._rest(GATHER_S)
            return
        response = await self._answer(json.dumps({"hops": hops}).encode("ascii"))
        if response is None:
            return
        if 200 <= response.code < 300:
            await self._was_taken(hops)
            if len(hops) < asked:
                await self._rest(GATHER_S)
        elif response.code in _REFUSALS:
            await self._was_refused(hops, response.code)
        else:
            await self._put_off(response)

    def _stumbled(self, error: Exception, pause_s: float) -> None:
        if isinstance(error, sqlite3.Error | OSError):  # the ledger cannot be used: its own checks tell more
            _log.error("the hop feed failed, next try in {pause:.1f} s: {e!s}", pause=pause_s, e=error)
        else:
            _log.failure("the hop feed failed, next try in {pause:.1f} s", pause=pause_s)

    async def _was_taken(self, hops: Sequence[str]) -> None:
        self.posts_succeeded += 1
        self._taken = hops
        self._recovered()
        self._successes += 1
        if self._successes > 1:
            self._size = min(2 * self._size, MOST_HOPS)
        await self._settle()

    async def _settle(self) -> None:
        """Have the ledger write down what was taken, before anything else is posted: else it would go out twice."""
        if self._taken:
            await self._ledger.delivered(self._taken)
            count, self._taken = len(self._taken), ()
            self._count_sent(count)

    async def _was_refused(self, hops: Sequence[str], status: int) -> None:
        self.posts_refused += 1
        self._successes = 0
        if len(hops) > 1:
            self._size = len(hops) // 2
            return
        await self._ledger.refused(hops[0], status)
        self.hops_refused += 1
        self._recovered()
        self._log_refusal(hops[0], status)

    def _log_refusal(self, address: str, status: int) -> None:
        """A line for the first one, then at most one a minute: all ten million may be refused."""
        if count := self._refusals_to_tell():
            _log.warn(
                "input_service refuses {address} with {status}; set aside: {count} since the last such line",
                address=address, status=status, count=count,
            )  # fmt: skip


def _say_outage(reason: str) -> None:
    _log.warn("hops cannot be delivered to input_service: {reason}; they wait", reason=reason)


def _say_its_end(seconds: float) -> None:
    _log.info("hops are delivered to input_service again, after {seconds:.0f} s", seconds=seconds)
