"""The demonstration: a small internet from a seed, and a loop that turns."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.trial.unittest import SynchronousTestCase

from outputd.demo.__main__ import parse
from outputd.demo.internet import VANTAGE_POINTS, World
from outputd.demo.neighbours import Board, Demo
from tests.kit.bench import EPOCH
from tests.kit.pools import outcome
from tests.sender.test_sender import Response
from tests.system.harness import free_port, is_open
from tests.system.waiting import wait_until

TOP = Path(__file__).parents[2]
URL_TEXT = "http://localhost:8081/results"


class DemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out = io.StringIO()
        self.bodies: list[Any] = []
        self.answer: Any = None
        self.demo = Demo(World(1), self, URL_TEXT, Board(self.out, lambda: EPOCH), lambda: EPOCH)

    def post(self, url: Any, /, *, data: Any, **options: object) -> Deferred[Any]:
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
        new = [World(1).first_targets(9)[-1], "10.0.0.1"]
        answered = self._answer(client.post("http://localhost/hops", json={"hops": new}))
        self.assertEqual(200, answered.code)
        outcome(self.demo.post())
        self.assertEqual(new, [result["ip"] for result in self.bodies[0]][-2:])
        self.assertIn(", ".join(new), self.lines[0])

    def test_hops_of_another_world_stay_with_who_sent_them(self) -> None:
        """Issue 15.22: taken or refused for good, a real input_service would never get them."""
        client: Any = StubTreq(self.demo.app().resource())
        hops = ["10.0.0.1", "8.8.8.8"]
        self.assertEqual(503, self._answer(client.post("http://localhost/hops", json={"hops": hops})).code)
        self.assertEqual(0, self.demo.counts["hops"])

    def test_what_it_measures_is_of_its_world(self) -> None:
        world = World(1)
        for node in VANTAGE_POINTS:
            for target in world.first_targets(4):
                hops = world.measure(node, target, EPOCH)["traceroute"]["hops"]
                self.assertTrue(all(world.knows(hop["ip"]) for hop in hops if "ip" in hop))

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

    def test_a_service_that_is_away_is_said_once_and_so_is_its_return(self) -> None:
        self.answer = Refusal()
        for _ in range(3):
            outcome(self.demo.post())
        self.answer = Response(503, b"<html>")
        outcome(self.demo.post())
        self.assertEqual(1, len(self.lines))
        self.answer = None
        outcome(self.demo.post())
        self.assertEqual(3, len(self.lines))
        self.assertIn("taken again", self.lines[1])

    def test_colour_only_on_a_terminal(self) -> None:
        self.demo.take(["198.18.9.9"])
        self.assertNotIn("\x1b", self.out.getvalue())

    def test_the_defaults_are_the_ports_of_the_spec(self) -> None:
        options = parse(["--url", URL_TEXT])
        self.assertEqual(
            (URL_TEXT, "http://localhost:8091", 8080, 1.0),
            (options.url, options.health_url, options.hops_port, options.every),
        )
        self.assertEqual("http://[::1]:8091", parse(["--url=http://[::1]:8081/results"]).health_url)

    def test_it_posts_nowhere_without_being_told_where(self) -> None:
        """Issue 15.22: nor both to a service of its own and to another one."""
        for flags in ([], ["--with-service", "--url", URL_TEXT], ["--url=localhost:8081"]):
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(2, self.assertRaises(SystemExit, parse, flags).code, flags)

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
        wait_until(lambda: out.read_text().count("/hops  ") >= 3, "hops come back")
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(120), out.read_text())
        said = out.read_text()
        self.assertNotIn("Traceback", said)
        self.assertRegex(said.splitlines()[-1], r"results stored, [\d,]+ hops came back")
        directory = re.search(r"files in (\S+),", said)
        assert directory is not None
        self.assertFalse(Path(directory[1]).exists())
        self.assertFalse(is_open(port))

    def test_beside_a_running_service_nothing_is_posted_to_that(self) -> None:
        """Issue 15.22: its /ready was taken for that of the demonstration's own service."""
        asked: list[str] = []

        class Service(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            do_POST = do_GET

        with ThreadingHTTPServer(("127.0.0.1", 0), Service) as running:
            thread = threading.Thread(target=running.serve_forever)
            thread.start()
            self.addCleanup(thread.join)
            port = running.server_address[1]
            flags = [f"--port={port}", f"--health-port={port}", f"--hops-port={free_port()}"]
            ended = subprocess.run(
                [sys.executable, "-m", "outputd.demo", "--with-service", "--every=0.01", *flags],
                cwd=TOP, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            running.shutdown()
        self.assertEqual((1, []), (ended.returncode, asked))
        self.assertIn("cannot listen on --port", ended.stdout)

    def test_a_service_that_cannot_start_ends_it(self) -> None:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            ended = subprocess.run(
                self._command(port), cwd=TOP, capture_output=True, text=True, timeout=120, check=False
            )  # fmt: skip
        self.assertEqual(1, ended.returncode)
        self.assertIn(f"cannot listen on --port={port}", ended.stdout)

    def _command(self, port: int) -> list[str]:
        return [
            sys.executable, "-m", "outputd.demo", "--with-service", "--every=0.1",
            f"--port={port}", f"--health-port={free_port()}", f"--hops-port={free_port()}",
        ]  # fmt: skip
