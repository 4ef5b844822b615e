"""Usual heads are read as twisted.web reads them, and no others are; a number is that of a rule of the contract."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from outputd.web.head import known_field, usual_head
from tests.kit.properties import given, settings
from tests.system.test_smuggling import forms
from tests.web.test_wire import Conversation

GO = (
    b"POST /results HTTP/1.1\r\nHost: output-service:8081\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 2\r\n"
    b"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n[]"
)
CURL = (
    b"POST /results HTTP/1.1\r\nHost: [::1]:8081\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: 2\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n[]"
)
PROXIED = (
    b"POST /results HTTP/1.1\r\nx-forwarded-for: 192.0.2.9, 198.51.100.1\r\nhost: x\r\nx-ping-node: a node of ours\r\n"
    b'authorization: Bearer aB3_-\r\nidempotency-key: "k"\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n[]'
)

FORMS = [form for form in forms() if not form.startswith(b"HEAD")]  # whose answers have a length and no body


class _Oracle(http.HTTPChannel):
    """What twisted.web reads of a head."""

    read: Any = None
    read_bytes: int | None = None

    def allHeadersReceived(self) -> None:
        headers = dict(self.requests[-1].requestHeaders.getAllRawHeaders())
        self.read, self.read_bytes = ((self._command, self._path, self._version), headers), self.length
        super().allHeadersReceived()


def read_by_twisted(data: bytes) -> tuple[Any, int | None]:
    """The first line and the headers of these bytes, and how long their body is."""
    oracle = _Oracle()
    oracle.makeConnection(StringTransport())
    end = data.find(b"\r\n\r\n") + 4
    oracle.dataReceived(data[:end])
    return oracle.read, oracle.read_bytes


_POST = b"POST /results HTTP/1.1"
_first_line = st.sampled_from([
    _POST, b"POST /results?x=1 HTTP/1.1", b"POST /results HTTP/1.0", b"GET /results HTTP/1.1", b"POST /results", b"",
    b"POST /results HTTP/1.1 ", b" POST /results HTTP/1.1", b"post /results HTTP/1.1", b"POST /r\xc3\xa9 HTTP/1.1",
    b"POST http://x/results HTTP/1.1", b"POST  /results HTTP/1.1", b"POST /results\tHTTP/1.1",
    b"POST /results HTTP/1.1\n",
])  # fmt: skip
_name = st.sampled_from([
    b"Host", b"host", b"HOST", b"Content-Length", b"content-length", b"Content_Length", b"Content-Length ",
    b" Content-Length", b"Content-Type", b"Transfer-Encoding", b"transfer-encoding", b"Connection", b"Expect", b"X",
    b"-", b"etag", b"x-xss-protection", b"a--b", b"", b"X\x00", b"\xff", b"X:", b"\r\nX", b"Idempotency-Key",
])  # fmt: skip
_value = st.sampled_from([
    b"x", b"2", b"02", b"+2", b"2 ", b" 2", b"2, 2", b"0", b"2\t", b"\t2", b"2\x0b", b"2\r", b"2\n", b"2\x00", b"\xb2",
    b"chunked", b"identity", b"", b"close", b"keep-alive", b"100-continue", b"a b  c", b"y" * 300, b"y" * 3000,
    b"1" * 20, b"2\r\n folded", b"2\nX: y", b"2:2",
])  # fmt: skip
_line = st.builds(
    lambda name, colon, value: name + colon + value, _name, st.sampled_from([b": ", b":", b":  "]), _value
)
_lines = st.lists(_line, max_size=5).map(lambda lines: [b"Host: x", b"Content-Length: 2", *lines])
_whole = st.builds(
    lambda first, lines, body: b"\r\n".join([first, *lines, b"", body]),
    st.just(_POST) | _first_line, _lines.flatmap(st.permutations),
    st.sampled_from([b"[]", b"[", b"", b"[] ", b"[]" + GO]),
)  # fmt: skip
_one_byte_off = st.builds(
    lambda data, at, byte: data[: at % len(data)] + byte + data[at % len(data) + len(byte) :],
    st.sampled_from([GO, CURL, PROXIED]), st.integers(0, 400), st.binary(min_size=0, max_size=2),
)  # fmt: skip


class Heads(SynchronousTestCase):
    """One more reader of HTTP must never be one who understands it differently."""

    def test_those_of_usual_clients_are_usual(self) -> None:
        """Else all this is for nothing."""
        for data in (GO, CURL, PROXIED):
            head = usual_head(data)
            assert head is not None, data
            self.assertEqual((b"[]", 2), (data[head.end :], head.body_bytes))

    def test_no_token_is_kept(self) -> None:
        """What is known from the head before is never what a client proves itself by."""
        usual_head(GO)
        known = known_field.cache_info().currsize
        for token in (b"Authorization: Bearer a", b"authorization: Bearer b", b"AUTHORIZATION: Basic c"):
            head = usual_head(GO.replace(b"Accept-Encoding: gzip", token))
            assert head is not None, token
            self.assertEqual([token.partition(b": ")[2]], [*(head.headers.getRawHeaders(b"Authorization") or ())])
        self.assertEqual(known, known_field.cache_info().currsize)

    @settings(deadline=None, max_examples=1000)
    @given(_whole | _one_byte_off)
    def test_what_is_read_is_what_twisted_reads(self, data: bytes) -> None:
        """First line, each header with its name and value, and the length of the body; a refused one is not read."""
        head = usual_head(data)
        if head is not None:
            read = head.first_line, {name: list(values) for name, values in head.headers.getAllRawHeaders()}
            self.assertEqual(read_by_twisted(data), (read, head.body_bytes))

    def test_none_is_read_whose_length_two_readers_may_see_differently(self) -> None:
        """RFC 9112, 6.1 and 11.2: all that a proxy may be fooled by is left to the reader that has always had it."""
        for form in FORMS:
            head = usual_head(form)
            if head is not None:
                read = head.first_line, {name: list(values) for name, values in head.headers.getAllRawHeaders()}
                self.assertEqual(read_by_twisted(form), (read, head.body_bytes))
                self.assertNotIn(b"Transfer-Encoding", read[1])

    @settings(deadline=None, max_examples=300)
    @given(_whole | _one_byte_off | st.sampled_from(FORMS), st.integers(1, 100))
    def test_in_one_piece_it_is_answered_as_in_two(self, data: bytes, at: int) -> None:
        """Rule 10: what has come in two is never taken as a whole."""
        data = data.replace(b"/results", b"/echo")
        whole, pieces = Conversation(data, GO), Conversation(data[:at], data[at:], GO)
        self.assertEqual((pieces.said, pieces.was_closed), (whole.said, whole.was_closed))
        self.assertEqual(whole.held, (0, 0, 0))
