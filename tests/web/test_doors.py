"""Who makes room when all places of a site are taken: rule 8 of the contract, `--max-connections`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from outputd.security.access import NODE, Access, Holder, line_of, new_token
from outputd.web.answers import Answer, as_json
from outputd.web.connection import OneTooMany
from outputd.web.doors import CROWDING, FULL, NO_REQUEST, SLOW, Doors
from outputd.web.request import CappedRequest, answered
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.wire import over_a_narrow_wire, over_the_wire

HALF = b"POST /results HTTP/1.1\r\n"
READY = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"
WORK = b"GET /work HTTP/1.1\r\nHost: x\r\n\r\n"
PLACES = 4
HERE, THERE = "192.0.2.9", "198.51.100.7"


class DoorsTest(SynchronousTestCase):
    """A site of four places: /results takes a body, /ready is everybody's, /work takes as long as it is told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.token = new_token()
        self.work: list[Deferred[Answer]] = []
        self.routes = Routes([
            Route("POST", "/results", NODE, self.take), Route("GET", "/ready", None, self.ready),
            Route("GET", "/work", None, self.slowly), Route("GET", "/large", None, self.large),
        ])  # fmt: skip
        self.site = self.open_to(Access(self.path))
        self.path.write_text(line_of(Holder(NODE, "graz"), self.token))
        self.site.access.take(self.site.access.read())

    def open_to(self, access: Access) -> Site:
        return Site(self.routes, self.clock, Admission(1 << 30, self.clock.seconds), 1 << 20, PLACES, access)

    def take(self, request: CappedRequest) -> None:
        request.take_body()
        answered(request, self.say({"stored": True}))

    def ready(self, request: CappedRequest) -> None:
        answered(request, self.say({"ready": True}))

    def large(self, request: CappedRequest) -> None:
        answered(request, self.say("x" * 100_000))

    def slowly(self, request: CappedRequest) -> None:
        waiting: Deferred[Answer] = Deferred()
        self.work.append(waiting)

        async def wait() -> Answer:
            return await waiting

        answered(request, wait())

    async def say(self, value: object) -> Answer:
        return as_json(value)

    def post(self, size: int = 2, body: bytes = b"[]") -> bytes:
        """A node's."""
        named = f"Host: x\r\nAuthorization: Bearer {self.token}"
        head = f"POST /results HTTP/1.1\r\n{named}\r\nContent-Length: {size}\r\n\r\n"
        return head.encode() + body

    def come(self, *requests: bytes, host: str = HERE) -> tuple[Any, StringTransport]:
        return over_the_wire(self.site, *requests, host=host)

    def crowd(self, *requests: bytes, host: str = HERE, seconds: float = 1.0) -> list[StringTransport]:
        """All places taken by such, one after the other."""
        transports = []
        for _ in range(PLACES - len(self.site.channels)):
            transports.append(self.come(*requests, host=host)[1])
            self.clock.advance(seconds)
        return transports

    def may_come(self, host: str = HERE) -> bool:
        """Whether one more gets a place."""
        channel = self.site.buildProtocol(IPv4Address("TCP", host, 4001))
        if isinstance(channel, OneTooMany):
            return False
        channel.makeConnection(StringTransport())
        return True

    def gone(self, transports: list[StringTransport]) -> list[bool]:
        return [transport.disconnected for transport in transports]


class Strangers(DoorsTest):
    """Nobody without a token keeps out those who have one."""

    def test_half_a_head_makes_room_the_oldest_first(self) -> None:
        strangers = self.crowd(HALF)
        for number in range(PLACES):
            self.assertTrue(self.may_come())
            self.assertEqual(number + 1, sum(self.gone(strangers[: number + 1])))

    def test_so_does_one_who_has_said_nothing_and_one_who_was_refused(self) -> None:
        """TLS that never begins looks like that."""
        begun = b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        for said in (b"", begun, b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n"):
            strangers = self.crowd(said)
            self.assertTrue(self.may_come())
            self.assertEqual([True, False, False, False], self.gone(strangers))
            for channel in list(self.site.channels):
                channel.connectionLost(Failure(ConnectionDone()))

    def test_a_node_that_posts_has_its_place_however_many_come(self) -> None:
        """Between its requests, within the next, and while it sends a long body slowly."""
        _, idle = self.come(self.post())
        _, half = self.come(self.post() + HALF)
        _, slow = self.come(self.post(100_000))
        for _ in range(100):
            self.come(HALF)
            self.clock.advance(0.05)
        self.assertEqual([False] * 3, self.gone([idle, half, slow]))
        self.assertEqual(b"", slow.value())

    def test_one_whose_token_was_revoked_is_a_stranger(self) -> None:
        nodes = self.crowd(self.post())
        self.assertFalse(self.may_come())
        self.path.write_text(line_of(Holder(NODE, "wien"), new_token()))
        self.site.access.take(self.site.access.read())
        self.site.judge_again()
        self.clock.advance(1)
        self.assertTrue(self.may_come())
        self.assertEqual(1, sum(self.gone(nodes)))

    def test_so_is_one_whose_token_was_replaced_under_the_same_name(self) -> None:
        """Also where it goes on with the old one."""
        nodes = self.crowd(self.post())
        old, self.token = self.post(), new_token()
        self.path.write_text(line_of(Holder(NODE, "graz"), self.token))
        self.site.access.take(self.site.access.read())
        self.site.judge_again()
        for channel in self.site.channels:
            channel.dataReceived(old)
        self.clock.advance(1)
        self.assertTrue(self.may_come())
        self.assertEqual(1, sum(self.gone(nodes)))

    def test_so_is_one_who_goes_on_without_its_token(self) -> None:
        nodes = self.crowd(self.post(), b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        self.clock.advance(1)
        self.assertTrue(self.may_come())
        self.assertEqual(1, sum(self.gone(nodes)))

    def test_so_is_one_who_has_asked_for_what_is_everybody_s(self) -> None:
        """Of whatever networks they are."""
        strangers = [self.come(READY, host=f"192.0.{number}.1")[1] for number in range(PLACES)]
        self.clock.advance(1)
        self.assertTrue(self.may_come("203.0.113.1"))
        self.assertEqual(1, sum(self.gone(strangers)))

    def test_a_flood_makes_room_for_anybody_however_young_it_is(self) -> None:
        """For its own network, too: a node may live there."""
        flood = self.crowd(HALF, seconds=0.0)
        for number, host in enumerate((HERE, "192.0.2.200", THERE)):
            self.assertTrue(self.may_come(host))
            self.assertEqual([True] * (number + 1), self.gone(flood)[: number + 1])
        self.assertEqual({NO_REQUEST: 3}, dict(self.site.doors.turned_away))

    def test_who_may_stay_is_not_turned_out_for_one_of_a_flood(self) -> None:
        """However many come, and however fast: with a token, or with a request that is under way."""
        _, node = self.come(self.post())
        _, working = self.come(WORK)
        for _ in range(100):
            self.assertTrue(self.may_come(THERE))
        self.assertEqual([False] * 2, self.gone([node, working]))

    def test_half_a_head_that_waited_for_an_answer_is_one(self) -> None:
        """What came with a request is looked at when its answer has left."""
        channel, transport = self.come(WORK + HALF)
        self.work.pop().callback(as_json({}, 404))
        self.clock.advance(11)
        self.assertTrue(channel.is_late(self.clock.seconds()))
        self.crowd(WORK)
        self.assertTrue(self.may_come(THERE))
        self.assertTrue(transport.disconnected)

    def test_among_equals_who_has_most_company_goes(self) -> None:
        few = [self.come(HALF, host=THERE)[1]]
        self.clock.advance(0.1)
        many = self.crowd(HALF, seconds=0.1)
        self.clock.advance(1.5)
        self.assertTrue(self.may_come("203.0.113.1"))
        self.assertEqual(([False], [True, False, False]), (self.gone(few), self.gone(many)))


class Slow(DoorsTest):
    """Then it is who is slowest, where nobody shows a token."""

    def setUp(self) -> None:
        super().setUp()
        self.site = self.open_to(Access())

    def begin(self, body: bytes = b"") -> tuple[Any, StringTransport]:
        return self.come(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + body)

    def test_who_drips_goes_and_not_who_sends_as_fast_as_it_can(self) -> None:
        steady, dripping, halting = [self.begin() for _ in range(3)]
        self.crowd(WORK)
        for second in range(10):
            self.clock.advance(1)
            steady[0].dataReceived(b" " * 20_000)
            dripping[0].dataReceived(b" ")
            if second < 4:
                halting[0].dataReceived(b" " * 20_000)
        others = [steady[1], dripping[1], halting[1]]
        self.assertTrue(self.may_come())
        self.assertEqual([False, True, False], self.gone(others))
        self.come(READY)  # for which the first newcomer, who has said nothing yet, made room
        self.assertTrue(self.may_come())
        self.assertEqual([False, True, True], self.gone(others))
        self.assertEqual({SLOW: 2, NO_REQUEST: 1}, dict(self.site.doors.turned_away))

    def test_who_does_not_read_goes(self) -> None:
        _, unread = over_a_narrow_wire(self.site, 100, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        self.crowd(WORK)
        self.clock.advance(2)
        self.assertTrue(self.may_come())
        self.assertTrue(unread.is_aborted)

    def test_who_waits_for_us_does_not(self) -> None:
        self.crowd(WORK)
        self.clock.advance(300)
        self.assertFalse(self.may_come())

    def test_who_was_answered_does_not_either(self) -> None:
        self.crowd(READY)
        self.clock.advance(30)
        self.assertFalse(self.may_come())

    def test_nor_for_one_of_a_flood(self) -> None:
        _, answered = self.come(READY)
        for _ in range(100):
            self.assertTrue(self.may_come(THERE))
        self.assertFalse(answered.disconnected)

    def test_one_who_was_answered_and_begins_another_head_is_no_stranger(self) -> None:
        _, answered = self.come(READY + HALF)
        flood = self.crowd(HALF)
        self.assertTrue(self.may_come(THERE))
        self.assertEqual(([False], [True, False, False]), (self.gone([answered]), self.gone(flood)))

    def test_unless_its_network_has_more_than_half_and_the_newcomer_s_has_not(self) -> None:
        """One stranger who asks for /ready now and then on each of his connections keeps nobody out."""
        idle = self.crowd(READY)
        self.assertFalse(self.may_come("192.0.2.1"))
        self.assertTrue(self.may_come(THERE))
        self.assertEqual([True, False, False, False], self.gone(idle))
        self.assertEqual({FULL: 1, CROWDING: 1}, dict(self.site.doors.turned_away))

    def test_with_half_a_head_before_with_half_a_body(self) -> None:
        self.begin()
        _, half = self.come(HALF)
        self.crowd(WORK)
        self.assertTrue(self.may_come())
        self.assertEqual(([True], {NO_REQUEST: 1}), (self.gone([half]), dict(self.site.doors.turned_away)))


class Counting(DoorsTest):
    """Turned away is counted, told for a minute, and cheap."""

    def test_while_there_is_room_nobody_is(self) -> None:
        self.come(HALF)
        self.clock.advance(5)
        self.come(HALF)
        self.assertEqual((0, None), (self.site.doors.turned_away.total(), self.site.doors.failure))

    def test_it_is_told_until_a_minute_has_passed(self) -> None:
        self.crowd(HALF)
        self.may_come()
        failure = self.site.doors.failure
        assert failure is not None
        self.assertIn("all 4 places are taken", failure.reason)
        self.clock.advance(59)
        self.assertEqual(failure, self.site.doors.failure)
        self.clock.advance(2)
        self.assertIsNone(self.site.doors.failure)

    def test_a_flood_has_it_looked_up_a_few_times_a_second(self) -> None:
        guests = [Patient() for _ in range(PLACES)]
        doors: Doors[Patient] = Doors("the port", self.clock.seconds)
        for _ in range(1000):
            self.assertIsNone(doors.make_room(guests, PLACES, ""))
            self.clock.advance(0.001)
        self.assertLessEqual(guests[0].looks, 11)


class Patient:
    """One who never has to go; counts how often it is looked at."""

    network = ""
    was_answered = False
    is_known = False
    waits_for_us = False
    looks = 0

    def hear(self) -> None:
        """There is nothing."""

    def kept_waiting_s(self, now_s: float) -> float:
        self.looks += 1
        return 0.0
