"""What `outputd.sqlite.schema` promises, shown with a schema of the tests' own in three versions."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.ledger.ledger import SCHEMA as LEDGER
from outputd.process.trouble import Kind
from outputd.sqlite.connections import pragma, reading, transaction, writing
from outputd.sqlite.errors import NewerFile, kind_of
from outputd.sqlite.files import make_empty
from outputd.sqlite.schema import Schema
from outputd.store.file import SCHEMA as RESULTS
from tests.kit.layout import layout
from tests.sqlite.killed import SCHEMA
from tests.system.disk import CannotMount, Disk

_TOP = Path(__file__).resolve().parents[2]
_ROWS = [(number, f"{'abc'[number % 3]}{number}", bytes(600)) for number in range(1, 201)]
_WAL = "wal"
_ROLLBACK = "delete"


class SchemaTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.mkdir()
        self.database = self.path / "some.db"

    def make(self, schema: Schema, name: str) -> Path:
        """A new database."""
        path = self.path / name
        make_empty(path)
        with writing(path) as db:
            schema.bring_up(db)
        return path

    def an_old_one(self, journal_mode: str = _WAL, directory: Path | None = None) -> Path:
        """One of version 1, with rows."""
        path = (directory or self.path) / "old.db"
        make_empty(path)
        with writing(path) as db:
            db.execute(f"PRAGMA journal_mode={journal_mode}")
            dataclasses.replace(SCHEMA, version=1).bring_up(db)
            with transaction(db):
                db.executemany("INSERT INTO probe VALUES (?,?,?)", _ROWS)
        return path

    def assert_whole(self, path: Path) -> int:
        """It is of one of the versions, its rows are there, and nothing else; returns which."""
        with writing(path) as db:
            version = SCHEMA.version_of(db)
            self.assertEqual(("ok",), db.execute("PRAGMA integrity_check").fetchone())
            self.assertEqual(SCHEMA.application_id, pragma(db, "application_id"))
            self.assertEqual(_ROWS, db.execute("SELECT id, name, note FROM probe ORDER BY id").fetchall())
            if version > 1:
                strays = "SELECT count(*) FROM probe p LEFT JOIN site s ON s.id = site_id"
                strays += " WHERE substr(p.name, 1, 1) IS NOT s.name"
                self.assertEqual((0,), db.execute(strays).fetchone())
            if version > 2:
                self.assertEqual((600,), db.execute("SELECT min(note_octets) FROM probe").fetchone())
            self.assertEqual(self.layout_of(version), layout(db))
        return version

    def layout_of(self, version: int) -> list[Any]:
        new = self.path / f"new-{version}.db"
        if not new.exists():
            self.make(dataclasses.replace(SCHEMA, version=version), new.name)
        with reading(new) as db:
            return layout(db)

    def bring_up(self, path: Path) -> None:
        with writing(path) as db:
            SCHEMA.bring_up(db)


class Versions(SchemaTest):
    def test_a_new_one_is_of_the_newest_version_under_our_mark(self) -> None:
        with reading(self.make(SCHEMA, "some.db")) as db:
            self.assertTrue(SCHEMA.is_newest(db))
            self.assertFalse(dataclasses.replace(SCHEMA, application_id=1).is_newest(db))
            self.assertFalse(dataclasses.replace(SCHEMA, version=2).is_newest(db))

    def test_an_old_one_goes_step_by_step_and_ends_as_a_new_one(self) -> None:
        for mode in (_WAL, _ROLLBACK):
            path = self.an_old_one(mode)
            self.assertEqual(1, self.assert_whole(path))
            for version in (2, 3):
                with writing(path) as db:
                    dataclasses.replace(SCHEMA, version=version).bring_up(db)
                self.assertEqual(version, self.assert_whole(path))
            path.unlink()

    def test_all_steps_at_once(self) -> None:
        path = self.an_old_one()
        self.bring_up(path)
        self.assertEqual(3, self.assert_whole(path))

    def test_one_of_the_newest_version_is_not_touched(self) -> None:
        path = self.make(SCHEMA, "some.db")
        before = path.read_bytes()
        self.bring_up(path)
        self.assertEqual(before, path.read_bytes())

    def test_a_newer_one_is_refused_by_name_and_not_touched(self) -> None:
        path = self.make(SCHEMA, "some.db")
        before = path.read_bytes()
        with writing(path) as db:
            old = dataclasses.replace(SCHEMA, version=2)
            error = str(self.assertRaises(NewerFile, old.bring_up, db))
        self.assertIn("some.db has schema version 3, this outputd knows 2", error)
        self.assertEqual(before, path.read_bytes())

    def test_each_step_is_on_disk_before_the_next(self) -> None:
        """Though the connection else leaves that to the checkpoint."""
        said: list[str] = []
        with writing(self.an_old_one()) as db:
            db.execute("PRAGMA synchronous=NORMAL")
            db.set_trace_callback(said.append)
            SCHEMA.bring_up(db)
            db.set_trace_callback(None)
            self.assertEqual(1, pragma(db, "synchronous"))
        steps = [line.strip(" ;") for line in said if "synchronous=" in line or line.strip(" ;") == "COMMIT"]
        self.assertEqual(["PRAGMA synchronous=FULL", "COMMIT", "COMMIT", "PRAGMA synchronous=1"], steps)

    def test_ours_have_a_step_to_each_version_that_ends_as_a_new_one(self) -> None:
        """The summary has none: it is made anew."""
        for name, schema in (("results", RESULTS), ("ledger", LEDGER)):
            path = self.make(dataclasses.replace(schema, version=1), f"{name}.db")
            with writing(path) as db:
                schema.bring_up(db)
                stepped = layout(db)
            with reading(self.make(schema, f"{name}-new.db")) as db:
                self.assertEqual(layout(db), stepped)


class Ended(SchemaTest):
    """Whatever ends a step, it is done whole or not at all, and the next start goes on."""

    def killed(self, path: Path, point: str, number: int) -> bool:
        """Whether the child died at this point; else it came to its end."""
        command = [sys.executable, "-m", "tests.sqlite.killed", str(path), point, str(number)]
        child = subprocess.run(command, cwd=_TOP, capture_output=True, timeout=60, check=False)
        self.assertLessEqual(child.returncode, 0, child.stderr)
        return child.returncode < 0

    def left_by_kills(self, old: Path, point: str, numbers: Iterator[int]) -> set[int]:
        """The versions that kills leave, at all points until the child comes to its end."""
        versions = set()
        for number in numbers:
            path = Path(shutil.copy(old, self.path / f"killed-{point}-{number}.db"))
            died = self.killed(path, point, number)
            versions.add(self.assert_whole(path))
            self.bring_up(path)
            self.assertEqual(3, self.assert_whole(path))
            if not died:
                return versions
        raise self.failureException("it never comes to its end")

    def test_killed_before_each_statement(self) -> None:
        old = self.an_old_one(_WAL)
        self.assertEqual({1, 2, 3}, self.left_by_kills(old, "statement", iter(range(1, 200))))

    def test_killed_within_a_write(self) -> None:
        """Into the WAL, the rollback journal, or the file itself: what was written is cut in the middle."""
        for mode in (_WAL, _ROLLBACK):
            old = self.an_old_one(mode)
            sizes = iter(range(1000, 4 << 20, 37_000))
            self.assertEqual({1, 2, 3}, self.left_by_kills(old, "write", sizes))
            old.unlink()
            for left in self.path.glob("killed-*"):
                left.unlink()

    def test_a_database_that_may_not_grow(self) -> None:
        for mode in (_WAL, _ROLLBACK):
            path, versions = self.an_old_one(mode), set()
            for pages in range(0, 400, 10):
                with writing(path) as db:
                    db.execute(f"PRAGMA max_page_count={pragma(db, 'page_count') + pages}")
                    try:
                        SCHEMA.bring_up(db)
                    except sqlite3.OperationalError as error:
                        self.assertIs(Kind.FULL, kind_of(error))
                    self.assertFalse(db.in_transaction)
                    self.assertEqual(2, pragma(db, "synchronous"))
                versions.add(self.assert_whole(path))
            self.assertEqual({1, 2, 3}, versions)
            path.unlink()

    def test_a_full_disk(self) -> None:
        disk = Disk(self.path / "disk", 2)
        try:
            disk.mount()
        except CannotMount as error:
            raise SkipTest(str(error)) from None
        self.addCleanup(disk.unmount)
        for mode in (_WAL, _ROLLBACK):
            path, versions = self.an_old_one(mode, disk.path), set()
            for left_bytes in range(0, 1 << 20, 50_000):
                disk.make_room()
                disk.fill(left_bytes)
                try:
                    self.bring_up(path)
                except sqlite3.OperationalError as error:
                    self.assertIs(Kind.FULL, kind_of(error))
                disk.make_room()
                versions.add(self.assert_whole(path))
            self.assertIn(3, versions)
            self.assertIn(1, versions)
            path.unlink()
