"""Requests whose length two readers may see differently, sent straight and through real proxies: no desync."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from pathlib import Path

from tests.system.files import result_files
from tests.system.harness import HOST, Outputd, SystemTest, call
from tests.system.proxies import haproxy, nginx

_SMUGGLED = b"POST /rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
"""What a proxy refuses: where it is taken for a request all the same, a new file is the trace."""
_CHUNKED = (
    b"Transfer-Encoding: chunked", b"transfer-encoding: chunked", b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding:chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx", b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: identity",
    b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: \x0cchunked",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding: \xa0chunked", b"Transfer_Encoding: chunked",
    b"X: x\nTransfer-Encoding: chunked", b"X: x\rTransfer-Encoding: chunked", b"Transfer-Encoding: chunked;x=1",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding:",
)  # fmt: skip
_LENGTHS = (
    b"Content-Length: %d\r\nContent-Length: 0", b"Content-Length: 0\r\nContent-Length: %d", b"Content-Length: 0, %d",
    b"Content-Length: +%d", b"Content-Length: -%d", b"Content-Length: 0x%x", b"Content-Length: %d ",
    b"Content-Length : %d", b" Content-Length: %d", b"Content-Length: %d;x", b"Content-Length: %d.0",
    b"Content-Length:\r\n %d", b"Content-Length: \x0b%d", b"Content_Length: %d", b"Content-Length: 1%d",
    b"X: x\nContent-Length: %d", b"X: x\rContent-Length: %d", b"Content-Length: %d\x00", b"Content-Length: 1e%d",
)  # fmt: skip
_CHUNKS = (
    b"0\r\n\r\n", b"0\n\n", b"0;x=\n\r\n\r\n", b"00000000000000000\r\n\r\n", b"0x0\r\n\r\n", b"-0\r\n\r\n",
    b"+0\r\n\r\n",
    b"\r\n0\r\n\r\n", b"0 \r\n\r\n", b"0\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n\n", b"ffffffffffffffff1\r\n",
)  # fmt: skip


def forms() -> Iterator[bytes]:
    """Heads and bodies after which a reader who is fooled finds a request of its own."""
    head = b"POST /results HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n"
    for coding in _CHUNKED:
        body = b"0\r\n\r\n" + _SMUGGLED
        yield head % (b"Content-Length: %d\r\n%s" % (len(body), coding)) + body
        yield head % (b"%s\r\nContent-Length: 4" % coding) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(_SMUGGLED), _SMUGGLED)
    for length in _LENGTHS:
        yield head % (length % len(_SMUGGLED)) + _SMUGGLED
    for chunk in _CHUNKS:
        yield head % b"Transfer-Encoding: chunked" + chunk + _SMUGGLED
    for method in (b"GET", b"HEAD", b"OPTIONS"):
        yield (
            b"%s /dump?file=x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (method, len(_SMUGGLED)) + _SMUGGLED
        )
    yield b"POST /results HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + _SMUGGLED


def sent(port: int, data: bytes) -> None:
    """Say this on a connection of its own, and take what comes until it ends or nothing more does."""
    with socket.create_connection((HOST, port), timeout=5) as connection, suppressed(OSError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


class SmugglingTests(SystemTest):
    """RFC 9112, 6.1 and 11.2."""

    def assertNoDesync(self, outputd: Outputd, port: int) -> None:  # in unittest's spelling
        """Each form leaves the next client its own answer, and rotates nothing."""
        good = json.dumps([{"ip": "192.0.2.1", "sent": 1, "received": 1, "timestamp": "2026-03-01T12:00:00Z"}]).encode()
        count = 0
        for form in forms():
            sent(port, form)
            answer = call(port, "POST", "/results", good)
            self.assertEqual((200, {"status": "ok", "received": 1}), (answer.status, answer.json), form)
            self.assertEqual(1, len(result_files(outputd.directory)), form)
            count += 1
        self.assertGreaterEqual(count, 89)

    def test_through_nginx(self) -> None:
        outputd = self.outputd().start()
        self.assertNoDesync(outputd, nginx(Path(self.mktemp()).absolute(), outputd.port, self.addCleanup))

    def test_through_haproxy(self) -> None:
        outputd = self.outputd().start()
        self.assertNoDesync(outputd, haproxy(Path(self.mktemp()).absolute(), outputd.port, self.addCleanup))
