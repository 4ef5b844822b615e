"""Nothing is left of a connection that has ended, without the collector of cycles, which runs seldom."""

from __future__ import annotations

import gc
import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from pathlib import Path

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.protocol import BaseProtocol
from twisted.internet.tcp import Server
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from outputd.web.connection import Channel
from outputd.web.outlet import Outlet
from outputd.web.request import CappedRequest
from tests.kit.certificates import write_certificate
from tests.kit.makers import a_result, body_of
from tests.kit.running import Running, eventually

_TIMES = 3
_RESULT = body_of(a_result())
_WAYS = {
    "says nothing": b"",
    "half a hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half a line": b"POST /resu",
    "half a head": b"POST /results HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + _RESULT,
    "half a chunk": b"POST /results HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n[",
    "a result": b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(_RESULT), _RESULT),
    "no JSON": b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n[{]}}",
    "no gzip": b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n[{]}}",
    "too long": b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n" + _RESULT,
    "no HTTP": b"GET\r\n\r\n",
    "nowhere": b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "a question": b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n",
    "the last question": b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a file": b"GET /dump HTTP/1.1\r\nHost: x\r\n\r\n",
}
_ANSWERED = list(_WAYS)[6:]


def alive() -> Counter[str]:
    """What there is of connections; gc.get_objects names all that could be in a cycle."""
    mine = (Channel, CappedRequest, Outlet, Server, BaseProtocol)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, mine))


class Leftovers(TestCase):
    """Rule 9: memory does not grow with the number of short connections."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()

    async def begin(self, *flags: str) -> None:
        self.it = Running(self.place / "data", *flags).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.it.stop()))
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    async def assert_nothing_left(
        self, port: str, context: ssl.SSLContext | None = None, ways: Mapping[str, bytes] = _WAYS
    ) -> None:  # fmt: skip
        site = {"port": self.it.parts.results_site, "health-port": self.it.parts.health_site}[port]
        number, before = self.it.port(port), alive()

        def meet(said: bytes, is_answered: bool) -> None:
            for _ in range(_TIMES):
                with socket.create_connection(("127.0.0.1", number), 10) as bare:
                    connection = bare if context is None else context.wrap_socket(bare, server_hostname="localhost")
                    with suppressed(OSError), connection:
                        connection.sendall(said)
                        if is_answered:
                            connection.recv(65536)

        for name, said in ways.items():
            await deferToThread(meet, said, name in _ANSWERED)
            with suppressed(AssertionError):  # then the next line says what is left
                await eventually(lambda: not site.channels and not site.in_flight and alive() == before)
            self.assertEqual(before, alive(), f"{port}: {name}")

    async def test_on_both_ports(self) -> None:
        await self.begin()
        for port in ("port", "health-port"):
            await self.assert_nothing_left(port)

    async def test_of_a_long_answer_that_was_not_read_to_its_end(self) -> None:
        """What was unsent of it, above all."""
        await self.begin()
        for _ in range(3):
            await self.it.post(body_of(a_result(error="e" * (1 << 20))))
        both_ends = {"Channel", "HTTP11ClientProtocol"}  # ours as a client hears of the end by itself
        await eventually(lambda: not self.it.site.channels and not alive().keys() & both_ends)
        question = b"GET /recent HTTP/1.1\r\nHost: x\r\n\r\n"
        await self.assert_nothing_left("health-port", ways={"a question": question})

    async def test_over_tls(self) -> None:
        """What says something else than TLS included."""
        authority = trustme.CA()
        chain, key = write_certificate(self.place, "ours", authority.issue_cert("localhost"))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        await self.begin(f"--tls-cert={chain}", f"--tls-key={key}")
        for port in ("port", "health-port"):
            await self.assert_nothing_left(port, context)
            await self.assert_nothing_left(port)
