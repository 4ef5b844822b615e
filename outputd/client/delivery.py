"""Delivers what waits here to one peer, a post at a time (rule 19): time-out, outages, rest, and the stop.

One coroutine does it all, turn after turn. The status line of an answer decides, whatever becomes of its body: who has
said 2xx has taken what was posted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

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
from outputd.process.trouble import Trouble

_STOP_GRACE_S: Final = 1.5
_STOP_BOUND_S: Final = 2.0
_BETWEEN_REFUSAL_LINES_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class PeerState:
    """How it stands with a peer; times are in seconds since 1970."""

    status: Literal["ok", "outage"]
    reason: str
    """One line for a person, empty while all is well."""
    since: float
    next_attempt: float | None
    """When the next post is due in an outage."""


class Delivery(Service):
    """Takes turn after turn while it runs; whatever goes wrong in one, the next one comes."""

    def __init__(
        self,
        post: Poster,
        url: str,
        clock: IReactorTime,
        began: Callable[[str], object],
        ended: Callable[[float], object],
        *,
        token: Callable[[], str] = str,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`began` and `ended` say that an outage has begun, and how many seconds it lasted."""
        self._http = post
        self._url = url
        self._clock = clock
        self._token = token
        self._now = now
        self._jitter = jitter
        self.posts_failed = 0
        self._trouble = Trouble(now, clock.seconds, began, ended)
        self._well_since = now()
        self._next_attempt = 0.0
        self._failures = 0  # posts that failed since the last one that did not
        self._news = False
        self._idle = False
        self._resting: tuple[Deferred[None], IDelayedCall | None] | None = None
        self._loop: Deferred[None] | None = None
        self._refusals_unlogged = 0
        self._next_refusal_line = 0.0

    async def _turn(self) -> None:
        """Post what waits, and note what became of it; or rest. Clears `_news` before it asks what waits."""
        raise NotImplementedError

    def _stumbled(self, error: Exception, pause_s: float) -> None:
        """Say that a turn has failed for another reason than the peer, and when the next one comes."""
        raise NotImplementedError

    @property
    def state(self) -> PeerState:
        """How it stands with the peer now."""
        outage = self._trouble.failure
        if outage is None:
            return PeerState("ok", "", self._well_since, None)
        return PeerState("outage", outage.reason, outage.since_s, self._next_attempt)

    def wake(self) -> None:
        """Something waits that did not before: it is posted soon, unless older things wait."""
        self._news = True
        if self._idle:
            self._rise()

    def startService(self) -> None:
        """Begin with what waits since the last run."""
        Service.startService(self)
        self._loop = Deferred.fromCoroutine(self._deliver())

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

        timers = [self._clock.callLater(_STOP_GRACE_S, loop.cancel), self._clock.callLater(_STOP_BOUND_S, stop)]
        loop.addBoth(stop)
        return stopped

    # -- a turn --------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        stumbles = 0
        while self.running:
            try:
                await self._turn()
                stumbles = 0
            except Exception as error:
                if self.running:
                    pause = backoff(stumbles, self._jitter())
                    stumbles += 1
                    self._stumbled(error, pause)
                    await self._rest(pause)

    async def _answer(self, body: bytes) -> IResponse | None:
        """The answer to a post of this JSON; None after an outage has been waited out."""
        exchange = Deferred.fromCoroutine(self._exchange(body))
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

    def _refusals_to_tell(self) -> int:
        """Count a refusal: how many there were since the last line about them, or 0 if that is not a minute ago."""
        self._refusals_unlogged += 1
        if self._clock.seconds() < self._next_refusal_line:
            return 0
        count, self._refusals_unlogged = self._refusals_unlogged, 0
        self._next_refusal_line = self._clock.seconds() + _BETWEEN_REFUSAL_LINES_S
        return count

    # -- outages -------------------------------------------------------------------------------------

    async def _put_off(self, response: IResponse) -> None:
        """Wait out an answer that neither takes nor refuses what was posted."""
        await self._wait_out(f"it answers {response.code}", retry_after(response, self._now()))

    async def _wait_out(self, reason: str, asked_s: float | None = None) -> None:
        """Note a failed post and rest: as long as the peer asked for, else longer each time."""
        self.posts_failed += 1
        pause = backoff(self._failures, self._jitter())
        if asked_s is not None:
            pause = min(max(asked_s, 1.0), LONGEST_RETRY_AFTER_S) + self._jitter()
        self._failures += 1
        self._trouble.begin(reason)
        self._next_attempt = self._now() + pause
        await self._rest(pause)

    def _recovered(self) -> None:
        """End an outage: what was posted was taken, or judged."""
        self._failures = 0
        if self._trouble.failure is not None:
            self._trouble.end()
            self._well_since = self._now()

    # -- rest ----------------------------------------------------------------------------------------

    async def _until_woken(self, longest_s: float | None = None) -> None:
        """Rest until there is news, or for so long."""
        if self._news:
            return
        self._idle = True
        try:
            await self._rest(longest_s)
        finally:
            self._idle = False

    def _rest(self, seconds: float | None) -> Deferred[None]:
        """Fire after that time, or at once when the service stops."""
        if not self.running:
            return succeed(None)
        rested: Deferred[None] = Deferred()
        timer = None if seconds is None else self._clock.callLater(seconds, self._rise)
        self._resting = (rested, timer)
        return rested

    def _rise(self) -> None:
        """End the rest that is on."""
        if self._resting is not None:
            (rested, timer), self._resting = self._resting, None
            if timer is not None and timer.active():
                timer.cancel()
            rested.callback(None)
