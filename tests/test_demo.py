"""The demonstration: a small internet from a seed, and a loop that turns."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.trial.unittest import SynchronousTestCase

from outputd import timestamps
from outputd.demo import Board, Demo, parse
from outputd.world import VANTAGE_POINTS, World
from tests.fakes import EPOCH, Bench, outcome
from tests.system.harness import free_port, is_open
from tests.system.waiting import wait_until
from tests.test_send import Response

TOP = Path(__file__).parent.parent
URL_TEXT = "http://localhost:8081/results"


class WorldTests(SynchronousTestCase):
    def test_the_same_seed_is_the_same_world(self) -> None:
        first, second = (
            [world.measure(point, target, EPOCH) for target in world.first_targets(9) for point in VANTAGE_POINTS]
            for world in (World(5), World(5))
        )
        self.assertEqual(first, second)
        self.assertNotEqual(first[0], World(6).measure("ams", World(6).first_targets(1)[0], EPOCH))

    def test_it_has_what_real_results_have(self) -> None:
        world = World(1)
        results = [world.measure(point, ip, EPOCH) for ip in list(world.owners)[::17] for point in VANTAGE_POINTS]
        hops = [hop for result in results for hop in result["traceroute"]["hops"]]
        self.assertTrue(any(0 < result["received"] < result["sent"] for result in results), "loss")
        self.assertTrue(any(result["received"] == 0 and result["error"] for result in results), "no answer")
        self.assertTrue(any(not result["traceroute"]["completed"] for result in results), "incomplete traces")
        self.assertTrue(any(hop.get("timeout") for hop in hops), "timeouts")
        self.assertTrue(any(":" in hop.get("ip", "") for hop in hops), "IPv6")
        complete = [result for result in results if result["traceroute"]["completed"]]
        self.assertTrue(all(result["traceroute"]["hops"][-1]["ip"] == result["ip"] for result in complete))
        self.assertTrue(
            all(hop["ttl"] == index for r in results for index, hop in enumerate(r["traceroute"]["hops"], 1))
        )

    def test_all_of_it_is_taken(self) -> None:
        """No result of this world is rejected by the service's own parser."""
        world = World(2)
        bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        results = [world.measure(point, ip, EPOCH) for ip in world.first_targets(40) for point in VANTAGE_POINTS]
        horizon = timestamps.at(EPOCH + 86_400)
        batch = bench.parser.parse(json.dumps(results).encode(), timestamps.at(EPOCH), horizon)
        self.assertEqual((200, []), (batch.accepted, batch.rejected))

    def test_addresses_are_nobodys(self) -> None:
        for address in World(1).owners:
            self.assertRegex(address, r"^(198\.1[89]\.|2001:db8:)")


class DemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out = io.StringIO()
        self.bodies: list[Any] = []
        self.answer: Any = None
        self.demo = Demo(World(1), self, URL_TEXT, Board(self.out, lambda: EPOCH), lambda: EPOCH)

    def post(self, url: Any, /, *, data: bytes, headers: Any, timeout: float) -> Deferred[Any]:
        results = json.loads(data)
        self.bodies.append(results)
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        good = sum("timestamp" in result for result in results)
        answer = {"status": "ok", "received": good, "rejected": len(results) - good}
        return succeed(self.answer or Response(200, json.dumps(answer).encode()))

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def test_hops_become_targets(self) -> None:
        client: Any = StubTreq(self.demo.app().resource())
        answered = self._answer(client.post("http://localhost/hops", json={"hops": ["198.18.9.9", "10.0.0.1"]}))
        self.assertEqual(200, answered.code)
        outcome(self.demo.post())
        self.assertEqual(["198.18.9.9", "10.0.0.1"], [result["ip"] for result in self.bodies[0]][-2:])
        self.assertIn("198.18.9.9, 10.0.0.1", self.lines[0])

    def test_a_hop_is_a_target_once(self) -> None:
        for _ in range(2):
            self.demo.take(["198.18.9.9"])
        self.assertEqual((2, 5), (self.demo.counts["hops"], self.demo.counts["targets"]))

    def test_what_is_no_hops_is_refused(self) -> None:
        client: Any = StubTreq(self.demo.app().resource())
        for body in (b"", b"[]", b'{"hops":3}', b'{"hops":[1]}', b'{"hop":[]}'):
            self.assertEqual(400, self._answer(client.post("http://localhost/hops", data=body)).code, body)

    def test_nodes_take_turns_and_some_items_are_odd(self) -> None:
        for _ in range(24):
            outcome(self.demo.post())
        self.assertEqual(2, self.demo.counts["rejected"])
        for node in VANTAGE_POINTS:
            self.assertTrue(any(f"node {node} " in line for line in self.lines))
        totals = [line.index(" results", 40) for line in self.lines]
        self.assertEqual({totals[0]}, set(totals), "columns are aligned")

    def test_a_service_that_is_away_is_said_once(self) -> None:
        self.answer = Refusal()
        for _ in range(3):
            outcome(self.demo.post())
        self.answer = Response(503, b"<html>")
        outcome(self.demo.post())
        self.assertEqual(1, len(self.lines))
        self.answer = None
        outcome(self.demo.post())
        self.assertEqual(2, len(self.lines))

    def test_colour_only_on_a_terminal(self) -> None:
        self.demo.take(["198.18.9.9"])
        self.assertNotIn("\x1b", self.out.getvalue())

    def test_the_defaults_are_the_ports_of_the_spec(self) -> None:
        options = parse([])
        self.assertEqual((URL_TEXT, 8080, 1.0), (options.url, options.hops_port, options.every))

    def _answer(self, asked: Deferred[Any]) -> Any:
        return self.successResultOf(asked)


class CommandTests(SynchronousTestCase):
    def test_the_loop_turns_and_ends_together(self) -> None:
        """With the service in between hops come back, more than once; Ctrl-C ends all and leaves nothing behind."""
        port = free_port()
        out = Path(self.mktemp())
        with out.open("wb") as file:
            process = subprocess.Popen(self._command(port), cwd=TOP, stdout=file, stderr=subprocess.STDOUT)
        self.addCleanup(process.kill)
        wait_until(lambda: out.read_text().count("/hops  ") >= 3, "hops come back", 30)
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(20), out.read_text())
        said = out.read_text()
        self.assertNotIn("Traceback", said)
        self.assertRegex(said.splitlines()[-1], r"results stored, [\d,]+ hops came back")
        directory = re.search(r"files in (\S+),", said)
        assert directory is not None
        self.assertFalse(Path(directory[1]).exists())
        self.assertFalse(is_open(port))

    def test_a_service_that_cannot_start_ends_it(self) -> None:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            ended = subprocess.run(
                self._command(port), cwd=TOP, capture_output=True, text=True, timeout=30, check=False
            )  # fmt: skip
        self.assertEqual(1, ended.returncode)
        self.assertIn(f"cannot listen on --port={port}", ended.stdout)

    def _command(self, port: int) -> list[str]:
        return [
            sys.executable, "-m", "outputd.demo", "--with-service", "--every=0.1",
            f"--port={port}", f"--health-port={free_port()}", f"--hops-port={free_port()}",
        ]  # fmt: skip
