"""RIPE Atlas: what its API and its probes write of a ping or a traceroute, in all firmwares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from outputd.formats.counts import moment, rtt_ns, time_ns
from outputd.formats.documents import documents, elements, first_object, lines
from outputd.formats.numbers import SECONDS, mean
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Reader, Refused, Unread, unread
from outputd.results.addresses import canonical
from outputd.results.model import Count, Hop, PingResult, Traceroute

_MOST_ITEM_BYTES = 1 << 20  # 255 hops of ten answers with MPLS labels have less
_PREFIX = re.compile(rb"RESULT\s++(?=\{)")
_NEVER = -1
_PORT_UNREACHABLE = "p"


class _Answer(Struct, gc=False):
    """One element of `result`: an answer to a probe, or none; of a traceroute, one in `result` of a hop."""

    source: str | None = msgspec.field(default=None, name="from")
    rtt: Decimal | None = None
    x: str | None = None
    err: str | int | None = None
    error: str | None = None
    late: int | bool | None = None
    dup: int | bool | None = None


class _Element(_Answer, gc=False):
    """One element of `result`, of a ping or of a traceroute."""

    hop: Annotated[int, Meta(ge=0, le=255)] | None = None
    result: list[_Answer] | None = None


class _Measurement(Struct, gc=False):
    """One result as the API has it, or as the probe prints it, without most of what is about the result."""

    type: str | None = None
    dst_addr: str | None = None
    addr: str | None = None
    timestamp: Decimal | None = None
    time: Decimal | None = None
    proto: str | None = None
    sent: Count | None = None
    rcvd: Count | None = None
    avg: Decimal | None = None
    min: Decimal | None = None
    max: Decimal | None = None
    endtime: Decimal | None = None
    paris_id: int | None = None
    error: str | None = None
    result: list[_Element] | None = None


class _Signs(Struct):
    """What a result of the API is told by."""

    type: str | None = None
    msm_id: Any = None
    prb_id: Any = None


class _Wrapper(Struct):
    results: msgspec.Raw


_decode = msgspec.json.Decoder(_Measurement, strict=False).decode  # firmware 0 writes numbers as strings
_decode_signs = msgspec.json.Decoder(_Signs).decode
_decode_wrapper = msgspec.json.Decoder(_Wrapper).decode


def claims(body: bytes) -> bool:
    """Whether a body begins with a result of the API (its type, msm_id and prb_id tell), or as a probe prints one."""
    if _PREFIX.match(body):
        return True
    try:
        signs = _decode_signs(first_object(body))
    except ValueError:
        return False
    return signs.type in ("ping", "traceroute") and signs.msm_id is not None and signs.prb_id is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """The results in a body: one object, an array, one object a line, RESULT lines, or {"results": [...]}."""
    is_first = True
    for item in lines(body) if _PREFIX.match(body) else _items(body):
        prefix = _PREFIX.match(item)
        text = item if prefix is None else item[prefix.end() :]
        try:
            yield _result(text)
        except (Refused, msgspec.DecodeError, RecursionError) as error:
            if is_first and not isinstance(error, Refused) and not text.startswith(b"{"):
                raise NotOfThisFormat("a result of RIPE Atlas is a JSON object") from error
            yield unread(error, item)
        is_first = False


def _items(body: bytes) -> Iterator[bytes]:
    for document in documents(body):
        try:
            results = bytes(_decode_wrapper(document).results) if b'"results"' in document else b""
        except msgspec.DecodeError:
            results = b""
        yield from elements(results) if results.startswith(b"[") else (document,)


def _result(text: bytes) -> PingResult:
    if len(text) > _MOST_ITEM_BYTES:
        raise Refused("too long for one result")
    measurement = _decode(text)
    is_traceroute = measurement.type == "traceroute" or (measurement.type is None and _looks_like_one(measurement))
    if not is_traceroute and measurement.type not in ("ping", None):
        raise Refused("neither a ping nor a traceroute", "type")
    found = measurement.result
    if found is None and (is_traceroute or measurement.sent is None):
        raise Refused("required", "result")
    error = measurement.error or _first_error(found or ())
    ip = canonical(measurement.dst_addr or measurement.addr or "")
    if ip is None:
        raise Refused(error or "no address of a target", "dst_addr")
    seconds = measurement.time if measurement.timestamp is None else measurement.timestamp
    timestamp = NO_TIME if seconds is None else _time(seconds)
    if is_traceroute:
        return _traceroute(measurement, ip, timestamp, error)
    return _ping(measurement, ip, timestamp, error)


def _looks_like_one(measurement: _Measurement) -> bool:
    """Whether a result that does not say its type is a traceroute."""
    if measurement.paris_id is not None or measurement.endtime is not None:
        return True
    return any(element.hop is not None for element in measurement.result or ())


def _ping(measurement: _Measurement, ip: str, timestamp: str, error: str | None) -> PingResult:
    found = measurement.result or ()
    replies = [_rtt(answer.rtt, "result") for answer in found if _is_reply(answer)]
    sent, received, average = measurement.sent, measurement.rcvd, _rtt(measurement.avg, "avg")
    if sent is None and received is None and measurement.avg is None:  # a probe does not sum up
        sent, received = len(replies) + sum(answer.x is not None for answer in found), len(replies)
        average = mean(rtt for rtt in replies if rtt is not None)
    if sent is None or received is None:
        raise Refused("required", "sent" if sent is None else "rcvd")
    least, most = _rtt(measurement.min, "min"), _rtt(measurement.max, "max")
    return PingResult(ip, sent, received, timestamp, avg_rtt=average, error=error, min_rtt=least, max_rtt=most)


def _traceroute(measurement: _Measurement, ip: str, timestamp: str, error: str | None) -> PingResult:
    """A traceroute, with the probes of its last hop as those that were sent."""
    hops: list[Hop] = []
    is_udp = (measurement.proto or "").upper() == "UDP"
    arrivals: list[int | None] = []
    sent, is_reached = 0, False
    for element in measurement.result or ():
        if element.result is None:
            continue
        if element.hop is None:
            raise Refused("required", "result[...].hop")
        if any(answer.x is not None or _is_answer(answer) for answer in element.result):
            sent, arrivals = 0, []
        for answer in element.result:
            if answer.x is not None:
                hops.append(Hop(element.hop, timeout=True))
                sent += 1
            elif _is_answer(answer):
                rtt = _rtt(answer.rtt, "result[...].result[...].rtt")
                hops.append(Hop(element.hop, answer.source, rtt, timeout=False))
                sent += not answer.dup
                if _has_arrived(answer, ip, is_udp):
                    is_reached = True
                    if not answer.dup:
                        arrivals.append(rtt)
    route = Traceroute((measurement.proto or "").lower() or None, is_reached, error, hops)
    average = mean(rtt for rtt in arrivals if rtt is not None)
    return PingResult(ip, sent, len(arrivals), timestamp, avg_rtt=average, error=error, traceroute=route)


def _is_answer(answer: _Answer) -> bool:
    """Whether it answers a probe of its hop: what is late answers an earlier one."""
    return answer.late is None and answer.error is None and (answer.source is not None or answer.rtt is not None)


def _has_arrived(answer: _Answer, ip: str, is_udp: bool) -> bool:
    """Whether an answer is the target's own: for a probe by UDP that is its word that nothing listens at the port."""
    if answer.err is not None and not (is_udp and answer.err == _PORT_UNREACHABLE):
        return False
    return answer.source is not None and (answer.source == ip or canonical(answer.source) == ip)


def _is_reply(answer: _Answer) -> bool:
    return answer.rtt is not None and not answer.dup and answer.late is None and answer.err is None


def _first_error(found: Sequence[_Element]) -> str | None:
    for element in found:
        for answer in (element, *(element.result or ())):
            if answer.error is not None:
                return str(answer.error)
    return None


def _rtt(number: Decimal | None, field: str) -> int | None:
    is_never = number is not None and number.is_finite() and number == _NEVER
    return None if is_never else rtt_ns(number, field)


def _time(seconds: Decimal) -> str:
    return moment(time_ns(seconds, "timestamp", SECONDS), "timestamp")


ATLAS = Reader(
    "atlas",
    1,
    ("application/vnd.outputd.atlas+json",),
    '`type` "ping" or "traceroute", `msm_id` and `prb_id` in the first object; or a first line that begins `RESULT {`',
    claims,
    read,
)
"""RIPE Atlas."""
