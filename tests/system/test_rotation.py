"""Rotation refuses nothing and loses nothing; retention keeps as many files as it was told."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from tests.system.files import all_faults, column, is_self_contained, merged, opened, result_files, stored_targets
from tests.system.harness import Outputd, SystemTest
from tests.system.load import Load, Source, targets
from tests.system.waiting import wait_until

ROTATIONS = 20
NAME = r"^results_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.db$"


class RotationTests(SystemTest):
    def test_under_load(self) -> None:
        """Rules 11, 12: 20 rotations at once with 4 loading connections: nothing refused, nothing lost, ids go on."""
        outputd = self.outputd("--keep-files=100").start()
        load = self.load(outputd, Source(4), 4)
        names = [_rotate(outputd, load) for _ in range(ROTATIONS)]
        load.stop()
        self.assertUndisturbed(load)
        self.assertEqual(ROTATIONS, len(set(names)))
        for name in names:
            self.assertRegex(name, NAME)
        closed = [path for path in result_files(self.directory) if path.name != names[-1]]
        wait_until(lambda: all(map(is_self_contained, closed)), "closed files are self-contained while it runs")
        self.assertStopped(outputd.stop())

        files = result_files(self.directory)
        self.assertEqual(ROTATIONS + 1, len(files))
        self.assertEqual([], all_faults(self.directory))
        self.assertEqual(targets(load.answered), stored_targets(self.directory))
        self.assertEqual([], [path.name for path in files if not is_self_contained(path)])
        for path in closed:
            with opened(path) as db:
                self.assertEqual([1], column(db, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'"), path.name)
        self._ids_go_on(files)

    def test_keep_files(self) -> None:
        """Rules 11, 13: the newest three of our files stay, whatever else ends in .db."""
        self.directory.mkdir()
        other, text = self.directory / "results_2000-01-01_00-00-00.db", self.directory / "notes.db"
        with closing(sqlite3.connect(other)) as db:
            db.execute("CREATE TABLE ping_results (id)")
        text.write_text("not a database")
        outputd = self.outputd("--keep-files=3").start()
        load = self.load(outputd, Source(5), 4)
        names = [_rotate(outputd, load) for _ in range(6)]
        load.stop()
        self.assertUndisturbed(load)
        kept = {*names[-3:], other.name, text.name}
        wait_until(lambda: {path.name for path in self.directory.glob("*.db")} == kept, f"only {kept} are left")
        self.assertStopped(outputd.stop())
        self.assertEqual(kept, {path.name for path in self.directory.glob("*.db")})
        self.assertEqual("not a database", text.read_text())
        other.unlink()
        self.assertEqual([], all_faults(self.directory))
        self.assertEqual({}, stored_targets(self.directory) - targets(load.answered))

    def test_due_by_size(self) -> None:
        """Rule 11: a file that has reached --max-size-mb is closed within moments, with all its results."""
        outputd = self.outputd("--max-size-mb=8").start()
        first = outputd.stats["current_db_file"]
        large = [{**result, "error": "x" * 100_000} for result in Source(6).post(1).results]
        posted = 0
        while outputd.stats["current_db_file"] == first:
            self.assertEqual(200, outputd.post(large).status)
            posted += 1
            self.assertLess(posted, 1000)
        self.assertStopped(outputd.stop())
        self.assertGreaterEqual((self.directory / first).stat().st_size, 8 << 20)
        self.assertEqual(posted, stored_targets(self.directory).total())

    def test_due_by_age(self) -> None:
        """Rule 11: days may be a fraction, and a file without results ages too."""
        outputd = self.outputd(f"--rotation-days={1 / 86400:.9f}", "--keep-files=1000").start()
        wait_until(lambda: len(result_files(self.directory)) >= 3, "two more files in a few seconds")
        self.assertStopped(outputd.stop())

    def _ids_go_on(self, files: list[Path]) -> None:
        """No gap and no overlap from file to file: retention and merging go by them."""
        with merged(self.directory) as db:
            ids = Counter(column(db, "SELECT id FROM ping_results"))
        self.assertEqual(Counter(range(1, len(ids) + 1)), ids)
        spans = []
        for path in files:
            with opened(path) as db:
                spans += db.execute("SELECT min(id), max(id) FROM ping_results HAVING count(*)").fetchall()
        spans.sort()
        self.assertTrue(all(before[1] < after[0] for before, after in pairwise(spans)))


def _rotate(outputd: Outputd, load: Load) -> str:
    """Rotate, and let something come into the new file; returns its name."""
    answer = outputd.rotate()
    assert answer.status == 200 and answer.json["status"] == "rotated", answer
    load.go_on()
    name: str = answer.json["file"]
    return name
