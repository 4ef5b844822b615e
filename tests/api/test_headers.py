"""Whatever a header says, no answer is an error of ours."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.kit.makers import a_result, body_of
from tests.kit.running import Running

_NAMES = (
    b"Accept", b"Accept-Encoding", b"Authorization", b"Content-Encoding", b"Content-Type", b"Expect", b"Forwarded",
    b"Host", b"Idempotency-Key", b"If-None-Match", b"If-Range", b"Origin", b"Range", b"Sec-Fetch-Site",
    b"X-Forwarded-For", b"X-Ping-Node",
)  # fmt: skip
_VALUES = (b"\xff", b"\xc3\xa9", b"\x80\x81,\xfe;q=\xff", b"", b",", b"bytes=\xff-", b"Basic \xff", b"=" * 5000)
_BODY = body_of(a_result())
_QUESTIONS = (
    b"GET /targets", b"GET /recent.csv", b"GET /static/style.css", b"GET /openapi.json", b"GET /health", b"GET /",
    b"GET /events", b"GET /export.ndjson",
)  # fmt: skip


class HeaderTests(TestCase):
    """Rule 10, and the contract's word that no input gives a 500."""

    def setUp(self) -> None:
        self.running = Running(Path(self.mktemp())).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.running.stop()))

    def test_bytes_that_are_no_text_are_answered(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._ask_all())

    async def _ask_all(self) -> None:
        for port, line, body in (
            *(("health-port", question, b"") for question in _QUESTIONS),
            ("port", b"POST /results", _BODY),
            ("port", b"GET /dump", b""),
        ):
            for name in _NAMES:
                for value in _VALUES:
                    wire = await self.running.connect(port)
                    host = b"" if name == b"Host" else b"Host: x\r\n"
                    head = b"%s HTTP/1.1\r\n%sConnection: close\r\nContent-Length: %d\r\n%s: %s\r\n\r\n"
                    wire.write(head % (line, host, len(body), name, value) + body)
                    await wire.until(b"\r\n\r\n")
                    status = re.match(rb"HTTP/1\.1 (\d+)", wire.data)
                    self.assertTrue(status and (int(status[1]) < 500 or int(status[1]) == 503), (line, name, value))
                    wire.hang_up()
                    await wire.closed
        self.assertEqual([], self.flushLoggedErrors())
