"""Sends the bodies of one file: several POSTs at a time, each again until it is answered for good."""

from __future__ import annotations

import gzip
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import treq
from hyperlink import URL
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from outputd import __version__
from outputd.bodies import CUT_BYTES, CUT_RESULTS, Body, Broken, Source, bodies
from outputd.feed import LONGEST_RETRY_AFTER_S, as_treq_takes_it, backoff, in_words, retry_after
from outputd.journal import Head, Journal, Refused, Settled
from outputd.pools import InThread

ANSWER_S: Final = 120.0
"""From the beginning of a POST to the end of its answer; then it is sent again, with its key."""
STOP_GRACE_S: Final = 10.0
"""What POSTs under way are given when the command is told to stop."""
_MOST_AHEAD = 20_000  # bodies that are answered while an earlier one is not: the journal keeps their numbers
_SYNC_EVERY_S = 1.0
_ZIP_LEVEL = 6
_NAMED = 500  # characters of an answer that are shown
_BODY_REFUSED = frozenset({400, 413, 422})
_LATER = frozenset({408, 425, 429})


class Stopped(Exception):
    """The sending ended before the file did; the text says why."""


class Poster(Protocol):
    """What the sender needs of a treq HTTPClient."""

    def post(self, url: str | URL, /, *, data: bytes, headers: Headers, allow_redirects: bool) -> Awaitable[IResponse]:
        """Post `data` and fire with the answer when its headers are there."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where bodies go, and with which headers: those of a token have their place in `headers`."""

    url: str
    node: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    compress: bool = False


class Reply(msgspec.Struct, frozen=True):
    """What an answer says, a problem included; only 2xx answers have a status in words."""

    status: str | int
    received: int = 0
    rejected: int = 0
    duplicate: bool = False
    errors: list[dict[str, Any]] = []
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A body, ready to be sent: its key, and its bytes as they go over the wire."""

    body: Body
    key: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last answer to a parcel."""

    parcel: Parcel
    status: int
    reply: Reply


def head_of(source: Source, target: Target) -> Head:
    """The head of a journal that begins with this file."""
    way = f"{source.digest} {source.layout} {CUT_RESULTS} {CUT_BYTES}"
    digest = hashlib.sha256(way.encode()).hexdigest()
    return Head(file=source.path.name, digest=digest, url=target.url, node=target.node)


class Delivery:
    """The side of a sending that blocks, for one thread: takes bodies from the file, and writes down outcomes."""

    def __init__(self, source: Source, journal: Journal, refused: Refused, compress: bool = False) -> None:
        self.position = 0
        self.broken = ""
        self._source = source
        self._journal = journal
        self._refused = refused
        self._compress = compress
        self._bodies: Iterator[Body] = bodies(source)
        self._key = hashlib.sha256(f"{journal.head.digest} {journal.head.salt}".encode()).hexdigest()[:32]
        self._synced = time.monotonic()

    def turn(self, outcome: Outcome | None) -> Parcel | None:
        """Write down an outcome, then take the next body that was not answered yet; None at the end of the file."""
        if outcome is not None:
            self.settle(outcome)
        try:
            for body in self._bodies:
                self.position = body.position
                if body.number in self._journal:
                    continue
                key = f"{self._key}-{body.number}"  # its place is part of it: equal bodies are different POSTs
                if not body.fault:
                    return Parcel(body, key, gzip.compress(body.data, _ZIP_LEVEL) if self._compress else body.data)
                self._keep(body, key, {"detail": body.fault})
                self._journal.settle(Settled(body.number, refused=1))
        except Broken as error:
            self.broken = str(error)
        return None

    def settle(self, outcome: Outcome) -> None:
        """Write down what became of a body: first what was refused, so that no kill comes between."""
        body, reply, status = outcome.parcel.body, outcome.reply, outcome.status
        stored = 200 <= status < 300
        if not stored or reply.rejected:
            said = {"status": status, "rejected": reply.rejected, "errors": reply.errors}
            self._keep(body, outcome.parcel.key, {**said, "detail": reply.detail} if reply.detail else said, reply)
        duplicate, refused = int(stored and reply.duplicate), int(not stored)
        self._journal.settle(Settled(body.number, reply.received * stored, reply.rejected, duplicate, refused))
        if time.monotonic() - self._synced >= _SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Make durable what was written down."""
        self._refused.sync()
        self._journal.sync()
        self._synced = time.monotonic()

    def close(self, in_doubt: bool, whole: bool) -> None:
        """The end of this run."""
        self._refused.close()
        self._journal.close(in_doubt, whole and not self.broken)

    def _keep(self, body: Body, key: str, said: dict[str, object], reply: Reply | None = None) -> None:
        record = {"file": self._source.path.name, "where": body.where, **said}
        self._refused.write(key, {**record, **_refused_part(body.data, reply)})


def _refused_part(data: bytes, reply: Reply | None) -> dict[str, object]:
    """The items that were named, when all were; else the body. As text where it is no JSON."""
    if not data:
        return {}
    try:
        items = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return {"text": data.decode(errors="backslashreplace")}
    named = [error.get("index") for error in reply.errors] if reply is not None else []
    if reply is not None and 0 < reply.rejected == len(named):
        items = [items[index] for index in named if isinstance(index, int) and 0 <= index < len(items)]
    return {"results": items}


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
        self._connections = connections
        self._give_up_after_s = give_up_after_s
        self._tell = tell
        self._now = now
        self._jitter = jitter
        self._url = as_treq_takes_it(target.url)
        self._stop_reason = ""
        self._resting: dict[Deferred[None], IDelayedCall] = {}
        self._under_way: set[int] = set()
        self._posts: set[Deferred[Outcome]] = set()
        self._not_before = 0.0
        self._outage = ""
        self._outage_since = 0.0

    async def send(self, delivery: Delivery) -> None:
        """Send all that is left of a file. Raises Stopped when some of it remains, OSError from the disk."""
        self._under_way.clear()
        workers = [Deferred.fromCoroutine(self._work(delivery)) for _ in range(self._connections)]
        for worker in workers:
            worker.addErrback(self._fail)
        failures = [failure for failure in await gatherResults(workers) if failure is not None]
        if failures:
            failures[0].raiseException()
        if self._stop_reason:
            raise Stopped(self._stop_reason)

    def stop(self, reason: str) -> None:
        """Send nothing more; POSTs under way have ten seconds."""
        if not self._stop_reason:
            self._stop_reason = reason
            self._clock.callLater(STOP_GRACE_S, self.abort)
            for rested, timer in list(self._resting.items()):
                timer.cancel()
                rested.callback(None)

    def abort(self) -> None:
        """Give up the POSTs under way."""
        for post in list(self._posts):
            post.cancel()

    @property
    def in_doubt(self) -> bool:
        """Whether POSTs have gone out whose answer never came."""
        return bool(self._under_way)

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
            while self._under_way and number - min(self._under_way) > _MOST_AHEAD and not self._stop_reason:
                await self._rest(1.0)
            outcome = await self._deliver(parcel)
            if outcome is None:
                return
            self._under_way.discard(number)
        if outcome is not None:
            await self._in_thread(delivery.settle, outcome)

    async def _deliver(self, parcel: Parcel) -> Outcome | None:
        """The final answer to a parcel, None when the sending stops before."""
        failures = 0
        ends = self._clock.seconds() + self._give_up_after_s
        while not self._stop_reason:
            if (wait_s := self._not_before - self._clock.seconds()) > 0:
                await self._rest(wait_s + self._jitter())
                continue
            asked_s = None
            self._under_way.add(parcel.body.number)
            try:
                outcome, asked_s = await self._post(parcel)
                reason = _why_again(outcome)
                if not reason:
                    return self._judge(outcome)
                if outcome.status in (429, 503):  # nothing of it was taken
                    self._under_way.discard(parcel.body.number)
            except Stopped as error:
                self.stop(str(error))
                return None
            except Exception as error:
                reason = f"no answer within {ANSWER_S:.0f} s" if isinstance(error, CancelledError) else in_words(error)
            pause_s = backoff(failures, self._jitter()) - 1 if asked_s is None else asked_s
            failures += 1
            if asked_s is not None:
                self._not_before = max(self._not_before, self._clock.seconds() + asked_s)
            self._begin_outage(reason)
            if self._clock.seconds() + pause_s > ends:
                self.stop(f"given up after {_duration(self._give_up_after_s)}: {reason}")
                return None
            await self._rest(pause_s)
        return None

    async def _post(self, parcel: Parcel) -> tuple[Outcome, float | None]:
        """The answer to one POST, and the seconds for which it asks to be left alone."""
        exchange = Deferred.fromCoroutine(self._exchange(parcel))
        timer = self._clock.callLater(ANSWER_S, exchange.cancel)
        self._posts.add(exchange)
        try:
            response, content = await exchange
        finally:
            self._posts.discard(exchange)
            if timer.active():
                timer.cancel()
        asked_s = retry_after(response, self._now())
        if asked_s is not None:
            asked_s = min(max(asked_s, 1.0), LONGEST_RETRY_AFTER_S)
        return Outcome(parcel, response.code, _reply(response.code, content)), asked_s

    async def _exchange(self, parcel: Parcel) -> tuple[IResponse, bytes]:
        headers = {
            "Content-Type": "application/json", "Idempotency-Key": parcel.key, "User-Agent": f"outputd-send/{__version__}",
            **dict(self._target.headers),
        }  # fmt: skip
        if self._target.node:
            headers["X-Ping-Node"] = self._target.node
        if self._target.compress:
            headers["Content-Encoding"] = "gzip"
        fields = Headers({name: [value] for name, value in headers.items()})
        # Not followed: treq would turn the POST into a GET.
        response = await self._http.post(self._url, data=parcel.content, headers=fields, allow_redirects=False)
        return response, await treq.content(response)

    def _judge(self, outcome: Outcome) -> Outcome | None:
        """An answer for good; None stops all, because no body would fare better."""
        self._end_outage()
        if 200 <= outcome.status < 300 or outcome.status in _BODY_REFUSED:
            return outcome
        self._under_way.discard(outcome.parcel.body.number)
        detail = f": {outcome.reply.detail}" if outcome.reply.detail else ""
        self.stop(f"the service answers {outcome.status}{detail}")
        return None

    def _begin_outage(self, reason: str) -> None:
        if self._outage != reason:
            self._outage_since = self._outage_since if self._outage else self._clock.seconds()
            self._outage = reason
            self._tell(f"{reason}; trying again for up to {_duration(self._give_up_after_s)}")

    def _end_outage(self) -> None:
        if self._outage:
            self._outage = ""
            self._tell(f"answered again, after {_duration(self._clock.seconds() - self._outage_since)}")

    def _rest(self, seconds: float) -> Deferred[None]:
        if self._stop_reason:
            return succeed(None)
        rested: Deferred[None] = Deferred()

        def rise(_: object = None) -> None:
            del self._resting[rested]
            rested.callback(None)

        self._resting[rested] = self._clock.callLater(seconds, rise)
        return rested
