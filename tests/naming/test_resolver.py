"""What `outputd.naming.resolver` promises: the name of an address, from a server that may be dead, slow or mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.naming import resolver
from outputd.naming.resolver import Server, Silent, Unknown, may_be_asked, name_of, server_of, servers_in
from tests.kit.reverse import ReverseServer
from tests.kit.running import REACTOR, eventually

NAMES: dict[str, Sequence[bytes]] = {
    "8.8.8.8": [b"dns.example"],
    "2001:db8::1": [b"six.example"],
    "8.8.4.4": [b"b.example", b"a.example"],
    "1.1.1.1": [b"<script>alert(1)\n\x1b[0m</script>.example"],
    "1.1.1.2": [b"xn--bcher-kva.Example."],
    "1.1.1.3": [(b"\xff" * 60 + b".") * 3],
    "1.1.1.4": [b"=cmd.example"],
}


def sockets() -> int:
    """How many this process has open."""
    return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())


class Asking(TestCase):
    def setUp(self) -> None:
        self.there = ReverseServer(NAMES).open()
        self.addCleanup(self.there.close)
        self.patch(resolver, "WAITS_S", (0.05, 0.05))

    async def name(self, ip: str) -> str | None:
        return await name_of(ip, [self.there.server], REACTOR)

    async def test_an_address_has_its_name_of_several_the_first_as_text_or_none(self) -> None:
        for ip, name in (("8.8.8.8", "dns.example"), ("2001:db8::1", "six.example"), ("8.8.4.4", "a.example"),
                         ("9.9.9.9", None)):  # fmt: skip
            self.assertEqual(name, await self.name(ip))

    async def test_whatever_a_name_holds_it_is_harmless_ascii(self) -> None:
        self.assertEqual(
            r"\060script\062alert\0401\041\010\027\0910m\060\047script\062.example",
            await self.name("1.1.1.1"),
        )
        self.assertEqual("xn--bcher-kva.example", await self.name("1.1.1.2"))
        self.assertEqual(r"\061cmd.example", await self.name("1.1.1.4"))
        long = await self.name("1.1.1.3")
        assert long is not None
        self.assertEqual((255, True), (len(long), long.isascii()))

    async def test_a_server_that_cannot_tell_is_told_from_one_that_says_there_is_none(self) -> None:
        self.there.code = dns.ESERVER
        with self.assertRaises(Unknown):
            await self.name("8.8.8.8")

    async def test_silence_ends_with_its_time_and_leaves_nothing_open(self) -> None:
        before = sockets()
        self.there.reply = lambda message: []
        with self.assertRaises(Silent):
            await self.name("8.8.8.8")
        self.assertEqual(2, len(self.there.asked))
        await eventually(lambda: sockets() == before)

    async def test_a_second_server_answers_for_a_first_that_is_not_there(self) -> None:
        closed = ReverseServer({}).open()
        gone = closed.server
        await closed.close()
        self.assertEqual("dns.example", await name_of("8.8.8.8", [gone, self.there.server], REACTOR))

    async def test_what_is_no_answer_to_the_question_is_passed_over(self) -> None:
        def mean(message: dns.Message) -> list[bytes]:
            right = message.toStr()
            message.id ^= 1
            other_id = message.toStr()
            message.id ^= 1
            asked, message.queries = message.queries, [dns.Query(b"other.example", dns.PTR)]
            other_name = message.toStr()
            message.queries, message.answer = asked, 0
            question = message.toStr()
            loop = right[:12] + b"\xc0\x0c" * 20
            return [b"", b"\0", b"\xff" * 512, other_id, other_name, question, loop, right, right]

        self.there.reply = mean
        self.assertEqual("dns.example", await self.name("8.8.8.8"))

    async def test_more_than_an_answer_may_have_is_not_read(self) -> None:
        """RFC 1035, 4.2.1: a few KiB can be made so that to read them takes the reactor's thread for a second."""

        def long(message: dns.Message) -> list[bytes]:
            right = message.toStr()
            message.maxSize = 0
            other = dns.RRHeader(message.queries[0].name.name, dns.PTR, payload=dns.Record_PTR(b"a.example"))
            message.answers = [other] * 100
            return [message.toStr(), right]

        self.there.reply = long
        self.assertEqual("dns.example", await self.name("8.8.8.8"))

    async def test_a_stranger_on_another_port_is_not_believed(self) -> None:
        stranger = ReverseServer({"8.8.8.8": [b"stranger.example"]}).open()
        self.addCleanup(stranger.close)

        def by_the_stranger(message: dns.Message) -> list[bytes]:
            assert stranger.transport is not None
            message.answers = [
                dns.RRHeader(message.queries[0].name.name, dns.PTR, payload=dns.Record_PTR(b"s.example"))
            ]
            stranger.transport.write(message.toStr(), self.peer)
            return []

        answer = self.there.datagramReceived

        def remember(datagram: bytes, addr: tuple[str, int]) -> None:
            self.peer = addr
            answer(datagram, addr)

        self.patch(self.there, "datagramReceived", remember)
        self.there.reply = by_the_stranger
        with self.assertRaises(Silent):
            await self.name("8.8.8.8")

    async def test_who_is_cancelled_leaves_nothing_open(self) -> None:
        before = sockets()
        asking = Deferred.fromCoroutine(self.name("8.8.8.8"))
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        await eventually(lambda: sockets() == before)


class Servers(SynchronousTestCase):
    def test_those_of_a_resolv_conf_are_three_at_most_or_this_machine(self) -> None:
        text = "# nameserver 9.9.9.9\nsearch x\nnameserver 192.0.2.1\n nameserver 2001:DB8::1 \nnameserver\nnameserver"
        self.assertEqual((Server("192.0.2.1"), Server("2001:db8::1")), servers_in(text))
        self.assertEqual(3, len(servers_in("nameserver 192.0.2.1\n" * 5)))
        self.assertEqual((Server("127.0.0.1"),), servers_in(""))

    def test_one_may_be_named_with_its_port(self) -> None:
        for text, server in {
            "192.0.2.1": Server("192.0.2.1"), "192.0.2.1:5353": Server("192.0.2.1", 5353),
            "2001:db8::1": Server("2001:db8::1"), "[2001:db8::1]:5353": Server("2001:db8::1", 5353),
        }.items():  # fmt: skip
            self.assertEqual(server, server_of(text))
        for text in ("dns.example", "", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:0", "192.0.2.1:70000", "[::1", "1.2.3"):
            self.assertRaises(ValueError, server_of, text)

    def test_private_addresses_are_asked_for_only_where_they_may_have_names(self) -> None:
        near, far = Server("192.168.1.1"), Server("8.8.8.8")
        for ip in ("10.0.0.1", "fd00::1", "100.64.0.1"):
            self.assertTrue(may_be_asked(ip, [near, Server("127.0.0.53")]), ip)
            self.assertFalse(may_be_asked(ip, [near, far]), ip)
        for ip in ("1.1.1.1", "2600::1"):
            self.assertTrue(may_be_asked(ip, [far]), ip)
        for ip in ("127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "169.254.0.1"):
            self.assertFalse(may_be_asked(ip, [near]), ip)
