"""Rules 3 and 17 once more, by `ipaddress` instead of by outputd."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network

from tests.system.load import Result

_NEVER_FED = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "fe80::/10",
        "ff00::/8",
    )
]  # fmt: skip


@cache
def canonical(text: str | None) -> str | None:
    """The one spelling of an address, None for what is none or has a zone."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    return str(address)


@cache
def is_feedable(address: str) -> bool:
    """Whether a canonical address may go to input_service."""
    return not any(ip_address(address) in network for network in _NEVER_FED)


def feedable_hops(results: Iterable[Result]) -> set[str]:
    """All that input_service must hear of these results."""
    found = {
        canonical(hop.get("ip"))
        for result in results
        for hop in (result.get("traceroute") or {}).get("hops") or ()
        if not hop.get("timeout")
    }
    return {address for address in found if address is not None and is_feedable(address)}
