"""The README's commands for a running service, as a reader would type them."""

from __future__ import annotations

import json
import shutil

from twisted.trial.unittest import SkipTest

from tests.system.files import is_self_contained, opened, result_files, stored_targets
from tests.system.harness import SystemTest
from tests.system.markdown import blocks, run


class ReadmeTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        if missing := [program for program in ("curl", "sqlite3") if shutil.which(program) is None]:
            raise SkipTest(f"the commands need {', '.join(missing)}")
        self.it = self.outputd().start()
        self.cwd = self.directory.parent / "here"
        self.cwd.mkdir()
        (self.cwd / "output_data").symlink_to(self.directory)

    def type(self, heading: str) -> str:
        """What the commands under a heading print."""
        found = [block.text for block in blocks("README.md") if block.heading == heading and block.language == "bash"]
        self.assertTrue(found, heading)
        text = "".join(found)
        text = text.replace("localhost:8081", f"localhost:{self.it.port}")
        text = text.replace("localhost:8091", f"localhost:{self.it.health_port}")
        return run(text, self.cwd)

    def test_feed_it(self) -> None:
        answer = self.type("Feed it")
        self.assertIn('{"status":"ok","received":1}', answer)
        self.assertEqual({"8.8.8.8": 1}, stored_targets(self.directory))

    def test_port_8081(self) -> None:
        self.type("Feed it")
        answer = self.type("Port 8081")
        self.assertIn('{"status":"rotated","file":"results_', answer)
        self.assertEqual(2, len(result_files(self.directory)))
        backup = self.cwd / "backup.db"
        self.assertTrue(is_self_contained(backup))
        with opened(backup) as db:
            self.assertEqual([("8.8.8.8",)], db.execute("SELECT ip FROM ping_results").fetchall())

    def test_port_8091(self) -> None:
        self.type("Feed it")
        answer = self.type("Port 8091")
        health, end = json.JSONDecoder().raw_decode(answer[answer.index('{"status":"healthy"') :])
        self.assertEqual(1, health["stats"]["total_results"])
        self.assertIn('"ip":"8.8.8.8"', answer[answer.index('{"status":"healthy"') + end :])

    def test_the_files(self) -> None:
        self.type("Feed it")
        answer = self.type("The files")
        self.assertEqual("8.8.8.8|1|15.0\n", answer)
