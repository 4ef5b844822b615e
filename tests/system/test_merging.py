"""docs/how-to/merge.md: its commands, typed against two running services."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

from twisted.trial.unittest import SkipTest

from outputd.sqlite.files import wal_of
from tests.kit.makers import a_result, a_trace
from tests.system.harness import Outputd, SystemTest
from tests.system.markdown import blocks, installed, matches, run
from tests.system.waiting import wait_until

PAGE = "docs/how-to/merge.md"


class MergingTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        if missing := [program for program in ("curl", "jq", "sqlite3") if shutil.which(program) is None]:
            raise SkipTest(f"the page's commands need {', '.join(missing)}")
        self.here = self.directory.parent / "here"
        self.environment = installed(self.here / "bin", merge="outputd.merge.command")
        self.directory.mkdir()

    def service(self, name: str, results: int) -> Outputd:
        it = self.watched(Outputd(self.directory / name, "--input-url=")).start()
        it.post([a_trace({"ttl": 1, "ip": "10.0.0.1"})] * results, x_ping_node=name)
        return it

    def test_the_page(self) -> None:
        graz, vienna = self.service("graz", 3), self.service("vienna", 4)
        (closed,) = (self.directory / "graz").glob("results_*.db")
        graz.rotate()
        graz.post([a_result()], x_ping_node="graz")
        wait_until(lambda: not wal_of(closed).exists(), "the closed file is finished")
        printed = ""
        for block in blocks(PAGE):
            text = block.text.replace("graz.example:8081", f"localhost:{graz.port}")
            text = text.replace("vienna.example:8081", f"localhost:{vienna.port}")
            if block.language == "bash":
                printed = run(text, self.here, self.environment)
            elif block.language == "text":
                self.assertTrue(matches(block.text, printed), printed)
        with closing(sqlite3.connect(self.here / "all.db")) as db:
            found = db.execute(
                "SELECT node, count(*) FROM ping_results p JOIN batches b ON p.id BETWEEN b.first_id AND b.last_id"
                " GROUP BY node"
            ).fetchall()
        self.assertEqual([("graz", 4), ("vienna", 4)], found)
