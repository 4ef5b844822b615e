"""What pScheduler of perfSONAR gives its archivers: runs of the tests trace and rtt, each with its task. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from outputd.formats.counts import MOST_TTL, count, rtt_ns
from outputd.formats.documents import documents, read_each
from outputd.formats.numbers import SECONDS
from outputd.formats.reader import NO_TIME, Reader, Refused, Unread, timed
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.model import Hop, PingResult, Traceroute

_BEGINNING_BYTES = 4096
_CLAIMED = re.compile(
    rb'\s*+(?:\[\s*+)?\{\s*+"id"\s*+:\s*+"[0-9a-f-]{36}"\s*+,\s*+"schedule"\s*+:\s*+\{[^{}]*+\}\s*+,\s*+"test"\s*+:\s*+\{'
)
_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,9}(?:\.\d{1,12})?)W)?(?:(\d{1,9}(?:\.\d{1,12})?)D)?"
    r"(?:T(?=.)(?:(\d{1,9}(?:\.\d{1,12})?)H)?(?:(\d{1,9}(?:\.\d{1,12})?)M)?(?:(\d{1,9}(?:\.\d{1,12})?)S)?)?",
    re.ASCII,
)
_SECONDS_OF_ITS_PARTS = (604_800, 86_400, 3_600, 60, 1)
_MOST_REASON_CHARACTERS = 200
_MOST_PATHS = 256


class _Schedule(msgspec.Struct, gc=False):
    start: str = NO_TIME


class _Run(msgspec.Struct, gc=False):
    start: str = msgspec.field(name="start-time", default=NO_TIME)


class _Spec(msgspec.Struct, gc=False):
    dest: str = ""
    first_ttl: int = msgspec.field(name="first-ttl", default=1)
    probe_type: Annotated[str, Meta(max_length=64)] | None = msgspec.field(name="probe-type", default=None)


class _Test(msgspec.Struct, gc=False):
    type: str
    spec: _Spec


class _Hop(msgspec.Struct, gc=False):
    """What answered to one TTL; an empty object where nothing did."""

    ip: str | None = None
    hostname: str | None = None
    rtt: str | None = None
    error: str | None = None


class _RoundTrip(msgspec.Struct, gc=False):
    ip: str | None = None
    error: str | None = None


class _Result(msgspec.Struct, gc=False):
    succeeded: bool
    error: str | None = None
    paths: list[list[_Hop]] = []
    roundtrips: list[_RoundTrip] = []
    sent: Decimal | None = None
    received: Decimal | None = None
    mean: str | None = None
    min: str | None = None
    max: str | None = None
    stddev: str | None = None


class _Head(msgspec.Struct, gc=False):
    """What was run and when. Other tests have results of other shapes, so that theirs is not looked at."""

    test: _Test | None = None
    run: _Run = msgspec.field(default_factory=_Run)
    schedule: _Schedule = msgspec.field(default_factory=_Schedule)


class _Body(msgspec.Struct, gc=False):
    result: _Result


_head = msgspec.json.Decoder(_Head).decode
_body = msgspec.json.Decoder(_Body).decode


def claims(body: bytes) -> bool:
    """Whether a body that nobody named begins as what the archiver `http` posts."""
    return _CLAIMED.match(body, 0, _BEGINNING_BYTES) is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result a run, and one a path where a trace found several."""
    return read_each(documents(body), _results, "run of a test")


def _results(item: bytes) -> Iterator[PingResult]:
    head = _head(item)
    if head.test is None:
        raise Refused("required, as archivers get it: a result alone does not say what was measured", "test")
    if head.test.type not in ("trace", "rtt"):
        raise Refused("expected trace or rtt", "test.type")  # latency is one way
    timestamp = head.run.start or head.schedule.start
    if timestamp and timestamps.stored(timestamp) is None:
        raise Refused("not an RFC 3339 time", "run.start-time")
    result = _body(item).result
    if not result.succeeded:
        raise Refused((result.error or "the run failed")[:_MOST_REASON_CHARACTERS], "result.error")
    if head.test.type == "rtt":
        return iter([_ping(head.test.spec, timestamp, result)])
    if not 0 < len(result.paths) <= _MOST_PATHS:
        raise Refused(f"expected 1 to {_MOST_PATHS} paths", "result.paths")
    # All of them, before one is given: what is wrong with one path is wrong with the item.
    return iter([_trace(head.test.spec, timestamp, path) for path in result.paths])


def _ping(spec: _Spec, timestamp: str, result: _Result) -> PingResult:
    if result.sent is None or result.received is None:
        raise Refused("sent and received are required", "result")
    return timed(PingResult(
        _pinged(spec, result), count(result.sent, "result.sent"), count(result.received, "result.received"), timestamp,
        avg_rtt=_rtt(result.mean, "result.mean"),
        min_rtt=_rtt(result.min, "result.min"),
        max_rtt=_rtt(result.max, "result.max"),
        stddev_rtt=_rtt(result.stddev, "result.stddev"),
    ))  # fmt: skip


def _pinged(spec: _Spec, result: _Result) -> str:
    """The address that was pinged: where `dest` is a name, the one from which all the answers came."""
    ip = canonical(spec.dest)
    if ip is not None:
        return ip
    answered = {canonical(trip.ip) for trip in result.roundtrips if trip.ip is not None and trip.error is None}
    if len(answered) != 1 or (ip := answered.pop()) is None:
        raise Refused("a name, and not all answers came from one address", "test.spec.dest")
    return ip


def _trace(spec: _Spec, timestamp: str, path: list[_Hop]) -> PingResult:
    ip = canonical(spec.dest)
    if ip is None:
        raise Refused("a name, not an address", "test.spec.dest")
    if not path or not 0 <= spec.first_ttl <= MOST_TTL - len(path) + 1:
        raise Refused("no hop, or more than a TTL can count", "result.paths")
    last = path[-1]
    reached = last.ip is not None and canonical(last.ip) == ip and last.error is None
    hops = [_row(ttl, hop) for ttl, hop in enumerate(path, spec.first_ttl)]
    rtt_ns = hops[-1].rtt if reached else None
    trace = Traceroute(spec.probe_type, reached, last.error, hops)
    return PingResult(ip, 1, int(reached), timestamp, avg_rtt=rtt_ns, traceroute=trace)


def _row(ttl: int, hop: _Hop) -> Hop:
    if hop.ip is None and hop.hostname is None:
        return Hop(ttl, timeout=True)
    return Hop(ttl, hop.ip or hop.hostname, _rtt(hop.rtt, "result.paths[...].rtt"))


def _rtt(duration: str | None, field: str) -> int | None:
    """The nanoseconds of a duration of ISO 8601 without years and months, as pScheduler has them."""
    if duration is None:
        return None
    parts = _DURATION.fullmatch(duration)
    if parts is None:
        raise Refused("not a duration as of ISO 8601", field)
    seconds = sum(Decimal(part or 0) * each for part, each in zip(parts.groups(), _SECONDS_OF_ITS_PARTS, strict=True))
    return rtt_ns(Decimal(seconds), field, SECONDS)


PERFSONAR = Reader(
    "perfsonar", 1, ("application/vnd.outputd.perfsonar+json",),
    "an object that begins with `id` (a UUID), `schedule` and `test`, as the archiver `http` posts it", claims, read,
)  # fmt: skip
"""perfSONAR."""
