"""What `mtr --json` prints (0.87 and later): the path to a target, of which each hub was pinged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice, pairwise

import msgspec

from outputd.formats.counts import MOST_TTL, count, rtt_ns
from outputd.formats.documents import documents, read_each
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Reader, Refused, Unread
from outputd.results.addresses import canonical
from outputd.results.model import MOST_RESULTS, Hop, PingResult, Traceroute

_SILENT = "???"
_LAST, _ANY = "report.hubs[-1]", "report.hubs[...]"
_CLAIMED = re.compile(rb'\s*+(?:\[\s*+)?\{\s*+"report"\s*+:\s*+\{\s*+"(?:mtr|hubs)"\s*+:\s*+[\[{]')
_BEGINNING_BYTES = 1024
_REPORT = re.compile(rb'\{\s*+"report"\s*+:')
_ARRAY = re.compile(rb"\s*+\[")
_HUBS_LEFT_OPEN = re.compile(rb'("hubs"\s*+:\s*+\[)(?=\s*+\})')
_HUBS_UP_TO_THE_END = re.compile(rb'"hubs"\s*+:\s*+\[[^\[\]]*+\]([\s}]*+)\Z')
_NAME_AND_ADDRESS = re.compile(r"[^ ]*+ \(([^ ()]*+)\)")


class _Hub(msgspec.Struct, gc=False):
    """What mtr says of one TTL; its option -o chooses which of the columns there are."""

    ttl: Decimal = msgspec.field(name="count")
    host: str = _SILENT
    loss_percent: Decimal | None = msgspec.field(name="Loss%", default=None)
    sent: Decimal | None = msgspec.field(name="Snt", default=None)
    received: Decimal | None = msgspec.field(name="Rcv", default=None)
    lost: Decimal | None = msgspec.field(name="Drop", default=None)
    average_ms: Decimal | None = msgspec.field(name="Avg", default=None)
    best_ms: Decimal | None = msgspec.field(name="Best", default=None)
    worst_ms: Decimal | None = msgspec.field(name="Wrst", default=None)
    deviation_ms: Decimal | None = msgspec.field(name="StDev", default=None)


class _Run(msgspec.Struct, gc=False):
    dst: str
    tests: Decimal | None = None


class _Report(msgspec.Struct, gc=False):
    run: _Run = msgspec.field(name="mtr")
    hubs: list[_Hub]


class _Document(msgspec.Struct, gc=False):
    report: _Report


_decode = msgspec.json.Decoder(_Document).decode


def claims(body: bytes) -> bool:
    """Whether a body that nobody named begins as mtr's reports do."""
    return _CLAIMED.match(body, 0, _BEGINNING_BYTES) is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result a report; several may follow one another, or stand in an array."""
    return read_each(_reports(body), lambda item: (_result(_decode(_mended(item)).report),), "report of mtr")


def _reports(body: bytes) -> Iterator[bytes]:
    """The reports of a body; mtr spreads one over many lines, and some are no JSON."""
    try:
        yield from documents(body)
    except NotOfThisFormat:
        starts = [match.start() for match in islice(_REPORT.finditer(body), MOST_RESULTS + 1)]
        if not starts:
            raise
        end = len(body.rstrip().removesuffix(b"]") if _ARRAY.match(body) else body)
        for start, stop in pairwise((*starts, end)):
            yield body[start:stop].rstrip(b", \r\n\t")


def _mended(report: bytes) -> bytes:
    """A report with what mtr forgot: up to 0.93 it does not close the list of hubs where nothing answered.

    One that was cut behind this list has lost nothing, either. Cut before, it may lack the target, and is left alone.
    """
    report = _HUBS_LEFT_OPEN.sub(rb"\1]", report)
    end = _HUBS_UP_TO_THE_END.search(report)
    return report if end is None else report + b"}" * (2 - end[1].count(b"}"))


def _result(report: _Report) -> PingResult:
    target = canonical(report.run.dst)
    if target is None:
        raise Refused("not an address: run mtr with one, since names are never looked up", "report.mtr.dst")
    hubs = report.hubs
    hops = [_hop(hub) for hub in hubs]
    error = next(filter(None, map(_error, hubs)), None)
    if not hubs:
        sent = _needed(report.run.tests, "report.mtr.tests")  # none answered, and mtr leaves them all out
        return PingResult(target, sent, 0, NO_TIME, traceroute=Traceroute(None, False, error, hops))
    last, sent, received = hubs[-1], _sent(hubs[-1]), _received(hubs[-1])
    if hops[-1].timeout or canonical(_address(last)) != target:
        if hops[-1].ip is not None and canonical(hops[-1].ip) is None:
            raise Refused("a name, which may be that of the target or not: run mtr with -n or -b", f"{_LAST}.host")
        return PingResult(target, sent, 0, NO_TIME, traceroute=Traceroute(None, False, error, hops))
    return PingResult(
        target, sent, received, NO_TIME,
        avg_rtt=rtt_ns(last.average_ms, f"{_LAST}.Avg"),
        min_rtt=rtt_ns(last.best_ms, f"{_LAST}.Best"),
        max_rtt=rtt_ns(last.worst_ms, f"{_LAST}.Wrst"),
        stddev_rtt=rtt_ns(last.deviation_ms, f"{_LAST}.StDev"), traceroute=Traceroute(None, True, error, hops),
    )  # fmt: skip


def _hop(hub: _Hub) -> Hop:
    ttl = count(hub.ttl, f"{_ANY}.count")
    if ttl > MOST_TTL:
        raise Refused("not a TTL", f"{_ANY}.count")
    if hub.host == _SILENT or _error(hub) is not None or _is_lost(hub):
        return Hop(ttl, timeout=True)  # its times are 0.0
    return Hop(ttl, _address(hub), rtt_ns(hub.average_ms, f"{_ANY}.Avg"))


def _address(hub: _Hub) -> str:
    """The address of `name (address)`, as -b has it, else what stands there."""
    both = _NAME_AND_ADDRESS.fullmatch(hub.host)
    return both[1] if both else hub.host


def _is_lost(hub: _Hub) -> bool:
    """Whether all that was sent is lost, in any of the columns that tell."""
    return (
        hub.received == 0 or hub.loss_percent == 100 or hub.sent == 0 or (hub.lost is not None and hub.lost == hub.sent)
    )


def _error(hub: _Hub) -> str | None:
    """Why mtr could not probe this TTL, in brackets in the place of the host."""
    return hub.host[1:-1] if hub.host.startswith("(") and hub.host.endswith(")") else None


def _sent(hub: _Hub) -> int:
    if hub.sent is None and hub.received is not None and hub.lost is not None:
        return count(hub.received, f"{_LAST}.Rcv") + count(hub.lost, f"{_LAST}.Drop")
    return _needed(hub.sent, f"{_LAST}.Snt")


def _received(hub: _Hub) -> int:
    """How many answered: in a column of its own with -o, else what the loss leaves, which is rounded (66.7 of 3)."""
    if hub.received is not None:
        return count(hub.received, f"{_LAST}.Rcv")
    if hub.lost is not None:
        return count(_sent(hub) - hub.lost, f"{_LAST}.Drop")
    if hub.loss_percent is None or not 0 <= hub.loss_percent <= 100:
        raise Refused("expected a percentage, since there is neither Rcv nor Drop", f"{_LAST}.Loss%")
    return round(_sent(hub) * (100 - hub.loss_percent) / 100)


def _needed(number: Decimal | None, field: str) -> int:
    if number is None:
        raise Refused("required", field)
    return count(number, field)


MTR = Reader(
    "mtr", 1, ("application/vnd.outputd.mtr+json",),
    'an object that begins `{"report":{"mtr":{` or `{"report":{"hubs":[`, alone or in an array', claims, read,
)  # fmt: skip
"""mtr."""
