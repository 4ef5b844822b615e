"""A client that dawdles or vanishes holds up nobody: neither another client nor the shutdown."""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.kit.depth import long
from tests.system.files import all_faults, stored_targets
from tests.system.harness import HOST, Answer, Outputd, SystemTest, call
from tests.system.load import Post, Source, targets
from tests.system.waiting import DEADLINE_S, wait_until


class ClientTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.source = Source(9)
        self.answered: list[Post] = []
        self.sockets = ExitStack()
        self.addCleanup(self.sockets.close)

    def test_hangs_up_in_its_post(self) -> None:
        """Rules 1, 23: half a POST stores nothing, a whole one without a reader all or nothing; others are served."""
        outputd = self.outputd().start()
        unread = []
        for number in range(40):
            post = self.source.post()
            whole = number % 2 == 0
            client = self._connect(outputd)
            client.sendall(_request(post)[: None if whole else -100])
            if number % 4 < 2:  # else FIN
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
            client.close()
            unread += [post] if whole else []
            self._post(outputd)
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))
        stored = stored_targets(self.directory)
        self.assertEqual(targets(self.answered), stored & targets(self.answered))
        self.assertEqual({}, stored - targets(self.answered) - targets(unread))

    def test_reads_a_dump_slowly(self) -> None:
        """Rules 8, 15, 23: a reader that has stopped reading keeps neither a dump nor a rotation from others."""
        outputd = self.outputd().start()
        for _ in range(10):
            self._post(outputd, 500)
        slow = self._connect(outputd, receive_buffer=4096)
        slow.sendall(b"GET /dump HTTP/1.1\r\nHost: outputd\r\n\r\n")
        self.assertTrue(slow.recv(100).startswith(b"HTTP/1.1 200"))
        self._post(outputd)
        dump = call(outputd.port, "GET", "/dump")
        self.assertEqual(200, dump.status)
        self.assertGreater(len(dump.body), 1 << 20)  # more than all buffers between hold
        self.assertEqual(200, outputd.rotate().status)
        self._post(outputd)
        self.assertEqual(200, outputd.get("/ready").status)
        self.assertStopped(outputd.stop())
        self.assertEqual(targets(self.answered), stored_targets(self.directory))

    @long(
        "tests.process.test_order.WholeStop.test_half_open_and_silent_connections_do_not_hold_it_up",
    )
    def test_half_open(self) -> None:
        """Rules 8, 23: connections that fall silent anywhere hold up nobody, on either port."""
        outputd = self.outputd().start()
        request = _request(self.source.post())
        head = request.index(b"\r\n\r\n") + 4
        for sent in (0, 10, head - 2, head, head + 10, len(request) - 1):
            for _ in range(5):
                self._connect(outputd).sendall(request[:sent])
        for _ in range(5):
            self._connect(outputd, port=outputd.health_port).sendall(b"GET /metrics HT")
        self._post(outputd)
        self.assertEqual(200, outputd.get("/ready").status)
        self.assertEqual(200, call(outputd.port, "GET", "/dump").status)
        self.assertStopped(outputd.stop())
        self.assertEqual(targets(self.answered), stored_targets(self.directory))

    def test_too_many_connections(self) -> None:
        """Rule 8: beyond --max-connections a connection is closed; the health port keeps its own."""
        outputd = self.outputd("--max-connections=10").start()
        clients = [self._connect(outputd) for _ in range(30)]
        wait_until(lambda: sum(map(_is_closed, clients)) == 20, "all but ten are closed")
        self.assertEqual(200, outputd.get("/health").status)
        for client in clients:
            client.close()
        wait_until(lambda: self._is_served(outputd), "posts are taken again")
        self.assertStopped(outputd.stop())

    def test_overload(self) -> None:
        """Rule 9: what is over --max-pending-mb gets 503 with Retry-After, and nothing of it is stored."""
        outputd = self.outputd("--max-pending-mb=1").start()
        first, second = (Post(post.body + b" " * size, post.targets, "") for post, size in
                         ((self.source.post(), 900_000), (self.source.post(), 400_000)))  # fmt: skip
        sender = self._connect(outputd)
        sender.sendall(_request(first)[:-1])
        refused = wait_until(lambda: self._overload(outputd, second), "so much is held that the second has no room")
        self.assertEqual("application/problem+json", refused.headers["Content-Type"])
        self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
        self._post(outputd)  # there is room for a small one
        sender.sendall(_request(first)[-1:])
        self.assertIn(b" 200 ", sender.recv(1000))
        self.assertEqual(200, outputd.post(second.body).status)
        self.assertStopped(outputd.stop())
        self.assertEqual(targets([first]), stored_targets(self.directory) & targets([first]))

    def test_twins(self) -> None:
        """Rule 6: of posts with one key that come at once, one is stored, and all get the same answer."""
        outputd = self.outputd().start()
        post = self.source.post(300)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: outputd.post(post.body, idempotency_key=post.key).json, range(8)))
        once = {"status": "ok", "received": 300}
        self.assertEqual(1, answers.count(once))
        self.assertEqual(7, answers.count({**once, "duplicate": True}))
        self.assertStopped(outputd.stop())
        self.assertEqual(targets([post]), stored_targets(self.directory))

    def _connect(self, outputd: Outputd, port: int = 0, receive_buffer: int = 0) -> socket.socket:
        client = self.sockets.enter_context(socket.socket())
        client.settimeout(DEADLINE_S)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect((HOST, port or outputd.port))
        return client

    def _post(self, outputd: Outputd, size: int = 10) -> None:
        """A good client is served, long before those beside it are given up."""
        post = self.source.post(size)
        answer = outputd.post(post.body)
        self.assertEqual((200, size), (answer.status, answer.json["received"]))
        self.answered.append(post)

    def _overload(self, outputd: Outputd, post: Post) -> Answer | None:
        before = outputd.stats["total_results"]
        answer = outputd.post(post.body)
        if answer.status == 200:
            return None
        self.assertEqual((503, before), (answer.status, outputd.stats["total_results"]))
        return answer

    def _is_served(self, outputd: Outputd) -> bool:
        try:
            self._post(outputd)
        except OSError:
            return False
        return True


def _request(post: Post) -> bytes:
    return b"POST /results HTTP/1.1\r\nHost: outputd\r\nContent-Length: %d\r\n\r\n%b" % (len(post.body), post.body)


def _is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
