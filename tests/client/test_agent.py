from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.iweb import IResponse

from outputd.client.agent import http_client
from outputd.client.bounds import EXCHANGE_S
from outputd.client.exchange import Poster
from outputd.ledger.feed import HopFeed
from tests.kit.peer import Conversation, Peer, listen
from tests.ledger.test_feed import ANSWER, FakeLedger, addresses


class Watched:
    """An HTTP client that says when the headers of an answer are in."""

    def __init__(self, client: Poster) -> None:
        self.client = client
        self.answers = 0

    def post(self, url: Any, /, **options: Any) -> Awaitable[IResponse]:
        async def posted() -> IResponse:
            response = await self.client.post(url, **options)
            self.answers += 1
            return response

        return Deferred.fromCoroutine(posted())


class OnTheWire(TestCase):
    """Rule 19 on loopback: a real client and peers that misbehave; only the feed's own time is a Clock's."""

    timeout = 30

    def setUp(self) -> None:
        self.clock = Clock()
        self.ledger = FakeLedger("8.8.8.8")

    def serve(self, behave: Callable[[Conversation], object], host: str = "127.0.0.1") -> None:
        self.peer = Peer(behave)
        port = listen(self.peer, host)
        self.addCleanup(self.until, lambda: not self.peer.open)
        self.addCleanup(port.stopListening)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port.getHost().port}/hops"
        self.feed_to(self.url)

    def feed_to(self, url: str) -> None:
        self.http = Watched(http_client(reactor))
        self.feed = HopFeed(self.ledger, self.http, url, self.clock, lambda count: None, jitter=lambda: 0.0)
        self.addCleanup(self.stop)
        self.feed.startService()

    def stop(self) -> Deferred[None]:
        stopped = self.feed.stopService()
        self.clock.pump([0.5] * 5)
        return stopped

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when the condition holds; it must within ten seconds."""
        for _ in range(2000):
            if condition():
                return
            await deferLater(cast(IReactorTime, reactor), 0.005)
        self.fail("it never came to pass")

    async def next_try(self) -> None:
        """Let the pause after a failed post pass, and the post succeed."""
        await self.until(lambda: self.feed.state.status == "outage")
        self.peer.behave = lambda conversation: conversation.say(ANSWER)
        self.clock.advance(2)
        await self.until(lambda: self.ledger.arrived)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    async def test_a_plain_answer(self) -> None:
        """Rule 19: the request as input_service sees it, one connection for each post."""
        self.serve(lambda conversation: conversation.say(ANSWER))
        await self.until(lambda: self.ledger.arrived)
        head, _, body = self.peer.requests[0].partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"POST /hops HTTP/1.1\r\n"))
        self.assertIn(b"content-type: application/json", head.lower())
        self.assertNotIn(b"accept-encoding", head.lower())
        self.assertEqual(json.loads(body), {"hops": ["8.8.8.8"]})
        await self.until(lambda: not self.peer.open)

    async def test_an_ipv6_address_as_host(self) -> None:
        """Rule 19: which treq and hyperlink take for a name."""
        try:
            self.serve(lambda conversation: conversation.say(ANSWER), "::1")
        except CannotListenError:
            raise SkipTest("no IPv6 here") from None
        await self.until(lambda: self.ledger.arrived)
        self.assertIn(b"host: " + self.url[7:-5].encode(), self.peer.requests[0].lower())

    async def test_nobody_listens(self) -> None:
        """Rule 19: connection refused."""
        port = listen(Peer(print))
        number = port.getHost().port
        await port.stopListening()
        self.feed_to(f"http://127.0.0.1:{number}/hops")
        await self.until(lambda: self.feed.state.status == "outage")
        self.assertIn("refused", self.feed.state.reason.lower())

    async def test_a_url_that_leads_nowhere(self) -> None:
        """Rule 19: another scheme, a port that is none."""
        for url in ("ftp://127.0.0.1/hops", "127.0.0.1", "http://127.0.0.1:99999/hops", "http://[::1/hops", "http:///"):
            self.ledger = FakeLedger("8.8.8.8")
            self.feed_to(url)
            await self.until(lambda: self.feed.state.status == "outage")
            await self.stop()

    async def test_silence_is_given_up_and_the_connection_closed(self) -> None:
        """Rule 19: time-out of 10 s."""
        self.serve(lambda conversation: None)
        await self.until(lambda: self.peer.requests)
        self.clock.advance(EXCHANGE_S)
        await self.until(lambda: not self.peer.open)
        await self.next_try()

    async def test_503_and_a_body_that_never_comes(self) -> None:
        """Rule 19: the time-out covers headers and body."""
        self.serve(lambda conversation: conversation.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"))
        await self.until(lambda: self.http.answers)
        self.clock.advance(EXCHANGE_S)
        await self.until(lambda: not self.peer.open)
        await self.next_try()

    async def test_200_and_a_body_that_never_comes(self) -> None:
        """Rule 18: delivered, once."""
        self.serve(lambda conversation: conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
        await self.until(lambda: self.http.answers)
        self.clock.advance(EXCHANGE_S)
        await self.until(lambda: self.ledger.arrived)
        await self.until(lambda: not self.peer.open)
        self.assertEqual(len(self.peer.requests), 1)

    async def test_200_and_a_body_that_breaks_off(self) -> None:
        """Rule 18: delivered, once."""

        def break_off(conversation: Conversation) -> None:
            conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            cast(Any, conversation.transport).loseConnection()

        self.serve(break_off)
        await self.until(lambda: self.ledger.arrived)
        self.assertEqual(len(self.peer.requests), 1)

    async def test_200_and_gigabytes(self) -> None:
        """Rule 19: an answer without an end is cut off, and a success all the same."""

        def pour(conversation: Conversation) -> None:
            conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
            conversation.pour(b"x" * 65536)

        self.serve(pour)
        await self.until(lambda: self.ledger.arrived)
        await self.until(lambda: not self.peer.open)
        self.assertLess(self.peer.poured, 32 * 2**20)  # what the kernel's buffers take

    async def test_headers_without_an_end(self) -> None:
        """Rule 19: they cost no memory either."""

        def pour(conversation: Conversation) -> None:
            conversation.say(b"HTTP/1.1 200 OK\r\n")
            conversation.pour(b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(50)))

        self.serve(pour)
        await self.until(lambda: self.feed.state.status == "outage")
        await self.until(lambda: not self.peer.open)
        self.assertLess(self.peer.poured, 32 * 2**20)
        await self.next_try()

    async def test_a_redirect_is_not_followed(self) -> None:
        """Rule 19: treq would come back with a GET."""
        for status in (301, 302, 303, 307, 308):
            self.ledger = FakeLedger("8.8.8.8")
            answer = b"HTTP/1.1 %d Elsewhere\r\nLocation: /hops\r\nContent-Length: 0\r\n\r\n" % status
            self.serve(partial(Conversation.say, data=answer))
            await self.next_try()
            self.assertEqual([request[:11] for request in self.peer.requests], [b"POST /hops "] * 2)
            await self.stop()

    async def test_a_reset(self) -> None:
        """Rule 19."""
        self.serve(lambda conversation: cast(Any, conversation.transport).abortConnection())
        await self.next_try()

    async def test_what_is_not_http(self) -> None:
        """Rule 19: nor can it forge a log line."""
        self.serve(lambda conversation: conversation.say(b"220 smtp\x1b[2J ready\r\n\r\n"))
        await self.until(lambda: self.feed.state.status == "outage")
        self.assertTrue(self.feed.state.reason.isprintable())
        await self.next_try()

    async def test_nothing_is_inflated_and_no_cookie_kept(self) -> None:
        """Rule 19: neither a zip bomb nor a jar that fills."""
        dressed = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip,gzip\r\nSet-Cookie: a=b\r\nContent-Length: 4\r\n\r\n\x1f\x8b??"
        )
        self.serve(partial(Conversation.say, data=dressed))
        await self.until(lambda: self.ledger.arrived)
        self.ledger.owed.append("9.9.9.9")
        self.clock.advance(1)
        self.feed.wake()
        self.clock.advance(1)
        await self.until(lambda: len(self.ledger.arrived) == 2)
        self.assertNotIn(b"cookie", self.peer.requests[1].lower())

    async def test_the_offender_stands_alone(self) -> None:
        """Rule 19: over real connections."""

        def judge(conversation: Conversation) -> None:
            bad = b'"192.0.2.99"' in conversation.received
            conversation.say(b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n" if bad else ANSWER)

        self.ledger = FakeLedger(*addresses(1000))
        self.serve(judge)
        await self.until(lambda: not self.ledger.owed)
        self.assertEqual(self.ledger.set_aside, [("192.0.2.99", 422)])
        self.assertEqual(len(self.ledger.arrived), 999)

    async def test_a_stop_drops_a_silent_peer(self) -> None:
        """Rule 23: within two seconds."""
        self.serve(lambda conversation: None)
        await self.until(lambda: self.peer.requests)
        await self.stop()
        await self.until(lambda: not self.peer.open)
