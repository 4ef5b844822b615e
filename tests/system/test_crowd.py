"""Crowds that mean harm, in short; `make crowd` runs them at full size and prints what they cost."""

from __future__ import annotations

import socket
from functools import partial

import trustme

from tests.kit.certificates import write_certificate
from tests.kit.depth import long
from tests.system.crowd import measure
from tests.system.crowds import KINDS, Door, Size, ask, half_heads, meanwhile
from tests.system.harness import SystemTest, call
from tests.system.waiting import wait_until

_CLIENTS = 30
_TRY_S = 15.0  # then a client comes again
_CROWD, _NEIGHBOUR, _FAR = "127.0.0.1", "127.0.0.9", "127.0.9.9"


class HalfHeads(SystemTest):
    """Rule 8: who keeps opening connections and finishes no head keeps nobody out, not even of its own network."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.directory.parent
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.place / "ca.pem"))
        self.chain, self.key = write_certificate(self.place, "tls", authority.issue_cert("localhost"))

    def assertLetIn(self, door: Door, request: bytes) -> None:  # in unittest's spelling
        """Each of many clients gets its answer, each by a connection of its own, and most of them at once."""
        turned_away = 0
        for _ in range(_CLIENTS):
            while ask(door, request, _TRY_S)[0] != 200:
                turned_away += 1
                self.assertLess(turned_away, _CLIENTS)

    def test_on_the_port_for_results(self) -> None:
        """And who was answered before keeps its connection all the while."""
        outputd = self.outputd("--max-connections=60").start()
        door = partial(Door, outputd.port)
        request = door().post(b"[]")
        with door(_NEIGHBOUR).connect() as kept:
            self.assertTrue(_is_answered_on(kept, request))
            for place in (_NEIGHBOUR, _FAR):
                with meanwhile(half_heads, door(_CROWD), 60):
                    wait_until(lambda: _turned_away(outputd.health_port), "it is full")
                    for _ in range(3):
                        self.assertLetIn(door(place), request)
                        self.assertTrue(_is_answered_on(kept, request))
        self.assertStopped(outputd.stop())

    def test_on_the_health_port(self) -> None:
        outputd = self.outputd().start()
        door = partial(Door, outputd.health_port)
        with meanwhile(half_heads, door(_CROWD), 200):
            wait_until(lambda: _turned_away(outputd.health_port), "it is full")
            self.assertLetIn(door(_NEIGHBOUR), door().head("GET", "/ready"))
        self.assertStopped(outputd.stop())

    def test_over_tls_with_handshakes_that_never_finish(self) -> None:
        outputd = self.outputd("--max-connections=200", f"--tls-cert={self.chain}", f"--tls-key={self.key}")
        outputd.is_ready = lambda: "results go to" in outputd.log  # type: ignore[method-assign]  # it asks in plain HTTP
        outputd.start()
        door = partial(Door, outputd.port, ca=str(self.place / "ca.pem"))
        with meanwhile(half_heads, door(_CROWD), 200):
            wait_until(lambda: "refuses connections" in outputd.log, "it is full")
            self.assertLetIn(door(_NEIGHBOUR), door().post(b"[]"))
        self.assertStopped(outputd.stop())


class Crowds(SystemTest):
    """Rule 9: each of `make crowd`, a small one: memory stays bounded and comes back, and nobody else is cut off."""

    def assertBorne(self, *names: str, is_secured: bool) -> None:  # in unittest's spelling
        """Those of these groups or names break no bound."""
        chosen = [kind for kind in KINDS if kind.group in names or kind.name in names]
        self.assertGreaterEqual(len(chosen), len(names))
        size = Size(requests=24, seconds=3.0, share=0.2)
        figures = [measure(kind, size, is_secured) for kind in chosen]
        self.assertEqual([], [each for each in figures if each["over"]])

    def test_a_few_of_them(self) -> None:
        self.assertBorne("bad JSON", "listeners", is_secured=False)

    @long("tests.system.test_crowd.Crowds.test_a_few_of_them")
    def test_all_while_it_is_open(self) -> None:
        self.assertBorne(*{kind.group for kind in KINDS}, is_secured=False)

    @long("tests.system.test_crowd.Crowds.test_a_few_of_them")
    def test_all_over_tls_and_with_tokens(self) -> None:
        self.assertBorne(*{kind.group for kind in KINDS}, is_secured=True)


def _turned_away(health_port: int) -> int:
    try:
        turned_away: int = call(health_port, "GET", "/health").json["checks"]["connections"]["turned_away"]
    except OSError:  # one of those
        return 0
    return turned_away


def _is_answered_on(connection: socket.socket, request: bytes) -> bool:
    connection.sendall(request)
    return connection.recv(65536).startswith(b"HTTP/1.1 200 ")
