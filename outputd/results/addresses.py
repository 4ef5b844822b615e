"""Canonical text of addresses, and their bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

MAPPED: Final = bytes(10) + b"\xff\xff"


def canonical(text: str) -> str | None:
    """The one spelling of the address that ``text`` spells, IPv4-mapped ones as IPv4; None when it spells none.

    IPv6 is spelled as RFC 5952 says, in hexadecimal throughout: ``::102:304``, never ``::1.2.3.4``.
    """
    try:
        return unpacked(packed(text))
    except (OSError, ValueError):  # no address; a NUL, a lone surrogate
        return None


@lru_cache(maxsize=4096)
def network_of(peer: str) -> str:
    """The /24 or /48 of a peer's address, by which its holder cannot easily become many; a text that is none stays."""
    address = canonical(peer.partition("%")[0])
    if address is None:
        return peer
    return str(ip_network(f"{address}/{48 if ':' in address else 24}", strict=False))


def network_in(text: str) -> IPv4Network | IPv6Network | None:
    """The network that a text spells, IPv4-mapped ones as IPv4, an address alone as one of its own; None for none."""
    address, has_length, length = text.partition("/")
    ip = canonical(address)
    if ip is None or (has_length and not (length.isascii() and length.isdecimal() and len(length) < 4)):
        return None
    bits = 128 if ":" in ip else 32
    mapped_bits = 96 if ":" in address and bits == 32 else 0
    wanted = int(length) - mapped_bits if has_length else bits
    return ip_network(f"{ip}/{wanted}", strict=False) if 0 <= wanted <= bits else None


def is_within(network: IPv4Network | IPv6Network) -> Callable[[str], bool]:
    """Tells whether the text of an address is in a network; one that is none is in no network."""
    length, shift = network.max_prefixlen // 8, network.max_prefixlen - network.prefixlen
    wanted = int(network.network_address) >> shift

    def test(text: str) -> bool:
        try:
            data = packed(text)
        except (OSError, ValueError):
            return False
        return len(data) == length and int.from_bytes(data, "big") >> shift == wanted

    return test


def packed(text: str) -> bytes:
    """The 4 or 16 bytes of an address; OSError or ValueError when ``text`` is none."""
    return inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def unpacked(data: bytes) -> str:
    """The canonical text of the address in these 4 or 16 bytes; ValueError for another number of bytes."""
    if len(data) == 4:
        return inet_ntop(AF_INET, data)
    text = inet_ntop(AF_INET6, data)
    if data.startswith(MAPPED):
        return inet_ntop(AF_INET, data[12:])
    if "." in text:  # glibc prints the IPv4-compatible ones so, musl does not
        return f"::{int.from_bytes(data[12:14], 'big'):x}:{int.from_bytes(data[14:], 'big'):x}"
    return text
