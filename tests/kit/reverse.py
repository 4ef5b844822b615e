"""A DNS server on a loopback port, which knows names of addresses, and can be silent, mute or mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address

from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns

from outputd.naming.resolver import Server
from tests.kit.running import REACTOR


class ReverseServer(DatagramProtocol):
    """Answers who asks for the name of an address; `reply` makes the datagrams of an answer."""

    def __init__(self, names: dict[str, Sequence[bytes]]) -> None:
        self.names = {ip_address(ip).reverse_pointer.encode(): said for ip, said in names.items()}
        self.asked: list[bytes] = []
        self.code = dns.OK
        self.reply: Callable[[dns.Message], Sequence[bytes]] = lambda message: [message.toStr()]

    def open(self) -> ReverseServer:
        self._port = REACTOR.listenUDP(0, self, interface="127.0.0.1")
        return self

    async def close(self) -> None:
        await self._port.stopListening()

    @property
    def server(self) -> Server:
        """Where it is."""
        return Server("127.0.0.1", self._port.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        question = dns.Message()
        question.fromStr(datagram)
        name = question.queries[0].name.name
        self.asked.append(name)
        answer = dns.Message(question.id, answer=1, rCode=self.code)
        answer.queries = question.queries
        found = self.names.get(name)
        if found is None and self.code == dns.OK:
            answer.rCode = dns.ENAME
        answer.answers = [dns.RRHeader(name, dns.PTR, payload=dns.Record_PTR(each, 60)) for each in found or ()]
        assert self.transport is not None, "it is open"
        for each in self.reply(answer):
            self.transport.write(each, addr)
