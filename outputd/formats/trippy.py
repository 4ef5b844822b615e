"""What `trip -m json` prints (trippy 0.9 and later): the path to a target, of which each hop was pinged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from outputd.formats.counts import MOST_TTL, count, rtt_ns
from outputd.formats.documents import documents, read_each
from outputd.formats.reader import NO_TIME, Reader, Refused, Unread
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.model import Hop, PingResult, Traceroute

_BEGINNING_BYTES = 1024
_CLAIMED = re.compile(
    rb'\s*+(?:\[\s*+)?\{\s*+"info"\s*+:\s*+\{\s*+"target"\s*+:\s*+\{\s*+"ip"\s*+:\s*+"[^"]*+"\s*+,\s*+"hostname"\s*+:'
)


class _Host(msgspec.Struct, gc=False):
    ip: str


class _Hop(msgspec.Struct, gc=False):
    """One TTL. All hosts that answered there have one average, and where none did, times of 0.00."""

    ttl: int
    hosts: list[_Host]
    sent: Decimal
    recv: Decimal
    avg: Decimal
    best: Decimal
    worst: Decimal
    stddev: Decimal


class _Info(msgspec.Struct, gc=False):
    target: _Host
    start_timestamp: str = NO_TIME


class _Report(msgspec.Struct, gc=False):
    info: _Info
    hops: list[_Hop]


_decode = msgspec.json.Decoder(_Report).decode


def claims(body: bytes) -> bool:
    """Whether a body that nobody named begins as trippy's reports do."""
    return _CLAIMED.match(body, 0, _BEGINNING_BYTES) is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result a report."""
    return read_each(documents(body), lambda item: (_result(_decode(item)),), "report of trippy")


def _result(report: _Report) -> PingResult:
    ip, timestamp = canonical(report.info.target.ip), report.info.start_timestamp
    if ip is None:
        raise Refused("not an address", "info.target.ip")
    if timestamp and timestamps.stored(timestamp) is None:
        raise Refused("not an RFC 3339 time", "info.start_timestamp")
    if not report.hops:
        raise Refused("expected one at least", "hops")
    last = report.hops[-1]
    answered = {canonical(host.ip) for host in last.hosts} if count(last.recv, "hops[-1].recv") else set()
    trace = Traceroute(None, ip in answered, None, [row for hop in report.hops for row in _rows(hop)])
    if ip not in answered:
        return PingResult(ip, count(last.sent, "hops[-1].sent"), 0, timestamp, traceroute=trace)
    if len(answered) > 1:
        raise Refused("does not say which of its answers are the target's", "hops[-1]")
    return PingResult(
        ip, count(last.sent, "hops[-1].sent"), count(last.recv, "hops[-1].recv"), timestamp, traceroute=trace,
        avg_rtt=rtt_ns(last.avg, "hops[-1].avg"),
        min_rtt=rtt_ns(last.best, "hops[-1].best"),
        max_rtt=rtt_ns(last.worst, "hops[-1].worst"),
        stddev_rtt=rtt_ns(last.stddev, "hops[-1].stddev"),
    )  # fmt: skip


def _rows(hop: _Hop) -> Iterator[Hop]:
    """A row for each host of a TTL. The average is a host's own only where it is alone."""
    if not 0 <= hop.ttl <= MOST_TTL:
        raise Refused("not a TTL", "hops[...].ttl")
    if not hop.hosts or not hop.recv:
        yield Hop(hop.ttl, timeout=True)
    elif len(hop.hosts) == 1:
        yield Hop(hop.ttl, hop.hosts[0].ip, rtt_ns(hop.avg, "hops[...].avg"))
    else:
        yield from (Hop(hop.ttl, host.ip) for host in hop.hosts)


TRIPPY = Reader(
    "trippy",
    1,
    ("application/vnd.outputd.trippy+json",),
    'an object that begins `{"info":{"target":{"ip":`',
    claims,
    read,
)
"""trippy."""
