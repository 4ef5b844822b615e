"""Records of warts as scamper writes them, for tests of what reads them: from warts(5), and nothing of the reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_address

TRACE, PING = 6, 7
START = struct.pack(">II", 1_700_000_000, 250_000)


def record(kind: int, content: bytes) -> bytes:
    """One record of a kind."""
    return struct.pack(">HHI", 0x1205, kind, len(content)) + content


def fields(values: Mapping[int, bytes]) -> bytes:
    """Parameters by their number, which begins at 1: the flags of those there are, their length, and they."""
    if not values:
        return b"\0"
    groups = [0] * ((max(values) + 6) // 7)
    for number in values:
        groups[(number - 1) // 7] |= 1 << (number - 1) % 7
    linked = bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])
    content = b"".join(values[number] for number in sorted(values))
    return linked + struct.pack(">H", len(content)) + content


def address(text: str) -> bytes:
    """An address that stands where it is needed."""
    packed = ip_address(text).packed
    return bytes([len(packed), 1 if len(packed) == 4 else 2]) + packed


def told(number: int) -> bytes:
    """An address that was written before in the same record."""
    return b"\0" + struct.pack(">I", number)


def known(number: int, text: str) -> bytes:
    """A record of an address, as scampers wrote until 2010."""
    packed = ip_address(text).packed
    return record(5, bytes([number % 255, 1 if len(packed) == 4 else 2]) + packed)


def hop(ttl: int, addr: bytes, rtt_us: int, icmp: tuple[int, int] = (11, 0), **more: bytes) -> bytes:
    """A reply in a trace; `more` are parameters by their number, as in `_5`."""
    others = {int(name[1:]): value for name, value in more.items()}
    return fields({2: bytes([ttl]), 6: struct.pack(">I", rtt_us), 7: bytes(icmp), 18: addr, **others})


def trace(*hops: bytes, **more: bytes) -> bytes:
    """A trace of three TTLs to 192.0.2.9 that says it has arrived."""
    others = {int(name[1:]): value for name, value in more.items()}
    usual = {5: START, 6: b"\1", 9: b"\2", 11: b"\4", 15: b"\1", 19: b"\0\3", 26: address("198.51.100.1")}
    content = fields({**usual, 27: address("192.0.2.9"), **others})
    return record(TRACE, content + struct.pack(">H", len(hops)) + b"".join(hops) + b"\0\0")


def ping(*replies: bytes, **more: bytes) -> bytes:
    """A ping of four probes to 192.0.2.9."""
    others = {int(name[1:]): value for name, value in more.items()}
    usual = {5: START, 15: b"\0\4", 16: b"\0", 20: address("198.51.100.1"), 21: address("192.0.2.9")}
    return record(PING, fields({**usual, **others}) + struct.pack(">H", len(replies)) + b"".join(replies))


def reply(seq: int, rtt_us: int, icmp: tuple[int, int] = (0, 0), **more: bytes) -> bytes:
    """A reply to a ping, of the target."""
    others = {int(name[1:]): value for name, value in more.items()}
    usual = {5: bytes(icmp), 6: struct.pack(">I", rtt_us), 7: struct.pack(">H", seq), 12: told(1)}
    return fields({**usual, **others})
