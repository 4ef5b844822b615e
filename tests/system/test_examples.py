"""examples/: each program stores its results, and once, when the first answer to it was lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.files import opened, result_files, stored_targets
from tests.system.harness import CHECKOUT, HOST, SystemTest, call
from tests.system.pinging import pretenders

EXAMPLES = CHECKOUT / "examples"


class Forgetful(HTTPServer):
    """Passes POSTs on to a port. The first answer is lost on the way back, the second is 503."""

    def __init__(self, port: int) -> None:
        super().__init__((HOST, 0), _Passing)
        self.to = port
        self.keys: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where a node posts to."""
        return f"http://{HOST}:{self.server_address[1]}/results"


class _Passing(BaseHTTPRequestHandler):
    server: Forgetful

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        names = ("Idempotency-Key", "X-Ping-Node")
        headers = {name: self.headers[name] for name in names if self.headers[name]}
        self.server.keys.append(headers["Idempotency-Key"])
        turn = len(self.server.keys)
        if turn == 2:
            return self._answer(503, b"{}", {"Retry-After": "1"})
        answer = call(self.server.to, "POST", "/results", body, headers)
        if turn > 1:
            self._answer(answer.status, answer.body, {})
        return None

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class ExampleTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.it = self.outputd("--input-url=").start()
        self.environment = {**os.environ, "PATH": pretenders(self.directory.parent / "programs")}

    def run_node(self, *command: str | Path, cwd: Path = EXAMPLES) -> None:
        """Run a node behind a line that loses an answer: one batch with one result, by three POSTs of one key."""
        line = Forgetful(self.it.port)
        self.addCleanup(line.server_close)
        self.addCleanup(line.shutdown)
        words = [str(word).replace("URL", line.url) for word in command]
        done = subprocess.run(
            [*words, "192.0.2.9"],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(({"status": "ok", "received": 1, "duplicate": True}), answer)
        self.assertEqual((3, 1), (len(line.keys), len(set(line.keys))))
        with opened(result_files(self.directory)[0]) as db:
            self.assertEqual([("graz-1",)], db.execute("SELECT node FROM batches").fetchall())
            self.assertEqual(
                [("192.0.2.9", 4, 3, 25.0, 11_250_000, 10_125_000, 12_500_000, 750_000)],
                db.execute("""SELECT ip, sent, received, packet_loss, avg_rtt, min_rtt, max_rtt, stddev_rtt
                    FROM ping_results JOIN rtt_spread ON ping_result_id = ping_results.id""").fetchall(),
            )

    def test_python(self) -> None:
        self.run_node(sys.executable, "node.py", "--node=graz-1", "--url=URL")
        with opened(result_files(self.directory)[0]) as db:
            hops = db.execute("SELECT ttl, ip, rtt, timeout FROM traceroute_hops ORDER BY ttl").fetchall()
        self.assertEqual([(1, "192.168.1.1", 500_000, 0), (2, None, None, 1), (3, "192.0.2.9", 11_000_000, 0)], hops)

    @long("tests.system.test_examples.ExampleTests.test_python")
    def test_go(self) -> None:
        if shutil.which("go") is None:
            raise SkipTest("go is not here; on Debian it is in the package golang-go")
        node = self.directory.parent / "node"
        build = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOCACHE": str(self.directory.parent / "cache")}
        subprocess.run(["go", "build", "-o", node, "."], cwd=EXAMPLES / "node-go", env=build, check=True, timeout=600)
        self.run_node(node, "-node=graz-1", "-url=URL")

    def test_the_sample_results_are_stored_whole(self) -> None:
        bodies = (EXAMPLES / "results.jsonl").read_bytes().splitlines()
        for body in bodies:
            answer = call(self.it.port, "POST", "/results", body)
            self.assertEqual("ok", answer.json["status"], answer.body)
        self.assertEqual(sum(len(json.loads(body)) for body in bodies), sum(stored_targets(self.directory).values()))

    def test_the_configuration_of_ping_service_is_that_of_the_specification(self) -> None:
        config = yaml.safe_load((EXAMPLES / "config.yaml").read_text(encoding="utf-8"))
        self.assertEqual({"output_file": "http://localhost:8081/results"}, config)
