"""What `outputd.datadir` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.sqlite.files import make_empty, size_of, wal_of
from outputd.store import directory as directory_module
from outputd.store.directory import DataDir, DirectoryUnusable
from tests.kit.bench import EPOCH

HOLD = "import sys, pathlib; from outputd.store.directory import DataDir; DataDir(pathlib.Path(sys.argv[1])).take(); "
TOP = Path(__file__).parents[2]


class DataDirTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.directory = DataDir(self.path)

    def made(self, text: str = "new") -> Path:
        path = self.directory.temporary("new")
        path.write_text(text)
        return path


class NamesOfFiles(DataDirTest):
    def test_a_file_is_named_after_its_second_in_utc(self) -> None:
        """Rule 11."""
        path = self.directory.publish(self.made(), EPOCH + 0.999)
        self.assertEqual(path.name, "results_2026-01-07_22-30-45.db")

    def test_the_time_zone_of_the_machine_changes_nothing(self) -> None:
        """Rule 11: UTC."""
        code = (
            "import sys, pathlib; from outputd.store.directory import DataDir; d = DataDir(pathlib.Path(sys.argv[1]));"
            f"m = d.temporary('new'); m.touch(); print(d.publish(m, {EPOCH}).name)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, self.path.absolute()],
            cwd=TOP, env={**os.environ, "TZ": "Asia/Kathmandu"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.assertEqual(done.stdout.strip(), "results_2026-01-07_22-30-45.db")

    def test_a_taken_second_gives_the_next_free_one_and_nothing_is_overwritten(self) -> None:
        """Rule 11."""
        names = [self.directory.publish(self.made(f"{n}"), EPOCH).name for n in range(3)]
        self.assertEqual(names, [f"results_2026-01-07_22-30-{second}.db" for second in (45, 46, 47)])
        self.assertEqual([(self.path / name).read_text() for name in names], ["0", "1", "2"])

    def test_the_next_free_second_may_be_of_the_next_year(self) -> None:
        """Rule 11."""
        last_second = 1_798_761_599.0  # 2026-12-31 23:59:59
        names = [self.directory.publish(self.made(), last_second).name for _ in range(2)]
        self.assertEqual(names, ["results_2026-12-31_23-59-59.db", "results_2027-01-01_00-00-00.db"])

    def test_the_name_of_a_file_that_was_deleted_is_not_given_again(self) -> None:
        """Issue 15: who has read a list of the files must not find another file under a name of it."""
        names = []
        for now_s in (EPOCH, EPOCH, EPOCH, EPOCH + 1, EPOCH - 1, EPOCH - 1, EPOCH + 9):
            path = self.directory.publish(self.made(), now_s)
            self.directory.remove(path)
            names.append(path.name)
        self.assertEqual(names, [f"results_2026-01-07_22-30-{n}.db" for n in (45, 46, 47, 48, 44, 49, 54)])

    def test_a_storm_of_files_takes_the_room_of_one_and_only_the_oldest_spans_are_forgotten(self) -> None:
        """Rule 9: who asks for rotations chooses how many names there are."""
        self.patch(directory_module, "_MOST_SPANS", 2)
        given = []
        for now_s in (EPOCH, *[EPOCH + 9] * 5, EPOCH, EPOCH + 30, EPOCH):
            path = self.directory.publish(self.made(), now_s)
            self.directory.remove(path)
            given.append(path.name[-5:-3])
        self.assertEqual(given, ["45", "54", "55", "56", "57", "58", "46", "15", "45"])

    def test_a_foreign_thing_of_that_name_is_left_alone(self) -> None:
        """Rules 11 and 13."""
        (self.path / "results_2026-01-07_22-30-45.db").mkdir()
        self.assertEqual(self.directory.publish(self.made(), EPOCH).name, "results_2026-01-07_22-30-46.db")

    def test_a_name_whose_wal_was_left_behind_is_taken(self) -> None:
        """Rule 11: a new file would take the pages of the deleted one for its own."""
        (self.path / "results_2026-01-07_22-30-45.db-wal").write_text("pages")
        (self.path / "results_2026-01-07_22-30-46.db-journal").write_text("pages")
        self.assertEqual(self.directory.publish(self.made(), EPOCH).name, "results_2026-01-07_22-30-47.db")

    def test_publishing_leaves_no_second_name(self) -> None:
        path = self.directory.publish(self.made(), EPOCH)
        self.assertEqual(os.listdir(self.path), [path.name])

    def test_nothing_but_result_files_ends_in_db(self) -> None:
        """Rule 13."""
        names = [
            self.directory.temporary("dump").name,
            self.directory.temporary("new").name,
            self.directory.ledger.name,
        ]
        self.assertEqual([name for name in names if name.endswith(".db")], [])

    def test_only_plain_files_can_be_databases(self) -> None:
        """Rule 13."""
        names = [f"results_2026-01-01_00-00-0{second}.db" for second in range(6)]
        (self.path / names[0]).mkdir()
        (self.path / names[1]).symlink_to("gone")
        (self.path / names[2]).symlink_to(names[5])
        os.mkfifo(self.path / names[3])
        (self.path / names[5]).touch()
        (self.path / names[4]).touch()
        (self.path / f"{names[4]}-wal").touch()
        self.assertEqual([path.name for path in self.directory.result_files()], names[4:])

    def test_a_copy_under_another_name_is_the_operator_s(self) -> None:
        """Rules 11 and 13."""
        others = ["backup.db", "results_2026-01-01.db", "results_2026-01-01_00-00-00 (1).db", "zz-backup.db"]
        for name in (*others, "results_2026-01-01_00-00-00.db.bak", "results_2026-01-01_00-00-00.db"):
            (self.path / name).touch()
        self.assertEqual([path.name for path in self.directory.result_files()], ["results_2026-01-01_00-00-00.db"])
        self.assertEqual([path.name for path in self.directory.other_databases()], others)

    def test_removing_takes_the_companions_too_and_nothing_else(self) -> None:
        """Rule 13."""
        for name in ("a.db", "a.db-wal", "a.db-shm", "a.db-journal", "a.db.bak", "b.db"):
            (self.path / name).touch()
        self.directory.remove(self.path / "a.db")
        self.assertEqual(sorted(os.listdir(self.path)), ["a.db.bak", "b.db"])

    def test_a_kill_while_removing_leaves_no_wal_alone(self) -> None:
        """Rules 11 and 13: a new file of this name would take its pages for its own."""
        path = self.directory.publish(self.made(), EPOCH)
        wal_of(path).write_text("pages")
        gone: list[str] = []
        unlink = Path.unlink

        def noting(self: Path, missing_ok: bool = False) -> None:
            gone.append(self.name)
            unlink(self, missing_ok)

        self.patch(Path, "unlink", noting)
        self.directory.remove(path)
        self.assertLess(gone.index(wal_of(path).name), gone.index(path.name))

    def test_removing_what_is_gone_is_no_error(self) -> None:
        self.directory.remove(self.path / "gone.db")

    def test_the_size_of_what_is_gone_is_nothing(self) -> None:
        self.assertEqual(size_of(wal_of(self.path / "gone.db")), 0)


class Lock(DataDirTest):
    """Rule 14: one process a directory."""

    def test_the_directory_is_made(self) -> None:
        deep = DataDir(self.path / "a" / "b")
        deep.take()
        self.addCleanup(deep.release)
        self.assertTrue((self.path / "a" / "b").is_dir())

    def test_companions_without_a_file_go_if_they_hold_nothing(self) -> None:
        """What a reader makes while a file is deleted; a WAL with results may belong to a file that was moved away."""
        self.path.mkdir(exist_ok=True)
        for name, data in (
            ("a.db-wal", b""),
            ("a.db-shm", b"x"),
            ("b.db-wal", b"x"),
            ("c.db", b"x"),
            ("c.db-wal", b""),
        ):
            (self.path / f"results_{name}").write_bytes(data)
        theirs = DataDir(self.path)
        theirs.take()
        self.addCleanup(theirs.release)
        left = sorted(path.name for path in self.path.glob("results_*"))
        self.assertEqual(left, ["results_b.db-wal", "results_c.db", "results_c.db-wal"])

    def test_one_that_root_makes_is_the_directory_s_owner_s(self) -> None:
        """Else `outputd-restore` by root keeps the service from its own directory."""
        if os.geteuid() != 0:
            raise SkipTest("only root can give files away")
        self.path.mkdir(exist_ok=True)
        os.chown(self.path, 65534, 65534)
        theirs = DataDir(self.path)
        theirs.take()
        self.addCleanup(theirs.release)
        state = (self.path / "outputd.lock").stat()
        self.assertEqual((state.st_uid, state.st_gid), (65534, 65534))

    def test_what_is_made_is_on_disk_with_its_name(self) -> None:
        """The names of new directories are durable: a power cut takes no directory with results in it."""
        synced: list[Path] = []
        self.patch(directory_module, "sync", synced.append)
        deep = DataDir(self.path / "a" / "b")
        deep.take()
        self.addCleanup(deep.release)
        self.assertEqual([self.path, self.path / "a"], synced)

    def test_a_second_one_is_told_which_process_holds_it(self) -> None:
        """Rule 14."""
        self.directory.take()
        self.addCleanup(self.directory.release)
        error = self.assertRaises(DirectoryUnusable, DataDir(self.path).take)
        self.assertIn(f"process {os.getpid()}", str(error))
        self.assertIn(str(self.path), str(error))
        self.assertNotIn("\n", str(error))

    def test_another_process_is_named_and_its_kill_frees_the_directory(self) -> None:
        """Rule 14: a lock that a crash leaves stops no start."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", self.path.absolute()],
            cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert holder.stdout is not None
            self.assertEqual(holder.stdout.readline(), "held\n")
            error = self.assertRaises(DirectoryUnusable, self.directory.take)
            self.assertIn(f"process {holder.pid}", str(error))
        finally:
            holder.kill()
            holder.communicate()
        self.directory.take()
        self.addCleanup(self.directory.release)
        later = self.assertRaises(DirectoryUnusable, DataDir(self.path).take)
        self.assertIn(f"process {os.getpid()}", str(later))
        self.assertNotIn(f"{holder.pid}\n{os.getpid()}", (self.path / "outputd.lock").read_text())

    def test_a_longer_number_of_an_old_holder_leaves_no_digits(self) -> None:
        """Rule 14."""
        (self.path / "outputd.lock").write_text("99999999999\n")
        self.directory.take()
        self.addCleanup(self.directory.release)
        self.assertEqual((self.path / "outputd.lock").read_text(), f"{os.getpid()}\n")

    def test_a_released_directory_can_be_taken_again(self) -> None:
        """Rule 14."""
        self.directory.take()
        self.directory.release()
        self.directory.release()
        other = DataDir(self.path)
        other.take()
        other.release()

    def test_what_a_crash_left_half_made_is_cleared_and_nothing_else(self) -> None:
        """Rules 13 and 15: no copy is left behind."""
        left = self.made()
        Path(f"{left}-journal").touch()
        self.directory.temporary("dump").touch()
        for name in ("mine.db", "notes.tmp", ".hidden"):
            (self.path / name).touch()
        self.directory.take()
        self.addCleanup(self.directory.release)
        self.assertEqual(sorted(os.listdir(self.path)), [".hidden", "mine.db", "notes.tmp", "outputd.lock"])

    def test_a_link_in_the_place_of_the_lock_leads_to_nothing_overwritten(self) -> None:
        """Issue 14.9: another user of a common directory planted it."""
        victim, lock = self.path / "victim", self.path / "outputd.lock"
        victim.write_text("dear")
        for link in (lock.symlink_to, lock.hardlink_to):
            link(victim)
            error = self.assertRaises(DirectoryUnusable, self.directory.take)
            self.assertIn("outputd.lock", str(error))
            lock.unlink()
        self.assertEqual("dear", victim.read_text())

    def test_a_file_in_its_place_is_one_clear_line(self) -> None:
        """Rule 23."""
        path = self.path / "file"
        path.touch()
        for place in (path, path / "below"):
            error = self.assertRaises(DirectoryUnusable, DataDir(place).take)
            self.assertIn(str(place), str(error))
            self.assertNotIn("\n", str(error))

    def test_a_file_system_without_hard_links_is_one_line_that_says_so(self) -> None:
        """Rule 23: FAT and some network file systems; the directory is free again."""

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        link = self.patch(os, "link", refuse)
        error = self.assertRaises(DirectoryUnusable, self.directory.take)
        self.assertIn("without hard links", str(error))
        self.assertIn(str(self.path), str(error))
        link.restore()
        self.assertEqual(["outputd.lock"], os.listdir(self.path))
        self.directory.take()
        self.directory.release()

    def test_a_name_that_is_no_text_is_told_as_text(self) -> None:
        path = Path(os.fsdecode(os.fsencode(self.path) + b"/\xff"))
        path.touch()
        error = self.assertRaises(DirectoryUnusable, DataDir(path).take)
        self.assertTrue(str(error).isascii(), str(error))

    def test_free_room_is_that_of_its_disk(self) -> None:
        """Rule 20: a figure of the check `disk`."""
        room = os.statvfs(self.path)
        other_bytes = abs(self.directory.free_bytes() - room.f_bavail * room.f_frsize)
        self.assertLess(other_bytes, room.f_blocks * room.f_frsize / 10)  # others write on it, too


class ModesOfFiles(SynchronousTestCase):
    """Nobody but the owner writes, the group reads, others nothing; the operator's umask changes none of it."""

    def test_of_a_new_directory_and_what_is_in_it(self) -> None:
        for umask in (0, 0o022, 0o077, 0o777):
            top = Path(self.mktemp())
            path = top / "a" / "b"
            before = os.umask(umask)
            try:
                directory = DataDir(path)
                directory.take()
                make_empty(made := directory.temporary("new"))
            finally:
                os.umask(before)
            self.addCleanup(directory.release)
            self.assertEqual([0o750] * 3, [mode_of(place) for place in (top, path.parent, path)])
            self.assertEqual([0o640] * 2, [mode_of(file) for file in (made, path / "outputd.lock")])
            self.assertRaises(FileExistsError, make_empty, made)

    def test_a_directory_that_is_there_stays_as_it_was_made(self) -> None:
        path = Path(self.mktemp())
        path.mkdir(0o700)
        directory = DataDir(path)
        directory.take()
        self.addCleanup(directory.release)
        self.assertEqual(0o700, mode_of(path))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
