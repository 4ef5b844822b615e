"""docs/how-to/export.md: its commands, typed beside a running service."""

from __future__ import annotations

import shutil

from twisted.trial.unittest import SkipTest

from tests.kit.makers import a_result, a_trace, many_hops
from tests.system.harness import Outputd, SystemTest
from tests.system.markdown import blocks, installed, matches, run

try:
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    pq = None
PAGE = "docs/how-to/export.md"


class ExportingTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        if missing := [program for program in ("curl", "jq", "zcat") if shutil.which(program) is None]:
            raise SkipTest(f"the page's commands need {', '.join(missing)}")
        if pq is None:
            raise SkipTest("the page's commands need pyarrow: pip install 'outputd[parquet]'")
        self.here = self.directory.parent / "here"
        self.environment = installed(self.here / "bin", export="outputd.export.command")

    def test_the_page(self) -> None:
        it = self.watched(Outputd(self.directory, "--input-url=")).start()
        it.post([a_result(error="no route", received=0)] * 2, x_ping_node="graz")
        it.rotate()
        vienna = a_trace(*many_hops(2)) | {
            "ip": "192.0.2.1", "avg_rtt": 12_000_000, "timestamp": "2026-01-07T22:30:00.123456789Z",
        }  # fmt: skip
        it.post([vienna, vienna | {"timestamp": "2025-01-01T00:00:00Z"}], x_ping_node="vienna")
        printed = ""
        for block in blocks(PAGE):
            if block.language == "bash":
                text = block.text.replace("localhost:8081", f"localhost:{it.port}")
                text = text.replace("localhost:8091", f"localhost:{it.health_port}")
                printed = run(text, self.here, self.environment)
            elif block.language == "text":
                self.assertTrue(matches(block.text, printed), printed)
        self.assertEqual(4, pq.read_metadata(self.here / "all.parquet").num_rows)
        self.assertEqual(2, len((self.here / "failed.ndjson").read_bytes().splitlines()))
