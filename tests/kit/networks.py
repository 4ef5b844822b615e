"""Files of networks for --asn-db, as others publish them: MaxMind's format, and the table of iptoasn.com."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from ipaddress import IPv4Network, ip_network
from typing import Any

from twisted.trial.unittest import SkipTest

MAXMIND = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"}
IPINFO = {"asn": "AS64500", "name": "Example Net", "domain": "example.net"}
IPINFO_LITE = {"asn": "AS64500", "as_name": "Example Net", "country": "Nowhere"}
TABLE = b"""\
0.0.0.0\t8.8.7.255\t0\tNone\tNot routed
8.8.8.0\t8.8.8.255\t64500\tZZ\tExample Net
8.8.9.0\t8.8.9.255\t64501\tZZ\tOther Net, Inc.
2001:db8::\t2001:db8:0:ffff:ffff:ffff:ffff:ffff\t64500\tZZ\tExample Net
2001:db8:1::\t2001:db8:1:ffff:ffff:ffff:ffff:ffff\t64502\tZZ\t
"""


def mmdb(records: Mapping[str, Any], ip_version: int = 6, **metadata: Any) -> bytes:
    """A file that has these records, by network; IPv4 is at ::/96 in one of IPv6, as everywhere.

    The test is skipped where the library that reads it, an extra, is not there.
    """
    if find_spec("maxminddb") is None:
        raise SkipTest("maxminddb is not installed")
    tree: list[list[Any]] = [[None, None]]
    for text, record in records.items():
        network = ip_network(text)
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        _put(tree, "0" * 96 + bits if isinstance(network, IPv4Network) and ip_version == 6 else bits, record)
    data, places = b"", {}
    for record in records.values():
        places[id(record)] = len(data)
        data += _value(record)
    count = len(tree)
    nodes = b""
    for side in (side for node in tree for side in node):
        number = side if isinstance(side, int) else count + (0 if side is None else 16 + places[id(side)])
        nodes += number.to_bytes(4, "big")
    said = {
        "node_count": count, "record_size": 32, "ip_version": ip_version, "database_type": "Test-ASN",
        "languages": [], "binary_format_major_version": 2, "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000, "description": {}, **metadata,
    }  # fmt: skip
    return nodes + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _value({
        name: _number(5, value) if name in _SHORT else _number(9, value) if name == "build_epoch" else value
        for name, value in said.items()
    })  # fmt: skip


def _put(tree: list[list[Any]], bits: str, record: Any) -> None:
    node = 0
    for bit in map(int, bits[:-1]):
        if tree[node][bit] is None:
            tree.append([None, None])
            tree[node][bit] = len(tree) - 1
        node = tree[node][bit]
    tree[node][int(bits[-1])] = record


_SHORT = ("record_size", "ip_version", "binary_format_major_version", "binary_format_minor_version")
"""Members of the metadata that are of 16 bits."""


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return _typed(2, len(value.encode())) + value.encode()
    if isinstance(value, int):
        return _number(6, value)
    if isinstance(value, Mapping):
        return _typed(7, len(value)) + _joined(part for pair in value.items() for part in pair)
    if isinstance(value, bytes):
        return value
    return _typed(11, len(value)) + _joined(value)


def _number(kind: int, value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _typed(kind, len(raw)) + raw


def _typed(kind: int, size: int) -> bytes:
    """The byte that says a kind and a size, up to 284 here, and what follows it."""
    low, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return bytes([kind << 5 | low]) + more if kind < 8 else bytes([low, kind - 7]) + more


def _joined(values: Iterable[Any]) -> bytes:
    return b"".join(map(_value, values))
