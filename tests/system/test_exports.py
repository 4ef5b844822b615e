"""An export of the running service: it is whole, or seen to be cut off, whatever becomes of the service."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.system.harness import HOST, Outputd, SystemTest
from tests.system.load import Source
from tests.system.waiting import wait_until

_SLOW_BYTES_A_S = 64 * 1024
_RESULTS = 4000
_MIB = 1 << 20
_HEAD_LINES = 7


class ExportTests(SystemTest):
    def filled(self, *flags: str) -> Outputd:
        """An instance with some MiB of results in two files."""
        outputd = self.outputd(*flags).start()
        source = Source(3)
        for number in range(2):
            if number:
                outputd.rotate()
            for _ in range(_RESULTS // 200 // 2):
                self.assertEqual(200, outputd.post(source.post(200).body).status)
        return outputd

    def reading(self, outputd: Outputd) -> http.client.HTTPResponse:
        """The beginning of an export, of which little is read ahead."""
        connection = http.client.HTTPConnection(HOST, outputd.health_port, timeout=15)
        self.addCleanup(connection.close)
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.request("GET", "/export.ndjson")
        response = connection.getresponse()
        self.assertEqual(200, response.status)
        self.assertTrue(response.readline())
        return response

    def children(self, outputd: Outputd) -> list[int]:
        """The processes that any of its threads has started and that are there still."""
        threads = Path(f"/proc/{outputd.pid}/task").glob("*/children")
        return [int(pid) for path in threads for pid in path.read_text(encoding="ascii").split()]

    def test_all_results_come_with_their_traceroutes(self) -> None:
        outputd = self.filled()
        lines = [json.loads(line) for line in outputd.get("/export.ndjson").body.splitlines()]
        self.assertEqual(list(range(1, _RESULTS + 1)), [line["id"] for line in lines])
        self.assertEqual(1, len({line["instance"] for line in lines}))
        self.assertStopped(outputd.stop())

    def test_parquet_is_made_beside_the_service_and_leaves_nothing_there(self) -> None:
        """Rule 9: Arrow alone takes 100 MiB."""
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed")
        outputd = self.filled()
        before_bytes = outputd.rss_bytes
        body = outputd.get("/export.parquet").body
        self.assertEqual((b"PAR1", b"PAR1"), (body[:4], body[-4:]))
        self.assertLess(outputd.peak_rss_bytes - before_bytes, 40 * _MIB)
        wait_until(lambda: not self.children(outputd), "the end of the process that made it")
        self.assertStopped(outputd.stop())

    def test_a_client_sees_that_the_service_was_killed(self) -> None:
        outputd = self.filled()
        response = self.reading(outputd)
        outputd.kill()
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()

    def test_over_http_1_0_it_sees_that_too(self) -> None:
        """Nothing but the end of the connection tells the end of the answer there."""
        outputd = self.filled()
        whole = self.by_http_1_0(outputd)
        self.assertEqual(_RESULTS, len(b"".join(iter(lambda: whole.recv(1 << 20), b"")).splitlines()) - _HEAD_LINES)
        half = self.by_http_1_0(outputd)
        self.assertTrue(half.recv(1000))
        outputd.kill()
        with self.assertRaises(ConnectionResetError):
            while half.recv(1 << 20):
                pass

    def by_http_1_0(self, outputd: Outputd) -> socket.socket:
        """A connection that has asked for an export, of which little is read ahead."""
        wire = socket.socket()
        self.addCleanup(wire.close)
        wire.settimeout(15)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        wire.connect((HOST, outputd.health_port))
        wire.sendall(b"GET /export.ndjson HTTP/1.0\r\n\r\n")
        return wire

    def test_a_stop_cuts_it_off_and_is_in_time(self) -> None:
        """Rule 23."""
        outputd = self.filled()
        response = self.reading(outputd)
        self.assertStopped(outputd.stop())
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
        self.assertIn("an export was cut off: outputd is shutting down", outputd.log)

    def test_a_child_that_hangs_does_not_keep_it_from_stopping(self) -> None:
        """Rule 23."""
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed")
        outputd = self.filled()
        connection = http.client.HTTPConnection(HOST, outputd.health_port, timeout=15)
        self.addCleanup(connection.close)
        connection.request("GET", "/export.parquet")
        response = connection.getresponse()
        (child,) = self.children(outputd)
        os.kill(child, signal.SIGSTOP)  # it imports pyarrow still
        self.assertStopped(outputd.stop())
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
        self.assertIn("an export was cut off: outputd is shutting down", outputd.log)
        self.assertRaises(ProcessLookupError, os.kill, child, 0)

    def test_a_slow_reader_holds_up_nothing_and_takes_no_memory(self) -> None:
        """Rules 9 and 11: POSTs go on, the WAL stays within its bound, and closed files are finished."""
        outputd = self.filled("--max-size-mb=6")
        before_bytes = outputd.rss_bytes
        response = self.reading(outputd)
        load = self.load(outputd, Source(4), 4)
        ends_s = time.monotonic() + 4
        while time.monotonic() < ends_s:
            response.read(_SLOW_BYTES_A_S // 10)
            time.sleep(0.1)  # the pace of a slow line
        wait_until(lambda: self._wal_bytes() < 3 * _MIB, "a checkpoint has cut the WAL back")
        outputd.rotate()
        wait_until(lambda: len(self._there("results_*-wal")) == 1, "all closed files are finished")
        load.stop()
        self.assertUndisturbed(load)
        self.assertIn("output_service_exports 1.0", outputd.get("/metrics").body.decode())
        self.assertLess(outputd.rss_bytes - before_bytes, 60 * _MIB)
        self.assertEqual(_RESULTS, json.loads(response.read().splitlines()[-1])["id"])
        self.assertStopped(outputd.stop())

    def _wal_bytes(self) -> int:
        return max((path.stat().st_size for path in self._there("results_*-wal")), default=0)

    def _there(self, pattern: str) -> list[Path]:
        return list(self.directory.glob(pattern))
