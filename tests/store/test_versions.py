"""What the store does with files of an older version of its schema, shown with a later one of the tests' own."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.sqlite.connections import pragma, reading
from outputd.sqlite.errors import Damaged
from outputd.sqlite.files import wal_of
from outputd.sqlite.schema import Schema
from outputd.store import file as resultfile
from outputd.store.file import describe
from tests.kit.bench import Bench
from tests.kit.makers import a_result, rows_of

_STEP = "ALTER TABLE batches ADD COLUMN colour TEXT;\nCREATE INDEX ping_results_sent ON ping_results(sent);\n"


class OlderFiles(SynchronousTestCase):
    """Rule 13: migrated, or read as it is."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.bench.keep(*[a_result() for _ in range(3000)])
        self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.post(*[a_result() for _ in range(3000)], node="n", key="k")
        self.closed, self.current = (info.path for info in self.bench.store.files)

    def a_later_schema(self) -> None:
        scripts = Path(self.mktemp())
        scripts.mkdir()
        older = resultfile.SCHEMA
        whole = older.directory.joinpath(f"{older.version}.sql").read_text()
        (scripts / f"{older.version + 1}.sql").write_text(f"{whole};\n{_STEP}")
        (scripts / f"{older.version + 1}-from-{older.version}.sql").write_text(_STEP)
        self.patch(resultfile, "SCHEMA", Schema(scripts, older.version + 1, older.application_id))

    def version_of(self, path: Path) -> int:
        with reading(path) as db:
            return pragma(db, "user_version") - resultfile.SCHEMA.version

    def test_the_current_one_is_brought_up_and_goes_on_and_a_closed_one_never_changes(self) -> None:
        """Rules 11 and 12."""
        self.bench.stop()
        before = self.closed.read_bytes()
        self.a_later_schema()
        self.assert_goes_on(self.bench.start(), before)

    def test_after_a_kill_too_with_all_that_is_in_its_wal(self) -> None:
        """Rule 1."""
        self.assertGreater(wal_of(self.current).stat().st_size, 0)
        before = self.closed.read_bytes()
        self.a_later_schema()
        self.assert_goes_on(self.bench.crashed(Path(self.mktemp())), before)

    def assert_goes_on(self, bench: Bench, closed_before: bytes) -> None:
        self.assertEqual(422, bench.post(a_result(), node="n", key="k").status, "the key is known")
        self.assertEqual(200, bench.post(a_result()).status)
        bench.stop()
        closed, current = (bench.path / path.name for path in (self.closed, self.current))
        self.assertEqual((-1, 0), (self.version_of(closed), self.version_of(current)))
        self.assertEqual(closed_before, closed.read_bytes())
        ids = [number for (number,) in rows_of(bench.path, "SELECT id FROM ping_results ORDER BY id")]
        self.assertEqual(list(range(1, 6002)), ids)

    def test_one_that_turns_out_damaged_is_set_aside_and_a_new_one_begun(self) -> None:
        """Rules 11, 12 and 13: the closed one before it is not written again."""
        self.bench.stop()
        before = self.closed.read_bytes()
        self.damage_unseen(self.current)
        self.a_later_schema()
        self.bench.start()
        self.assertEqual([f"{self.current.name}.damaged"], list(self.bench.directory.damaged()))
        self.assertEqual(200, self.bench.post(a_result()).status)
        new = self.bench.store.current.info.path
        self.bench.stop()
        self.assertEqual((0, before), (self.version_of(new), self.closed.read_bytes()))
        self.assertGreater(max(rows_of(self.bench.path, "SELECT id FROM ping_results"))[0], 6000)

    def damage_unseen(self, path: Path) -> None:
        """Lose a page that is met only by who reads all of it."""
        whole = path.with_name("whole")
        shutil.copy(path, whole)
        with reading(path) as db:
            pages, octets = pragma(db, "page_count"), pragma(db, "page_size")
        for page in range(1, pages):
            shutil.copy(whole, path)
            with path.open("r+b") as file:
                file.seek(page * octets)
                file.write(bytes(octets))
            try:
                describe(path)
                with reading(path) as db:
                    db.execute("SELECT sum(sent) FROM ping_results NOT INDEXED").fetchone()
            except Damaged:
                continue
            except sqlite3.DatabaseError:
                break
        else:
            raise self.failureException("no such page")
        whole.unlink()

    def test_a_file_says_its_version(self) -> None:
        self.assertEqual(resultfile.SCHEMA.version, describe(self.closed).version)
        self.a_later_schema()
        self.assertEqual(resultfile.SCHEMA.version - 1, describe(self.closed).version)
        self.assertEqual(
            dataclasses.replace(describe(self.closed), version=resultfile.SCHEMA.version),
            resultfile.bring_up(describe(self.closed)),
        )
