from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from outputd.client.agent import http_client
from outputd.client.bounds import Bounds
from outputd.sender.journal import Journal, Refused
from outputd.sender.outbox import Delivery, head_of
from outputd.sender.progress import Screen
from outputd.sender.sender import Sender, Target
from outputd.sender.source import examine
from outputd.sender.verdict import Stopped
from tests.kit.peer import Conversation, Peer, listen
from tests.kit.pools import inline

MIB = 1 << 20


def answer(status: int, body: bytes, *fields: bytes) -> bytes:
    """A whole answer."""
    lines = [b"HTTP/1.1 %d Said" % status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class HostileServer(TestCase):
    """A real service on loopback that means ill: it can cost a POST, and neither memory nor a terminal."""

    timeout = 30

    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.file.write_bytes(b'[{"a":1},{"a":2}]\n')
        self.clock = Clock()
        self.said: list[str] = []

    def send_to(self, behave: Callable[[Conversation], object]) -> Deferred[Any]:
        """Send one body of two results, over real connections; fires with what the sending ends with."""
        self.peer = Peer(behave)
        port = listen(self.peer)
        self.addCleanup(self.until, lambda: not self.peer.open)
        self.addCleanup(port.stopListening)
        target = Target(f"http://127.0.0.1:{port.getHost().port}/results")
        source = examine(self.file)
        state = Path(self.mktemp())
        state.mkdir()
        self.journal = Journal(state / "x.sent", head_of(source, target.url, ""))
        http = http_client(reactor, bounds=Bounds(), keep=0)
        self.sender = Sender(http, target, self.clock, inline, 1, 0.5, self.said.append, jitter=lambda: 1.0)
        delivery = Delivery(source, self.journal, Refused(state / "x.refused.jsonl"))
        self.addCleanup(lambda: self.journal.close(False, False))
        self.addCleanup(self.sender.abort)
        return Deferred.fromCoroutine(self.sender.send(delivery))

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(2000):
            if condition():
                return
            await deferLater(cast(Any, reactor), 0.005)
        self.fail("it never came to pass")

    async def reason(self, behave: Callable[[Conversation], object]) -> str:
        """Why the sending stops."""
        sending = self.send_to(behave)
        try:
            await sending
        except Stopped as error:
            return str(error)
        self.fail("it is believed")
        return ""

    async def test_a_body_without_an_end_is_cut_off(self) -> None:
        """Issue 14.8."""

        def pour(conversation: Conversation) -> None:
            conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
            conversation.pour(b"x" * 65536)

        self.assertIn("longer than 64 KiB", await self.reason(pour))
        self.assertLess(self.peer.poured, 32 * MIB)  # what the kernel's buffers take

    async def test_headers_and_interim_answers_without_an_end_are_cut_off(self) -> None:
        """Issue 14.8: each of them is small, and there are many."""
        many = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(50))
        for beginning, more in ((b"HTTP/1.1 200 OK\r\n", many), (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)):

            def pour(conversation: Conversation, beginning: bytes = beginning, more: bytes = more) -> None:
                conversation.say(beginning)
                conversation.pour(more)

            self.assertIn("longer than 64 KiB", await self.reason(pour))
            self.assertLess(self.peer.poured, 32 * MIB)

    async def test_nothing_is_inflated(self) -> None:
        """Issue 14.8: a bomb of 64 KiB would come to 64 MiB; nor is it asked for."""
        bomb = gzip.compress(b" " * (32 * MIB))
        reason = await self.reason(partial(Conversation.say, data=answer(200, bomb, b"Content-Encoding: gzip")))
        self.assertIn("not that of outputd", reason)
        self.assertNotIn(b"accept-encoding", self.peer.requests[0].lower())

    async def test_what_it_says_is_text_to_the_terminal(self) -> None:
        """Issue 14.8: escape sequences, other control characters, and texts that run backwards."""
        trick = "\x1b[2K\rall stored\u202e\x9b2J\n"
        for body in (
            json.dumps({"status": 400, "detail": trick}).encode(),
            trick.encode(),
            trick.encode("latin1", "replace"),
        ):
            reason = await self.reason(partial(Conversation.say, data=answer(404, body)))
            self.assertIn("the service answers 404", reason)
            self.assertTrue(reason.isprintable(), reason)

    async def test_a_status_line_is_text_too(self) -> None:
        """Issue 14.8."""
        reason = await self.reason(partial(Conversation.say, data=b"220 smtp\x1b[2K ready\r\n\r\n"))
        self.assertTrue(reason.isprintable(), reason)

    async def test_counts_that_cannot_be_are_not_believed(self) -> None:
        """Issue 14.8: more than was sent, less than none, what is no number; nothing is put into the totals."""
        for counts in (
            '"received":-5', '"received":3', '"received":true', '"received":1e400', '"received":1e1', '"received":"2"',
            '"received":2,"rejected":1', '"received":1,"rejected":-1', '"received":' + 5000 * "9",
            '"received":2,"errors":[{"a":' + 20_000 * "[" + 20_000 * "]" + "}]",
        ):  # fmt: skip
            body = b'{"status":"ok",%s}' % counts.encode()
            reason = await self.reason(partial(Conversation.say, data=answer(200, body)))
            self.assertIn("not that of outputd", reason, counts[:30])
            self.assertEqual((0, 0), (self.journal.totals.stored, self.journal.totals.bodies))

    async def test_a_success_that_leaves_results_out_is_none(self) -> None:
        """Issue 14.8: nothing is settled, so that all is sent again."""
        for body in (
            b'{"status":"ok","received":0}',
            b'{"status":"ok"}',
            b'{"status":"partial","received":1,"rejected":0}',
            b'{"status":"ok","received":1,"duplicate":true}',
        ):
            reason = await self.reason(partial(Conversation.say, data=answer(200, body)))
            self.assertIn("of 2 results", reason)
            self.assertEqual((0, 0), (self.journal.totals.stored, self.journal.totals.bodies))

    async def test_what_can_be_is(self) -> None:
        await self.send_to(partial(Conversation.say, data=answer(200, b'{"status":"ok","received":2}')))
        self.assertEqual(2, self.journal.totals.stored)


class ScreenTests(TestCase):
    def test_a_name_that_is_no_text_is_shown_all_the_same(self) -> None:
        """Issue 14.8: neither a traceback, nor an order to the terminal."""
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        Screen(out, lambda: 0.0).say("bad\udcff\x1b[2K.jsonl: to http://x\nmore")
        self.assertEqual(b"bad\\udcff\\x1b[2K.jsonl: to http://x\nmore\n", cast(Any, out.buffer).getvalue())
