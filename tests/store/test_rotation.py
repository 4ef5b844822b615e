"""What `outputd.rotation` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.sqlite.connections import reading
from outputd.sqlite.files import wal_of
from outputd.store.store import StoreFailed
from tests.kit.bench import EPOCH, Bench
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, rows_of
from tests.kit.pools import MALFORMED, sqlite_error


class RotationTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path, max_size_bytes=1 << 20, max_age_s=3600.0, keep_files=3)

    def begin(self) -> None:
        self.bench.rotation.start()
        self.bench.clock.pump([0] * 5)
        self.addCleanup(lambda: self.bench.outcome(self.bench.rotation.stop()))

    def names(self) -> list[str]:
        return [info.path.name for info in self.bench.store.files]

    def pass_seconds(self, seconds: int) -> None:
        self.bench.clock.pump([1.0] * seconds)


class Due(RotationTest):
    """Rule 11: whether a file is due is asked every second."""

    def test_age(self) -> None:
        """Rule 11."""
        self.begin()
        self.pass_seconds(3599)
        self.assertEqual(len(self.names()), 1)
        self.pass_seconds(1)
        self.assertEqual(self.names()[1:], ["results_2026-01-07_23-30-45.db"])
        self.pass_seconds(3599)
        self.assertEqual(len(self.names()), 2)

    def test_size(self) -> None:
        """Rule 11."""
        self.begin()
        self.bench.keep(*[a_result(error="x" * 1000)] * 1100)
        self.assertEqual(len(self.names()), 1)
        self.pass_seconds(1)
        self.assertEqual(len(self.names()), 2)

    def test_a_file_that_is_due_at_the_start_is_closed_at_once(self) -> None:
        """Rule 11."""
        self.bench.keep(a_result())
        self.bench.clock.advance(3600)
        self.bench.stop()
        self.bench.start()
        self.assertEqual(len(self.names()), 1)
        self.begin()
        self.assertEqual(len(self.names()), 2)

    def test_a_wal_over_half_the_limit(self) -> None:
        """Rule 11: a reader holds an old snapshot."""
        self.begin()
        self.bench.keep(*[a_result()] * 1000)
        old = self.bench.store.current.info.path
        with reading(old) as reader:
            reader.execute("BEGIN")
            before = reader.execute("SELECT count(*) FROM ping_results").fetchone()
            for _ in range(20):
                self.bench.keep(*[a_result()] * 100)
                self.pass_seconds(1)
                if len(self.names()) == 2:
                    break
            self.assertEqual(len(self.names()), 2)
            self.assertLess(wal_of(old).stat().st_size, 2 << 20)
            self.assertEqual(reader.execute("SELECT count(*) FROM ping_results").fetchone(), before)
            self.pass_seconds(2)
            self.assertTrue(wal_of(old).exists())
        self.pass_seconds(1)
        self.assertFalse(wal_of(old).exists())

    def test_nothing_is_made_while_nothing_is_due(self) -> None:
        """Rule 11."""
        self.begin()
        self.pass_seconds(600)
        self.assertEqual(len(self.names()), 1)


class OnRequest(RotationTest):
    def test_the_new_file_is_named(self) -> None:
        """Rule 11: `/rotate` names the new file."""
        self.bench.clock.advance(10)
        path = self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.assertEqual(path.name, "results_2026-01-07_22-30-55.db")
        self.assertEqual(self.bench.store.current.info.path, path)

    def test_it_prunes(self) -> None:
        """Rule 13."""
        for _ in range(6):
            self.bench.post(a_result())
            self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.assertEqual(len(self.names()), 3)
        self.assertEqual(sorted(path.name for path in self.path.glob("*.db")), sorted(self.names()))

    def test_many_in_one_second_refuse_and_lose_nothing(self) -> None:
        """Rules 11 and 12."""
        self.bench.limits = self.bench.store.limits = type(self.bench.limits)(1 << 20, 3600.0, 50)
        told: list[Any] = []
        for _ in range(20):
            told.append(self.bench.record(a_result()))
            self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.bench.clock.advance(0)
        self.assertEqual([len(one) for one in told], [1] * 20)
        self.assertEqual(sorted(rows_of(self.path, "SELECT id FROM ping_results")), [(n,) for n in range(1, 21)])

    def test_closed_files_are_finished_within_a_second(self) -> None:
        """Rule 11."""
        self.begin()
        old = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.pass_seconds(1)
        self.assertEqual((wal_of(old).exists(), old.read_bytes()[18:20]), (False, b"\1\1"))


class Overwritten(RotationTest):
    """What `cp` writes over the current file cannot be undone, but it is said, and what comes later is stored."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()
        self.bench.keep(*[a_trace({"ttl": 1, "ip": "10.0.0.1"})] * 50)
        self.file = self.bench.store.current.info.path

    def write_over(self, data: bytes) -> None:
        """Into the same file, as `cp` does."""
        state = self.file.stat()
        with self.file.open("r+b") as file:
            file.write(data)
            file.truncate(len(data))
        os.utime(self.file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))  # the clock of files is coarse

    def backup(self) -> bytes:
        """The file as it is now."""
        copy = Path(self.mktemp())
        with reading(self.file) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        return copy.read_bytes()

    def checkpoint(self) -> None:
        """Let the writer copy its WAL, so that the file alone has what was stored."""
        self.bench.outcome(self.bench.pool().run(lambda db: db.execute("PRAGMA wal_autocheckpoint=1").fetchall()))
        self.bench.keep(a_result())

    def test_it_is_said_within_a_second_and_a_new_file_begun(self) -> None:
        earlier = self.backup()
        self.bench.keep(*[a_result()] * 500)
        self.checkpoint()
        for data in (earlier, b"no database at all", b""):
            with self.subTest(data[:20]), said() as texts:
                self.file = self.bench.store.current.info.path
                self.write_over(data)
                self.pass_seconds(1)
                told = [text for text in texts if "someone else has written over it" in text]
                self.assertEqual(1, len(told), texts)
                self.assertIn(f"{self.file.name} is damaged and set aside", told[0])
                self.assertNotEqual(self.file, self.bench.store.current.info.path)
                self.bench.keep(*[a_result()] * 10)
                self.assertFalse(self.file.exists())

    def test_a_turn_before_the_next_look_hides_nothing(self) -> None:
        earlier = self.backup()
        self.bench.keep(*[a_result()] * 500)
        self.checkpoint()
        self.bench.outcome(self.bench.pool().run(lambda db: db.execute("PRAGMA wal_autocheckpoint=1000").fetchall()))
        self.write_over(earlier)
        with contextlib.suppress(StoreFailed):
            self.bench.keep(a_result())
        self.pass_seconds(1)
        self.assertEqual([f"{self.file.name}.damaged"], list(self.bench.directory.damaged()))

    def test_a_rotation_before_the_next_look_hides_nothing(self) -> None:
        for fault in (self.cut_off_the_wal, self.copy_a_backup_over_it):
            with self.subTest(fault.__name__):
                self.file = self.bench.store.current.info.path
                fault()
                self.bench.outcome(self.bench.store.rotate())
                self.assertIn(f"{self.file.name}.damaged", self.bench.directory.damaged())

    def cut_off_the_wal(self) -> None:
        self.bench.keep(*[a_result()] * 500)
        os.truncate(wal_of(self.file), 8192)

    def copy_a_backup_over_it(self) -> None:
        self.bench.keep(a_result())
        earlier = self.backup()
        self.bench.keep(*[a_result()] * 500)
        self.checkpoint()
        self.write_over(earlier)

    def test_an_older_file_over_a_new_one_lends_it_no_results(self) -> None:
        """Nothing of it is missing, and its structure is whole."""
        older = self.backup()
        for fault in (lambda: None, self.checkpoint):
            self.bench.outcome(self.bench.store.rotate())
            self.file = self.bench.store.current.info.path
            fault()
            self.write_over(older)
            self.pass_seconds(1)
            self.assertIn(f"{self.file.name}.damaged", self.bench.directory.damaged())

    def test_one_that_was_emptied_and_lost_its_wal_to_a_reader_is_set_aside(self) -> None:
        """SQLite deletes the WAL of a file that has no pages when somebody opens it."""
        self.checkpoint()
        self.write_over(b"")
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.execute("SELECT * FROM sqlite_schema").fetchall()
        self.assertFalse(wal_of(self.file).exists())
        self.pass_seconds(1)
        self.assertIn(f"{self.file.name}.damaged", self.bench.directory.damaged())

    def test_a_wal_that_is_cut_off_or_copied_over_takes_no_more_results(self) -> None:
        """Rule 1: what comes after a gap in it is lost at the next crash."""
        for kept in (0.0, 0.5):
            with self.subTest(kept=kept), said() as texts:
                file = self.bench.store.current.info.path
                self.bench.keep(*[a_result()] * 500)
                os.truncate(wal_of(file), int(wal_of(file).stat().st_size * kept))
                self.assertRaises(StoreFailed, self.bench.keep, a_result())
                self.pass_seconds(1)
                self.assertIn(f"{file.name}.damaged", self.bench.directory.damaged())
                self.assertEqual(1, sum(f"{file.name} is damaged and set aside" in text for text in texts), texts)
                self.bench.keep(a_result())
                left = self.bench.crashed(Path(self.mktemp()))
                self.assertEqual(1, len(rows_of(left.path, "SELECT id FROM ping_results")))

    def test_one_that_another_program_has_emptied_loses_nothing_and_a_new_file_is_begun(self) -> None:
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.pass_seconds(1)
        self.assertEqual({}, self.bench.directory.damaged())
        self.assertNotEqual(self.file, self.bench.store.current.info.path)
        self.bench.keep(a_result())
        self.assertEqual(51, len(rows_of(self.bench.path, "SELECT id FROM ping_results")))

    def test_a_touch_or_the_checkpoint_of_another_program_harms_nothing(self) -> None:
        self.bench.keep(*[a_result()] * 500)
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.pass_seconds(2)
        os.utime(self.file, ns=(1, 1))
        self.pass_seconds(2)
        self.bench.keep(a_result())
        self.assertEqual([self.file], [info.path for info in self.bench.store.files])

    def test_an_empty_file_that_is_touched_is_whole(self) -> None:
        self.bench.outcome(self.bench.store.rotate())
        os.utime(self.bench.store.current.info.path, ns=(1, 1))
        self.pass_seconds(2)
        self.assertEqual(2, len(self.names()))


class Pruning(RotationTest):
    def test_too_many_files_are_pruned_without_a_rotation(self) -> None:
        """Rule 13: --keep-files was made smaller."""
        for _ in range(2):
            self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.bench.stop()
        self.bench.limits = type(self.bench.limits)(1 << 20, 3600.0, 1)
        self.bench.start()
        self.begin()
        self.assertEqual(len(self.names()), 1)

    def test_hops_and_keys_of_a_file_are_kept_elsewhere_before_it_goes(self) -> None:
        """Rules 6 and 18: they outlive retention, a kill right after it included."""
        self.bench.limits = type(self.bench.limits)(1 << 20, 3600.0, 1)
        self.bench.stop()
        self.bench.start()
        self.bench.post(a_trace({"ttl": 1, "ip": "10.0.0.1"}), node="n", key="k")
        self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.assertEqual(rows_of(self.path, "SELECT * FROM ping_results"), [])
        left = self.bench.crashed(Path(self.mktemp()))
        self.assertEqual(left.outcome(left.ledger.waiting(10)), ["10.0.0.1"])
        answer = left.post(a_trace({"ttl": 1, "ip": "10.0.0.1"}), node="n", key="k")
        self.assertTrue(answer.json["duplicate"])

    def rotate(self) -> None:
        self.bench.outcome(self.bench.rotation.rotate("asked for"))

    def test_a_full_disk_does_not_keep_its_own_relief_from_coming(self) -> None:
        """Rule 13: the ledger cannot be written, and has on disk what the oldest file holds."""
        for _ in range(3):
            self.bench.post(a_trace({"ttl": 1, "ip": "10.0.0.1"}))
            self.rotate()
        self.bench.pools.failing["ledger"] = sqlite3.OperationalError("database or disk is full")
        self.bench.post(a_result())
        self.rotate()
        self.assertEqual((len(self.names()), self.bench.ledger.kept), (3, 3))

    def test_nothing_is_pruned_that_the_ledger_cannot_take_in(self) -> None:
        """Rules 6 and 18: a crash right then would lose it. Whatever the reason, a full disk included."""
        for reason in ("database is locked", "database or disk is full", "disk I/O error"):
            with self.subTest(reason=reason):
                self.setUp()
                for number in range(3):
                    if number == 2:
                        self.bench.pools.failing["ledger"] = sqlite3.OperationalError(reason)
                    self.bench.post(a_trace({"ttl": 1, "ip": f"10.0.0.{number}"}))
                    self.rotate()
                self.assertEqual(len(self.names()), 4)
                self.begin()
                self.assertIn(f"{self.names()[0]} cannot be deleted", str(self.bench.rotation.failure))
                self.assertIn(reason, str(self.bench.rotation.failure))
                left = self.bench.crashed(Path(self.mktemp()))
                self.assertEqual(len(left.outcome(left.ledger.waiting(10))), 3)
                self.bench.pools.failing.clear()
                self.pass_seconds(1)
                self.assertEqual((len(self.names()), self.bench.rotation.failure), (3, None))

    def test_a_program_that_reads_the_ledger_puts_it_off(self) -> None:
        """Rule 18: an old state that is being read keeps the ledger from its file on disk."""
        with reading(self.bench.directory.ledger) as reader:
            self.bench.post(a_result())
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM known").fetchone()
            for number in range(3):
                self.bench.post(a_trace({"ttl": 1, "ip": f"10.0.1.{number}"}))
                self.rotate()
            self.assertEqual(len(self.names()), 4)
            self.begin()
            self.assertIn("another program reads hops.sqlite3", str(self.bench.rotation.failure))
        self.pass_seconds(1)
        self.assertEqual((len(self.names()), self.bench.rotation.failure), (3, None))

    def test_the_ledger_hears_of_all_that_was_stored_before_its_file_goes(self) -> None:
        """Rule 18: many outcomes are told in slices, and a rotation may come between two of them."""
        self.bench.stop()
        self.bench.limits = type(self.bench.limits)(1 << 20, 3600.0, 1)
        self.bench.start()
        for number in range(3):
            answered = self.bench.sending(a_trace({"ttl": 1, "ip": f"10.0.0.{number}"}))
            answered.addCallback(lambda _: setattr(self.bench.clock, "rightNow", self.bench.clock.rightNow + 1))
        self.bench.clock.advance(0)
        self.rotate()
        left = self.bench.crashed(Path(self.mktemp()))
        self.assertEqual(len(left.outcome(left.ledger.waiting(10))), 3)


class Trouble(RotationTest):
    """A failure is told, and the next second tries again."""

    def break_down(self) -> None:
        async def no_thread(work: Any, *args: Any, **kwargs: Any) -> Any:
            raise OSError(28, "No space left on device")

        self.in_thread, self.bench.store_thread = self.bench.store_thread, no_thread

    def test_it_is_tried_again_every_second_until_it_succeeds(self) -> None:
        """Rule 11."""
        log = self.enterContext(said())
        self.begin()
        self.break_down()
        self.bench.clock.advance(3600)
        self.assertEqual(sum("rotation failed" in line for line in log), 1)
        self.assertIn("No space left", str(self.bench.rotation.failure))
        self.pass_seconds(5)
        self.assertEqual(sum("rotation failed" in line for line in log), 1, "one line for the whole trouble")
        self.bench.keep(a_result())
        self.bench.store_thread = self.in_thread
        self.pass_seconds(1)
        self.assertEqual((len(self.names()), self.bench.rotation.failure), (2, None))

    def test_a_store_that_failed_is_tried_every_second(self) -> None:
        """Rules 20 and 21: it recovers without a POST."""
        self.begin()
        self.bench.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        self.bench.posting(a_result())
        self.assertIsNotNone(self.bench.store.failure)
        self.pass_seconds(2)
        self.bench.pools.failing.clear()
        self.pass_seconds(2)
        self.assertIsNone(self.bench.store.failure)
        self.flushLoggedErrors()

    def test_a_file_that_fails_for_good_is_left_at_its_age_all_the_same(self) -> None:
        """Rule 11: a broken file must not be the last one."""
        self.begin()
        broken = self.bench.pool()

        async def run(*_: Any, **__: Any) -> Any:
            raise sqlite3.OperationalError("disk I/O error")

        broken.run = run
        self.bench.posting(a_result())
        self.bench.clock.advance(3600)
        self.pass_seconds(2)
        self.flushLoggedErrors()
        self.assertEqual(len(self.names()), 2)
        self.assertEqual(self.bench.post(a_result()).status, 200)

    def test_a_damaged_file_is_left_at_once_and_kept_out_of_the_way(self) -> None:
        """Rules 11, 12 and 13: rows may be saved by hand; none of it is counted, pruned or numbered again."""
        self.begin()
        self.bench.keep(a_result())
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        broken = self.bench.pool()

        async def run(*_: Any, **__: Any) -> Any:
            raise sqlite_error(*MALFORMED)

        broken.run = run
        self.assertEqual(self.bench.post(a_result()).status, 503)
        self.pass_seconds(2)
        self.flushLoggedErrors()
        self.assertEqual(self.bench.post(a_result()).status, 200)
        self.assertNotIn(old.name, self.names())
        self.assertFalse(old.exists())
        aside = [path for path in self.path.iterdir() if path.name.startswith(old.name)]
        self.assertTrue(aside)
        self.assertEqual([path for path in aside if path.name.endswith(".db")], [])
        self.assertGreater(rows_of(self.path, "SELECT id FROM ping_results")[0][0], 2)

    def test_a_stop_waits_for_the_rotation_under_way(self) -> None:
        """Rule 23."""
        gate: Deferred[None] = Deferred()
        in_thread = self.bench.store_thread

        async def later(work: Any, *args: Any, **kwargs: Any) -> Any:
            await gate
            return await in_thread(work, *args, **kwargs)

        self.bench.rotation.start()
        self.bench.store_thread = later
        self.bench.clock.advance(3600)
        stopped = Deferred.fromCoroutine(self.bench.rotation.stop())
        self.assertNoResult(stopped)
        gate.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(len(self.names()), 2)
        self.bench.clock.advance(7200)
        self.assertEqual(len(self.names()), 2)

    def test_a_stop_without_a_start_is_harmless(self) -> None:
        self.bench.outcome(self.bench.rotation.stop())

    def test_creation_is_the_last_rotation(self) -> None:
        """Rule 20."""
        self.bench.clock.advance(5)
        self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.assertEqual(self.bench.store.current.created_s, EPOCH + 5)
