"""What `outputd.web.outlet` promises of answers that are read slowly, or not at all; a number is a rule's."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from outputd.security.access import Access
from outputd.web.request import CappedRequest, send
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from outputd.web.streaming import Streaming
from tests.kit.properties import given, settings
from tests.kit.wire import Narrow, over_a_narrow_wire, over_the_wire

GET = b"GET /answer HTTP/1.1\r\nHost: x\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 4 << 20


def undated(answers: bytes) -> bytes:
    """Answers without the time, which goes on meanwhile."""
    return re.sub(rb"Date: [^\r]*", b"", answers)


class OutletTest(SynchronousTestCase):
    """A site whose /answer is of `size` bytes, and whose /stream has ten parts of `size` bytes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.size = 1000
        self.made = 0
        routes = Routes([Route("GET", "/answer", None, self.answer), Route("GET", "/stream", None, self.stream)])
        self.site = Site(routes, self.clock, Admission(1000, self.clock.seconds), 100, 100, Access())

    def answer(self, request: CappedRequest) -> None:
        self.made += 1
        send(request, 200, b"%d" % self.made * self.size, {})

    def stream(self, request: CappedRequest) -> None:
        parts = iter([b"x" * self.size] * 10)

        async def part() -> bytes | None:
            self.made += 1
            return next(parts, None)

        self.streaming = Deferred.fromCoroutine(Streaming(request, part).run())

    def say(self, room: int, *requests: bytes) -> tuple[Any, Narrow]:
        return over_a_narrow_wire(self.site, room, *requests)


class NextAnswers(OutletTest):
    """Rule 9: who does not read has one answer made, and not thousands."""

    def test_none_is_begun_before_the_last_has_left(self) -> None:
        _, transport = self.say(0, GET * 100)
        self.assertEqual(1, self.made)
        transport.read(500)
        self.assertEqual(1, self.made)
        transport.read(10_000)
        self.assertLess(1, self.made)
        self.assertLess(self.made, 12)

    def test_little_more_is_read_meanwhile(self) -> None:
        _, transport = self.say(0, GET, GET * 600)
        self.assertFalse(transport.is_reading)
        transport.read(10_000_000)
        self.assertTrue(transport.is_reading)
        self.assertEqual(601, self.made)

    def test_what_is_read_is_the_same_however_slowly(self) -> None:
        _, wide = over_the_wire(self.site, GET * 9 + STREAM + GET)
        self.made = 0

        @settings(deadline=None)
        @given(st.lists(st.integers(1, 3000), min_size=1), st.integers(0, 3000))
        def slowly(reads: list[int], room: int) -> None:
            self.made = 0
            channel, transport = self.say(room, GET * 9 + STREAM + GET)
            for size in reads:
                transport.read(size)
            transport.read(1 << 20)
            channel.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(undated(wide.value()), undated(transport.sent))

        slowly()

    def test_a_connection_that_is_to_close_closes_after_it(self) -> None:
        _, transport = self.say(0, GET.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        self.assertFalse(transport.disconnecting)
        transport.read(1 << 20)
        self.assertTrue(transport.disconnecting)
        self.assertTrue(transport.sent.endswith(b"1" * self.size))


class NextAnswersThroughAWrapper(NextAnswers):
    """Where something is around the socket, as at an endpoint `haproxy:tcp:8091`."""

    def say(self, room: int, *requests: bytes) -> tuple[Any, Narrow]:
        return over_a_narrow_wire(WrappingFactory(self.site), room, *requests)

    def test_what_nobody_reads_is_counted(self) -> None:
        self.say(0, GET)
        self.assertLess(self.size, self.site.unsent_bytes)


class Unsent(OutletTest):
    """Rule 9: what nobody reads is bounded, on a connection and in all."""

    def test_who_has_not_read_for_longest_is_cut_off_when_it_is_too_much(self) -> None:
        self.size = LARGE
        transports = []
        for _ in range(3):
            transports.append(self.say(0, GET)[1])
            self.clock.advance(1)
        transports[0].read(2 * LARGE)
        transports += [self.say(0, GET)[1] for _ in range(3)]
        self.assertEqual([False, True, True, False, False, False], [each.is_aborted for each in transports])
        self.assertLess(self.site.unsent_bytes, 4 * LARGE)

    def test_one_alone_may_have_all(self) -> None:
        self.size = 8 * LARGE
        _, transport = self.say(0, GET)
        self.assertFalse(transport.is_aborted)

    def test_nothing_is_counted_of_connections_that_have_ended(self) -> None:
        channel, _ = self.say(100, GET)
        self.assertLess(0, self.site.unsent_bytes)
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(0, self.site.unsent_bytes)

    def test_a_stream_is_made_no_faster_than_it_leaves(self) -> None:
        _, transport = self.say(1500, STREAM)
        self.assertEqual(2, self.made)
        transport.read(1500)
        self.assertEqual(3, self.made)
        transport.read(1 << 20)
        self.assertEqual(11, self.made)

    def test_a_stream_ends_with_its_connection(self) -> None:
        channel, _ = self.say(1500, STREAM)
        channel.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(self.streaming)
        self.assertEqual((0, 0), (self.site.unsent_bytes, self.site.in_flight))
