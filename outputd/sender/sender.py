"""Sends the bodies of one file: several POSTs at a time, each again until it is answered for good."""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from outputd import __version__
from outputd.client.exchange import Poster, content_of, posted
from outputd.client.retry import LONGEST_RETRY_AFTER_S, backoff, retry_after
from outputd.client.upload import Upload
from outputd.client.urls import as_treq_takes_it
from outputd.client.words import cause_of, in_words
from outputd.process.threads import InThread
from outputd.process.trouble import Trouble
from outputd.security.trust import is_untrusted
from outputd.sender.cut import items_of
from outputd.sender.outbox import Delivery, Outcome, Parcel
from outputd.sender.pace import Pace
from outputd.sender.verdict import Stopped, believed, check_counts, is_final, said, why_again

STOP_GRACE_S: Final = 10.0
"""What POSTs under way are given when the command is told to stop."""
_MOST_AHEAD = 20_000  # bodies that are answered while an earlier one is not: the journal keeps their numbers
_BETWEEN_LINES_S = 60.0  # a busy service answers some POSTs with 503 and others well
_LONG_S = 30.0
"""A POST that fails after so long has failed for being slow: outputd gives a body five minutes, a proxy often one."""
_WORTH_A_WORD_S = 10.0
_NOTHING = b"[]"


class _TooSlow(Exception):
    """A POST was cut off, and less of it may do better."""


@dataclass(slots=True)
class _Attempt:
    """A POST under way."""

    upload: Upload
    began_s: float
    moved_s: float = 0.0
    """When something of it was taken last."""
    is_cut_off: bool = False
    """For want of progress."""


class Untrusted(Exception):
    """The certificate of a service that has never answered is not trusted: nothing was sent. The text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where bodies go, and with which headers: those of a token have their place in `headers`."""

    url: str
    node: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    compress: bool = False


class Sender:
    """Several POSTs at a time. One that cannot be answered now holds its connection, and the others go on."""

    def __init__(
        self, http: Poster, target: Target, clock: IReactorTime, in_thread: InThread, connections: int,
        give_up_after_s: float, tell: Callable[[str], object], *, now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._http = http
        self._target = target
        self._clock = clock
        self._in_thread = in_thread
        self._pace = Pace(connections)
        self._connections = connections
        self._give_up_after_s = give_up_after_s
        self._tell = tell
        self._now = now
        self._jitter = jitter
        self._url = as_treq_takes_it(target.url)
        self._stop_reason = ""
        self._grace: IDelayedCall | None = None
        self._resting: dict[Deferred[None], IDelayedCall] = {}
        self._taken: set[int] = set()  # bodies without their final answer
        self._doubtful: set[int] = set()  # those of them that may have arrived
        self._posts: dict[Deferred[tuple[IResponse, bytes]], _Attempt] = {}
        self._held: list[Deferred[None]] = []  # bodies for which there is no connection now
        self._admitted = 0
        self._not_before = 0.0
        self._has_answered = False
        self._outage = Trouble(now, clock.seconds, self._say_outage, self._say_its_end)
        self._next_line = 0.0

    async def send(self, delivery: Delivery) -> None:
        """Send all that is left of a file. Raises Stopped when some of it remains, Untrusted, OSError from the disk."""
        self._taken.clear()
        self._doubtful.clear()
        workers = [Deferred.fromCoroutine(self._work(delivery)) for _ in range(self._connections)]
        for worker in workers:
            worker.addErrback(self._fail)
        outcomes = await DeferredList(workers, consumeErrors=True)
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        for _, outcome in outcomes:
            if isinstance(outcome, Failure):
                outcome.raiseException()
        if self._stop_reason:
            raise Stopped(self._stop_reason)

    def stop(self, reason: str) -> None:
        """Send nothing more; POSTs under way have ten seconds."""
        if not self._stop_reason:
            self._stop_reason = reason
            self._grace = self._clock.callLater(STOP_GRACE_S, self.abort)
            for rested, timer in list(self._resting.items()):
                timer.cancel()
                rested.callback(None)
            self._let_go()

    def abort(self) -> None:
        """Give up the POSTs under way."""
        for post in list(self._posts):
            post.cancel()

    @property
    def in_doubt(self) -> bool:
        """Whether POSTs have gone out whose answer never came."""
        return bool(self._doubtful)

    @property
    def slowness(self) -> str:
        """What is slow now, for a line of progress; empty when nothing is."""
        now_s, words = self._clock.seconds(), []
        old = [each for each in self._posts.values() if now_s - each.began_s >= _WORTH_A_WORD_S]
        if old and all(each.upload.is_whole for each in old):
            words = [f"no answer for {now_s - min(each.moved_s for each in old):.0f} s"]
        elif old:
            rate = sum(each.upload.sent_bytes / (now_s - each.began_s) for each in old)
            words = [f"the line is slow ({rate / 1024:,.0f} KiB/s)"]
        return ", ".join([*words, *([self._pace.words] if self._pace.is_reduced else [])])

    def _fail(self, failure: Failure) -> Failure:
        self.stop("failed")
        return failure

    async def _work(self, delivery: Delivery) -> None:
        outcome: Outcome | None = None
        while not self._stop_reason:
            parcel = await self._in_thread(delivery.turn, outcome)
            if parcel is None:
                return
            number = parcel.body.number
            self._taken.add(number)
            while number - min(self._taken) > _MOST_AHEAD and not self._stop_reason:
                await self._rest(1.0)
            outcome = await self._deliver(delivery, parcel)
            if outcome is None:
                return
            self._taken.discard(number)
            self._doubtful.discard(number)
        if outcome is not None:
            await self._in_thread(delivery.settle, outcome)

    async def _deliver(self, delivery: Delivery, parcel: Parcel) -> Outcome | None:
        """The final answer to a body, or to its last piece; None when the sending stops before."""
        ends = self._clock.seconds() + self._give_up_after_s
        while True:
            if await self._may_be_cut(parcel):
                parcel = await self._in_thread(delivery.cut, parcel, self._pace.body_bytes)
            try:
                outcome = await self._answer(parcel, ends)
            except _TooSlow:
                continue
            if outcome is None or outcome.parcel.is_last:
                return outcome
            self._doubtful.discard(parcel.body.number)
            parcel = await self._in_thread(delivery.rest, outcome, self._pace.body_bytes)
            ends = self._clock.seconds() + self._give_up_after_s

    async def _may_be_cut(self, parcel: Parcel) -> bool:
        """Whether a parcel is too large for the line, and the service neither has it nor will get it.

        A key that was used is refused for another body; one that was not stays unused when nothing is stored.
        """
        if not self._can_be_less(parcel):
            return False
        if parcel.is_new or self._stop_reason:
            return True
        try:
            nothing = gzip.compress(_NOTHING) if self._target.compress else _NOTHING
            outcome, _ = await self._post(parcel, _Attempt(Upload(nothing), self._clock.seconds()))
        except Exception:  # it is found out when the parcel itself is sent
            return False
        return outcome.status == HTTPStatus.OK and not outcome.reply.duplicate and not outcome.reply.received

    def _can_be_less(self, parcel: Parcel) -> bool:
        is_too_large = len(parcel.data) > self._pace.body_bytes and parcel.body.number not in self._doubtful
        return is_too_large and parcel.items > 1 and items_of(parcel.data) is not None

    async def _answer(self, parcel: Parcel, ends: float) -> Outcome | None:
        """The final answer to a parcel, None when the sending stops before. Raises _TooSlow and Untrusted."""
        failures, number = 0, parcel.body.number
        while not self._stop_reason:
            if (wait_s := self._not_before - self._clock.seconds()) > 0:
                await self._rest(wait_s + self._jitter())
                continue
            await self._admission()
            if self._stop_reason:
                return None
            self._admitted += 1
            attempt, patience_s = _Attempt(Upload(parcel.content), self._clock.seconds()), self._pace.patience_s
            asked_s, nothing_taken = None, False
            try:
                outcome, asked_s = await self._post(parcel, attempt)
                check_counts(outcome)
                reason = why_again(outcome)
                if not reason:
                    self._pace.answered(len(parcel.data), self._clock.seconds() - attempt.began_s)
                    return self._judge(outcome)
                nothing_taken = outcome.status in (429, 503)
            except Stopped as error:
                self.stop(str(error))
                return None
            except Exception as error:
                if not self._has_answered and is_untrusted(cause_of(error)):
                    raise Untrusted(in_words(error)) from None
                what = "no answer" if attempt.upload.is_whole else "nothing taken"
                reason = f"{what} within {patience_s:.0f} s" if attempt.is_cut_off else in_words(error).rstrip(".")
            finally:
                self._leave()
            if attempt.upload.is_whole and not nothing_taken:
                self._doubtful.add(number)
            if self._stop_reason:
                return None
            is_long = attempt.is_cut_off or self._clock.seconds() - attempt.began_s >= _LONG_S
            if is_long and attempt.upload.sent_bytes and not nothing_taken:
                self._pace.timed_out(len(parcel.data))
                reason += f"; now {self._pace.words}"
            pause_s = backoff(failures, self._jitter()) - 1 if asked_s is None else asked_s + self._jitter()
            failures += 1
            if asked_s is not None:
                self._not_before = max(self._not_before, self._clock.seconds() + asked_s)
            self._begin_outage(reason)
            if self._clock.seconds() + pause_s > ends:
                self.stop(f"given up after {duration(self._give_up_after_s)}: {reason}")
                return None
            if self._can_be_less(parcel):
                raise _TooSlow
            await self._rest(pause_s)
        return None

    async def _admission(self) -> None:
        """Return when one POST more may be under way, or the sending stops."""
        while self._admitted >= self._pace.connections and not self._stop_reason:
            held: Deferred[None] = Deferred()
            self._held.append(held)
            await held

    def _leave(self) -> None:
        self._admitted -= 1
        self._let_go()

    def _let_go(self) -> None:
        """Have those that are held look again whether it is their turn."""
        held, self._held = self._held, []
        for one in held:
            one.callback(None)

    async def _post(self, parcel: Parcel, attempt: _Attempt) -> tuple[Outcome, float | None]:
        """The answer to one POST, and the seconds for which it asks to be left alone."""
        patience_s = self._pace.patience_s
        exchange = Deferred.fromCoroutine(self._exchange(parcel, attempt.upload))
        late = self._clock.callLater(patience_s, _cut_off, attempt, exchange)

        def moved() -> None:
            attempt.moved_s = self._clock.seconds()
            if late.active():
                late.reset(patience_s)

        attempt.moved_s, attempt.upload.moved = attempt.began_s, moved
        self._posts[exchange] = attempt
        try:
            response, content = await exchange
        finally:
            del self._posts[exchange]
            if late.active():
                late.cancel()
        asked_s = retry_after(response, self._now())
        if asked_s is not None:
            asked_s = min(max(asked_s, 1.0), LONGEST_RETRY_AFTER_S)
        return Outcome(parcel, response.code, believed(response.code, content, parcel)), asked_s

    async def _exchange(self, parcel: Parcel, upload: Upload) -> tuple[IResponse, bytes]:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": parcel.key,
            "User-Agent": f"outputd-send/{__version__}",
            **dict(self._target.headers),
        }
        if self._target.node:
            headers["X-Ping-Node"] = self._target.node
        if self._target.compress:
            headers["Content-Encoding"] = "gzip"
        fields = Headers({name: [value] for name, value in headers.items()})
        response = await posted(self._http, self._url, upload, fields)
        self._has_answered = True
        return response, await content_of(response)

    def _judge(self, outcome: Outcome) -> Outcome | None:
        """An answer for good; None stops all, because no body would fare better."""
        self._outage.end()
        if is_final(outcome):
            return outcome
        self._doubtful.discard(outcome.parcel.body.number)
        self.stop(said(outcome))
        return None

    def _begin_outage(self, reason: str) -> None:
        if self._clock.seconds() >= self._next_line:
            self._outage.begin(reason)

    def _say_outage(self, reason: str) -> None:
        self._next_line = self._clock.seconds() + _BETWEEN_LINES_S
        self._tell(f"{reason}; trying again for up to {duration(self._give_up_after_s)}")

    def _say_its_end(self, seconds: float) -> None:
        self._tell(f"answered again, after {duration(seconds)}")

    def _rest(self, seconds: float) -> Deferred[None]:
        if self._stop_reason:
            return succeed(None)
        rested: Deferred[None] = Deferred()

        def rise(_: object = None) -> None:
            del self._resting[rested]
            rested.callback(None)

        self._resting[rested] = self._clock.callLater(seconds, rise)
        return rested


def _cut_off(attempt: _Attempt, exchange: Deferred[Any]) -> None:
    attempt.is_cut_off = True
    exchange.cancel()


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
