"""docs/how-to/export.md: its commands, typed beside a running service."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec

from twisted.trial.unittest import SkipTest

from outputd.sqlite.files import wal_of
from tests.kit.makers import a_result, a_trace, many_hops
from tests.system.harness import CHECKOUT, Outputd, SystemTest
from tests.system.markdown import blocks, matches, run
from tests.system.waiting import wait_until

PAGE = "docs/how-to/export.md"


class ExportingTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        if missing := [program for program in ("curl", "jq", "zcat") if shutil.which(program) is None]:
            raise SkipTest(f"the page's commands need {', '.join(missing)}")
        if find_spec("pyarrow") is None:
            raise SkipTest("the page's commands need pyarrow: pip install 'outputd[parquet]'")
        self.here = self.directory.parent / "here"
        (self.here / "bin").mkdir(parents=True)
        command = self.here / "bin" / "outputd-export"
        command.write_text(f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m outputd.export.command "$@"\n')
        command.chmod(0o755)
        self.environment = {"PATH": f"{command.parent}:{os.environ['PATH']}"}

    def test_the_page(self) -> None:
        it = self.watched(Outputd(self.here / "output_data", "--input-url=")).start()
        it.post([a_result(error="no route", received=0)] * 2, x_ping_node="graz")
        (closed,) = (self.here / "output_data").glob("results_*.db")
        it.rotate()
        vienna = a_trace(*many_hops(2)) | {"ip": "192.0.2.1", "avg_rtt": 12_000_000}
        it.post([vienna, vienna | {"timestamp": "2025-01-01T00:00:00Z"}], x_ping_node="vienna")
        wait_until(lambda: not wal_of(closed).exists(), "the closed file is finished")
        printed = ""
        for block in blocks(PAGE):
            if block.language == "bash":
                text = block.text.replace("localhost:8081", f"localhost:{it.port}")
                printed = run(
                    text.replace("output_data/results_*.db", f"output_data/{closed.name}"), self.here, self.environment
                )
            elif block.language == "text":
                self.assertTrue(matches(block.text, printed), printed)
