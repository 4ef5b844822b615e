"""HiPerConTracer: the lines of its Ping and Traceroute results, of versions 1 and 2. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from outputd.formats.counts import MOST_TTL, moment
from outputd.formats.documents import without_mark
from outputd.formats.reader import NotOfThisFormat, Reader, Refused, Unread, unread
from outputd.results.addresses import canonical
from outputd.results.model import Hop, PingResult, Traceroute

_ANY_LINE = re.compile(rb"^#(?:\? HPCT |[PTJ][a-z]? )", re.MULTILINE)
_CLAIMED = re.compile(rb"#(?:\? HPCT \w|[PT][a-z]? [\w.:]{1,64} [\w.:]{2,64} [\w.:]{2,64} [0-9a-f]{1,64} \w)")
_BLANK = re.compile(rb"[ \r\n]++")  # a tab begins the line of a hop
_DECIMAL = re.compile(rb"\d{1,19}")
_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]{1,16}")
_NEVER = b"-1"
_MOST_LINE_BYTES = 1024  # the longest that it writes has some 250
_MOST_NS = 2**63 - 1

_TIME_EXCEEDED = 1
_PORT_UNREACHABLE = 104
_TIMEOUT = 200
_NOT_SENT = range(210, 217)
_REACHED = 255
_MEANINGS = {
    100: "scope unreachable",
    101: "network unreachable",
    102: "host unreachable",
    103: "protocol unreachable",
    104: "port unreachable",
    105: "prohibited",
    110: "unreachable",
    210: "not sent",
    211: "not sent: permission denied",
    212: "not sent: network unreachable",
    213: "not sent: host unreachable",
    214: "not sent: no such address of its own",
    215: "not sent: bad size of the message",
    216: "not sent: no buffer space",
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which field of a line is where, counted from 0, how many there are at least, and in which units."""

    method: str
    unit_ns: int
    target: int
    time: int
    ping_status: int
    ping_rtt: int
    ping_fields: int
    hop_count: int
    route_fields: int
    ttl: int
    hop_status: int
    hop_status_base: int
    hop_rtt: int
    hop_ip: int
    hop_fields: int


def _version_1() -> _Layout:
    return _Layout(
        "icmp", unit_ns=1000, target=2, time=3, ping_status=5, ping_rtt=6, ping_fields=7, hop_count=6, route_fields=9,
        ttl=0, hop_status=1, hop_status_base=16, hop_rtt=2, hop_ip=3, hop_fields=4,
    )  # fmt: skip


def _version_2(method: str) -> _Layout:
    return _Layout(
        method, unit_ns=1, target=3, time=4, ping_status=12, ping_rtt=17, ping_fields=20, hop_count=6, route_fields=14,
        ttl=1, hop_status=3, hop_status_base=10, hop_rtt=8, hop_ip=11, hop_fields=12,
    )  # fmt: skip


_LAYOUTS = {b"": _version_1(), b"i": _version_2("icmp"), b"u": _version_2("udp"), b"t": _version_2("tcp")}


def claims(body: bytes) -> bool:
    """Whether a body begins with a line of HiPerConTracer's."""
    return _CLAIMED.match(body) is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result for each probe of a ping, and for each round of a traceroute."""
    body = without_mark(body)
    if not _ANY_LINE.search(body):
        raise NotOfThisFormat("no line of it is one of HiPerConTracer's")
    for start, end, hops_end in _items(body):
        try:
            yield _result(body, start, end, hops_end)
        except Refused as error:
            yield unread(error, body[start:hops_end].rstrip(b"\r\n"))


def _items(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Where the items of a body begin, where the first line of each ends, and the lines of hops that belong to it."""
    start = _end_of_blank(body, 0)
    while start < len(body):
        end = _end_of_line(body, start)
        hops_end = end
        while body.startswith(b"\t", hops_end):
            hops_end = _end_of_line(body, hops_end)
        if not body.startswith(b"#?", start):
            yield start, end, hops_end
        start = _end_of_blank(body, hops_end)


def _end_of_blank(body: bytes, start: int) -> int:
    match = _BLANK.match(body, start)
    return start if match is None else match.end()


def _end_of_line(body: bytes, start: int) -> int:
    return body.find(b"\n", start) + 1 or len(body)


def _result(body: bytes, start: int, end: int, hops_end: int) -> PingResult:
    if not body.endswith(b"\n", start, hops_end):  # an address or a number that is cut is another one
        raise Refused("cut short: its last line has no end")
    if body.startswith(b"\t", start):
        raise Refused("hops without the line of their traceroute")
    fields = _fields(body, start, end)
    kind, layout = fields[0][:2], _LAYOUTS.get(fields[0][2:])
    if kind not in (b"#P", b"#T") or layout is None:
        raise Refused(f"{fields[0][:8].decode('ascii', 'replace')} is not supported: neither a ping nor a traceroute")
    if len(fields) < (layout.ping_fields if kind == b"#P" else layout.route_fields):
        raise Refused("cut short: fields are missing")
    return _ping(layout, fields) if kind == b"#P" else _route(layout, fields, _hops(body, end, hops_end))


def _fields(body: bytes, start: int, end: int) -> list[bytes]:
    if end - start > _MOST_LINE_BYTES:
        raise Refused("longer than any line of HiPerConTracer's")
    return body[start:end].split()


def _hops(body: bytes, start: int, hops_end: int) -> list[list[bytes]]:
    """The fields of each line of a hop, in their order."""
    hops: list[list[bytes]] = []
    while start < hops_end:
        end = _end_of_line(body, start)
        hops.append(_fields(body, start, end))
        if len(hops) > MOST_TTL:
            raise Refused("more hops than there are TTLs")
        start = end
    return hops


def _ping(layout: _Layout, fields: Sequence[bytes]) -> PingResult:
    """One probe. One that could not be sent was not."""
    status = _status(fields[layout.ping_status], 10, "status")
    if status == _TIME_EXCEEDED:
        raise Refused("a ping has no such status", "status")
    is_received = status == _REACHED
    return PingResult(
        _target(layout, fields), int(status not in _NOT_SENT), int(is_received), _time(layout, fields),
        avg_rtt=_rtt(layout, fields[layout.ping_rtt]) if is_received else None, error=_MEANINGS.get(status),
    )  # fmt: skip


def _route(layout: _Layout, fields: Sequence[bytes], lines: Sequence[Sequence[bytes]]) -> PingResult:
    """One round of a traceroute, which has one probe a TTL; that of the last hop is the one to the target."""
    ip = _target(layout, fields)
    if _number(fields[layout.hop_count], "totalHops") != len(lines):
        raise Refused(f"cut short: {len(lines)} hops of {int(fields[layout.hop_count])}", "totalHops")
    hops: list[Hop] = []
    error, is_reached, has_arrived, was_sent = None, False, False, False
    for line in lines:
        if len(line) < layout.hop_fields:
            raise Refused("cut short: fields of a hop are missing")
        status = _status(line[layout.hop_status], layout.hop_status_base, "hop status")
        hops.append(_hop(layout, line, status))
        error = _MEANINGS.get(status, error)
        was_sent = status not in _NOT_SENT
        has_arrived = _has_arrived(layout, hops[-1], status, ip)
        is_reached = is_reached or has_arrived
    return PingResult(
        ip, int(was_sent), int(has_arrived), _time(layout, fields), error=error,
        avg_rtt=hops[-1].rtt if has_arrived else None, traceroute=Traceroute(layout.method, is_reached, error, hops),
    )  # fmt: skip


def _hop(layout: _Layout, line: Sequence[bytes], status: int) -> Hop:
    """One row. Where nothing answered, the line has the address of the target and the time that was waited."""
    ttl = _number(line[layout.ttl], "ttl")
    if ttl > MOST_TTL:
        raise Refused("not a TTL", "ttl")
    if status == _TIMEOUT or status in _NOT_SENT:
        return Hop(ttl, timeout=True)
    return Hop(ttl, line[layout.hop_ip].decode("ascii", "replace"), _rtt(layout, line[layout.hop_rtt]), timeout=False)


def _has_arrived(layout: _Layout, hop: Hop, status: int, ip: str) -> bool:
    """Whether a hop is the target: for a probe by UDP, that nothing listens at its port is an arrival, too."""
    if status == _REACHED:
        return True
    is_refused_port = status == _PORT_UNREACHABLE and layout.method == "udp"
    return is_refused_port and hop.ip is not None and canonical(hop.ip) == ip


def _target(layout: _Layout, fields: Sequence[bytes]) -> str:
    ip = canonical(fields[layout.target].decode("ascii", "replace"))
    if ip is None:
        raise Refused("not an address", "destination")
    return ip


def _time(layout: _Layout, fields: Sequence[bytes]) -> str:
    text = fields[layout.time]
    if not _HEXADECIMAL.fullmatch(text):
        raise Refused("not a time in hexadecimal", "timestamp")
    return moment(int(text, 16) * layout.unit_ns, "timestamp")


def _rtt(layout: _Layout, text: bytes) -> int | None:
    if text == _NEVER:
        return None
    rtt_ns = _number(text, "rtt") * layout.unit_ns
    if rtt_ns > _MOST_NS:
        raise Refused("too long a time", "rtt")
    return rtt_ns


def _status(text: bytes, base: int, field: str) -> int:
    if not _HEXADECIMAL.fullmatch(text) or (base == 10 and not text.isdigit()):
        raise Refused("not a number", field)
    status = int(text, base)
    if status not in _MEANINGS and status not in (_TIME_EXCEEDED, _TIMEOUT, _REACHED):
        raise Refused(f"{status} is no status", field)
    return status


def _number(text: bytes, field: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise Refused("not a number", field)
    return int(text)


HIPERCONTRACER = Reader(
    "hipercontracer", 1, ("application/vnd.outputd.hipercontracer",),
    "the first line begins `#? HPCT `; or it has `#P` or `#T` (with `i`, `u`, `t` or nothing behind it), addresses, and"
    " a time in hexadecimal",
    claims, read,
)  # fmt: skip
"""HiPerConTracer."""
