"""Takes the hops that wait in the ledger to input_service (rules 19 and 20).

One coroutine does it all, one post at a time: ask the ledger what waits, post it, tell the ledger what became of it.
The status line of the answer decides, whatever becomes of its body: who has said 2xx has taken the hops, and a second
delivery would be one too many (rule 18).

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
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from outputd.client.bounds import EXCHANGE_S
from outputd.client.exchange import Poster, drained, posted
from outputd.client.retry import LONGEST_RETRY_AFTER_S, backoff, retry_after
from outputd.client.urls import as_treq_takes_it
from outputd.client.words import in_words
from outputd.process.log import Logger
from outputd.process.trouble import Trouble

_log = Logger()
MOST_HOPS: Final = 1000
GATHER_S: Final = 0.25
"""Between two posts that are not full, so that a hop that has company does not travel alone."""
STOP_GRACE_S: Final = 1.5
_STOP_BOUND_S: Final = 2.0
_IDLE_S: Final = 60.0
_BETWEEN_REFUSAL_LINES_S: Final = 60.0
_REFUSALS: Final = frozenset({400, 413, 422})


class Owed(Protocol):
    """What the feed needs of the ledger."""

    async def waiting(self, most: int) -> list[str]:
        """At most that many addresses that input_service lacks, the oldest first, in canonical text."""

    async def delivered(self, addresses: Sequence[str]) -> None:
        """Those of the last `waiting` have arrived; durable when it returns."""

    async def refused(self, address: str, status: int) -> None:
        """One of the last `waiting` is never to be posted again; durable when it returns."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """How it stands with input_service; times are in seconds since 1970."""

    status: Literal["ok", "outage"]
    reason: str
    """One line for a person, empty while all is well."""
    since: float
    next_attempt: float | None
    """When the next post is due in an outage."""


class HopFeed(Service):
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
        self._ledger = ledger
        self._http = post
        self._url = url
        self._clock = clock
        self._count_sent = count_sent
        self._token = token
        self._now = now
        self._jitter = jitter
        self.posts_succeeded = self.posts_refused = self.posts_failed = 0
        self.hops_refused = 0
        self._trouble = Trouble(now, clock.seconds, _say_outage, _say_its_end)
        self._well_since = now()
        self._next_attempt = 0.0
        self._failures = 0  # posts that failed since the last one that did not
        self._size = MOST_HOPS
        self._successes = 0  # since the last refusal
        self._taken: Sequence[str] = ()  # by input_service, which the ledger has yet to write down
        self._news = False
        self._idle = False
        self._resting: tuple[Deferred[None], IDelayedCall] | None = None
        self._loop: Deferred[None] | None = None
        self._refusals_unlogged = 0
        self._next_refusal_line = 0.0

    @property
    def state(self) -> FeedState:
        """How it stands with input_service now."""
        outage = self._trouble.failure
        if outage is None:
            return FeedState("ok", "", self._well_since, None)
        return FeedState("outage", outage.reason, outage.since_s, self._next_attempt)

    def wake(self) -> None:
        """Addresses have been added to the ledger: they are posted within a second, unless older ones are owed."""
        self._news = True
        if self._idle:
            self._rise()

    def startService(self) -> None:
        """Begin with what waits since the last run."""
        Service.startService(self)
        self._loop = Deferred.fromCoroutine(self._feed())

    def stopService(self) -> Deferred[None]:
        """Fire when the post under way is finished, or cancelled: within two seconds."""
        Service.stopService(self)
        loop, self._loop = self._loop, None
        stopped: Deferred[None] = Deferred()
        if loop is None:
            return succeed(None)
        self._rise()

        def stop(_: object = None) -> None:
            for timer in timers:
                if timer.active():
                    timer.cancel()
            if not stopped.called:
                stopped.callback(None)

        timers = [self._clock.callLater(STOP_GRACE_S, loop.cancel), self._clock.callLater(_STOP_BOUND_S, stop)]
        loop.addBoth(stop)
        return stopped

    # -- the loop ------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        """Turn after turn; whatever goes wrong in one, the next one comes."""
        stumbles = 0
        while self.running:
            try:
                await self._turn()
                stumbles = 0
            except Exception as error:
                if self.running:
                    pause = backoff(stumbles, self._jitter())
                    stumbles += 1
                    if isinstance(
                        error, sqlite3.Error | OSError
                    ):  # the ledger cannot be used: its own checks tell more
                        _log.error("the hop feed failed, next try in {pause:.1f} s: {e!s}", pause=pause, e=error)
                    else:
                        _log.failure("the hop feed failed, next try in {pause:.1f} s", pause=pause)
                    await self._rest(pause)

    async def _turn(self) -> None:
        await self._settle()
        self._news = False
        asked = self._size
        hops = await self._ledger.waiting(asked)
        if not hops:
            await self._sleep()
            return
        response = await self._answer(hops)
        if response is None:
            return
        if 200 <= response.code < 300:
            await self._was_taken(hops)
            if len(hops) < asked:
                await self._rest(GATHER_S)
        elif response.code in _REFUSALS:
            await self._was_refused(hops, response.code)
        else:
            await self._wait_out(f"it answers {response.code}", retry_after(response, self._now()))

    async def _answer(self, hops: Sequence[str]) -> IResponse | None:
        """The answer to a post of these hops; None after an outage has been waited out."""
        exchange = Deferred.fromCoroutine(self._exchange(json.dumps({"hops": hops}).encode("ascii")))
        timer = self._clock.callLater(EXCHANGE_S, exchange.cancel)
        try:
            return await exchange
        except Exception as error:
            reason = in_words(error) if timer.active() else f"no answer within {EXCHANGE_S:.0f} s"
        finally:
            if timer.active():
                timer.cancel()
        if self.running:  # else it was cancelled by the stop
            await self._wait_out(reason)
        return None

    async def _exchange(self, body: bytes) -> IResponse:
        headers = Headers({b"Content-Type": [b"application/json"]})
        if token := self._token():
            headers.setRawHeaders(b"Authorization", [f"Bearer {token}".encode()])
        response = await posted(self._http, as_treq_takes_it(self._url), body, headers)
        await drained(response)
        return response

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
        self._refusals_unlogged += 1
        if self._clock.seconds() >= self._next_refusal_line:
            _log.warn(
                "input_service refuses {address} with {status}; set aside: {count} since the last such line",
                address=address, status=status, count=self._refusals_unlogged,
            )  # fmt: skip
            self._refusals_unlogged = 0
            self._next_refusal_line = self._clock.seconds() + _BETWEEN_REFUSAL_LINES_S

    # -- outages -------------------------------------------------------------------------------------

    async def _wait_out(self, reason: str, asked_s: float | None = None) -> None:
        """Note a failed post and rest: as long as input_service asked for, else longer each time."""
        self.posts_failed += 1
        pause = backoff(self._failures, self._jitter())
        if asked_s is not None:
            pause = min(max(asked_s, 1.0), LONGEST_RETRY_AFTER_S) + self._jitter()
        self._failures += 1
        self._trouble.begin(reason)
        self._next_attempt = self._now() + pause
        await self._rest(pause)

    def _recovered(self) -> None:
        """End an outage: hops were taken, or one was judged."""
        self._failures = 0
        if self._trouble.failure is not None:
            self._trouble.end()
            self._well_since = self._now()

    # -- rest ----------------------------------------------------------------------------------------

    async def _sleep(self) -> None:
        """Until woken, and a moment longer, for company; the ledger is asked once a minute all the same."""
        if not self._news:
            self._idle = True
            try:
                await self._rest(_IDLE_S)
            finally:
                self._idle = False
        await self._rest(GATHER_S)

    def _rest(self, seconds: float) -> Deferred[None]:
        """Fire after that time, or at once when the service stops."""
        if not self.running:
            return succeed(None)
        rested: Deferred[None] = Deferred()
        self._resting = (rested, self._clock.callLater(seconds, self._rise))
        return rested

    def _rise(self) -> None:
        """End the rest that is on."""
        if self._resting is not None:
            (rested, timer), self._resting = self._resting, None
            if timer.active():
                timer.cancel()
            rested.callback(None)


def _say_outage(reason: str) -> None:
    _log.warn("hops cannot be delivered to input_service: {reason}; they wait", reason=reason)


def _say_its_end(seconds: float) -> None:
    _log.info("hops are delivered to input_service again, after {seconds:.0f} s", seconds=seconds)
