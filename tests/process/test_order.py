"""What `outputd.process.order` promises, and the order of a whole stop; a number is that of a rule of the contract."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.process.order import OutputService, Stop, Stopping
from outputd.process.trouble import Unusable
from outputd.sqlite.files import wal_of
from tests.kit.makers import a_result, body_of
from tests.kit.running import Running, eventually

TOP = Path(__file__).parents[2]
HANGS = """
import sys, threading
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from outputd.process import order
order.STOP_S = 1.0
async def quick(): pass
async def hangs(): await Deferred()
async def blocks(): threading.Event().wait()
service = order.OutputService(
    reactor, [], [order.Stop("the quick one", quick), order.Stop("the slow one", {how})], order.Stopping())
reactor.callWhenRunning(service.startService)
reactor.callLater(0, service.stopService)
reactor.run()
"""
ENDS = """
import os, signal, sys
from twisted.internet import reactor
from outputd.process import order
said = []
async def last(): said.append("stopped")
service = order.OutputService(reactor, [], [order.Stop("all", last)], order.Stopping())
reactor.callWhenRunning(service.end_by_signals)
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.callLater(0.01, os.kill, os.getpid(), signal.SIGUSR1)
reactor.callLater(0.01, os.kill, os.getpid(), signal.SIGUSR2)
reactor.callLater(0.02, os.kill, os.getpid(), {number})
reactor.callLater(0.02, os.kill, os.getpid(), {number})
reactor.run()
print(*said)
"""


def service(starts: Sequence[Callable[[], object]], stops: Sequence[Stop]) -> OutputService:
    return OutputService(None, starts, stops, Stopping())


class ServiceTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.done: list[str] = []

    def step(self, name: str, waits_for: Deferred[None] | None = None) -> Stop:
        async def work() -> None:
            self.done.append(f"{name} begins")
            if waits_for is not None:
                await waits_for
            self.done.append(f"{name} ends")

        return Stop(name, work)

    def test_parts_start_in_order(self) -> None:
        """Rule 23."""
        service([lambda: self.done.append("a"), lambda: self.done.append("b")], []).privilegedStartService()
        self.assertEqual(self.done, ["a", "b"])

    def test_a_part_that_cannot_start_is_one_line_and_status_1_and_no_later_part_starts(self) -> None:
        """Rule 23."""

        def fails() -> None:
            raise Unusable("cannot listen on --port=1: Permission denied")

        self.patch(sys, "__stderr__", said := io.StringIO())
        served = service([fails, lambda: self.done.append("served")], [])
        end = self.assertRaises(SystemExit, served.privilegedStartService)
        self.assertEqual((end.code, self.done), (1, []))
        self.assertEqual(said.getvalue(), "outputd: cannot listen on --port=1: Permission denied\n")

    def test_each_stops_when_the_one_before_has_stopped(self) -> None:
        """Rule 23."""
        first: Deferred[None] = Deferred()
        stopped = service([], [self.step("a", first), self.step("b")]).stopService()
        self.assertEqual(self.done, ["a begins"])
        first.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.done, ["a begins", "a ends", "b begins", "b ends"])

    def test_one_that_fails_is_logged_and_the_next_ones_stop_all_the_same(self) -> None:
        """Rule 23: files are closed whatever happens before."""

        async def fails() -> None:
            raise OSError("no")

        self.successResultOf(service([], [Stop("a", fails), self.step("b")]).stopService())
        self.assertEqual(self.done, ["b begins", "b ends"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_it_is_stopping_from_the_first_moment(self) -> None:
        """Rule 21."""
        seen: list[bool] = []
        stopping = Stopping()
        service = OutputService(None, [], [Stop("look", lambda: seen.append(stopping.has_begun))], stopping)
        self.assertFalse(stopping.has_begun)
        self.successResultOf(service.stopService())
        self.assertEqual(seen, [True])


class Ending(SynchronousTestCase):
    """Rule 23 in processes of their own."""

    def run_code(self, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=120, check=False
        )

    def test_what_hangs_is_named_and_the_process_ends_with_1(self) -> None:
        """Rule 23: when the reactor itself hangs, too."""
        for how in ("hangs", "blocks"):
            ended = self.run_code(HANGS.replace("{how}", how))
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertIn("the slow one", ended.stderr)
            self.assertNotIn("the quick one", ended.stderr)
            self.assertNotIn("Traceback", ended.stderr)

    def test_both_signals_end_it_in_order_with_0_once_or_twice(self) -> None:
        """Rule 23; and those that logrotate sends do not end it at all."""
        for number in (signal.SIGTERM, signal.SIGINT):
            ended = self.run_code(ENDS.replace("{number}", str(int(number))))
            self.assertEqual((ended.returncode, ended.stdout), (0, "stopped\n"), ended.stderr)


class WholeStop(TestCase):
    """Rule 23: the result port closes first and the health port last, and files are closed without WAL."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.service = Running(self.path, "--input-url=http://127.0.0.1:9/hops").start()

    async def test_the_order(self) -> None:
        """Rules 21 and 23."""
        steps = self.service.parts.stops()
        names = [step.name for step in steps]
        self.assertEqual(names[:2], ["the word to systemd", "the port for results"])
        self.assertLess(names.index("the upkeep of the hop ledger"), names.index("the store"))
        self.assertLess(names.index("the store"), names.index("the hop ledger"))
        self.assertLess(names.index("the posting of hops and changes"), names.index("the hop ledger"))
        self.assertLess(names.index("the hop ledger"), names.index("the health port"))
        seen: dict[str, int] = {}
        await self.service.post(body_of(a_result()))
        index = names.index("the hop ledger")
        await self.service.stop([*steps[:index], Stop("look", lambda: self.look(seen)), *steps[index:]])
        self.assertEqual(seen, {"/ready": 503, "/metrics": 200})

    async def look(self, seen: dict[str, int]) -> None:
        for path in ("/ready", "/metrics"):
            seen[path] = (await self.service.ask("GET", path, port="health-port")).status

    async def test_nothing_but_finished_files_is_left(self) -> None:
        """Rule 23."""
        await self.service.post(body_of(*[a_result()] * 100))
        old = self.service.parts.store.current.info.path
        await self.service.ask("POST", "/rotate")
        await self.service.post(body_of(a_result()))
        await eventually(lambda: not wal_of(old).exists())
        await self.service.stop()
        left = sorted(os.listdir(self.path))
        others = [name for name in left if not name.endswith((".db", ".json"))]
        self.assertEqual(others, ["changes.sqlite3", "hops.sqlite3", "outputd.lock", "summary.sqlite3"])
        for path in self.path.glob("*.db"):
            self.assertEqual(path.read_bytes()[18:20], b"\1\1", path.name)

    async def test_another_process_may_have_the_directory_at_once(self) -> None:
        """Rules 14 and 23."""
        await self.service.post(body_of(a_result()))
        await self.service.stop()
        again = Running(self.path).start()
        reply = await again.ask("GET", "/recent", port="health-port")
        await again.stop()
        self.assertEqual([found["id"] for found in reply.json], [1])

    async def test_half_open_and_silent_connections_do_not_hold_it_up(self) -> None:
        """Rule 23."""
        wires: list[Any] = [await self.service.connect() for _ in range(3)]
        wires[1].write(b"POST /resu")
        wires[2].write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        await wires[2].until(b"404")
        self.service.parts = dataclasses.replace(self.service.parts, results_drain_s=3600.0)
        await self.service.service().stopService()
        for wire in wires:
            await wire.closed
        await eventually(lambda: not self.service.site.channels)
