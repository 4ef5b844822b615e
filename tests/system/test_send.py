"""outputd-send: killed, or with the service killed under it, and started again, it stores everything exactly once."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system import counts
from tests.system.files import all_faults, merged
from tests.system.gate import Gate
from tests.system.harness import CHECKOUT, Outputd, SystemTest
from tests.system.load import Source
from tests.system.shared import needed, replay
from tests.system.waiting import wait_until

END_S = 300.0
_PIECES = 20  # at a time through the gate


class SendTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.state = Path(f"{self.directory}.state")
        self.state.mkdir(parents=True)

    def test_lines(self) -> None:
        """A body a line, equal ones among them: each line is a POST of its own."""
        source = Source(11)
        lines = [source.post(size).body for size in (1, 30, 7, 30)]
        self._send_whole(self._written("lines.jsonl", b"\n".join([*lines, lines[0], b"", lines[0]])), "--gzip")
        self.assertEqual(6, self._stored("SELECT count(*) FROM batches"))
        self.assertEqual(70, self._stored("SELECT count(*) FROM ping_results"))

    def test_an_array(self) -> None:
        """A JSON array, compressed, is cut into bodies of at most 1000 results."""
        results = [json.loads(Source(seed).post(1300).body) for seed in (12, 13)]
        array = json.dumps(results[0] + results[1], indent=1).encode()
        self._send_whole(self._written("array.json.gz", gzip.compress(array)), "--node", "reload")
        self.assertEqual(2600, self._stored("SELECT count(*) FROM ping_results"))
        self.assertEqual(1000, self._stored("SELECT max(accepted) FROM batches WHERE node = 'reload'"))

    def test_a_pipe_and_a_file_that_grew(self) -> None:
        """Read once, a pipe is sent as a file is; of a file to which lines were added only those are sent."""
        source = Source(17)
        lines = [source.post(size).body for size in (3, 4)]
        file = self._written("grows.jsonl", lines[0] + b"\n")
        outputd = self.outputd().start()
        for _ in range(2):
            ended = self._send(outputd, file)
            self.assertEqual(0, ended.returncode, ended.stderr)
            file.write_bytes(lines[0] + b"\n" + lines[1])
        through = source.post(50).body
        for _ in range(2):  # the second time its key is known
            piped = subprocess.run(
                self._command(outputd, Path("-"), ()), cwd=CHECKOUT, input=through, capture_output=True, timeout=END_S,
                check=False,
            )  # fmt: skip
            self.assertEqual(0, piped.returncode, piped.stderr)
        self.assertStopped(outputd.stop())
        self.assertEqual(57, self._stored("SELECT count(*) FROM ping_results"))
        self.assertEqual(["grows.jsonl", "grows.jsonl.sent"], sorted(os.listdir(self.state)))

    def test_refused(self) -> None:
        """What is refused is kept with its reason, the rest is stored, and the exit code says so."""
        good = json.loads(Source(14).post(3).body)
        lines = [json.dumps([*good, {"ip": "x"}]).encode(), b"not JSON", json.dumps([{"ip": "y"}]).encode()]
        file = self._written("odd.jsonl", b"\n".join(lines))
        outputd = self.outputd().start()
        ended = self._send(outputd, file)
        self.assertEqual(1, ended.returncode, ended.stderr)
        kept = [json.loads(line) for line in (self.state / "odd.jsonl.refused.jsonl").read_bytes().splitlines()]
        by_place = {record["where"]: record for record in kept}
        self.assertEqual([{"ip": "x"}], by_place["line 1"]["results"])
        self.assertEqual("not JSON", by_place["line 2"]["text"])
        self.assertEqual((422, [{"ip": "y"}]), (by_place["line 3"]["status"], by_place["line 3"]["results"]))
        again = self._send(outputd, file)
        self.assertEqual(1, again.returncode)
        self.assertStopped(outputd.stop())
        self.assertEqual(3, self._stored("SELECT count(*) FROM ping_results"))

    def test_interrupted(self) -> None:
        """Ctrl-C ends it soon with 130 and says how to go on, which the same command then does."""
        file = self._many_lines(600)
        outputd = self.outputd().start()
        gate = self._gate_before(outputd)
        process = self._start(gate, file)
        wait_until(lambda: self._let_through(gate, outputd) > 300, "some results are there")
        process.send_signal(signal.SIGINT)
        gate.open()
        said = process.communicate(timeout=END_S)[1]
        self.assertEqual(130, process.returncode, said)
        self.assertIn("The same command", said)
        self._finish(outputd, gate, file)

    def test_killed(self) -> None:
        """The command and the service are killed by turns in the middle: the counts are those of the bodies."""
        self._kill_in_the_middle(self._many_lines(1000), kills=4, every=400)

    @long(
        "tests.system.test_send.SendTests.test_a_pipe_and_a_file_that_grew",
    )
    def test_again(self) -> None:
        """A file that was sent is not sent by accident; --again stores it once more."""
        file = self._written("twice.jsonl", Source(15).post(9).body)
        outputd = self.outputd().start()
        for flags in ((), (), ("--again",)):
            self.assertEqual(0, self._send(outputd, file, *flags).returncode)
        self.assertStopped(outputd.stop())
        self.assertEqual(18, self._stored("SELECT count(*) FROM ping_results"))

    @long("tests.system.test_send.SendTests.test_killed")
    def test_medium(self) -> None:
        """10,000 real results, with kills in the middle: every count of medium.expected.json is met."""
        self._kill_in_the_middle_of("medium", kills=4, every=1500)

    def test_large(self) -> None:
        """130,473 real results: as above."""
        if not os.environ.get("OUTPUTD_LARGE"):
            raise SkipTest("large takes a while: OUTPUTD_LARGE=1 asks for it")
        self._kill_in_the_middle_of("large", kills=8, every=12_000)

    def _kill_in_the_middle_of(self, name: str, kills: int, every: int) -> None:
        expected = replay(name).expected
        stored = self._kill_in_the_middle(needed(f"results/{name}.jsonl.gz"), kills, every)
        shared = expected.keys() & stored.keys() - {"distinct_ipv6_targets"}  # counted before they are made canonical
        self.assertGreater(len(shared), 20)
        for key in shared:
            self.assertEqual(expected[key], stored[key], key)

    def _kill_in_the_middle(self, file: Path, kills: int, every: int) -> dict[str, Any]:
        """Kill the command and the service by turns, each time that so many more results are there."""
        outputd = self.outputd("--keep-files=1000", "--max-size-mb=20").start()
        gate = self._gate_before(outputd)
        process = self._start(gate, file)
        so_far = 0
        for number in range(kills):
            enough = so_far + every
            wait_until(lambda: self._let_through(gate, outputd) >= enough, "results arrive", END_S)  # noqa: B023  # called here
            self.assertIsNone(process.poll(), "the kill comes in the middle")
            if number % 2:
                outputd.kill()
                outputd.start()  # the command goes on by itself
                so_far = 0
            else:
                process.kill()
                process.communicate()
                so_far = outputd.stats["total_results"]
                process = self._start(gate, file)
        gate.open()
        said = process.communicate(timeout=END_S)
        self.assertEqual(0, process.returncode, said)
        return self._finish(outputd, gate, file)

    def _gate_before(self, outputd: Outputd) -> Gate:
        gate = Gate(outputd.port)
        self.addCleanup(gate.close)
        return gate

    def _let_through(self, gate: Gate, outputd: Outputd) -> int:
        """How many results are there; a few more may come."""
        gate.let_through(_PIECES)
        total: int = outputd.stats["total_results"]
        return total

    def _finish(self, outputd: Outputd, gate: Gate, file: Path) -> dict[str, Any]:
        """Send what is left, and find each count of the file's bodies met."""
        ended = self._send(gate, file)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))
        data = file.read_bytes()
        lines = (gzip.decompress(data) if file.suffix == ".gz" else data).splitlines()
        with merged(self.directory) as db:
            stored = counts.of_tables(db)
        self.assertEqual(counts.of_results([json.loads(line) for line in lines]), stored)
        return stored

    def _send_whole(self, file: Path, *flags: str) -> None:
        outputd = self.outputd().start()
        ended = self._send(outputd, file, *flags)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))

    def _many_lines(self, count: int) -> Path:
        source = Source(16)
        return self._written("many.jsonl", b"\n".join(source.post(5).body for _ in range(count)))

    def _written(self, name: str, content: bytes) -> Path:
        path = self.state / name
        path.write_bytes(content)
        return path

    def _stored(self, sql: str) -> Any:
        with merged(self.directory) as db:
            return db.execute(sql).fetchone()[0]

    def _start(self, to: Outputd | Gate, file: Path, *flags: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self._command(to, file, flags), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(process.kill)
        return process

    def _send(self, to: Outputd | Gate, file: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(to, file, flags),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=END_S,
            check=False,
        )

    def _command(self, to: Outputd | Gate, file: Path, flags: tuple[str, ...]) -> list[str]:
        url = f"http://127.0.0.1:{to.port}/results"
        return [
            sys.executable,
            "-m",
            "outputd.sender.command",
            str(file),
            "--url",
            url,
            "--state",
            str(self.state),
            *flags,
        ]
