"""Which addresses may be fed as hops."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from ipaddress import IPv6Network, ip_network
from typing import Final

from outputd.results.addresses import packed

FEED_ALL: Final = "all"
FEED_PUBLIC: Final = "public"
# Rule 17: in no mode a target for a ping.
_NEVER_FED: Final = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
)
# The blocks of the two registries of special-purpose addresses, and whether each is "globally reachable":
#   https://www.iana.org/assignments/iana-ipv4-special-registry (as of 2025-10-09)
#   https://www.iana.org/assignments/iana-ipv6-special-registry (as of 2025-10-09)
# The most specific block decides (RFC 8190), which opens a few holes in 192.0.0.0/24 and 2001::/23. Carried here
# because `ipaddress.is_global` follows the registries differently in each Python version.
#
# Where the registry says N/A, False is kept: 6to4 (2002::/16, and its relays) and Teredo (2001::/32) reach whatever
# IPv4 address lies in them, over tunnels that are no longer run, and ORCHID (2001:10::/28) has been withdrawn.
SPECIAL_PURPOSE: Final = {
    "0.0.0.0/8": False,  # this network
    "10.0.0.0/8": False,  # private use
    "100.64.0.0/10": False,  # shared address space (CGNAT)
    "127.0.0.0/8": False,  # loopback
    "169.254.0.0/16": False,  # link local
    "172.16.0.0/12": False,  # private use
    "192.0.0.0/24": False,  # IETF protocol assignments
    "192.0.0.9/32": True,  # port control protocol anycast
    "192.0.0.10/32": True,  # TURN anycast
    "192.0.2.0/24": False,  # documentation
    "192.31.196.0/24": True,  # AS112-v4
    "192.52.193.0/24": True,  # AMT
    "192.88.99.0/24": False,  # 6to4 relay anycast, withdrawn (N/A)
    "192.88.99.2/32": False,  # 6a44 relay
    "192.168.0.0/16": False,  # private use
    "192.175.48.0/24": True,  # direct delegation AS112
    "198.18.0.0/15": False,  # benchmarking
    "198.51.100.0/24": False,  # documentation
    "203.0.113.0/24": False,  # documentation
    "240.0.0.0/4": False,  # reserved, limited broadcast
    "::/128": False,  # unspecified
    "::1/128": False,  # loopback
    "::ffff:0:0/96": False,  # IPv4-mapped
    "64:ff9b::/96": True,  # NAT64
    "64:ff9b:1::/48": False,  # NAT64, local use
    "100::/64": False,  # discard only
    "100:0:0:1::/64": False,  # dummy prefix
    "2001::/23": False,  # IETF protocol assignments
    "2001::/32": False,  # Teredo (N/A)
    "2001:1::1/128": True,  # port control protocol anycast
    "2001:1::2/128": True,  # TURN anycast
    "2001:1::3/128": True,  # DNS-SD service registration anycast
    "2001:2::/48": False,  # benchmarking
    "2001:3::/32": True,  # AMT
    "2001:4:112::/48": True,  # AS112-v6
    "2001:10::/28": False,  # ORCHID, withdrawn (N/A)
    "2001:20::/28": True,  # ORCHIDv2
    "2001:30::/28": True,  # drone remote ID
    "2001:db8::/32": False,  # documentation
    "2002::/16": False,  # 6to4 (N/A)
    "2620:4f:8000::/48": True,  # direct delegation AS112
    "3fff::/20": False,  # documentation
    "5f00::/16": False,  # SRv6 SIDs
    "fc00::/7": False,  # unique local
    "fe80::/10": False,  # link local
}


def feedable(mode: str) -> Callable[[str], bool]:
    """The test whether a canonical address may be fed, for one of the modes of ``--feed``; ValueError for another."""
    if mode not in _KEPT_BACK:
        raise ValueError(f"{mode!r} is neither {FEED_ALL!r} nor {FEED_PUBLIC!r}")
    edges = _KEPT_BACK[mode]

    def may_be_fed(address: str) -> bool:
        data = packed(address)
        # The edges are where blocks begin and end, in turn: after an even number of them no block is open.
        return bisect_right(edges[len(data)], int.from_bytes(data, "big")) % 2 == 0

    return may_be_fed


def _edges(kept_back: list[str], but_for: list[str], version: int) -> list[int]:
    """Where what is kept back begins and ends, ascending; a block of ``but_for`` wins over the one around it."""
    kept, let_through = _spans(kept_back, version), _spans(but_for, version)
    edges: list[int] = []
    for point in sorted({edge for span in kept + let_through for edge in span}):
        is_kept = any(low <= point < high for low, high in kept)
        is_let_through = any(low <= point < high for low, high in let_through)
        if (is_kept and not is_let_through) is (len(edges) % 2 == 0):
            edges.append(point)
    return edges


def _spans(blocks: list[str], version: int) -> list[tuple[int, int]]:
    """The first address of each block of this IP version, and the first one after it."""
    networks = [network for network in map(ip_network, blocks) if network.version == version]
    return [(int(network.network_address), int(network.broadcast_address) + 1) for network in networks]


def _kept_back(blocks: list[str], but_for: list[str]) -> dict[int, list[int]]:
    """The edges for packed addresses of 4 and of 16 bytes."""
    return {4: _edges(blocks, but_for, 4), 16: _edges(blocks, but_for, 6)}


def _translated(block: str) -> str:
    """An IPv4 block as NAT64 shows it."""
    address, bits = block.split("/")
    return f"{_NAT64}{address}/{96 + int(bits)}"


_NAT64: Final = "64:ff9b::"
_SPECIAL: Final = [block for block, reachable in SPECIAL_PURPOSE.items() if not reachable]
_REACHABLE: Final = [block for block, reachable in SPECIAL_PURPOSE.items() if reachable]
# RFC 6052, 3.1: no IPv4 address that is not global may stand behind the well-known prefix of NAT64. Routers behind a
# translator show themselves so all the same (64:ff9b::10.0.0.1); the Internet cannot reach them.
_NOT_BEHIND_NAT64: Final = [_translated(block) for block in (*_NEVER_FED, *_SPECIAL) if ":" not in block]
# Nothing outside 2000::/3 is given out as global unicast (RFC 4291, 2.4) but for NAT64: not site-local addresses
# (fec0::/10), nor IPv4 ones in a dress of IPv6 (::127.0.0.1, ::ffff:0:127.0.0.1).
_NOT_GLOBAL: Final = [
    *map(str, IPv6Network("::/3").address_exclude(IPv6Network(f"{_NAT64}/96"))), "4000::/2", "8000::/1",
]  # fmt: skip
_KEPT_BACK: Final = {
    FEED_ALL: _kept_back([*_NEVER_FED], []),
    FEED_PUBLIC: _kept_back(
        [*_NEVER_FED, *_SPECIAL, *_NOT_BEHIND_NAT64, *_NOT_GLOBAL],
        [block for block in _REACHABLE if not block.startswith(_NAT64)],
    ),
}
