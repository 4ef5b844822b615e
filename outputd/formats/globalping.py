"""What Globalping gives: measurements of its API, and the results of its probes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from outputd.formats.counts import MOST_ITEM_BYTES, MOST_TTL, count, rtt_ns
from outputd.formats.documents import documents, elements
from outputd.formats.numbers import instant, mean, nanoseconds
from outputd.formats.reader import NO_TIME, Reader, Refused, Unread, timed, unread
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.model import Hop, PingResult, Traceroute

_BEGINNING_BYTES = 4096
_CLAIMED = re.compile(
    rb'\s*+(?:\[\s*+)?\{\s*+(?:"id"\s*+:\s*+"\w++"\s*+,\s*+"type"\s*+:\s*+"(?:ping|traceroute|mtr|dns|http)"\s*+,'
    rb'\s*+"status"\s*+:\s*+"[a-z-]++"\s*+,\s*+"createdAt"\s*+:'
    rb'|"(?:testId|measurementId)"\s*+:\s*+"\w*+"\s*+,\s*+"(?:testId|measurementId|result)"\s*+:)'
)
_TYPES = (None, "ping", "traceroute", "mtr")
_SILENT = (None, "", "*")
_MOST_ERROR_CHARACTERS = 200
_MOST_ADDRESS_CHARACTERS = 255  # what a row keeps of it: cut once here, and not for each reply
_MOST_REPLIES = 256  # 16 packets are the most that can be ordered


class _Timing(msgspec.Struct, gc=False):
    rtt: Decimal


class _Stats(msgspec.Struct, gc=False):
    total: Decimal | None = None
    rcv: Decimal | None = None
    loss: Decimal | None = None
    min: Decimal | None = None
    avg: Decimal | None = None
    max: Decimal | None = None


class _Hop(msgspec.Struct, gc=False):
    address: str | None = msgspec.field(name="resolvedAddress", default=None)
    timings: list[_Timing] = []
    times_of_2022: list[Decimal] = msgspec.field(name="rtt", default=[])
    stats: _Stats | None = None


class _Result(msgspec.Struct, gc=False):
    status: str = "finished"
    address: str | None = msgspec.field(name="resolvedAddress", default=None)
    address_of_2022: str | None = msgspec.field(name="destination", default=None)
    output: str = msgspec.field(name="rawOutput", default="")
    hops: list[_Hop] | None = None
    stats: _Stats | None = None


class _Entry(msgspec.Struct, gc=False):
    """What one probe measured."""

    result: _Result


class _Options(msgspec.Struct, gc=False):
    protocol: Annotated[str, Meta(max_length=16)] | None = None  # stands in a row for each of its results


class _Measurement(msgspec.Struct, gc=False):
    """What was ordered: of all probes or, where there are no `results`, of the one whose result it is."""

    type: str | None = None
    target: str | None = None
    created_at: str | int | None = msgspec.field(name="createdAt", default=None)
    options: _Options | None = msgspec.field(name="measurementOptions", default=None)
    results: msgspec.Raw = msgspec.Raw()


_measurement = msgspec.json.Decoder(_Measurement).decode
_entry = msgspec.json.Decoder(_Entry).decode


def claims(body: bytes) -> bool:
    """Whether a body that nobody named begins as Globalping's measurements and results do."""
    return _CLAIMED.match(body, 0, _BEGINNING_BYTES) is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result for each probe of each measurement."""
    for item in documents(body):
        try:
            measurement = _measurement(item)
            results = bytes(measurement.results)
            if results and not results.startswith(b"["):
                raise Refused("expected an array", "results")
        except (Refused, ValueError, RecursionError) as error:
            yield unread(error, item)
            continue
        for entry in elements(results) if results else (item,):
            try:
                yield _result(entry, measurement)
            except (Refused, ValueError, ArithmeticError, RecursionError) as error:
                yield unread(error, entry)


def _result(entry: bytes, measurement: _Measurement) -> PingResult:
    if measurement.type not in _TYPES:
        raise Refused("expected ping, traceroute or mtr", "type")
    if len(entry) > MOST_ITEM_BYTES:
        raise Refused("longer than any result of a probe")
    result = _entry(entry).result
    if result.status == "in-progress" or (result.status != "finished" and not result.hops):
        raise Refused(_failure(result), "result.status")
    ip = _address(result, measurement)
    timestamp = _timestamp(measurement.created_at)
    if result.hops is None:
        return _ping(ip, timestamp, result.stats or _Stats())
    return _trace(ip, timestamp, result, result.hops, measurement)


def _failure(result: _Result) -> str:
    """What became of it, and what the tool said."""
    return f"{result.status or 'unknown'}: {result.output}".strip(": \n")[:_MOST_ERROR_CHARACTERS]


def _address(result: _Result, measurement: _Measurement) -> str:
    """The address that was measured; where the probe found none, the target that was ordered may be one."""
    for text in (result.address, result.address_of_2022, measurement.target):
        if text and (ip := canonical(text)) is not None:
            return ip
    raise Refused("required, since names are never looked up", "result.resolvedAddress")


def _timestamp(created_at: str | int | None) -> str:
    """When the measurement was ordered; in 2022 as milliseconds since 1970."""
    if created_at is None:
        return NO_TIME
    if isinstance(created_at, int):
        return instant(nanoseconds(created_at))
    if timestamps.stored(created_at) is None:
        raise Refused("not an RFC 3339 time", "createdAt")
    return created_at


def _ping(ip: str, timestamp: str, stats: _Stats) -> PingResult:
    if stats.total is None or stats.rcv is None:
        raise Refused("total and rcv are required", "result.stats")
    loss = None if stats.loss is None or not 0 <= stats.loss <= 100 else float(stats.loss)
    return timed(PingResult(
        ip, count(stats.total, "result.stats.total"), count(stats.rcv, "result.stats.rcv"), timestamp, loss,
        avg_rtt=rtt_ns(stats.avg, "result.stats.avg"),
        min_rtt=rtt_ns(stats.min, "result.stats.min"),
        max_rtt=rtt_ns(stats.max, "result.stats.max"),
    ))  # fmt: skip


def _trace(ip: str, timestamp: str, result: _Result, found: list[_Hop], measurement: _Measurement) -> PingResult:
    """A traceroute, whose last hop tells what became of the probes to the target."""
    if not 0 < len(found) <= MOST_TTL:
        raise Refused(f"expected 1 to {MOST_TTL} hops", "result.hops")
    times = [_times(hop) for hop in found]
    last, replies = found[-1], times[-1]
    reached = bool(replies) and last.address is not None and canonical(last.address) == ip
    trace = Traceroute(
        measurement.options.protocol.lower() if measurement.options and measurement.options.protocol else None,
        reached,
        None if result.status == "finished" else _failure(result),
        [row for ttl, hop in enumerate(found, 1) for row in _rows(ttl, hop, times[ttl - 1])],
    )
    if last.stats is not None and last.stats.total is not None:
        sent = count(last.stats.total, "result.hops[-1].stats.total")
    else:
        sent = max(1, *map(len, times))  # as many to each TTL, but those that were lost are not listed
    if not reached:
        return PingResult(ip, sent, 0, timestamp, traceroute=trace)
    return PingResult(
        ip, sent, len(replies), timestamp, traceroute=trace,
        avg_rtt=mean(replies), min_rtt=min(replies), max_rtt=max(replies),
    )  # fmt: skip


def _rows(ttl: int, hop: _Hop, times_ns: list[int]) -> Iterator[Hop]:
    """A row for each reply; one of silence where there was none."""
    address = None if hop.address in _SILENT else (hop.address or "")[:_MOST_ADDRESS_CHARACTERS]
    if not times_ns:
        yield Hop(ttl, address, timeout=True)
    for time_ns in times_ns:
        yield Hop(ttl, address, time_ns)


def _times(hop: _Hop) -> list[int]:
    if len(hop.timings) > _MOST_REPLIES or len(hop.times_of_2022) > _MOST_REPLIES:
        raise Refused("more replies than a probe gets to one TTL", "result.hops[...].timings")
    return [nanoseconds(timing.rtt) for timing in hop.timings] or [nanoseconds(rtt) for rtt in hop.times_of_2022]


GLOBALPING = Reader(
    "globalping", 1, ("application/vnd.outputd.globalping+json",),
    "an object that begins with `id`, `type`, `status` and `createdAt`, as the API gives it,"
    " or with `testId` or `measurementId`, as a probe does",
    claims, read,
)  # fmt: skip
"""Globalping."""
