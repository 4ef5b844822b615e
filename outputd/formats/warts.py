"""Warts, the binary form of scamper's results, taken apart into what scamper's own JSON says of them.

The layout is that of warts(5), and for pings that which scamper writes: https://www.caida.org/catalog/software/scamper.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

from outputd.formats.reader import NotOfThisFormat, Reader, Refused, Unread, unread
from outputd.formats.scamper import MOST_ITEM_BYTES, result_of
from outputd.results.model import PingResult

MAGIC = b"\x12\x05"
"""What each record begins with."""
HEADER = struct.Struct(">2sHI")
"""What each record begins with: MAGIC, its kind, and how many bytes follow."""
_ADDRESS, _TRACE, _PING = 5, 6, 7
TOLD_ONCE = frozenset((1, 2, 3, _ADDRESS))
"""Kinds of records that those behind them need: lists, cycles, and addresses."""
WITHOUT_RESULT = TOLD_ONCE | {4}
"""Kinds of records that are passed over: those, and ends of cycles."""
_NAMES = {8: "tracelb", 9: "dealias", 10: "neighbourdisc", 11: "tbit", 12: "sting", 13: "sniff", 14: "host", 15: "http"}
_LEAST_REPLY_BYTES = 8  # flags, the length of the fields, the number of an address, and a TTL or more
_MOST_FLAG_BYTES = 16  # five are known of
_TRACE_METHODS = ("icmp-echo", "udp", "tcp", "icmp-echo-paris", "udp-paris", "tcp-ack")
_TRACE_STOPS = (
    "NONE", "COMPLETED", "UNREACH", "ICMP", "LOOP", "GAPLIMIT", "ERROR", "HOPLIMIT", "GSS", "HALTED", "INPROGRESS",
)  # fmt: skip
_PING_STOPS = ("NONE", "COMPLETED", "ERROR", "HALTED", "INPROGRESS")
_PING_METHODS = (
    "icmp-echo", "tcp-ack", "tcp-ack-sport", "udp", "udp-dport", "icmp-time", "tcp-syn", "tcp-synack", "tcp-rst",
    "tcp-syn-sport", "udp-sport",
)  # fmt: skip


class Broken(ValueError):
    """What is no warts, or damaged."""


class _Addresses:
    """Addresses by number, of which only the places are kept: there may be a million."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = array("I")
        self._lengths = array("H")

    def add(self, start: int, length: int) -> None:
        """The next one: its kind, and its bytes."""
        self._starts.append(start)
        self._lengths.append(length)

    @property
    def latest(self) -> str | None:
        """The text of that which was added last."""
        return self.by_number(len(self._starts) - 1)

    def by_number(self, number: int) -> str | None:
        """The text of one of the Internet; None for one of a link. Raises Broken where there is none."""
        if number >= len(self._starts):
            raise Broken("a record names an address that was not told")
        start = self._starts[number]
        kind, data = self._data[start], self._data[start + 1 : start + self._lengths[number]]
        if kind == 1 and len(data) == 4:
            return inet_ntop(AF_INET, data)
        if kind == 2 and len(data) == 16:
            return inet_ntop(AF_INET6, data)
        return None


class _Reading:
    """One record, and how far it was read."""

    def __init__(self, data: bytes, known: _Addresses) -> None:
        self._data = data
        self._known = known
        """Those that records of their own have told; an old form."""
        self._told = _Addresses(data)
        self._names = 0
        self._length = 0
        self._at = 0

    def fields(self, layout: Layout) -> dict[str, Any]:
        """What it has of a layout; what a newer scamper adds behind that is left out."""
        has = self._flags()
        if not has:
            return {}
        ends = self.number(2) + self._at
        found = {name: take(self) for place, (name, take) in enumerate(layout) if has >> place & 1}
        if self._at > ends:
            raise Broken("a record holds more than it says")
        self._at = ends
        return found

    def _flags(self) -> int:
        has = 0
        for place in range(_MOST_FLAG_BYTES):
            byte = self.number(1)
            has |= (byte & 0x7F) << 7 * place
            if not byte & 0x80:
                return has
        raise Broken("a record has more kinds of fields than there are")

    def take(self, count: int) -> bytes:
        """The next bytes. Raises Broken where they end."""
        data = self._data[self._at : self._at + count]
        if len(data) < count:
            raise Broken("a record is cut off")
        self._at += count
        return data

    def number(self, length: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(length), "big")

    def replies(self) -> int:
        """How many replies follow. Raises Broken where there is no room for so many."""
        count = self.number(2)
        if count * _LEAST_REPLY_BYTES > len(self._data) - self._at:
            raise Broken("a record holds fewer replies than it says")
        return count

    def text(self) -> str:
        """Characters up to a zero byte."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise Broken("a record is cut off")
        text = self.take(end - self._at)
        self._at += 1
        return text.decode(errors="replace")

    def time(self) -> dict[str, int]:
        """A time as scamper's JSON has it."""
        return {"sec": self.number(4), "usec": self.number(4)}

    def rtt(self) -> Decimal:
        """Milliseconds, which were whole microseconds."""
        return Decimal(self.number(4)).scaleb(-3)

    def address(self) -> str | None:
        """One that stands here or, by its number, earlier in this record."""
        length = self.number(1)
        if not length:
            return self._told.by_number(self.number(4))
        self._told.add(self._at, length + 1)
        self.take(length + 1)
        return self._told.latest

    def router(self) -> None:
        """An address that has no number."""
        length = self.number(1)
        self.take(1 + length)

    def known_address(self) -> str | None:
        """One that a record of its own has told, by its number."""
        return self._known.by_number(self.number(4))

    def length(self) -> None:
        """That of `data`."""
        self._length = self.number(2)

    def data(self) -> None:
        """What a probe carried."""
        self.take(self._length)

    def addresses(self) -> None:
        """Those of a record route."""
        for _ in range(self.number(1)):
            self.address()

    def timestamps(self) -> None:
        """Those of routers, with or without addresses."""
        times, addresses = self.number(1), self.number(1)
        self.take(4 * times)
        for _ in range(addresses):
            self.address()

    def extensions(self) -> None:
        """Those of ICMP, such as MPLS labels."""
        self.take(self.number(2))

    def interface(self) -> None:
        """A name with its number, or the number of one that was told."""
        number = self.number(1)
        if not 0 < number <= self._names:
            self.text()
            self._names = max(self._names, number)


Layout = Sequence[tuple[str, Callable[[_Reading], Any]]]


def _from_one(reading: _Reading) -> int:
    return reading.number(1) + 1


def _bytes(length: int) -> Callable[[_Reading], int]:
    def take(reading: _Reading) -> int:
        return reading.number(length)

    return take


_1, _2, _4 = _bytes(1), _bytes(2), _bytes(4)
_TRACE_FIELDS: Layout = (
    ("list", _4), ("cycle", _4), ("src", _Reading.known_address), ("dst", _Reading.known_address),
    ("start", _Reading.time), ("stop_reason", _1), ("stop_data", _1), ("flags8", _1), ("attempts", _1),
    ("hoplimit", _1), ("method", _1), ("probe_size", _2), ("sport", _2), ("dport", _2), ("firsthop", _1), ("tos", _1),
    ("wait", _1), ("loops", _1), ("hop_count", _2), ("gaplimit", _1), ("gapaction", _1), ("loopaction", _1),
    ("probe_count", _2), ("wait_probe", _1), ("confidence", _1), ("src", _Reading.address),
    ("dst", _Reading.address), ("userid", _4), ("offset", _2), ("rtr", _Reading.router), ("squeries", _1),
    ("flags", _4), ("stop_hop", _1), ("errmsg", _Reading.text),
)  # fmt: skip
_HOP_FIELDS: Layout = (
    ("addr", _Reading.known_address), ("probe_ttl", _1), ("reply_ttl", _1), ("flags", _1), ("probe_id", _from_one),
    ("rtt", _Reading.rtt), ("icmp", _2), ("probe_size", _2), ("reply_size", _2), ("reply_ipid", _2),
    ("reply_tos", _1), ("nhmtu", _2), ("q_ipl", _2), ("q_ttl", _1), ("tcp_flags", _1), ("q_tos", _1),
    ("icmpext", _Reading.extensions), ("addr", _Reading.address), ("tx", _Reading.time), ("name", _Reading.text),
)  # fmt: skip
_PING_FIELDS: Layout = (
    ("list", _4), ("cycle", _4), ("src", _Reading.known_address), ("dst", _Reading.known_address),
    ("start", _Reading.time), ("stop_reason", _1), ("stop_data", _1), ("length", _Reading.length),
    ("data", _Reading.data), ("attempts", _2), ("probe_size", _2), ("wait", _1), ("ttl", _1), ("stop_count", _2),
    ("ping_sent", _2), ("method", _1), ("sport", _2), ("dport", _2), ("userid", _4), ("src", _Reading.address),
    ("dst", _Reading.address), ("flags8", _1), ("tos", _1), ("probe_tsps", _Reading.addresses), ("icmpsum", _2),
    ("pmtu", _2), ("timeout", _1), ("wait_us", _4), ("tcpack", _4), ("flags", _4), ("tcpseq", _4),
    ("rtr", _Reading.router), ("timeout_us", _4), ("errmsg", _Reading.text),
)  # fmt: skip
_REPLY_FIELDS: Layout = (
    ("from", _Reading.known_address), ("flags", _1), ("reply_ttl", _1), ("reply_size", _2), ("icmp", _2),
    ("rtt", _Reading.rtt), ("seq", _2), ("reply_ipid", _2), ("probe_ipid", _2), ("proto", _1), ("tcp_flags", _1),
    ("from", _Reading.address), ("RR", _Reading.addresses), ("timestamps", _Reading.timestamps), ("ipid32", _4),
    ("tx", _Reading.time), ("tsreply", lambda reading: reading.take(12)), ("probe_sport", _2), ("reply_tos", _1),
    ("ifname", _Reading.interface), ("nhmtu", _2),
)  # fmt: skip


def claims(body: bytes) -> bool:
    """Whether a body that nobody named begins as warts do: with a list, a cycle, an address or a result."""
    return body.startswith(MAGIC + b"\0") and len(body) > HEADER.size


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result a trace or ping; records of lists, cycles and addresses are passed over."""
    if not body.startswith(MAGIC):
        raise NotOfThisFormat("it does not begin as a record of warts does")
    for record, said in records(body):
        try:
            result = _result(said)
        except (Refused, ValueError) as error:
            yield unread(error, record)
        else:
            if result is not None:
                yield result


def _result(said: Mapping[str, Any]) -> PingResult | None:
    kind = said["type"]
    if kind in WITHOUT_RESULT:
        return None
    if "broken" in said:
        raise Refused(said["broken"])
    if kind not in ("trace", "ping"):
        raise Refused(f"{_NAMES.get(kind, kind)} is not supported", "type")
    return result_of(said)


def records(body: bytes) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Each record with what it says, as scamper's JSON has it: all of a trace or a ping that becomes of a result.

    Of others it says the `type` alone, a number, and of a damaged one why it is `broken`: the last of these is all
    that follows where no record ends.
    """
    known = _Addresses(body)
    known.add(0, 0)  # their numbers begin at 1
    at = 0
    while at < len(body):
        magic, kind, length = HEADER.unpack(body[at : at + HEADER.size].ljust(HEADER.size, b"\0"))
        ends = at + HEADER.size + length
        if magic != MAGIC or ends > len(body):
            yield body[at:], {"type": None, "broken": "cut off" if magic == MAGIC else "no record begins here"}
            return
        record = body[at:ends]
        if kind == _ADDRESS:
            known.add(at + HEADER.size + 1, max(length - 1, 0) & 0xFFFF)
        yield record, _record(kind, record[HEADER.size :], known)
        at = ends


def _record(kind: int, content: bytes, known: _Addresses) -> Mapping[str, Any]:
    try:
        if kind in (_TRACE, _PING):
            if len(content) > MOST_ITEM_BYTES:
                raise Broken("longer than any record of scamper")
            return (_trace if kind == _TRACE else _ping)(_Reading(content, known))
    except Broken as error:
        return {"type": kind, "broken": str(error)}
    return {"type": kind}


def _trace(reading: _Reading) -> Mapping[str, Any]:
    trace = reading.fields(_TRACE_FIELDS)
    hops = [_with_icmp(reading.fields(_HOP_FIELDS)) for _ in range(reading.replies())]
    for hop in hops:
        hop.setdefault("probe_id", 0)
    hops.sort(key=lambda hop: hop.setdefault("probe_ttl", 0))
    last = hops[-1]["probe_ttl"] if hops else 0
    return {
        **trace, "type": "trace", "method": _named(_TRACE_METHODS, trace.get("method", 0) - 1),
        "stop_reason": _named(_TRACE_STOPS, trace.get("stop_reason", 0)), "firsthop": trace.get("firsthop") or 1,
        "hop_count": trace.get("hop_count") or last, "hops": hops,
    }  # fmt: skip


def _ping(reading: _Reading) -> Mapping[str, Any]:
    ping = reading.fields(_PING_FIELDS)
    replies = [_with_icmp(reading.fields(_REPLY_FIELDS)) for _ in range(reading.replies())]
    for reply in replies:
        reply.setdefault("seq", 0)
    return {
        **ping, "type": "ping", "method": _named(_PING_METHODS, ping.get("method", 0)),
        "stop_reason": _named(_PING_STOPS, ping.get("stop_reason", 0)),
        "ping_sent": ping.get("ping_sent", 0), "responses": replies,
    }  # fmt: skip


def _with_icmp(reply: dict[str, Any]) -> dict[str, Any]:
    if "icmp" in reply:
        reply["icmp_type"], reply["icmp_code"] = divmod(reply.pop("icmp"), 256)
    return reply


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


WARTS = Reader(
    "warts", 1, ("application/x-warts",), "the bytes 12 05 00", claims, read,
)  # fmt: skip
"""The reader of scamper's warts."""
