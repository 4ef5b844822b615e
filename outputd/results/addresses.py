"""Canonical text of addresses, and their bytes."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network
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
