"""What `outputd.web` promises of both sites; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import ssl
from pathlib import Path
from typing import Any, cast

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.intake.admission import Admission
from outputd.intake.counters import Stats
from outputd.security.access import NODE, OPERATOR, Access, Holder, line_of, new_token
from outputd.security.certificates import Certificates
from outputd.web.answers import Answer, as_json
from outputd.web.connection import Channel, OneTooMany, unread_progress
from outputd.web.request import CappedRequest, answered
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.certificates import write_certificate
from tests.kit.makers import a_result, body_of
from tests.kit.running import REACTOR, Running, eventually
from tests.kit.wire import Narrow, Reply, Wire, over_a_narrow_wire, over_the_wire, parsed

GET = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Work:
    """A small application: /echo takes a body, /slow answers when told, /large is not read in one go, /bug is one."""

    def __init__(self) -> None:
        self.under_way: list[Deferred[Answer]] = []
        self.routes = Routes([
            Route("POST", "/echo", None, self.echo, codings=(b"gzip",)),
            Route("GET", "/slow", None, self.slow),
            Route("GET", "/large", None, self.large),
            Route("GET", "/bug", None, self.bug),
            Route("GET", "/secret", OPERATOR, self.slow),
            Route("POST", "/change", NODE, self.slow),
            Route("POST", "/store", NODE, self.slow, codings=(b"gzip",)),
        ])  # fmt: skip

    def echo(self, request: CappedRequest) -> None:
        answered(request, self.say(as_json(request.take_body().decode())))

    async def say(self, answer: Answer) -> Answer:
        return answer

    def slow(self, request: CappedRequest) -> None:
        request.take_body()
        waiting: Deferred[Answer] = Deferred()
        self.under_way.append(waiting)

        async def wait() -> Answer:
            return await waiting

        answered(request, wait())

    def large(self, request: CappedRequest) -> None:
        request.take_body()
        answered(request, self.say((200, bytes(8 << 20), {})))

    def bug(self, request: CappedRequest) -> None:
        request.take_body()

        async def broken() -> Answer:
            raise ZeroDivisionError("a secret")

        answered(request, broken())


class SiteTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.work = Work()
        self.stats = Stats()
        self.admission = Admission(1000, self.clock.seconds, self.stats)
        self.site = Site(self.work.routes, self.clock, self.admission, 100, 3, Access())
        self.site.startFactory()

    def say(self, *requests: bytes) -> tuple[Any, StringTransport]:
        return over_the_wire(self.site, *requests)

    def reply(self, *requests: bytes) -> Reply:
        channel, transport = self.say(*requests)
        self.hang_up(channel)
        return parsed(transport.value())

    def hang_up(self, channel: Any) -> None:
        channel.connectionLost(Failure(ConnectionDone()))

    def sent(self) -> None:
        """All that was written is out: connections that were to close after it are closed."""
        for channel in list(self.site.channels):
            if channel.transport is None or cast(StringTransport, channel.transport).disconnecting:
                self.hang_up(channel)

    def drain(self, deadline_s: float = 5.0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.site.drain(deadline_s))

    def pass_seconds(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)


class Bodies(SiteTest):
    def test_a_body_is_held_until_its_request_is_over(self) -> None:
        """Rule 9: memory is reserved before a body is read, and counted as long as it is held."""
        channel, transport = self.say(POST % 100, b"x" * 60)
        self.assertEqual(self.admission.held_bytes, 100)
        channel.dataReceived(b"x" * 40)
        self.assertEqual(parsed(transport.value()).json, "x" * 100)
        self.assertEqual(self.admission.held_bytes, 0)

    def test_over_the_limit_it_is_refused_and_kept_no_more(self) -> None:
        """Rule 8."""
        self.assertEqual(self.reply(POST % 101, b"x" * 101).status, 413)
        self.assertEqual(self.admission.held_bytes, 0)

    def test_a_chunked_body_is_bounded_as_it_comes(self) -> None:
        """Rule 8: whatever is sent."""
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"32\r\n" + b"x" * 50 + b"\r\n"
        self.assertEqual(self.reply(head, chunk, chunk, b"0\r\n\r\n").json, "x" * 100)
        channel, transport = self.say(head, chunk, chunk, chunk)
        self.assertEqual(self.admission.held_bytes, 0)
        channel.dataReceived(b"0\r\n\r\n")
        self.assertEqual(parsed(transport.value()).status, 413)

    def test_without_room_it_is_refused(self) -> None:
        """Rule 9."""
        self.admission.change(950)
        self.assertEqual(self.reply(POST % 60, b"x" * 60).status, 503)
        self.assertEqual(self.admission.held_bytes, 950)

    def test_one_that_is_of_no_use_holds_nothing(self) -> None:
        """Rule 9: neither while it arrives nor as long as its answer takes, and it costs no POST its room."""
        self.admission.change(990)
        for head in (b"GET /slow", b"POST /change"):
            channel, _ = self.say(head + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"x" * 60)
            self.assertEqual((990, b""), (self.admission.held_bytes, channel.requests[0].content.getvalue()))
            channel.dataReceived(b"x" * 40)
        self.assertEqual((990, 2), (self.admission.held_bytes, len(self.work.under_way)))

    def test_one_that_is_of_no_use_has_its_limit_too(self) -> None:
        """Rule 8."""
        head = b"GET /slow HTTP/1.1\r\nHost: x\r\n"
        self.assertEqual(413, self.reply(head + b"Content-Length: 101\r\n\r\n").status)
        chunk = b"33\r\n" + b"x" * 51 + b"\r\n"
        self.assertEqual(413, self.reply(head + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk).status)

    def test_who_hangs_up_in_the_middle_holds_nothing(self) -> None:
        """Rule 9."""
        channel, _ = self.say(POST % 100, b"x" * 60)
        self.hang_up(channel)
        self.assertEqual((self.admission.held_bytes, self.site.in_flight, len(self.site.channels)), (0, 0, 0))


class SlowBodies(SiteTest):
    """Rule 9: a slow sender keeps no room from others for long."""

    def setUp(self) -> None:
        super().setUp()
        self.admission.limit_bytes = 64 << 20
        self.site.most_body_bytes = 8 << 20

    def test_two_that_trickle_hold_off_no_heavy_body(self) -> None:
        """Rule 9: after 3 s they hold what has come in, and may still send the rest."""
        heavy, slow = self.admission.reserve(), [self.say(POST % (8 << 20), b"x") for _ in range(2)]
        self.assertFalse(heavy.grow(60 << 20))
        self.pass_seconds(3)
        self.assertTrue(heavy.grow(80 << 20))
        heavy.let_go()
        self.assertEqual(2, self.admission.held_bytes)
        channel, transport = slow[0]
        channel.dataReceived(b"x" * ((8 << 20) - 1))
        self.assertEqual((200, 1), (parsed(transport.value()).status, self.admission.held_bytes))

    def test_who_sends_16_kib_a_second_keeps_its_room(self) -> None:
        """Rule 9: what is on its way is not refused in its middle; one that falls silent later is slow, too."""
        channel, _ = self.say(POST % (1 << 20))
        for _ in range(4):
            channel.dataReceived(b"x" * (16 << 10))
            self.pass_seconds(1)
        self.assertEqual(1 << 20, self.admission.held_bytes)
        self.pass_seconds(2)
        self.assertEqual(64 << 10, self.admission.held_bytes)

    def test_who_waits_for_us_is_not_slow(self) -> None:
        """Rule 9: what lies unread in the socket is not the sender's delay."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        _, transport = over_a_narrow_wire(self.site, 100, POST % 100)
        cast(Any, transport).getHandle = lambda: ours
        theirs.send(b"x")
        self.pass_seconds(4)
        self.assertEqual(100, self.admission.held_bytes)

    def test_the_next_one_of_a_connection_has_its_own_time(self) -> None:
        """Rule 9: however long the one before took."""
        channel, _ = self.say(POST % 10, b"x")
        self.pass_seconds(3)
        channel.dataReceived(b"x" * 9 + POST % 100)
        self.pass_seconds(2)
        self.assertEqual(100, self.admission.held_bytes)

    def test_what_is_being_stored_holds_what_it_has_become(self) -> None:
        """Rule 9: however long the disk takes."""
        channel, _ = self.say(POST.replace(b"/echo", b"/store") % 10, b"x" * 10)
        channel.requests[0].memory.become(5000)
        self.pass_seconds(20)
        self.assertEqual(5000, self.admission.held_bytes)


class AtTheHeaders(SiteTest):
    """Rule 8: what the headers say is answered when they are there, and the connection closed."""

    REFUSED = (
        (413, b"POST /echo", b"Content-Length: 1000000000000000"),
        (413, b"POST /echo", b"Content-Length: 101"),
        (404, b"POST /nothing", b"Content-Length: 5"),
        (404, b"POST /nothing", b"Transfer-Encoding: chunked"),
        (405, b"DELETE /slow", b"Content-Length: 5"),
        (405, b"GET /echo", b"Content-Length: 5"),
        (415, b"POST /echo", b"Content-Length: 5\r\nContent-Encoding: br"),
        (415, b"POST /echo", b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip, gzip"),
        (403, b"POST /echo", b"Content-Length: 5\r\nSec-Fetch-Site: cross-site"),
    )

    def test_nobody_waits_for_a_body_that_will_not_be_taken(self) -> None:
        """Rule 8: and with `Expect: 100-continue` the final status comes instead of the 100."""
        for more in (b"", b"\r\nExpect: 100-continue"):
            for status, line, headers in self.REFUSED:
                with self.subTest(line=line, headers=headers + more):
                    self.assert_refused(status, b"%s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (line, headers + more))

    def test_nor_for_one_for_which_there_is_no_room(self) -> None:
        """Rule 9."""
        self.admission.change(1000)
        self.assert_refused(503, POST % 60)
        self.assert_refused(503, b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertEqual((1000, 2), (self.admission.held_bytes, self.stats.refused_posts))

    def test_one_in_chunks_is_refused_at_the_byte_that_is_too_much(self) -> None:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n" + b"x" * 100
        channel, transport = self.say(head)
        self.assertEqual((b"", 100), (transport.value(), self.admission.held_bytes))
        channel.dataReceived(b"x")
        self.assertEqual((413, True), (parsed(transport.value()).status, transport.disconnecting))
        self.assertEqual((0, 0), (self.admission.held_bytes, self.site.in_flight))

    def test_what_follows_is_no_request(self) -> None:
        """However it looks: it is the rest of the body."""
        channel, transport = self.say(POST % 101 + GET, GET)
        channel.dataReceived(GET)
        self.assertEqual((1, []), (transport.value().count(b"HTTP/1.1"), self.work.under_way))

    def test_without_a_body_the_connection_stays(self) -> None:
        _, transport = self.say(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        self.assertEqual((2, False), (transport.value().count(b" 404 "), transport.disconnecting))

    def assert_refused(self, status: int, head: bytes) -> None:
        channel, transport = self.say(head)
        reply = parsed(transport.value())
        self.assertEqual(
            (status, "close", 1), (reply.status, reply.header("Connection"), transport.value().count(b"HTTP/"))
        )
        self.assertTrue(transport.disconnecting)
        self.assertEqual(0, self.site.in_flight)
        self.hang_up(channel)


class ReadingOn(SiteTest):
    """A connection that is refused is closed so that its answer arrives: unread data would make the end a reset."""

    def refused(self, request: bytes = POST % 101) -> tuple[Any, Narrow]:
        channel, transport = over_a_narrow_wire(self.site, 10_000, request)
        self.assertFalse(transport.disconnecting)
        transport.doWrite()
        self.assertIn(b"Connection: close", transport.sent)
        return channel, transport

    def test_the_end_is_told_and_what_still_comes_is_thrown_away(self) -> None:
        for request in (POST % 101, b"no HTTP\r\n\r\n"):
            channel, transport = self.refused(request)
            self.assertTrue(transport.is_half_closed)
            for _ in range(10):
                channel.dataReceived(b"x" * 100_000)
            self.assertFalse(transport.disconnecting or transport.is_aborted)
            self.hang_up(channel)
            self.assertEqual([], self.clock.getDelayedCalls()[1:])

    def test_no_more_than_32_mib(self) -> None:
        channel, transport = self.refused()
        for _ in range(33):
            channel.dataReceived(bytes(1 << 20))
        self.assertTrue(transport.is_aborted)

    def test_no_longer_than_five_seconds(self) -> None:
        _, transport = self.refused()
        self.clock.advance(4.9)
        self.assertFalse(transport.is_aborted)
        self.clock.advance(0.2)
        self.assertTrue(transport.is_aborted)

    def test_it_begins_when_the_answer_has_left(self) -> None:
        _, transport = over_a_narrow_wire(self.site, 10, POST % 101)
        transport.doWrite()
        self.assertFalse(transport.is_half_closed)
        transport.read(10_000)
        transport.doWrite()
        self.assertTrue(transport.is_half_closed)

    def test_it_holds_up_no_stop(self) -> None:
        _, transport = self.refused()
        self.drain()
        self.assertTrue(transport.disconnected)


class NotAnyMore(SiteTest):
    """Rule 25: who may not have something any more gets none of it, however far it has come."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.site.access = Access(self.path)
        self.tokens = {role: new_token() for role in (NODE, OPERATOR)}
        self.let_in(*self.tokens)

    def let_in(self, *roles: str) -> None:
        self.path.write_text("".join(f"{line_of(Holder(role, 'anna'), self.tokens[role])}\n" for role in roles))
        self.site.access.take(self.site.access.read())
        self.site.judge_again()

    def ask(self, method: str, path: str, role: str, more: str = "\r\n") -> tuple[Any, StringTransport]:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.tokens[role]}\r\n{more}"
        return self.say(head.encode())

    def test_a_question_is_answered_so_and_not_otherwise(self) -> None:
        _, transport = self.ask("GET", "/secret", OPERATOR)
        self.let_in(NODE)
        self.assertEqual(401, parsed(transport.value()).status)
        self.assertTrue(transport.disconnecting)
        said = transport.value()
        self.assertEqual(1, self.site.in_flight)
        self.work.under_way[0].callback(as_json("secret"))
        self.assertEqual((said, 0), (transport.value(), self.site.in_flight))

    def test_what_is_being_changed_is_changed_and_answered(self) -> None:
        """The answer is the truth."""
        _, transport = self.ask("POST", "/change", NODE, "Content-Length: 0\r\n\r\n")
        self.let_in(OPERATOR)
        self.assertEqual(b"", transport.value())
        self.work.under_way[0].callback(as_json("changed"))
        self.assertEqual("changed", parsed(transport.value()).json)

    def test_what_is_still_coming_in_is_not_waited_for(self) -> None:
        channel, transport = self.ask("POST", "/change", NODE, "Content-Length: 2\r\n\r\n1")
        self.let_in(OPERATOR)
        self.assertEqual((401, True), (parsed(transport.value()).status, transport.disconnecting))
        channel.dataReceived(b"2")
        self.assertEqual(([], 0), (self.work.under_way, self.admission.held_bytes))

    def test_a_role_that_was_changed_counts(self) -> None:
        _, transport = self.ask("GET", "/secret", OPERATOR)
        self.tokens[NODE] = self.tokens[OPERATOR]
        self.let_in(NODE)
        self.assertEqual(403, parsed(transport.value()).status)

    def test_others_hear_nothing_of_it(self) -> None:
        transports = [self.ask("GET", "/secret", OPERATOR)[1], self.say(b"GET /se")[1], self.say()[1]]
        self.let_in(OPERATOR)
        self.assertEqual([(b"", False)] * 3, [(each.value(), each.disconnecting) for each in transports])


class Connections(SiteTest):
    def test_no_more_than_the_limit(self) -> None:
        """Rule 8: --max-connections; nobody at work is cut off."""
        first = self.say(POST % 100)[0]
        self.say(POST % 100)
        self.say(POST % 100)
        self.assertIsInstance(self.site.buildProtocol(None), OneTooMany)
        self.hang_up(first)
        self.assertIsInstance(self.site.buildProtocol(None), Channel)

    def test_a_silent_sender_is_dropped_after_60_seconds(self) -> None:
        """Rule 8."""
        _, transport = self.say(POST % 100, b"x" * 50)
        self.pass_seconds(59)
        self.assertFalse(transport.disconnecting)
        self.pass_seconds(7)
        self.assertTrue(transport.disconnected)

    def test_an_idle_connection_too(self) -> None:
        """Rule 8: one that was kept alive, and one that never said a word."""
        transports = [self.say()[1], self.say(POST % 1, b"x")[1]]
        self.pass_seconds(59)
        self.assertEqual([False, False], [transport.disconnecting for transport in transports])
        self.pass_seconds(7)
        self.assertEqual([True, True], [transport.disconnecting for transport in transports])
        self.assertEqual([False, False], [transport.disconnected for transport in transports])

    def test_a_sender_who_drips_is_dropped_after_5_minutes_in_all(self) -> None:
        """Rule 8."""
        channel, transport = self.say(POST % 100)
        for _ in range(29):
            channel.dataReceived(b"x")
            self.pass_seconds(10)
        self.assertFalse(transport.disconnecting)
        for _ in range(3):
            if not transport.disconnecting:
                channel.dataReceived(b"x")
            self.pass_seconds(10)
        self.assertTrue(transport.disconnecting)

    def test_a_head_has_10_seconds(self) -> None:
        """Whichever part of it drips, from its first letter on."""
        for part, begun in {
            "the headers": b"POST /echo HTTP/1.1\r\nHost: x\r\nX-Long: ",
            "the request line": b"POST /echo",
            "an empty line": b"\r\n",
            "the second request": POST % 1 + b"xPOST /echo HTTP/1.1\r\nX",
            "a letter of it": POST % 1 + b"xP",
        }.items():
            with self.subTest(part=part):
                channel, transport = self.say(begun)
                for _ in range(10):
                    channel.dataReceived(b"x")
                    self.pass_seconds(1)
                self.assertFalse(transport.disconnecting)
                self.pass_seconds(1)
                self.assertTrue(transport.disconnected, f"{part} may drip for ever")
                self.hang_up(channel)
        self.assertEqual(5, self.site.doors.turned_away["late"])

    def test_a_head_is_over_with_its_last_line(self) -> None:
        """What comes then has its own times."""
        channel, transport = self.say(POST % 1, b"x" + (POST % 3)[:-2])
        self.pass_seconds(9)
        channel.dataReceived(b"\r\n")
        self.pass_seconds(30)
        self.assertFalse(transport.disconnecting)

    def test_many_short_requests_on_one_connection_are_no_slow_sender(self) -> None:
        """Rule 8: the five minutes are those of a request."""
        channel, transport = self.say()
        for _ in range(40):
            channel.dataReceived(POST % 10 + b"x" * 5)
            self.pass_seconds(5)
            channel.dataReceived(b"x" * 5)
            self.pass_seconds(5)
        self.assertFalse(transport.disconnecting)
        self.assertEqual(transport.value().count(b"200 OK"), 40)

    def test_a_slow_answer_is_nobody_s_fault(self) -> None:
        """Rule 8: who waits for us is not dropped."""
        _, transport = self.say(GET)
        self.pass_seconds(600)
        self.assertFalse(transport.disconnecting)
        self.work.under_way[0].callback(as_json("at last"))
        self.assertEqual(parsed(transport.value()).json, "at last")


class Draining(SiteTest):
    """Rule 23: requests in flight are answered, and nobody holds up the shutdown."""

    def test_at_once_when_nothing_is_in_flight(self) -> None:
        """Rule 23."""
        _, idle = self.say(POST % 1, b"x")
        drained = self.drain()
        self.assertTrue(idle.disconnecting)
        self.sent()
        self.successResultOf(drained)

    def test_one_that_has_just_come_is_answered_once(self) -> None:
        """Rule 23: its client knows nothing of the stop, and has no other connection to send its first request on."""
        self.clock.advance(60)
        for first in (b"", b"POST /ec"):
            channel, transport = self.say(*[first] * bool(first))
            self.clock.advance(4.9)
            drained = self.drain()
            self.clock.advance(0.9)
            self.assertFalse(transport.disconnecting)
            channel.dataReceived((POST % 1)[len(first) :] + b"x")
            reply = parsed(transport.value())
            self.assertEqual((reply.json, reply.header("Connection")), ("x", "close"))
            self.assertTrue(transport.disconnecting)
            self.sent()
            self.successResultOf(drained)
            self.assertFalse([call for call in self.clock.getDelayedCalls() if call.getTime() > self.clock.seconds()])

    def test_one_that_has_just_come_and_says_nothing_is_ended_after_a_second(self) -> None:
        """Rule 23: or after half of a shorter deadline."""
        for deadline_s, given_s in ((5.0, 1.0), (0.5, 0.25)):
            _, transport = self.say()
            drained = self.drain(deadline_s)
            self.clock.advance(given_s - 0.1)
            self.assertFalse(transport.disconnecting)
            self.clock.advance(0.1)
            self.assertTrue(transport.disconnecting)
            self.sent()
            self.successResultOf(drained)

    def test_one_that_has_said_nothing_for_five_seconds_is_ended_at_once(self) -> None:
        """Rule 23."""
        _, transport = self.say()
        self.clock.advance(5)
        drained = self.drain()
        self.assertTrue(transport.disconnecting)
        self.sent()
        self.successResultOf(drained)

    def test_what_is_in_flight_is_answered_and_told_to_close(self) -> None:
        """Rule 23."""
        _, transport = self.say(GET)
        drained = self.drain()
        self.assertNoResult(drained)
        self.work.under_way[0].callback(as_json("done"))
        self.assertEqual(parsed(transport.value()).json, "done")
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(drained)
        self.sent()
        self.successResultOf(drained)

    def test_a_body_that_is_still_coming_is_answered(self) -> None:
        """Rule 23."""
        channel, transport = self.say(POST % 4, b"ab")
        drained = self.drain()
        channel.dataReceived(b"cd")
        reply = parsed(transport.value())
        self.assertEqual((reply.json, reply.header("Connection")), ("abcd", "close"))
        self.sent()
        self.successResultOf(drained)

    def test_a_client_that_hangs_up_in_the_middle_of_its_post_holds_nothing_up(self) -> None:
        """Rule 23."""
        channel, _ = self.say(POST % 4, b"ab")
        drained = self.drain()
        self.hang_up(channel)
        self.successResultOf(drained)

    def test_a_client_that_never_ends_its_post_is_dropped_at_the_deadline(self) -> None:
        """Rule 23."""
        _, transport = self.say(POST % 4, b"ab")
        drained = self.drain(5.0)
        self.clock.advance(4.9)
        self.assertNoResult(drained)
        self.clock.advance(0.2)
        self.successResultOf(drained)
        self.assertTrue(transport.disconnecting)

    def test_work_for_a_client_who_is_gone_is_waited_for(self) -> None:
        """Rules 1 and 23: it may be a commit."""
        channel, _ = self.say(GET)
        self.hang_up(channel)
        drained = self.drain()
        self.assertNoResult(drained)
        self.work.under_way[0].callback(as_json("for nobody"))
        self.successResultOf(drained)

    def test_two_requests_at_once_are_both_answered(self) -> None:
        """Rule 23."""
        first, second = self.say(GET)[1], self.say(GET)[1]
        drained = self.drain()
        self.work.under_way[0].callback(as_json(1))
        self.clock.advance(1)
        self.assertNoResult(drained)
        self.work.under_way[1].callback(as_json(2))
        self.sent()
        self.successResultOf(drained)
        self.assertEqual([parsed(each.value()).json for each in (first, second)], [1, 2])


class Problems(SiteTest):
    """Rule 10: RFC 9457 on every route, never HTML, never a traceback."""

    def problem(self, request: bytes) -> Reply:
        reply = self.reply(request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(reply.header("Content-Type"), "application/problem+json")
        self.assertEqual(reply.json["status"], reply.status)
        self.assertTrue(reply.json["title"])
        self.assertTrue(reply.json["detail"])
        return reply

    def test_no_such_path(self) -> None:
        """Rule 10."""
        for path in (b"GET /", b"GET /nothing", b"GET /echo/", b"GET /%2e%2e/slow", b"GET *"):
            self.assertEqual(self.problem(path).status, 404, path)

    def test_another_method_is_told_which_there_are(self) -> None:
        """Rule 10: 405 with Allow."""
        reply = self.problem(b"DELETE /slow")
        self.assertEqual((reply.status, reply.header("Allow")), (405, "GET, HEAD"))
        self.assertEqual(self.problem(b"GET /echo").header("Allow"), "POST")

    def test_a_path_that_is_no_utf_8(self) -> None:
        """Rule 10."""
        self.assertEqual(self.problem(b"GET /%ff%fe").status, 400)

    def test_a_bug_is_logged_and_answered_without_a_word_about_it(self) -> None:
        """Rule 10."""
        reply = self.problem(b"GET /bug")
        self.assertEqual(reply.status, 500)
        self.assertNotIn(b"secret", reply.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.site.in_flight, 0)


class SlowReaders(TestCase):
    """Rule 8 on real sockets, whose kernel knows what was acknowledged; the time is a Clock's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.work = Work()
        self.site = Site(self.work.routes, self.clock, Admission(1000, self.clock.seconds), 100, 10, Access())
        self.listen()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.close()))

    def listen(self) -> None:
        self.port = REACTOR.listenTCP(0, self.served(), interface="127.0.0.1")
        self.address: Any = ("127.0.0.1", self.port.getHost().port)
        self.client = socket.socket()

    def served(self) -> Any:
        return self.site

    def ask(self, request: bytes = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") -> None:
        self.client.sendall(request)

    def wrap(self) -> None:
        """Begin TLS."""

    async def connected(self) -> None:
        self.client.connect(self.address)
        await deferToThread(self.ask)
        self.client.setblocking(False)
        await eventually(self.readable)
        await self.quiet()

    def readable(self) -> bool:
        try:
            return bool(self.client.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def read(self, size: int) -> int:
        try:
            return len(self.client.recv(size))
        except BlockingIOError:
            return 0

    async def quiet(self) -> None:
        """Return when the kernel of the other side has taken all it will."""
        (channel,) = self.site.channels
        before, same = -2, 0
        while same < 60:  # an acknowledgement may be delayed by 40 ms and more
            now = unread_progress(channel)
            same, before = (same + 1 if now == before and now >= 0 else 0), now
            await eventually(lambda: True)
            await self.tick()

    async def tick(self) -> None:
        ticked: Deferred[None] = Deferred()
        REACTOR.callLater(0.002, ticked.callback, None)
        await ticked

    async def close(self) -> None:
        self.client.close()
        for channel in list(self.site.channels):
            channel.abort()
        await eventually(lambda: not self.site.channels)
        await self.port.stopListening()

    async def test_one_connection_too_many_is_closed(self) -> None:
        """Rule 8: without a word in the log, and without a trace."""
        await self.connected()
        self.site.most_connections = 1
        for _ in range(3):
            with socket.socket(self.client.family) as other:
                other.settimeout(5)
                other.connect(self.address)
                with contextlib.suppress(ConnectionError):
                    other.sendall(b"GET / HTTP/1.1\r\n")
                self.assertEqual(b"", await deferToThread(ended, other))
        self.assertEqual(1, len(self.site.channels))
        open_now = [each for each in REACTOR.getReaders() if getattr(each, "server", None) is self.port]
        self.assertEqual(1, len(open_now))

    async def test_who_is_refused_has_the_answer_while_it_is_still_sending(self) -> None:
        """Rule 8: no reset eats it, though the sender does not look before it has sent all."""

        def work() -> bytes:
            self.client.connect(self.address)
            self.wrap()
            self.client.sendall(POST % (1 << 50))
            for _ in range(10):
                self.client.sendall(b"x" * 100_000)
            return b"".join(iter(lambda: self.client.recv(65_536), b""))

        answer = parsed(await deferToThread(work))
        self.assertEqual((413, "close"), (answer.status, answer.header("Connection")))

    async def test_an_idle_connection_ends_with_a_fin(self) -> None:
        """Rules 8 and 23: whether it is its time, or a stop; a reset would leave its side in doubt."""
        for end in (lambda: self.clock.pump([1.0] * 70), lambda: Deferred.fromCoroutine(self.site.drain(60))):
            self.client.close()
            self.client = socket.socket(self.client.family)
            self.client.connect(self.address)
            await deferToThread(self.ask, POST % 1 + b"x")
            await eventually(lambda: any(channel.served and not channel.requests for channel in self.site.channels))
            await deferToThread(self.client.recv, 1000)
            await eventually(lambda: all(unread_progress(channel) < 0 for channel in self.site.channels))
            end()
            await deferToThread(lambda: b"".join(iter(lambda: self.client.recv(1000), b"")))

    async def test_a_reader_who_stops_is_dropped_after_60_seconds(self) -> None:
        """Rule 8: progress is what its side acknowledged."""
        await self.connected()
        (channel,) = self.site.channels
        acked, silent_s = unread_progress(channel), 0
        while silent_s < 90:
            self.clock.advance(1.0)
            await self.tick()
            if not self.site.channels:
                break
            now = unread_progress(channel)  # the other kernel may take a little more, long after
            acked, silent_s = (acked, silent_s + 1) if now == acked else (now, 0)
        self.assertTrue(58 <= silent_s <= 70, silent_s)

    async def test_one_who_reads_a_little_now_and_then_is_not(self) -> None:
        """Rule 8: nor after five minutes; an answer has no time in all."""
        await self.connected()
        for _ in range(12):
            self.clock.pump([1.0] * 30)
            got = 0
            while got < 64 * 1024:
                got += self.read(16 * 1024)
                await self.tick()
            await self.quiet()
        self.assertEqual(len(self.site.channels), 1)


def ended(connection: socket.socket) -> bytes:
    """What comes until the other side ends it, in either way."""
    try:
        return b"".join(iter(lambda: connection.recv(100), b""))
    except ConnectionError:
        return b""


def tls_client() -> ssl.SSLContext:
    """A client that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class SlowReadersBehindTls(SlowReaders):
    """The same, where the socket carries what TLS makes of the answer."""

    def served(self) -> Any:
        place = Path(self.mktemp())
        place.mkdir()
        certificates = Certificates(*write_certificate(place, "ours", trustme.CA().issue_cert("localhost")), None)
        certificates.take(certificates.read())
        return certificates.around(self.site, REACTOR)

    def ask(self, request: bytes = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") -> None:
        wrapped = tls_client().wrap_socket(self.client)
        wrapped.sendall(request)
        self.client = socket.socket(fileno=wrapped.detach())

    def wrap(self) -> None:
        self.client = tls_client().wrap_socket(self.client)

    async def test_the_last_answer_of_a_connection_arrives_whole(self) -> None:
        """However slowly it is read, the connection ends after it, not in it."""

        def work() -> bytes:
            with tls_client().wrap_socket(self.client) as wrapped:
                wrapped.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: wrapped.recv(32 * 1024), b""))

        self.client.connect(self.address)
        answer = parsed(await deferToThread(work))
        self.assertEqual((200, 8 << 20), (answer.status, len(answer.body)))

    async def test_one_who_was_refused_says_farewell_without_a_word_in_the_log(self) -> None:
        """What is cut off at its farewell is cut off once."""

        def work() -> bytes:
            with tls_client().wrap_socket(self.client, suppress_ragged_eofs=True) as wrapped:
                wrapped.sendall(POST % (1 << 50) + b"[]")
                answer = wrapped.recv(65_536)
                with contextlib.suppress(OSError):
                    wrapped.unwrap()
                return answer

        self.client.connect(("127.0.0.1", self.port.getHost().port))
        self.assertEqual(413, parsed(await deferToThread(work)).status)
        await eventually(lambda: not self.site.channels)

    async def test_an_idle_one_holds_up_no_stop(self) -> None:
        """Although it never answers our farewell, as TLS would have it."""
        self.client.connect(self.address)
        await deferToThread(self.ask, POST % 1 + b"x")
        await eventually(lambda: all(channel.served and not channel.requests for channel in self.site.channels))
        drained = Deferred.fromCoroutine(self.site.drain(60))
        await eventually(lambda: drained.called)

    async def test_one_who_says_nothing_is_dropped(self) -> None:
        """Not even the first word of TLS, which is a part of the first head."""
        self.client.connect(self.address)
        self.client.setblocking(False)
        await eventually(lambda: self.site.channels)
        self.clock.pump([1.0] * 10)
        self.assertTrue(self.site.channels)
        self.clock.pump([1.0] * 2)
        await eventually(lambda: not self.site.channels)


class SlowReadersOnAUnixSocket(SlowReaders):
    """The same, where nothing is acknowledged."""

    def listen(self) -> None:
        self.address = str(Path(self.mktemp()).parent.parent / "socket")  # a longer path is none
        self.port = REACTOR.listenUNIX(self.address, self.served())
        self.client = socket.socket(socket.AF_UNIX)


class TheLastAnswer(TestCase):
    """Rule 23 on real sockets, where what is written is not yet sent."""

    def setUp(self) -> None:
        self.service = Running(Path(self.mktemp())).start()
        self.wires: list[Wire] = []

    async def test_a_post_in_flight_at_the_stop_gets_its_answer(self) -> None:
        """Rule 23: the last one of all, too."""
        body = body_of(*[a_result()] * 2000)
        wires = [await self.service.connect() for _ in range(3)]
        for wire in wires:  # no answer can come before its last byte
            head = b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            wire.write(head + body[:-1])
        await eventually(lambda: self._received_bytes() == len(wires) * (len(body) - 1))
        stopped = Deferred.fromCoroutine(self._stop())
        for wire in wires:
            wire.write(body[-1:])
        for wire in wires:
            await wire.closed
        await stopped
        answers = [wire.data for wire in wires]
        self.assertEqual([len(answer) > 0 for answer in answers], [True] * 3, "an answer was cut off by the stop")
        for answer in answers:
            self.assertEqual(json.loads(parsed(answer).body)["received"], 2000)
        self.assertEqual(self.service.rows("SELECT count(*) FROM ping_results"), [(6000,)])

    def _received_bytes(self) -> int:
        return sum(request.received_bytes for channel in self.service.site.channels for request in channel.requests)

    async def _stop(self) -> None:
        await self.service.service().stopService()

    async def test_a_dump_under_way_at_the_stop_is_ended_by_the_deadline(self) -> None:
        """Rule 23: a slow reader of /dump holds up no shutdown."""
        self.service.parts = dataclasses.replace(self.service.parts, results_drain_s=0.2)
        await self.service.post(body_of(*[a_result(error="x" * 2000)] * 4000))
        wire = await self.service.connect()
        wire.transport.pauseProducing()  # type: ignore[union-attr]  # a TCP connection
        wire.write(b"GET /dump HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: self.service.site.in_flight)
        await self._stop()
        wire.transport.resumeProducing()  # type: ignore[union-attr]  # as above
        await wire.closed
        await eventually(lambda: not self.service.site.channels)
