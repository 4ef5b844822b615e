"""The running service against its own document, by schemathesis: a short run, the same each time."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.kit.depth import long
from tests.system.harness import CHECKOUT, HOST, Outputd, SystemTest

_EXAMPLES = 25
_DEADLINE_S = 1100  # just within the 1200 that a module has
_RESULTS = "^/(results|rotate|dump|files)$"


@long(
    "tests.api.test_openapi.ServiceTests.test_every_documented_answer_but_of_a_bug_is_given_as_documented",
)
class SchemathesisTests(SystemTest):
    def test_both_ports_answer_as_the_document_says(self) -> None:
        """No 5xx, nothing undocumented, good data taken, and bad data refused."""
        outputd = self.outputd().start()
        result = {"ip": "8.8.8.8", "sent": 4, "received": 0, "timestamp": "2026-01-07T22:30:00Z", "error": "no reply"}
        self.assertEqual(200, outputd.post([result] * 10).status)  # for /recent to answer with
        runs = [
            self._schemathesis(outputd, outputd.port, "--include-path-regex", _RESULTS),
            self._schemathesis(outputd, outputd.health_port, "--exclude-path-regex", _RESULTS),
        ]
        for run in runs:
            said, _ = run.communicate(timeout=_DEADLINE_S)
            self.assertEqual(0, run.returncode, said)
            self.assertNotIn("FAILURES", said)
        self.assertGreater(outputd.stats["total_results"], 10)
        self.assertRegex(outputd.get("/metrics").body.decode(), r"(?m)^output_service_rejected_items_total\{.*\} [1-9]")
        self.assertStopped(outputd.stop())

    def _schemathesis(self, outputd: Outputd, port: int, *choice: str) -> subprocess.Popen[str]:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://{HOST}:{outputd.health_port}/openapi.json",
            f"--url=http://{HOST}:{port}", *choice, "--phases=examples,coverage,fuzzing", "--checks=all",
            f"--max-examples={_EXAMPLES}", "--generation-deterministic", "--no-color",
        ]  # fmt: skip
        here = self.directory.with_name(f"schemathesis-{port}")  # for what it leaves
        here.mkdir()
        environment = {"PYTHONPATH": str(CHECKOUT), "SCHEMATHESIS_HOOKS": "tests.system.openapi_hooks"}
        run = subprocess.Popen(
            command, cwd=here, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run
