"""The proxies whose word is taken for where a request comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from outputd.results.addresses import canonical
from outputd.results.model import NO_ADDRESS

UNIX = "unix"
"""The word for a peer without an address, which has come by a unix socket."""
Network = IPv4Network | IPv6Network
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";]*)"?', re.IGNORECASE)
_NODE = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]+)(?::\d+)?|(.*:.*:.*)")


class Proxies:
    """Tells who has sent a request: the last in the line of addresses that is no trusted proxy.

    The line is what proxies have written into `Forwarded` (RFC 7239) or `X-Forwarded-For`, and the peer at its end. It
    is read from its end, and only as far as each says who came before it: a client may begin it with what it likes.
    Where both headers are there and do not agree, nobody knows which one the proxy has written: then neither counts.
    """

    def __init__(self, networks: Sequence[Network] = (), trusts_unix: bool = False) -> None:
        self._networks = networks
        self._trusts_unix = trusts_unix

    @classmethod
    def of(cls, text: str) -> Proxies:
        """Those of a list of addresses, CIDR blocks and `unix`. Raises ValueError that names a word that is none."""
        words = [word.strip() for word in text.split(",")]
        return cls([ip_network(word) for word in words if word not in ("", UNIX)], UNIX in words)

    def __bool__(self) -> bool:
        """Whether any is trusted."""
        return self._trusts_unix or bool(self._networks)

    def origin(self, peer: str, forwarded: str, x_forwarded_for: str) -> str:
        """The address that a request comes from, by its peer's and these headers, each empty where it is absent."""
        if not self._trusts(peer):
            return peer
        lines = [map(_of_forwarded, forwarded.split(","))] if forwarded else []
        lines += [map(_node, x_forwarded_for.split(","))] if x_forwarded_for else []
        origins = {self._last_untrusted(peer, list(line)) for line in lines}
        return origins.pop() if len(origins) == 1 else peer

    def _last_untrusted(self, peer: str, line: Iterable[str | None]) -> str:
        last = peer
        for address in reversed(list(line)):
            if address is None:
                break
            last = address
            if not self._trusts(address):
                break
        return last

    def _trusts(self, address: str) -> bool:
        if address == NO_ADDRESS:
            return self._trusts_unix
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _of_forwarded(element: str) -> str | None:
    found = _FOR.search(element)
    return None if found is None else _node(found[1])


def _node(text: str) -> str | None:
    """The address of a node that may bear a port; None for one that is unknown, or hides."""
    found = _NODE.fullmatch(text.strip())
    return None if found is None else canonical(found[1] or found[2] or found[3] or "")
