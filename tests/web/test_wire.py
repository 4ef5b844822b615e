"""What both sites promise of the wire, for whatever comes over it; a number is that of a rule of the contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from outputd.security.access import Access
from outputd.web.answers import Answer, as_json
from outputd.web.request import CappedRequest, answered
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.properties import given, settings
from tests.kit.wire import over_the_wire

MOST = 100
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Said:
    """One answer, without its date."""

    status: int
    headers: tuple[bytes, ...]
    body: bytes


def echoing() -> Routes:
    """A small application: /echo answers with the body that it was given, in hexadecimal digits."""

    def echo(request: CappedRequest) -> None:
        async def answer() -> Answer:
            return as_json({"body": request.take_body().hex()})

        answered(request, answer())

    return Routes([Route("POST", "/echo", None, echo, codings=(b"gzip",))])


ROUTES = echoing()


class Conversation:
    """What a site says to these pieces of a stream, until it closes or the other side hangs up."""

    def __init__(self, *pieces: bytes) -> None:
        clock = Clock()
        self.admission = Admission(10 * MOST, clock.seconds)
        self.site = Site(ROUTES, clock, self.admission, MOST, 3, Access())
        channel, transport = over_the_wire(self.site)
        for piece in pieces:
            if not transport.disconnecting:
                channel.dataReceived(piece)
        self.was_closed = transport.disconnecting
        self.raw = transport.value()
        channel.connectionLost(Failure(ConnectionDone()))

    @property
    def held(self) -> tuple[int, int, int]:
        """Bytes, requests and connections that it still holds."""
        return self.admission.held_bytes, self.site.in_flight, len(self.site.channels)

    @property
    def said(self) -> list[Said]:
        """All answers in their order, the interim ones included; ValueError when they are no HTTP."""
        answers, rest = [], self.raw
        while rest:
            head, blank, rest = rest.partition(b"\r\n\r\n")
            if not blank:
                raise ValueError(f"an answer without an end: {head!r}")
            first, *headers = head.split(b"\r\n")
            version, status, _ = first.split(b" ", 2)
            if version not in (b"HTTP/1.1", b"HTTP/1.0"):
                raise ValueError(f"no HTTP: {first!r}")
            size = 0
            for header in headers:
                name, _, value = header.partition(b": ")
                if name.lower() == b"content-length":
                    size = int(value)
            if len(rest) < size:
                raise ValueError(f"a body that is cut short: {rest!r}")
            kept = tuple(header for header in headers if not header.startswith(b"Date: "))
            answers.append(Said(int(status), kept, rest[:size]))
            rest = rest[size:]
        return answers

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that /echo was given and took."""
        return [bytes.fromhex(json.loads(each.body)["body"]) for each in self.said if each.status == 200]

    @property
    def statuses(self) -> list[int]:
        """Of all answers, in their order."""
        return [each.status for each in self.said]


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /echo HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


_small = st.binary(min_size=1, max_size=30)
_token = st.sampled_from([b"GET", b"POST", b"post", b"", b" ", b"/echo", b"*", b"http://x/echo", b"/%ff", b"HTTP/1.1",
                          b"HTTP/1.0", b"HTTP/9.9", b"HTTP/", b"\x00", b"\xff", b"\t"])  # fmt: skip
_line = st.lists(_token, max_size=5).map(b" ".join)
_header = st.sampled_from(
    [
        b"Host: y", b"Host:", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: -5", b"Content-Length: +5",
        b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Content-Length: 99999999999999999999", b"Content-Length:",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding : chunked", b"transfer-encoding:chunked", b"Connection: close", b"Connection: keep-alive",
        b"Connection: upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Expect: 200-ok", b"Expect:", b"no colon",
        b": none", b"a b: c", b" folded", b"X: \x00", b"X: \xff\xfe", b"Cookie: ;;=;a", b"X: " + b"y" * 17_000,
        b"\r\n".join([b"X: y"] * 501), b"Content-Encoding: gzip", b"Sec-Fetch-Site: cross-site", b"Origin: null",
    ]
)  # fmt: skip
_request = st.builds(
    lambda line, headers, body: b"\r\n".join([line, *headers, b"", body]),
    _line | st.just(b"POST /echo HTTP/1.1") | st.just(b"GET / HTTP/1.1"), st.lists(_header, max_size=4),
    st.just(b"") | st.just(b"hello") | _small
    | st.lists(_small.map(chunk)).map(lambda chunks: b"".join([*chunks, chunk(b"")])),
)  # fmt: skip
_good = st.just(LAST) | _small.map(post)
_chunk_line = st.sampled_from([b"", b"0", b"-1", b"+5", b"0x5", b"5;", b"5;a=\"b\"", b"5 ", b"zz", b"f" * 17, b"5\x00",
                               b"0" * 2000])  # fmt: skip
_bad_chunked = st.builds(
    lambda size, rest: CHUNKED + size + b"\r\n" + rest, _chunk_line, _small | st.just(b"hello\r\n")
)
_stream = st.lists(_request | _good | _bad_chunked | _small, min_size=1, max_size=6).map(b"".join)


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    """The stream in pieces, cut at these places."""
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[begin:end] for begin, end in pairwise(edges)]


class AnyStream(SynchronousTestCase):
    """Rules 8 and 10, for whatever comes."""

    @settings(deadline=None, max_examples=300)
    @given(_stream, st.lists(st.integers(0, 10_000), max_size=8))
    def test_every_answer_is_http_and_no_fault_of_ours(self, stream: bytes, places: list[int]) -> None:
        """Rule 10: problems are JSON, nothing is a 5xx, and nothing is held once the other side is gone."""
        it = Conversation(*cut(stream, places))
        for each in it.said:
            self.assertIn(each.status, (100, 200, 400, 403, 404, 405, 413, 415, 501))
            if each.status >= 400:
                self.assertIn(b"Content-Type: application/problem+json", each.headers)
                self.assertEqual(json.loads(each.body)["status"], each.status)
        self.assertEqual(it.held, (0, 0, 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(deadline=None, max_examples=300)
    @given(_stream, st.lists(st.integers(0, 10_000), min_size=1, max_size=12))
    def test_where_the_stream_is_cut_changes_no_answer(self, stream: bytes, places: list[int]) -> None:
        """Rule 10: a request is the same in one packet or in many."""
        whole, pieces = Conversation(stream), Conversation(*cut(stream, places))
        self.assertEqual((pieces.said, pieces.was_closed), (whole.said, whole.was_closed))

    @settings(deadline=None)
    @given(st.lists(_small, max_size=8), _stream)
    def test_pipelined_posts_are_answered_in_order_whatever_follows(self, bodies: list[bytes], rest: bytes) -> None:
        """Rule 1: each once, with its own answer."""
        it = Conversation(b"".join(map(post, bodies)) + rest)
        self.assertEqual(it.bodies[: len(bodies)], bodies)
        self.assertEqual([status for status in it.statuses if status != 100][: len(bodies)], [200] * len(bodies))


class Chunks(SynchronousTestCase):
    """Rules 1 and 8: a body in chunks is taken whole, or not at all."""

    @settings(deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.sampled_from([b"", b";a", b';a="b"']),
        st.lists(st.integers(0, 1000), max_size=6),
    )  # fmt: skip
    def test_it_is_what_was_sent(self, parts: list[bytes], extension: bytes, places: list[int]) -> None:
        """Rule 8: however it is cut into chunks, and the chunks into packets."""
        stream = CHUNKED + b"".join(chunk(part, extension) for part in parts) + b"0\r\n\r\n" + LAST
        it = Conversation(*cut(stream, places))
        self.assertEqual((it.bodies, it.statuses), ([b"".join(parts)], [200, 404]))

    @settings(deadline=None)
    @given(st.lists(_small, min_size=1, max_size=3), st.integers(1, 1000))
    def test_cut_short_it_is_not_taken(self, parts: list[bytes], short: int) -> None:
        """Rule 1: a client that hangs up before the end has sent nothing."""
        stream = CHUNKED + b"".join(map(chunk, parts)) + b"0\r\n\r\n"
        it = Conversation(stream[: len(stream) - 1 - short % (len(stream) - len(CHUNKED))])
        self.assertEqual((it.raw, it.held), (b"", (0, 0, 0)))

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=40).filter(lambda body: b"\r" not in body), st.integers(-40, 60))
    def test_one_that_lies_about_its_size_is_not_taken(self, body: bytes, lie: int) -> None:
        """Rule 8: too much or too little under a size is 400, or waits for what never comes."""
        size = len(body) + lie
        if not lie or size < 1:
            return
        it = Conversation(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))
        self.assertIn(it.statuses, ([400], []))
        self.assertEqual(it.held, (0, 0, 0))


class Hosts(SynchronousTestCase):
    """RFC 9112, 3.2."""

    def test_a_request_names_one_host(self) -> None:
        for version, hosts, status in (
            (b"1.1", b"Host: x\r\n", 404), (b"1.1", b"Host:\r\n", 404), (b"1.0", b"", 404), (b"1.1", b"", 400),
            (b"1.1", b"Host: x\r\nHost: x\r\n", 400), (b"1.0", b"Host: x\r\nhost: y\r\n", 400),
        ):  # fmt: skip
            it = Conversation(b"GET /nothing HTTP/%s\r\n%s\r\n" % (version, hosts))
            self.assertEqual([status], it.statuses, (version, hosts))


class Expecting(SynchronousTestCase):
    """Rule 8: `Expect: 100-continue`."""

    EXPECT = b"Expect: 100-continue"

    def test_a_body_that_will_be_taken_is_asked_for(self) -> None:
        """Rule 8: the interim answer comes before the body, the other after it."""
        request = post(b"hello", self.EXPECT)
        self.assertEqual(Conversation(request[:-5]).statuses, [100])
        self.assertEqual(Conversation(request[:-5], request[-5:], LAST).statuses, [100, 200, 404])
