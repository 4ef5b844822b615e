"""What `outputd.store.restore` and the command promise; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.sqlite.connections import reading
from outputd.store.command import ALL_RESTORED, CANNOT_START, NOT_ALL_RESTORED, main
from outputd.store.directory import DataDir
from tests.kit.bench import Bench
from tests.kit.damage import flipped, leaves
from tests.kit.makers import a_result, a_trace, many_hops, rows_of


class RestoreTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)
        self.backups = Path(self.mktemp())
        self.backups.mkdir()
        self.first = self.closed()
        self.second = self.closed()
        self.current = self.bench.store.current.info.path
        self.bench.stop()

    def closed(self) -> Path:
        """A file that holds ten results, closed, with a copy of it among the backups."""
        path = self.bench.store.current.info.path
        self.bench.keep(*[a_trace(*many_hops(5))] * 10)
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        shutil.copy(path, self.backups)
        return path

    def backup_of(self, path: Path) -> Path:
        return self.backups / path.name

    def restore(self, *files: Path) -> tuple[int, str]:
        """The exit code of the command, and what it says."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            end = self.assertRaises(SystemExit, main, [*map(str, files), f"--db-dir={self.path}"])
        return int(str(end.code)), said.getvalue()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if path.name.startswith(("results_", ".")))

    def damage(self, path: Path) -> bytes:
        data = path.read_bytes()
        path.write_bytes(flipped(data, leaves(data)[0] + 3))
        return path.read_bytes()


class Restoring(RestoreTest):
    def test_one_that_was_deleted_is_there_again_and_ids_go_on_above_it(self) -> None:
        """Rule 12."""
        self.first.unlink()
        code, said = self.restore(self.backup_of(self.first))
        self.assertEqual(ALL_RESTORED, code, said)
        self.assertIn(f"restored as {self.first.name}; --keep-files must be 3 or more", said)
        self.bench.start()
        self.assertEqual([self.first, self.second, self.current], [info.path for info in self.bench.store.files])
        self.bench.keep(a_result())
        self.assertEqual([(number,) for number in range(1, 22)], rows_of(self.path, "SELECT id FROM ping_results"))

    def test_a_damaged_one_makes_room_and_is_kept(self) -> None:
        damaged = self.damage(self.first)
        code, said = self.restore(self.backup_of(self.first))
        self.assertEqual(ALL_RESTORED, code, said)
        aside = Path(f"{self.first}.replaced")
        self.assertIn(f"instead of what is now {aside.name}", said)
        self.assertEqual(damaged, aside.read_bytes())
        self.assertEqual(self.backup_of(self.first).read_bytes(), self.first.read_bytes())
        self.bench.start()
        self.assertEqual(3, len(self.bench.store.files))

    def test_one_that_outputd_has_set_aside_has_its_place_again(self) -> None:
        self.first.write_bytes(b"\xff" * 50_000)
        self.first.rename(f"{self.first}.damaged")
        self.assertEqual(ALL_RESTORED, self.restore(self.backup_of(self.first))[0])
        self.bench.start()
        self.assertEqual([self.first, self.second, self.current], [info.path for info in self.bench.store.files])

    def test_the_newest_from_a_dump_and_results_go_on_in_it(self) -> None:
        """A copy that has another name gets that of its second."""
        self.bench.start()
        self.bench.keep(a_result())
        copy = self.backups / "backup.db"
        with reading(self.current) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        self.bench.stop()
        self.current.unlink()
        code, said = self.restore(copy)
        self.assertEqual(ALL_RESTORED, code, said)
        self.bench.start()
        self.assertEqual(3, len(self.bench.store.files))
        self.bench.keep(a_result())
        self.assertEqual([(21,), (22,)], rows_of(self.path, "SELECT id FROM ping_results WHERE id > 20"))

    def test_one_that_holds_more_takes_the_place_of_the_lesser(self) -> None:
        self.bench.start()
        self.bench.keep(a_result())
        self.bench.stop()
        more = Path(shutil.copy(self.current, self.backups))
        shutil.copy(self.backup_of(self.second), self.second)
        with contextlib.closing(sqlite3.connect(self.current)) as db:
            db.execute("DELETE FROM batches")
            db.execute("DELETE FROM ping_results")
            db.commit()
        code, said = self.restore(more)
        self.assertEqual(ALL_RESTORED, code, said)
        self.assertEqual(more.read_bytes(), self.current.read_bytes())

    def test_its_owner_and_mode_are_those_of_the_service(self) -> None:
        self.first.unlink()
        self.backup_of(self.first).chmod(0o600)
        self.restore(self.backup_of(self.first))
        state, directory = self.first.stat(), self.path.stat()
        self.assertEqual((0o640, directory.st_uid), (state.st_mode & 0o777, state.st_uid))


class Refusing(RestoreTest):
    """Nothing changes."""

    def setUp(self) -> None:
        super().setUp()
        self.before = {name: (self.path / name).read_bytes() for name in self.names()}

    def assert_refused(self, file: Path, why: str) -> None:
        code, said = self.restore(file)
        self.assertEqual(NOT_ALL_RESTORED, code, said)
        self.assertIn(f"{file}: not restored: ", said)
        self.assertIn(why, said)
        self.assertEqual(1, said.count("\n"), said)
        self.assertEqual(self.before, {name: (self.path / name).read_bytes() for name in self.names()})

    def test_what_is_there_already_and_whole(self) -> None:
        self.assert_refused(self.backup_of(self.first), "holds as much or more")

    def test_what_is_damaged_itself(self) -> None:
        self.damage(self.backup_of(self.first))
        self.assert_refused(self.backup_of(self.first), "it is damaged: ")
        self.backup_of(self.first).write_bytes(self.first.read_bytes()[:20_000])
        self.assert_refused(self.backup_of(self.first), "it is damaged: ")

    def test_what_is_not_ours(self) -> None:
        other = self.backups / "other.db"
        other.write_bytes(b"something else")
        self.assert_refused(other, "no result file of outputd")
        with contextlib.closing(sqlite3.connect(self.backups / "another.db")) as db:
            db.execute("CREATE TABLE ping_results (id)")
        self.assert_refused(self.backups / "another.db", "no result file of outputd")
        self.assert_refused(self.backups / "nothing.db", "No such file")

    def test_what_a_newer_outputd_has_written(self) -> None:
        with contextlib.closing(sqlite3.connect(self.backup_of(self.first))) as db:
            db.execute("PRAGMA user_version=1000")
        self.assert_refused(self.backup_of(self.first), "upgrade it")

    def test_a_copy_of_a_live_file_without_its_wal(self) -> None:
        """What `cp` makes."""
        Path(f"{self.backup_of(self.first)}-wal").write_bytes(b"the rest")
        self.assert_refused(self.backup_of(self.first), "has the rest of it")

    def test_a_file_of_another_instance(self) -> None:
        other = Bench(Path(self.mktemp()))
        other.clock.advance(1)
        other.stop()
        other.path.rename(f"{other.path}.first")
        other.path.mkdir()
        other.start()
        other.post(a_result())
        other.stop()
        self.assert_refused(other.store.current.info.path, "two instances")

    def test_beside_a_service(self) -> None:
        """Rule 14: it names the process."""
        directory = DataDir(self.path)
        directory.take()
        self.addCleanup(directory.release)
        self.first.unlink()
        code, said = self.restore(self.backup_of(self.first))
        self.assertEqual(CANNOT_START, code)
        self.assertIn(f"in use by another outputd, process {os.getpid()}", said)
        self.assertFalse(self.first.exists())

    def test_a_directory_that_is_not_there(self) -> None:
        self.path = self.path / "typo"
        code, said = self.restore(self.backup_of(self.first))
        self.assertEqual((CANNOT_START, False), (code, self.path.exists()), said)

    def test_the_others_are_restored_all_the_same(self) -> None:
        self.second.unlink()
        code, _ = self.restore(self.backups / "nothing.db", self.backup_of(self.second))
        self.assertEqual((NOT_ALL_RESTORED, True), (code, self.second.exists()))
