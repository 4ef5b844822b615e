"""An input_service, and a name server, that behave badly: hops wait and arrive once, and nobody else notices."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from pathlib import Path

from tests.kit.depth import long
from tests.system.addresses import feedable_hops
from tests.system.harness import HOST, Outputd, SystemTest, free_port
from tests.system.load import Source
from tests.system.nameserver import NameServer
from tests.system.waiting import wait_until

_MIB = 1 << 20
_PROMPT_S = 5.0  # a peer is waited for twice as long
_NAME = "input.example"
_SOON_S = 90.0  # the feed's pauses, doubled each time


class PeersTest(SystemTest):
    """A load goes on; the promise is that it, /ready and memory show nothing of what the feed's peer does."""

    def assertUnnoticed(self, outputd: Outputd) -> None:  # in unittest's spelling
        """It is ready, answers at once and takes a post at once."""
        for answer in (outputd.get("/ready"), outputd.get("/health"), outputd.post(Source(99).post().body)):
            self.assertEqual(200, answer.status, answer.body)
            self.assertLess(answer.seconds, _PROMPT_S)


class InputServices(PeersTest):
    """Rule 19."""

    @long(
        "tests.system.test_feed.FeedTests.test_an_outage_by_any_name",
    )
    def test_each_kind_in_turn(self) -> None:
        """It drips, hangs, answers gigabytes, redirects, resets, talks TLS; each time it is well again."""
        peer = Rude(free_port())
        self.addCleanup(peer.close)
        outputd = self.outputd(input_url=f"http://{HOST}:{peer.port}/hops").start()
        load = self.load(outputd, Source(31), 2)
        for behave in (_reset, _redirect, _greet_in_tls, _pour, _pour_headers, _hang_after_headers, _drip):
            peer.turn(behave)
            wait_until(lambda: peer.met, f"the feed meets {behave.__name__}", _SOON_S)
            self.assertUnnoticed(outputd)
            self.assertEqual("healthy", outputd.get("/health").json["status"])
            peer.turn(_take)
            wait_until(lambda: peer.met, "hops are taken again", _SOON_S)
        self.assertUndisturbed(load.stop())
        discovered = outputd.stats["hops_discovered"]
        wait_until(lambda: outputd.stats["hops_sent"] == discovered, "all are sent", _SOON_S)
        self.assertLess(outputd.peak_rss_bytes, (64 + 150) * _MIB)
        self.assertLess(peer.poured_bytes, 64 * _MIB)
        self.assertStopped(outputd.stop())
        fed = feedable_hops(result for post in load.answered for result in post.results)
        self.assertLessEqual(fed, peer.taken)


class Names(PeersTest):
    """Rule 19, where the name of input_service cannot be looked up."""

    def setUp(self) -> None:
        super().setUp()
        address = f"127.53.{random.randrange(256)}.{random.randrange(256)}"  # no other run's, nor systemd-resolved's
        self.names = NameServer(address)
        self.addCleanup(self.names.close)
        try:
            self.names.open()
        except OSError as error:
            self.skipTest(f"no name server can listen on {address}: {error}")
        if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
            self.skipTest("no namespace of mounts can be made here (unshare -rm)")
        self.resolv_conf = Path(f"{self.directory}.resolv.conf")
        self.resolv_conf.write_text(f"nameserver {address}\noptions timeout:30 attempts:3\n", encoding="ascii")

    @long(
        "tests.system.test_feed.FeedTests.test_over_an_outage_and_a_crash",
    )
    def test_a_name_server_that_is_silent_then_failing_then_right(self) -> None:
        """Hops wait; look-ups that hang keep nobody else from a thread, and do not pile up."""
        input_service = self.input_service().open()
        outputd = _Resolving(self.directory, self.resolv_conf, f"--input-url=http://{_NAME}:{input_service.port}/hops")
        self.addCleanup(outputd.kill)
        outputd.start()
        load = self.load(outputd, Source(32), 2)
        wait_until(lambda: self.names.asked, "a name is asked for")
        threads = outputd.thread_names
        wait_until(lambda: outputd.get("/health").json["checks"]["input_service"]["status"] == "warn", "a warning")
        self.assertUnnoticed(outputd)
        self.assertEqual(200, outputd.rotate().status)
        wait_until(lambda: self.names.asked > 2, "it is asked for again", _SOON_S)
        self.assertUnnoticed(outputd)
        self.assertLessEqual(len(outputd.thread_names), len(threads) + 4, outputd.thread_names)
        self.names.mood, asked = "failing", self.names.asked
        wait_until(lambda: self.names.asked > asked, "it is asked while it fails", _SOON_S)
        self.assertUnnoticed(outputd)
        self.names.mood = "right"
        self.assertUndisturbed(load.stop())
        discovered = outputd.stats["hops_discovered"]
        wait_until(lambda: outputd.stats["hops_sent"] == discovered, "all hops are sent", _SOON_S)
        self.assertStopped(outputd.stop())
        fed = feedable_hops(result for post in load.answered for result in post.results)
        self.assertEqual(fed, fed & set(input_service.taken))
        self.assertEqual({1}, set(input_service.taken.values()))


class _Resolving(Outputd):
    """An instance with a /etc/resolv.conf of its own."""

    def __init__(self, directory: Path, resolv_conf: Path, *flags: str) -> None:
        super().__init__(directory, *flags)
        self._resolv_conf = resolv_conf

    @property
    def thread_names(self) -> list[str]:
        """One for each of its threads."""
        return [
            task.joinpath("comm").read_text(encoding="utf-8").strip()
            for task in Path(f"/proc/{self.pid}/task").iterdir()
        ]

    def _command(self, flags: tuple[str, ...]) -> list[str]:
        mounted = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"'
        return ["unshare", "-rm", "sh", "-c", mounted, str(self._resolv_conf), *super()._command(flags)]


# -- an input_service of bare sockets ----------------------------------------------------------------


class Rude:
    """Reads a POST on each connection, then does what `behave` says."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.behave: Callable[[Rude, socket.socket], None] = _take
        self.met = 0
        self.poured_bytes = 0
        self.taken: set[str] = set()
        self._listening = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def turn(self, behave: Callable[[Rude, socket.socket], None]) -> None:
        """Behave like this from now on, and count whom it happens to."""
        self.behave, self.met = behave, 0

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppressed(OSError):
            connection.settimeout(20)
            request = b""
            while b"]}" not in request:
                request += connection.recv(65536)
            behave = self.behave
            if behave in _TAKING:
                self.taken.update(json.loads(request.partition(b"\r\n\r\n")[2])["hops"])
            if behave is self.behave:
                self.met += 1
            behave(self, connection)

    def pour(self, connection: socket.socket, data: bytes) -> None:
        """Send the same until it is read no more."""
        while True:
            self.poured_bytes += connection.send(data)


def _take(peer: Rude, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def _reset(peer: Rude, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _redirect(peer: Rude, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 307 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")


def _greet_in_tls(peer: Rude, connection: socket.socket) -> None:
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")


def _pour(peer: Rude, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    peer.pour(connection, b"x" * 65536)


def _pour_headers(peer: Rude, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    peer.pour(connection, b"X: y\r\n" * 1000)


def _hang_after_headers(peer: Rude, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n")
    connection.recv(1)


def _drip(peer: Rude, connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n":
        connection.sendall(bytes([byte]))
        time.sleep(1)  # no limit on silence runs out between two bytes


_TAKING = (_take, _pour)
"""Those whose status line says that they have taken the hops."""
