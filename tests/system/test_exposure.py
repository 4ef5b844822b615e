"""What a stranger who reaches the ports can make of them: lines in the log, files, banners."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator

from tests.system.harness import HOST, Outputd, SystemTest
from tests.system.load import Source
from tests.system.waiting import DEADLINE_S, wait_until

_FORGED = "2026-01-01T00:00:00+0000 [outputd.tap#info] all is well"
_ODD = ("\n", "\r", "\r\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\x7f")
_HEADERS = (
    b"X-Ping-Node", b"Idempotency-Key", b"Authorization", b"Origin", b"Sec-Fetch-Site", b"Content-Encoding",
    b"Range", b"Host", b"User-Agent", b"Expect", b"X-Forwarded-For", b"Cookie", b"Content-Type", b"Accept",
)  # fmt: skip
_LINE = re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 \[[^\]]+\] |\t).*", re.ASCII)


def _requests_with(raw: bytes) -> Iterator[bytes]:
    """Requests to the port for results, each with these bytes in another place."""
    for name in _HEADERS:
        yield b"POST /results HTTP/1.1\r\n%s: %s\r\nContent-Length: 2\r\n\r\n[]" % (name, raw)
    yield b"GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (raw, raw)
    yield b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % _escaped(raw)
    yield b"GET /dump?file=%s HTTP/1.1\r\n\r\n" % _escaped(raw)
    yield b"%s /results HTTP/1.1\r\n\r\n" % raw
    yield b"%s\r\n\r\n" % raw


def _escaped(raw: bytes) -> bytes:
    return "".join(f"%{byte:02x}" for byte in raw).encode()


class LogTests(SystemTest):
    """No field of a body, a header or a path can forge a line of the log."""

    def test_every_line_is_ours(self) -> None:
        """What cannot be printed is not in it, and what follows a line break is not a line of its own."""
        outputd = self.outputd("--verbose").start()
        for odd in _ODD:
            text = f"a{odd}{_FORGED}"
            result = {"ip": text, "sent": 1, "received": 1, "timestamp": text, "error": text, text: text}
            trace = {"method": text, "error": text, "hops": [{"ttl": 1, "ip": text}]}
            good = {**Source(1).post(1).results[0], "error": text, "traceroute": trace}
            outputd.post([result, good, text])
            raw = text.encode()
            for request in _requests_with(raw):
                self._say(outputd.port, request)
            for path in (b"/recent?node=", b"/recent?ip=", b"/hops/", b"/targets/", b"/static/", b"/"):
                self._say(outputd.health_port, b"GET %s%s HTTP/1.1\r\nHost: x\r\n\r\n" % (path, _escaped(raw)))
        self.assertEqual(200, outputd.get("/ready").status)
        self.assertStopped(outputd.stop())
        self.assertLinesAreOurs(outputd)

    def test_an_answer_of_input_service_forges_none(self) -> None:
        """Whatever it says in the place of HTTP: the log says what is wrong with it."""
        server = socket.create_server((HOST, 0))
        self.addCleanup(server.close)
        odd = itertools.cycle(f"{text}{each}{_FORGED}" for each in _ODD for text in ("", "HTTP/1.1 ", "HTTP/1.1 500 x"))

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    with connection:
                        connection.recv(65_536)
                        connection.sendall(f"{next(odd)}\r\nServer: {next(odd)}\r\n\r\n".encode())

        threading.Thread(target=answer, daemon=True).start()
        outputd = self.outputd(input_url=f"http://{HOST}:{server.getsockname()[1]}/hops").start()
        outputd.post(Source(3).post().body)
        wait_until(lambda: "hops cannot be delivered" in outputd.log, "it is told")
        self.assertStopped(outputd.stop())
        self.assertLinesAreOurs(outputd)

    def assertLinesAreOurs(self, outputd: Outputd) -> None:  # in unittest's spelling
        lines = outputd.log_path.read_bytes().decode().split("\n")
        self.assertGreater(len(lines), 10)
        self.assertEqual([], [line for line in lines if line and not _LINE.fullmatch(line)])
        self.assertEqual([], [line for line in lines if line.startswith(_FORGED)])
        self.assertEqual([], [line for line in lines if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", line)])

    def _say(self, port: int, request: bytes) -> bytes:
        with socket.create_connection((HOST, port), timeout=DEADLINE_S) as connection:
            connection.sendall(request)
            connection.settimeout(0.3)
            try:
                return connection.recv(65_536)
            except OSError:
                return b""


class FileTests(SystemTest):
    """Files are for their owner and the group, whatever the umask; no request reaches one outside of the directory."""

    def test_modes(self) -> None:
        for umask in (0o000, 0o077):
            before = os.umask(umask)
            try:
                outputd = self.outputd().start()
            finally:
                os.umask(before)
            outputd.post(Source(1).post().body)
            self.assertEqual(200, outputd.rotate().status)
            outputd.post(Source(2).post().body)
            self.assertEqual(200, outputd.get("/targets").status)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
            self.assertGreaterEqual(len(modes), 6)
            self.assertEqual({0o640}, set(modes.values()), modes)
            self.assertEqual(0o750, stat.S_IMODE(self.directory.stat().st_mode))
            outputd.kill()
            for path in self.directory.iterdir():
                path.unlink()
            self.directory.rmdir()

    def test_no_path_leads_out(self) -> None:
        """Neither to another file of the directory that is no result file."""
        outputd = self.outputd().start()
        outside = self.directory.parent / "results_2026-01-01_00-00-00.db"
        outside.write_bytes(b"secret")
        for name in (
            "../results_2026-01-01_00-00-00.db", "..%2fresults_2026-01-01_00-00-00.db", str(outside), "hops.sqlite3",
            "outputd.lock", "summary.sqlite3", "/etc/passwd", "%00", ".", "", "results_*.db",
        ):  # fmt: skip
            for path in (f"/dump?file={name}", f"/dump/{name}", f"/{name}"):
                answer = _get(outputd, path)
                self.assertIn(answer[0], (400, 404), path)
                self.assertNotIn(b"secret", answer[1])


class BannerTests(SystemTest):
    """No answer tells what it was made with."""

    def test_no_server_header_and_nosniff_everywhere(self) -> None:
        outputd = self.outputd().start()
        for port in (outputd.port, outputd.health_port):
            for request in (b"GET /health", b"GET /metrics", b"GET /nothing", b"POST /results", b"GET /dump", b"X"):
                with socket.create_connection((HOST, port), timeout=DEADLINE_S) as connection:
                    connection.sendall(
                        request + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    )
                    head = b"".join(iter(lambda: connection.recv(65_536), b"")).partition(b"\r\n\r\n")[0].lower()
                self.assertNotIn(b"\r\nserver:", head)
                self.assertNotIn(b"twisted", head)
                self.assertIn(b"\r\nx-content-type-options: nosniff", head)


def _get(outputd: Outputd, path: str) -> tuple[int, bytes]:
    with socket.create_connection((HOST, outputd.port), timeout=DEADLINE_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer.split()[1]), answer
