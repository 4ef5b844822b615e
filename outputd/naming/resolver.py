"""Asks a DNS server for the name of an address, and believes no other one's answer."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns

from outputd.naming.words import dns_name
from outputd.results.addresses import canonical
from outputd.results.hop_policy import FEED_ALL, FEED_PUBLIC, feedable

RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
WAITS_S = (2.0, 4.0)
"""How long each server is waited for, in the first round and in the second."""
MOST_SERVERS = 3
"""As resolver(5) has it."""
_IDS = 1 << 16
_MOST_ANSWER_BYTES = 512
"""RFC 1035, 4.2.1. To read 8 KiB that point back to themselves takes half a second of the reactor's thread."""
_is_unicast = feedable(FEED_ALL)
_is_public = feedable(FEED_PUBLIC)


class Server(NamedTuple):
    """Where a DNS server is."""

    host: str
    port: int = PORT

    @property
    def is_ours(self) -> bool:
        """Whether it is on this machine or in a private network, where private addresses may have names."""
        return not _is_public(self.host)


class Silent(Exception):
    """No server has answered; the text says which were asked."""


class Unknown(Exception):
    """A server has answered that it cannot tell."""


def servers_in(text: str) -> tuple[Server, ...]:
    """The servers that a resolv.conf names; without any it is this machine, as resolver(5) says."""
    words = [line.split() for line in text.splitlines()]
    hosts = [canonical(each[1]) for each in words if len(each) > 1 and each[0] == "nameserver"]
    return tuple(Server(host) for host in hosts if host is not None)[:MOST_SERVERS] or (Server("127.0.0.1"),)


def server_of(text: str) -> Server:
    """The server that a text names: an address, or `192.0.2.1:5353`, `[2001:db8::1]:5353`. Raises ValueError."""
    host, port = text, str(PORT)
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
    ip = canonical(host)
    if ip is None or not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 1 << 16:
        raise ValueError(f"{text!r} is no address, or address:port")
    return Server(ip, int(port))


def servers_of_this_machine(path: Path = RESOLV_CONF) -> tuple[Server, ...]:
    """Those that /etc/resolv.conf names now. Blocking."""
    try:
        return servers_in(path.read_text(errors="replace"))
    except OSError:
        return servers_in("")


def may_be_asked(ip: str, servers: Sequence[Server]) -> bool:
    """Whether these servers may learn that an address was measured, and can know its name.

    A private one is no business of a server outside of the private networks.
    """
    return _is_unicast(ip) and (_is_public(ip) or all(server.is_ours for server in servers))


async def name_of(ip: str, servers: Sequence[Server], reactor: Any) -> str | None:
    """The name of an address, None when it has none; of several the first as text. Raises Silent and Unknown."""
    question = dns.Query(ipaddress.ip_address(ip).reverse_pointer.encode(), dns.PTR, dns.IN)
    for wait_s in WAITS_S:
        for server in servers:
            try:
                message = await _ask(question, server, wait_s, reactor)
            except (DeferredTimeout, ConnectionRefusedError, CannotListenError, OSError):
                continue
            return _name_in(message)
    raise Silent(f"no answer from {', '.join(server.host for server in servers)}")


async def _ask(question: dns.Query, server: Server, wait_s: float, reactor: Any) -> dns.Message:
    answered: Deferred[dns.Message] = Deferred()
    asking = _Asking(question, server, answered)
    port = reactor.listenUDP(0, asking, interface="::" if ":" in server.host else "")
    try:
        return await answered.addTimeout(wait_s, reactor)
    finally:
        asking.answered = None
        port.stopListening()


class _Asking(DatagramProtocol):
    """One question, by a socket of its own that takes datagrams of the server alone."""

    def __init__(self, question: dns.Query, server: Server, answered: Deferred[dns.Message]) -> None:
        self._question = question
        self._server = server
        self._id = secrets.randbelow(_IDS)
        self.answered: Deferred[dns.Message] | None = answered

    def startProtocol(self) -> None:
        """See DatagramProtocol."""
        assert self.transport is not None, "it is started by it"
        message = dns.Message(self._id, recDes=1)
        message.queries = [self._question]
        self.transport.connect(*self._server)
        self.transport.write(message.toStr(), self._server)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See DatagramProtocol."""
        if len(datagram) > _MOST_ANSWER_BYTES:
            return
        message = dns.Message()
        try:
            message.fromStr(datagram)
        except Exception:  # whatever the library meets in what a stranger has made: it is no answer
            return
        if message.id == self._id and message.answer and message.queries == [self._question]:
            self._tell(lambda answered: answered.callback(message))

    def connectionRefused(self) -> None:
        """See DatagramProtocol."""
        self._tell(lambda answered: answered.errback(ConnectionRefusedError()))

    def _tell(self, tell: Callable[[Deferred[dns.Message]], None]) -> None:
        answered, self.answered = self.answered, None
        if answered is not None:
            tell(answered)


def _name_in(message: dns.Message) -> str | None:
    """What an answer says. One that was cut short says what fits."""
    if message.rCode == dns.ENAME:
        return None
    if message.rCode != dns.OK:
        raise Unknown(f"code {message.rCode}")
    payloads: Iterable[Any] = (record.payload for record in message.answers if record.type == dns.PTR)
    return min(filter(None, (dns_name(payload.name.name) for payload in payloads)), default=None)
