"""scamper's JSON: its traces and pings, and M-Lab's files of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from outputd.formats.counts import MOST_TTL, moment, rtt_ns
from outputd.formats.documents import documents, first_object
from outputd.formats.numbers import mean
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Reader, Refused, Unread, unread
from outputd.results.addresses import canonical
from outputd.results.model import Count, Hop, PingResult, Traceroute

MOST_ITEM_BYTES = 1 << 20  # a ping of 3000 probes has less
"""The longest object or record that is read."""
_BEGINNING_BYTES = 256 * 1024
_MICROSECOND_NS = 1_000
_SECOND_NS = 10**9
_OF_A_CYCLE = frozenset(("cycle-start", "cycle-def", "cycle-stop"))
_NO_REASON = frozenset((None, "NONE", "COMPLETED"))
_ECHO_OR_TIMESTAMP_REPLIES = {4: frozenset((0, 14)), 6: frozenset((129,))}
_PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}


class _Moment(Struct, gc=False):
    """A point in time, in seconds and microseconds since 1970."""

    sec: Count
    usec: Count = 0


class _Reply(Struct, gc=False):
    """What came back."""

    tx: _Moment | None = None
    rtt: Decimal | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


class _Response(_Reply, gc=False, kw_only=True):
    """An answer to a probe of a ping, and to which."""

    seq: Count


class _HopReply(_Reply, gc=False, kw_only=True):
    """An answer to a probe of a trace, and to which; in `no_hops`, that there was none."""

    probe_ttl: Annotated[int, Meta(ge=0, le=MOST_TTL)]
    addr: str | None = None
    probe_id: Count = 0


class _Statistics(Struct, gc=False):
    replies: Count | None = None
    stddev: Decimal | None = None


class _Record(Struct, gc=False):
    """A trace or a ping."""

    dst: str
    method: str | None = None
    start: _Moment | None = None
    stop_reason: str | None = None
    hop_count: Count | None = None
    firsthop: Count = 1
    attempts: Count | None = None
    hops: list[_HopReply] = []
    no_hops: list[_HopReply] = []
    ping_sent: Count | None = None
    responses: list[_Response] = []
    statistics: _Statistics | None = None


class _Kind(Struct, gc=False):
    """What an object is told by: its type, or what M-Lab puts around it."""

    type: str | None = None
    trace: msgspec.Raw = msgspec.field(name="Trace", default=msgspec.Raw())
    uuid: str | None = msgspec.field(name="UUID", default=None)
    list_name: str | None = None
    stop_reason: str | None = None
    ping_sent: int | None = None


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_record = msgspec.json.Decoder(_Record).decode


def claims(body: bytes) -> bool:
    """Whether a body begins with an object of scamper's, or with one that M-Lab puts before or around it."""
    first = first_object(body)
    kind = _kind(first)
    if kind is not None and kind.type is None and kind.uuid is not None and not bytes(kind.trace):
        start = body.find(first) + len(first)
        kind = _kind(first_object(body[start : start + _BEGINNING_BYTES]))
    if kind is None:
        return False
    if kind.type == "trace":
        return kind.stop_reason is not None
    if kind.type == "ping":
        return kind.ping_sent is not None
    if kind.type is None:
        return bytes(kind.trace).startswith(b"{")
    return kind.type in _OF_A_CYCLE and kind.list_name is not None


def _kind(text: bytes) -> _Kind | None:
    try:
        return _decode_kind(text)
    except (ValueError, RecursionError):
        return None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result for each trace and ping; what is said of a cycle, and M-Lab's metadata, is passed over."""
    for index, item in enumerate(documents(body)):
        try:
            record = _record(item)
            if record is not None:
                yield _result(record)
        except (Refused, msgspec.DecodeError, RecursionError) as error:
            if index == 0 and not isinstance(error, Refused) and not item.startswith(b"{"):
                raise NotOfThisFormat("what scamper writes begins with a JSON object") from error
            yield unread(error, item)


def result_of(said: Mapping[str, Any]) -> PingResult:
    """The result of a trace or ping that is taken apart already. Raises Refused and ValueError where there is none."""
    return _result(msgspec.convert(said, _Record))


def _record(item: bytes) -> _Record | None:
    """The trace or ping that a line is or has around it; None where it is neither, and nothing is lost with it."""
    if len(item) > MOST_ITEM_BYTES:
        raise Refused("longer than 1 MiB")
    kind = _decode_kind(item)
    if wrapped := bytes(kind.trace):
        item, kind = wrapped, _decode_kind(wrapped)
    if kind.type in _OF_A_CYCLE or (kind.type is None and kind.uuid is not None):
        return None
    if kind.type not in ("trace", "ping"):
        what = "it has no type" if kind.type is None else f"{kind.type[:64]} is not supported"
        raise Refused(f"{what}: neither a trace nor a ping", "type")
    record = _decode_record(item)
    if (kind.type == "ping") != (record.ping_sent is not None):
        raise Refused("required, of a ping alone", "ping_sent")
    return record


def _result(record: _Record) -> PingResult:
    return _ping(record) if record.ping_sent is not None else _trace(record)


def _ping(record: _Record) -> PingResult:
    """A ping, of which each probe is received once; answers that are not the target's own do not count."""
    ip = _target(record)
    first: dict[int, int | None] = {}
    for reply in record.responses:
        if _is_arrival(reply, record.method, ip):
            first.setdefault(reply.seq, rtt_ns(reply.rtt, "responses[...].rtt"))
    assert record.ping_sent is not None, "it is a ping"
    said = record.statistics
    deviation = said.stddev if said is not None and said.replies == len(first) else None
    rtts = _known(first)
    return PingResult(
        ip, record.ping_sent, len(first), _time(record, record.responses), avg_rtt=mean(rtts), error=_error(record),
        min_rtt=min(rtts, default=None), max_rtt=max(rtts, default=None),
        stddev_rtt=rtt_ns(deviation, "statistics.stddev") if rtts else None,
    )  # fmt: skip


def _trace(record: _Record) -> PingResult:
    """A trace, with the probes of its last hop as those that were sent."""
    ip = _target(record)
    rtts = [rtt_ns(reply.rtt, "hops[...].rtt") for reply in record.hops]
    hops = [Hop(reply.probe_ttl, reply.addr, rtt, timeout=False) for reply, rtt in zip(record.hops, rtts, strict=True)]
    hops += [Hop(probe.probe_ttl, timeout=True) for probe in record.no_hops]
    known = {hop.ttl for hop in hops}
    hops += [Hop(ttl, timeout=True) for ttl in _ttls(record) if ttl not in known]
    hops.sort(key=lambda hop: hop.ttl)
    last = hops[-1].ttl if hops else None
    first: dict[int, int | None] = {}
    is_reached = False
    for reply, rtt in zip(record.hops, rtts, strict=True):
        if _is_from(reply, ip) and _is_arrival(reply, record.method, ip):
            is_reached = True
            if reply.probe_ttl == last:
                first.setdefault(reply.probe_id, rtt)
    sent = _probes(record, last, known)
    error = _error(record)
    is_completed = is_reached and record.stop_reason == "COMPLETED"
    route = Traceroute(record.method, is_completed, error, hops)
    return PingResult(
        ip, sent, len(first), _time(record, record.hops), error=error, traceroute=route,
        avg_rtt=mean(_known(first)),
    )  # fmt: skip


def _known(rtts_ns: Mapping[int, int | None]) -> list[int]:
    return [rtt_ns for rtt_ns in rtts_ns.values() if rtt_ns is not None]


def _ttls(record: _Record) -> range:
    """The TTLs that were probed: of those that nothing answered, `hops` has none."""
    return range(min(record.firsthop, MOST_TTL), min(record.hop_count or 0, MOST_TTL) + 1)


def _probes(record: _Record, last: int | None, known: set[int]) -> int:
    """How many probes the last hop had: as many as its highest number, or all attempts when it is silent."""
    if last is None:
        return 0
    if last not in known:
        return 1 if record.attempts is None else record.attempts
    numbers = {probe.probe_id for probe in (*record.hops, *record.no_hops) if probe.probe_ttl == last}
    return max(*numbers, len(numbers))


def _target(record: _Record) -> str:
    ip = canonical(record.dst)
    if ip is None:
        raise Refused("no address", "dst")
    return ip


def _is_from(reply: _HopReply, ip: str) -> bool:
    return reply.addr is not None and (reply.addr == ip or canonical(reply.addr) == ip)


def _is_arrival(reply: _Reply, method: str | None, ip: str) -> bool:
    """Whether a reply says that the probe has reached its target: one of ICMP may come from a router, or be a refusal.

    A probe by UDP arrives where nothing listens at its port; what is not ICMP is the target's own TCP or UDP.
    """
    if reply.icmp_type is None:
        return True
    family = 6 if ":" in ip else 4
    if method is not None and method.startswith("udp"):
        return (reply.icmp_type, reply.icmp_code) == _PORT_UNREACHABLE[family]
    return reply.icmp_type in _ECHO_OR_TIMESTAMP_REPLIES[family]


def _error(record: _Record) -> str | None:
    """Why scamper gave up, in its own word."""
    return None if record.stop_reason in _NO_REASON else record.stop_reason


def _time(record: _Record, replies: Iterable[_Reply]) -> str:
    """When it began; a start of 0 is none, and then the time of its first probe that was answered is the nearest."""
    moments = (reply.tx for reply in replies if reply.tx is not None)
    start_ns = 0 if record.start is None else _since_1970(record.start)
    start_ns = start_ns or min(map(_since_1970, moments), default=0)
    return moment(start_ns, "start") if start_ns else NO_TIME


def _since_1970(moment: _Moment) -> int:
    return moment.sec * _SECOND_NS + moment.usec * _MICROSECOND_NS


SCAMPER = Reader(
    "scamper", 1, ("application/vnd.outputd.scamper+json",),
    "the first object has `type` `cycle-start` (or another of a cycle) and `list_name`, `trace` and `stop_reason`, or"
    " `ping` and `ping_sent`; M-Lab's may have an object with `UUID` before it, or it in `Trace`",
    claims, read,
)  # fmt: skip
"""scamper's JSON."""
