"""What `outputd.store.store` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.process.trouble import Failure, Unusable
from outputd.sqlite.connections import reading
from outputd.sqlite.errors import NewerFile
from outputd.sqlite.files import journal_of, wal_of
from outputd.store import file as resultfile
from outputd.store import manifest
from outputd.store.current import Current
from outputd.store.directory import DataDir, manifest_of
from outputd.store.ids import Ids
from outputd.store.inventory import take_stock
from outputd.store.restore import restore
from outputd.store.store import StoreFailed
from outputd.store.writer import Written
from tests.kit.bench import EPOCH, Bench
from tests.kit.damage import flipped
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, many_hops, rows_of
from tests.kit.pools import InlinePool, InlinePools

_ALL = 2**62
"""Above any batch."""
_KILLED_WHILE_WRITING = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size=1")
db.execute("BEGIN")
db.execute("UPDATE ping_results SET sent = 77, error = 'never committed'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def started(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)


def slow_to_close(pool: Any) -> Deferred[None]:
    """A gate that the pool's close waits at."""
    gate: Deferred[None] = Deferred()

    async def close() -> None:
        await gate
        await InlinePool.close(pool)

    pool.close = close
    return gate


class StoreTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)

    def rotate(self) -> Path:
        path: Path = self.bench.outcome(self.bench.store.rotate())
        return path

    def ids(self, table: str = "ping_results") -> list[int]:
        return [number for (number,) in rows_of(self.path, f"SELECT id FROM {table} ORDER BY id")]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("*.db"))

    def restart(self, **changes: Any) -> None:
        self.bench.stop()
        self.bench = Bench(self.path, **changes)


class Storing(StoreTest):
    def test_nobody_is_told_before_the_commit(self) -> None:
        """Rule 1."""
        self.bench.pools.gates["store"] = gate = Deferred[None]()
        told = self.bench.record(a_result())
        self.bench.clock.advance(10)
        self.assertEqual((told, self.ids()), ([], []))
        gate.callback(None)
        self.assertEqual((len(told), self.ids()), (1, [1]))

    def test_what_is_told_outlives_a_kill(self) -> None:
        """Rule 1."""
        self.bench.keep(a_result(), a_result())
        left = self.bench.crashed(Path(self.mktemp()))
        self.assertEqual(rows_of(left.path, "SELECT id FROM ping_results"), [(1,), (2,)])

    def test_posts_that_wait_share_a_commit_in_their_order(self) -> None:
        """Rule 1: the fsync is paid once."""
        told = [self.bench.record(a_result(ip=f"192.0.2.{n}")) for n in range(5)]
        self.bench.clock.advance(0)
        self.assertEqual([len(one) for one in told], [1] * 5)
        self.assertEqual([posts for _, posts in self.bench.commits], [5])
        self.assertEqual(
            rows_of(self.path, "SELECT id, ip FROM ping_results ORDER BY id"),
            [(n + 1, f"192.0.2.{n}") for n in range(5)],
        )

    def test_a_queue_is_what_waits_for_the_end_of_a_commit(self) -> None:
        gate = self.bench.pools.gates["store"] = Deferred()
        for _ in range(5):
            self.bench.record(a_result())
        self.assertFalse(self.bench.store.has_queue)
        self.bench.clock.advance(0)
        self.assertFalse(self.bench.store.has_queue)
        self.bench.record(a_result())
        self.assertTrue(self.bench.store.has_queue)
        del self.bench.pools.gates["store"]
        gate.callback(None)
        self.bench.clock.advance(0)
        self.assertFalse(self.bench.store.has_queue)

    def test_while_a_commit_is_under_way_those_who_post_wait_for_no_more(self) -> None:
        """What comes meanwhile shares the next one anyhow, which begins when this one has ended."""
        for _ in range(8):
            self.bench.store.company.came(self.bench.clock.seconds(), -1.0)
        self.bench.clock.advance(0.03)
        gate = self.bench.pools.gates["store"] = Deferred()
        self.bench.record(a_result())
        self.assertEqual(0.02, self.bench.store.company.wait_s(self.bench.clock.seconds()))
        self.bench.clock.advance(0)
        self.assertEqual(0, self.bench.store.company.wait_s(self.bench.clock.seconds()))
        gate.callback(None)
        self.bench.clock.advance(0)
        self.assertEqual(0.02, self.bench.store.company.wait_s(self.bench.clock.seconds()))

    def test_where_many_share_a_commit_there_is_a_queue(self) -> None:
        """Each client of a crowd may wait for its answer at the same time, so that nobody waits when a commit ends."""
        for number, posts in enumerate((11, 12)):
            for _ in range(posts):
                self.bench.record(a_result())
            self.bench.clock.advance(0)
            self.assertIs(bool(number), self.bench.store.has_queue)
        self.bench.clock.advance(0.3)
        self.assertFalse(self.bench.store.has_queue)

    def test_a_crowd_that_takes_turns_is_one_too(self) -> None:
        """Half of it waits while the other half is written: at the end of a commit, few have shared it."""
        for waiting in (5, 6):
            gate = self.bench.pools.gates["store"] = Deferred()
            for _ in range(6):
                self.bench.record(a_result())
            self.bench.clock.advance(0)
            for _ in range(waiting):
                self.bench.record(a_result())
            del self.bench.pools.gates["store"]
            gate.callback(None)
            self.bench.clock.advance(0)
            self.assertIs(waiting == 6, self.bench.store.has_queue)

    def test_a_post_s_results_have_consecutive_ids_that_its_batch_names(self) -> None:
        """Rule 7."""
        self.bench.record(a_result(), a_result())
        self.bench.record({"ip": 1})
        self.bench.record(a_result(), {"ip": 1}, a_result(), a_result())
        self.bench.clock.advance(0)
        self.assertEqual(
            rows_of(self.path, "SELECT id, first_id, last_id, accepted, rejected FROM batches ORDER BY id"),
            [(1, 1, 2, 2, 0), (2, None, None, 0, 1), (3, 3, 5, 3, 1)],
        )

    def test_a_full_disk_fails_every_post_of_the_group_and_stores_none_of_it(self) -> None:
        """Rule 9: nothing is half taken."""
        self.bench.keep(a_result())
        self.bench.fill_the_disk(self.bench.pool())
        told = [self.bench.record(*[a_result(error="x" * 500)] * 500), self.bench.record(a_result())]
        self.bench.clock.advance(0)
        for (answer,) in told:
            self.assertIsInstance(answer.value, StoreFailed)
            self.assertIn("full", str(answer.value))
        self.assertEqual(self.ids(), [1])
        assert self.bench.store.failure is not None
        self.assertEqual(
            (self.bench.store.failure[0], self.bench.store.failure[1]), ("database or disk is full", EPOCH)
        )

    def test_it_recovers_by_itself_once_there_is_room(self) -> None:
        """Rules 9 and 21."""
        self.test_a_full_disk_fails_every_post_of_the_group_and_stores_none_of_it()
        self.bench.free_the_disk(self.bench.pool())
        outcome_of_proof: list[Any] = []
        started(self.bench.store.prove()).addBoth(outcome_of_proof.append)
        self.bench.clock.advance(0)
        self.assertEqual(outcome_of_proof, [None])
        self.assertIsNone(self.bench.store.failure)
        self.bench.keep(a_result())
        self.assertEqual(len(self.ids()), 2)
        self.assertEqual(len(set(self.ids())), 2)

    def test_a_disk_with_room_for_the_proof_alone_is_full_all_the_same(self) -> None:
        """Rule 21: ready means that results can be committed, not that a single page can."""
        self.test_a_full_disk_fails_every_post_of_the_group_and_stores_none_of_it()
        self.bench.free_the_disk(self.bench.pool())
        self.patch(DataDir, "free_bytes", lambda _: 100_000)
        proof: list[Any] = []
        started(self.bench.store.prove()).addErrback(lambda failure: proof.append(failure.type))
        self.bench.clock.advance(0)
        self.assertEqual(proof, [StoreFailed])
        self.assertIsNotNone(self.bench.store.failure)

    def test_the_time_of_a_failure_is_that_of_its_beginning(self) -> None:
        """Rule 20: since when."""
        self.bench.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        for _ in range(2):
            self.assertRaises(StoreFailed, self.bench.keep, a_result())
            self.bench.clock.advance(60)
        self.assertEqual(self.bench.store.failure, Failure("disk I/O error", EPOCH))

    def test_any_failure_is_a_store_failure(self) -> None:
        """Rule 9: a bug below costs a 503, never a traceback to the node."""
        self.bench.pools.failing["store"] = MemoryError("no memory")
        self.assertRaises(StoreFailed, self.bench.keep, a_result())
        self.flushLoggedErrors(MemoryError)

    def test_ids_of_a_failed_group_are_never_used_for_others(self) -> None:
        """Rule 12."""
        self.bench.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        self.assertRaises(StoreFailed, self.bench.keep, a_trace(*many_hops(3)))
        self.bench.pools.failing.clear()
        self.bench.keep(a_trace(*many_hops(2)))
        self.assertEqual(len(self.ids()), 1)
        self.rotate()
        self.bench.keep(a_trace(*many_hops(2)))
        self.assertEqual(len(set(self.ids())), 2)
        self.assertEqual(len(set(self.ids("traceroute_hops"))), 4)

    def test_a_crowd_with_bodies_of_many_results_shares_a_commit_too(self) -> None:
        """Two commits would write most pages of the indexes twice."""
        body = [a_trace(*many_hops(12))] * 100
        gate = self.bench.pools.gates["store"] = Deferred()
        first = self.bench.store.record(self.bench.batch(*body))
        first.addCallback(lambda _: len([self.bench.clock.callLater(0, self.bench.record, *body)]))
        self.bench.clock.advance(0)
        self.bench.record(*body)
        del self.bench.pools.gates["store"]
        gate.callback(None)
        self.bench.clock.advance(0)
        self.assertEqual([posts for _, posts in self.bench.commits], [1, 2])

    def test_the_size_is_right_after_each_commit(self) -> None:
        """Rules 11 and 20."""
        self.bench.keep(*[a_result(error="x" * 1000)] * 1000)
        with reading(self.bench.store.current.info.path) as db:
            size = db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
        self.assertEqual(self.bench.store.current.size_bytes, size)


class Proof(StoreTest):
    """Rule 21: a commit of the last second proves it, else a write is tried."""

    def prove(self) -> list[Any]:
        proof: list[Any] = []
        started(self.bench.store.prove()).addBoth(proof.append)
        self.bench.clock.advance(0)
        return proof

    def test_a_commit_of_the_last_second_proves_it(self) -> None:
        """Rule 21."""
        self.bench.keep(a_result())
        self.bench.clock.advance(0.9)
        self.assertEqual(self.prove(), [None])
        self.assertEqual(len(self.bench.commits), 1)

    def test_else_a_write_is_tried(self) -> None:
        """Rule 21."""
        self.bench.keep(a_result())
        self.bench.clock.advance(1.1)
        self.assertEqual(self.prove(), [None])
        self.assertEqual([posts for _, posts in self.bench.commits], [1, 0])

    def test_an_old_commit_proves_nothing_about_a_full_disk(self) -> None:
        """Rule 21."""
        self.bench.keep(a_result())
        self.bench.clock.advance(1.1)
        self.bench.pools.failing["store"] = sqlite3.OperationalError("database or disk is full")
        (failure,) = self.prove()
        self.assertIsInstance(failure.value, StoreFailed)

    def test_nor_does_one_of_the_last_second_into_a_file_that_is_gone(self) -> None:
        """Rule 21: the next POST will be refused."""
        self.bench.keep(a_result())
        self.bench.store.current.info.path.unlink()
        self.assertRaises(StoreFailed, self.bench.outcome, self.bench.store.prove())

    def test_after_a_failure_a_recent_commit_is_no_proof(self) -> None:
        """Rule 21."""
        self.bench.keep(a_result())
        self.bench.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        self.assertRaises(StoreFailed, self.bench.keep, a_result())
        (failure,) = self.prove()
        self.assertIsInstance(failure.value, StoreFailed)

    def test_a_proof_leaves_no_trace_in_the_spec_s_tables(self) -> None:
        """Rule 7: no batch without a POST."""
        self.prove()
        self.assertEqual((self.ids(), self.ids("batches")), ([], []))


class GoingOn(StoreTest):
    """Rule 11: a start goes on with the newest file."""

    def test_the_first_start_makes_a_file_of_its_second(self) -> None:
        """Rule 11."""
        self.assertEqual(self.names(), ["results_2026-01-07_22-30-45.db"])

    def test_a_restart_goes_on_with_the_same_file(self) -> None:
        """Rule 11."""
        self.bench.keep(a_result())
        self.restart()
        self.bench.keep(a_result())
        self.assertEqual((len(self.names()), self.ids()), (1, [1, 2]))

    def test_the_newest_is_known_by_the_order_kept_in_the_files_and_never_by_name(self) -> None:
        """Rule 11: an operator renames, restores, copies."""
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        self.rotate()
        self.bench.keep(a_result())
        new = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.stop()
        old.rename(self.path / "results_2099-01-01_00-00-00.db")
        newest = new.rename(self.path / "results_1970-01-01_00-00-00.db")
        os.utime(self.path / "results_2099-01-01_00-00-00.db")
        self.bench = Bench(self.path)
        self.assertEqual(self.bench.store.current.info.path, newest)
        self.bench.keep(a_result())
        with reading(newest) as db:
            self.assertEqual(db.execute("SELECT id FROM ping_results").fetchall(), [(2,), (3,)])

    def test_after_a_kill_it_goes_on_with_the_same_file_too(self) -> None:
        """Rules 1 and 11."""
        self.bench.keep(a_result())
        left = self.bench.crashed(Path(self.mktemp()))
        left.keep(a_result())
        self.assertEqual(rows_of(left.path, "SELECT id FROM ping_results"), [(1,), (2,)])
        self.assertEqual(len(left.store.files), 1)

    def test_age_counts_from_the_file_s_creation_which_the_file_keeps(self) -> None:
        """Rule 11."""
        path = self.bench.store.current.info.path
        self.bench.clock.advance(3 * 86_400)
        self.bench.keep(a_result())
        self.bench.stop()
        os.utime(path, (EPOCH + 3 * 86_400, EPOCH + 3 * 86_400))
        self.bench.start()
        self.assertEqual(self.bench.store.age_s, 3 * 86_400)
        self.bench.clock.advance(4 * 86_400 - 1)
        self.assertIsNone(self.bench.store.why_due())
        self.bench.clock.advance(1)
        self.assertEqual(self.bench.store.why_due(), "age")

    def test_days_may_be_a_fraction(self) -> None:
        """Rule 11."""
        self.restart(max_age_s=0.5)
        self.bench.clock.advance(0.5)
        self.assertEqual(self.bench.store.why_due(), "age")

    def test_a_clock_that_was_set_back_does_not_age_a_file(self) -> None:
        """Rule 20: `age_seconds` is never below nothing."""
        self.bench.clock.rightNow = -1000
        self.assertEqual((self.bench.store.age_s, self.bench.store.why_due()), (0, None))

    def test_a_newer_version_stops_the_start(self) -> None:
        """Rule 13."""
        path = self.bench.store.current.info.path
        self.bench.stop()
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version={resultfile.SCHEMA.version + 1}")
        db.close()
        self.assertRaises(NewerFile, self.bench.start)

    def test_a_kill_while_a_file_was_given_its_last_form_stops_no_start(self) -> None:
        """Rules 11 and 13: it leaves a journal to be rolled back, which a connection that only reads cannot do."""
        self.bench.keep(*[a_result() for _ in range(500)])
        self.rotate()
        self.bench.outcome(self.bench.store.finish_closed())
        path = self.bench.store.files[0].path
        self.bench.stop()
        killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, path], check=False)
        self.assertEqual((killed.returncode, journal_of(path).exists()), (-9, True))
        self.bench.start()
        self.assertEqual((len(self.bench.store.files), len(self.ids())), (2, 500))
        self.assertEqual(rows_of(self.path, "SELECT DISTINCT sent FROM ping_results"), [(4,)])

    def test_a_file_that_another_program_has_locked_is_never_taken_for_a_damaged_one(self) -> None:
        """Rules 11 and 13: an operator's VACUUM at the time of a restart must not set good results aside."""
        self.bench.keep(a_result())
        path = self.bench.store.current.info.path
        self.bench.stop()
        operator = sqlite3.connect(path, isolation_level=None)
        operator.execute("BEGIN EXCLUSIVE")
        try:
            with contextlib.suppress(sqlite3.Error, OSError):
                self.bench.start()
        finally:
            operator.close()
        self.assertEqual(self.names(), [path.name])
        self.assertEqual([name for name in os.listdir(self.path) if "damaged" in name], [])

    def test_a_foreign_file_that_we_may_not_read_stops_no_start(self) -> None:
        """Rule 13: left alone."""
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        with tempfile.TemporaryDirectory() as place:
            bench = Bench(Path(place))
            bench.stop()
            (bench.path / "results_2026-01-01_00-00-00.db").touch(mode=0o600)
            for path in (bench.path, bench.store.files[0].path):
                path.chmod(0o777)
            os.seteuid(65_534)
            try:
                found = take_stock(bench.directory).files
            finally:
                os.seteuid(0)
        self.assertEqual([info.path for info in found], [bench.store.files[0].path])

    def test_a_stop_leaves_no_wal(self) -> None:
        """Rule 23."""
        self.bench.keep(a_result())
        self.bench.stop()
        self.assertEqual([path.name for path in self.path.iterdir() if path.name.endswith(("-wal", "-shm"))], [])

    def test_a_stop_writes_what_waits(self) -> None:
        """Rule 23."""
        told = self.bench.record(a_result())
        stopped = started(self.bench.store.close())
        self.bench.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual((len(told), self.ids()), (1, [1]))

    def test_a_stop_while_another_process_reads_leaves_it_for_the_next_start(self) -> None:
        """Rule 23."""
        self.bench.keep(a_result())
        path = self.bench.store.current.info.path
        with reading(path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ping_results").fetchone()
            self.bench.stop()
        self.bench.start()
        self.bench.keep(a_result())
        self.bench.stop()
        self.assertFalse(wal_of(path).exists())
        self.assertEqual(self.ids(), [1, 2])


class Names(StoreTest):
    """Rules 11 and 13: ours is what has our name and our mark."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.post(a_result())
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.post(a_result())
        self.bench.stop()
        self.first, self.second = (info.path for info in self.bench.store.files)

    def again(self) -> list[str]:
        """What a start logs."""
        with said() as log:
            self.bench.start()
        return log

    def files(self) -> list[Path]:
        return [info.path for info in self.bench.store.files]

    def test_a_copy_in_the_directory_is_neither_read_nor_written_nor_deleted(self) -> None:
        """As `curl .../dump -o DB_DIR/backup.db` makes it, whatever its place among the names is."""
        for name in ("backup.db", "zz-backup.db"):
            shutil.copy(self.second, self.path / name)
        before = (self.path / "backup.db").read_bytes()
        log = self.again()
        self.assertEqual(sum("backup.db" in line and "left alone" in line for line in log), 2, log)
        self.assertEqual(self.files(), [self.first, self.second])
        self.bench.post(a_result())
        self.bench.store.limits = replace(self.bench.limits, keep_files=1)
        self.assertEqual(self.bench.outcome(self.bench.store.prune(_ALL)), [self.first.name])
        for name in ("backup.db", "zz-backup.db"):
            self.assertEqual((self.path / name).read_bytes(), before)

    def test_of_two_copies_of_a_file_the_one_that_has_most_goes_on(self) -> None:
        """Both are kept; as after a backup of the current file was put beside it under a name of ours."""
        backup = self.path / "results_2099-01-01_00-00-00.db"
        shutil.copy(self.second, backup)
        self.bench.start()
        self.bench.post(a_result())
        self.bench.stop()
        before = backup.read_bytes()
        log = self.again()
        self.assertEqual(self.files(), [self.first, self.second])
        told = [line for line in log if "left alone" in line]
        self.assertEqual(len(told), 1, log)
        self.assertIn(backup.name, told[0])
        self.assertIn(self.second.name, told[0])
        self.bench.post(a_result())
        self.assertEqual(backup.read_bytes(), before)

    def test_of_two_files_of_one_place_the_one_made_last_goes_on(self) -> None:
        """Rule 11: none has results of the other's ids."""
        made = resultfile.create(self.bench.directory, 2, Ids(50, 50, 50), "2099-01-01 00:00:00", EPOCH, "other")
        log = self.again()
        self.assertEqual(self.files(), [self.first, made])
        self.assertTrue(self.second.exists())
        self.assertEqual(sum("left alone" in line for line in log), 1, log)

    def test_files_of_two_instances_are_refused_with_both_names(self) -> None:
        """Rule 12: an id names one result."""
        for sequence in (2, 3):
            with self.subTest(sequence=sequence):
                other = Bench(Path(self.mktemp()))
                other.post(a_result())
                for _ in range(sequence - 1):
                    other.clock.advance(3600)
                    other.outcome(other.store.rotate())
                other.post(a_result())
                other.stop()
                added = Path(shutil.copy(other.store.current.info.path, self.path))
                error = self.assertRaises(Unusable, self.bench.start)
                self.assertIn(f"{self.second.name} and {added.name} are of two instances", str(error))
                added.unlink()
        self.bench.start()

    def test_a_damaged_file_that_was_repaired_has_its_place(self) -> None:
        """Rule 11: a new file is begun after it, so that it comes before that when it is put back."""
        self.second.rename(self.path / "whole")
        self.second.write_bytes((self.path / "whole").read_bytes()[:9000] + b"\xa5" * 100_000)
        self.bench.start()
        self.bench.post(a_result())
        self.bench.stop()
        self.assertEqual(len(self.files()), 2)
        (self.path / "whole").rename(self.second)
        self.bench.start()
        self.assertEqual([path == self.second for path in self.files()], [False, True, False])
        self.assertEqual(len(set(self.ids())), 3)


class Instance(StoreTest):
    """Rule 12: ids name results within one instance, so files say of which they are."""

    def named(self) -> list[str | None]:
        return [resultfile.describe(info.path).instance for info in self.bench.store.files]

    def rotated(self) -> None:
        self.bench.post(a_result())
        self.bench.outcome(self.bench.store.rotate())

    def test_its_random_name_is_the_same_in_all_its_files_over_restarts(self) -> None:
        self.rotated()
        self.bench.stop()
        self.bench.start()
        self.rotated()
        (name,) = set(self.named())
        self.assertEqual(3, len(self.bench.store.files))
        self.assertRegex(str(name), r"\A[0-9a-f]{32}\Z")

    def test_it_is_found_in_an_older_file_when_the_newest_is_damaged(self) -> None:
        self.rotated()
        first, newest = self.bench.store.files
        self.bench.stop()
        newest.path.write_bytes(bytes(100_000))
        self.bench.start()
        self.assertEqual([first.instance] * 2, self.named())

    def test_it_is_found_in_an_older_file_when_the_schema_of_the_newest_is_no_text(self) -> None:
        self.rotated()
        first, newest = self.bench.store.files
        self.bench.stop()
        newest.path.write_bytes(
            newest.path.read_bytes().replace(b"CREATE TABLE result_file", b"CREATE TABL\xff result_file")
        )
        self.bench.start()
        self.assertEqual([first.instance] * 2, self.named())
        self.assertEqual([f"{newest.path.name}.damaged"], list(self.bench.directory.damaged()))

    def test_without_any_file_it_is_another_instance(self) -> None:
        before = self.named()
        self.bench.stop()
        self.bench.store.files[0].path.unlink()
        self.bench.start()
        self.assertNotEqual(before, self.named())


class Missing(StoreTest):
    """Rules 11 and 12: the newest file is not there, or not to be read, at a start."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.post(a_result())
        self.rotate()
        self.bench.post(a_result())
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.stop()
        self.closed, self.newest = (info.path for info in self.bench.store.files)
        self.before = self.closed.read_bytes()

    def paths(self) -> list[Path]:
        return [info.path for info in self.bench.store.files]

    def go_on(self) -> None:
        """A start, with a POST, and its end: the closed file is as it was."""
        self.bench.start()
        self.bench.post(a_result())
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.stop()
        self.assertEqual(self.before, self.closed.read_bytes(), "a closed file was written again")

    def test_a_closed_file_stays_as_it_is_and_the_moved_one_comes_back_to_its_place(self) -> None:
        """Two are away: each has its place and its ids."""
        self.bench.start()
        self.rotate()
        self.bench.post(a_result())
        self.bench.stop()
        away = {path: path.rename(path.with_suffix(".away")) for path in self.paths()[1:]}
        self.assertEqual(2, len(away))
        self.bench.clock.advance(60)
        self.go_on()
        begun = self.paths()[-1]
        for path, kept in away.items():
            kept.rename(path)
        self.bench.start()
        self.assertEqual([self.closed, *away, begun], self.paths())
        self.assertEqual(4, len(set(self.ids())))

    def test_an_empty_one_too_of_which_nobody_has_heard(self) -> None:
        self.bench.start()
        self.rotate()
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.stop()
        self.closed, empty = self.paths()[1:]
        self.before = self.closed.read_bytes()
        empty.unlink()
        self.go_on()
        self.assertEqual([1, 2, 4], [info.sequence for info in self.bench.store.files])

    def test_a_closed_one_with_a_manifest_alone_is_known_for_closed(self) -> None:
        """One that was closed by a start which had to begin another is not analysed."""
        manifest.write(self.bench.directory, self.newest, manifest.make(self.newest, lambda: True))
        self.closed, self.before = self.newest, self.newest.read_bytes()
        self.go_on()
        self.assertEqual(3, len(self.paths()))

    def test_one_that_lost_its_beginning_is_damaged_and_named_and_a_copy_of_it_can_be_put_back(self) -> None:
        copy = Path(shutil.copy(self.newest, Path(self.mktemp())))
        whole = self.newest.read_bytes()
        for number, left in enumerate((b"", bytes(4096) + whole[4096:])):
            with self.subTest(left=len(left)):
                self.newest.write_bytes(left)
                with said() as log:
                    self.go_on()
                told = [line for line in log if f"{self.newest.name} is damaged and set aside" in line]
                self.assertEqual(1, len(told), log)
                self.assertEqual(1 + number, len(self.bench.directory.damaged()))
                named = copy.rename(copy.with_name(self.newest.name))
                self.assertEqual(self.newest, restore(self.bench.directory, named).path)
                copy = named
                self.bench.start()
                self.assertEqual([self.closed, self.newest], self.paths()[:2])
                self.assertEqual(len(self.ids()), len(set(self.ids())))
                self.bench.stop()


class Numbers(StoreTest):
    """Rule 12: an id names one result in all files of an instance."""

    def test_ids_go_on_over_rotation(self) -> None:
        """Rule 12."""
        for _ in range(3):
            self.bench.keep(a_trace(*many_hops(2)), a_result())
            self.rotate()
        self.bench.keep(a_result())
        self.assertEqual(sorted(self.ids()), [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual(sorted(self.ids("batches")), [1, 2, 3, 4])
        self.assertEqual(sorted(self.ids("traceroute_hops")), [1, 2, 3, 4, 5, 6])

    def test_ids_go_on_over_a_restart(self) -> None:
        """Rule 12."""
        self.bench.keep(a_trace(*many_hops(2)))
        self.rotate()
        self.restart()
        self.bench.keep(a_trace(*many_hops(2)))
        self.assertEqual((sorted(self.ids()), sorted(self.ids("traceroute_hops"))), ([1, 2], [1, 2, 3, 4]))

    def test_ids_go_on_with_one_file_kept_that_is_empty_at_the_restart(self) -> None:
        """Rule 12: nothing but the empty file remembers them."""
        self.restart(keep_files=1)
        self.bench.keep(a_trace(*many_hops(3)), a_result())
        for _ in range(3):
            self.rotate()
            self.bench.outcome(self.bench.store.prune(_ALL))
            self.restart(keep_files=1)
        self.assertEqual((len(self.names()), self.ids()), (1, []))
        self.bench.keep(a_trace(*many_hops(1)))
        self.assertEqual((self.ids(), self.ids("batches"), self.ids("traceroute_hops")), ([3], [2], [4]))

    def test_hop_ids_outlive_a_kill_between_the_making_of_a_file_and_its_use(self) -> None:
        """Rules 11 and 12: the old file went on meanwhile, so the new one knows only where it began."""
        self.bench.keep(a_trace({"ttl": 1, "ip": "10.0.0.1"}))
        names = self.names()

        async def killed_once_it_is_made(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            work(*args, **kwargs)
            await Deferred[None]()

        self.bench.store_thread = killed_once_it_is_made
        self.assertNoResult(started(self.bench.store.rotate()))
        (made,) = {*self.names()} - {*names}
        self.bench.keep(a_trace({"ttl": 1, "ip": "10.0.0.2"}, {"ttl": 1, "ip": "10.0.0.3"}))
        left = self.bench.crashed(Path(self.mktemp()))
        self.assertEqual(left.store.current.info.path.name, made)
        left.keep(a_trace({"ttl": 1, "ip": "10.0.0.4"}))
        self.assertEqual(sorted(rows_of(left.path, "SELECT id FROM traceroute_hops")), [(1,), (2,), (3,), (4,)])

    def test_an_id_outlives_the_kill_of_a_process_with_an_empty_file(self) -> None:
        """Rule 12."""
        self.restart(keep_files=1)
        self.bench.keep(a_result(), a_result())
        self.rotate()
        self.bench.outcome(self.bench.store.prune(_ALL))
        left = self.bench.crashed(Path(self.mktemp()))
        left.keep(a_result())
        self.assertEqual(rows_of(left.path, "SELECT id FROM ping_results"), [(3,)])

    def test_what_a_damaged_wal_lost_is_said_with_numbers_and_ids_go_on_above_it(self) -> None:
        """Rules 1 and 12: SQLite drops a WAL from its first bad frame on, and says nothing."""
        for number in range(6):
            self.bench.post(a_trace(*many_hops(3, 10 * number)), a_result())
        ids = {table: self.ids(table) for table in ("ping_results", "batches", "traceroute_hops")}
        wal = wal_of(self.bench.store.current.info.path)
        wal.write_bytes(flipped(wal.read_bytes(), wal.stat().st_size // 2))
        with said() as log:
            left = self.bench.crashed(Path(self.mktemp()))
        lost = [number for number in ids["batches"] if (number,) not in rows_of(left.path, "SELECT id FROM batches")]
        self.assertTrue(0 < len(lost) < 6, lost)
        told = [line for line in log if "were acknowledged" in line]
        self.assertEqual(len(told), 1, log)
        self.assertIn(f"{len(lost)} POSTs that were acknowledged, batches {lost[0]} to 6,", told[0])
        left.post(a_trace(*many_hops(2)), a_result())
        for table, before in ids.items():
            newest = max(rows_of(left.path, f"SELECT id FROM {table}"))[0]
            self.assertGreater(newest, max(before), table)
        with said() as log:
            left.stop()
            left.start()
        self.assertEqual([line for line in log if "acknowledged" in line], [], "it is said once")

    def test_ids_go_on_above_those_of_files_that_were_taken_away(self) -> None:
        """Rule 12: the hop ledger has heard of them."""
        self.bench.post(a_trace(*many_hops(3)), a_result())
        self.bench.stop()
        self.bench.store.current.info.path.unlink()
        self.bench.start()
        self.bench.post(a_trace(*many_hops(3)), a_result())
        self.assertGreater(min(self.ids()), 2)
        self.assertGreater(min(self.ids("batches")), 1)
        self.assertGreater(min(self.ids("traceroute_hops")), 3)
        self.assertLess(max(self.ids()), 2**53, "JSON's numbers")

    def test_posts_that_wait_during_a_rotation_go_into_the_new_file_with_ids_of_their_own(self) -> None:
        """Rules 11 and 12."""
        self.bench.keep(a_trace(*many_hops(2)))
        waiting = self.bench.record(a_trace(*many_hops(5)))
        self.rotate()
        self.bench.clock.advance(0)
        self.assertEqual(len(waiting), 1)
        self.bench.keep(a_trace(*many_hops(1)))
        self.rotate()
        self.bench.keep(a_trace(*many_hops(1)))
        self.assertEqual(sorted(self.ids()), [1, 2, 3, 4])
        hops = self.ids("traceroute_hops")
        self.assertEqual((len(hops), len(set(hops))), (9, 9), "hops of two files share an id")


class Rotating(StoreTest):
    def test_a_post_under_way_is_stored_in_the_old_file_and_later_ones_in_the_new(self) -> None:
        """Rule 11: nothing refused, nothing lost."""
        old = self.bench.store.current.info.path
        pool, gate = self.bench.pool(), Deferred[None]()

        async def run(work: Callable[..., Any], *args: Any) -> Any:
            await gate
            return await InlinePool.run(pool, work, *args)

        pool.run = run
        told = [self.bench.record(a_result())]
        self.bench.clock.advance(0)
        rotated = started(self.bench.store.rotate())
        self.assertNoResult(rotated)
        told.append(self.bench.record(a_result()))
        gate.callback(None)
        self.bench.clock.advance(0)
        new = self.successResultOf(rotated)
        self.assertEqual([[type(one) for one in each] for each in told], [[Written]] * 2)
        for path, number in ((old, 1), (new, 2)):
            with reading(path) as db:
                self.assertEqual(db.execute("SELECT id FROM ping_results").fetchall(), [(number,)])

    def test_the_new_file_is_ready_before_the_old_one_is_closed(self) -> None:
        """Rule 11."""
        pool, seen = self.bench.pool(), []

        async def close() -> None:
            seen.append(self.bench.store.current.info.path)
            await InlinePool.close(pool)

        pool.close = close
        new = self.rotate()
        self.assertEqual(seen, [new])

    def test_many_rotations_in_one_second_name_many_files(self) -> None:
        """Rule 11."""
        self.restart(keep_files=100)
        for _ in range(20):
            self.bench.keep(a_result())
            self.rotate()
        self.assertEqual(len(self.names()), 21)
        self.assertEqual(sorted(self.ids()), list(range(1, 21)))

    def test_two_at_once_come_one_after_the_other(self) -> None:
        """Rule 11."""
        both = [started(self.bench.store.rotate()) for _ in range(2)]
        paths = [self.successResultOf(one) for one in both]
        self.assertEqual(len({*paths}), 2)
        self.assertEqual(self.bench.store.current.info.path, paths[1])

    def test_without_a_new_file_the_old_one_goes_on(self) -> None:
        """Rules 9 and 11."""
        self.bench.keep(a_result())
        names = self.names()

        async def no_thread(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            raise OSError("no room for a new file")

        self.bench.store_thread = no_thread
        self.failureResultOf(started(self.bench.store.rotate()), OSError)
        self.bench.keep(a_result())
        self.assertEqual((self.names(), self.ids()), (names, [1, 2]))

    def test_a_new_file_that_cannot_be_written_is_taken_back(self) -> None:
        """Rule 11: whichever of its first writes fails, no file is left that a restart would go on with."""
        self.bench.stop()
        for failing in (1, 2):
            with self.subTest(failing=failing):
                pools = FailingOnRun()
                self.bench.pools = pools
                self.bench.start()
                self.bench.keep(a_result())
                current, names = self.bench.store.current.info.path, self.names()
                pools.fail_on = failing
                self.failureResultOf(started(self.bench.store.rotate()), sqlite3.OperationalError)
                pools.fail_on = 0
                self.assertEqual(self.bench.store.current.info.path, current)
                self.bench.keep(a_result())
                self.assertEqual(self.names(), names)
                self.assertEqual(self.rotate(), self.bench.store.current.info.path)
                self.bench.stop()

    def test_a_reader_that_holds_the_wal_makes_the_file_due(self) -> None:
        """Rule 11: no -wal grows far past the limit."""
        self.restart(max_size_bytes=2 << 20)
        path = self.bench.store.current.info.path
        self.bench.keep(*[a_result(error="x" * 200)] * 2000)
        with reading(path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ping_results").fetchone()
            for _ in range(30):
                if self.bench.store.why_due() is not None:
                    break
                self.bench.keep(*[a_result()] * 200)
            self.assertEqual(self.bench.store.why_due(), "WAL over half of the limit")
            self.assertLess(self.bench.store.wal_bytes, 2 << 20)

    def test_without_a_reader_the_wal_stays_below_half(self) -> None:
        """Rule 11."""
        self.restart(max_size_bytes=4 << 20)
        for _ in range(60):
            self.bench.keep(*[a_result()] * 100)
            self.assertNotEqual(self.bench.store.why_due(), "WAL over half of the limit")
        self.assertLessEqual(self.bench.store.wal_bytes, 2 << 20)

    def test_a_file_of_the_limit_s_size_is_due(self) -> None:
        """Rule 11."""
        self.restart(max_size_bytes=1 << 20)
        self.assertIsNone(self.bench.store.why_due())
        self.bench.keep(*[a_result(error="x" * 1000)] * 1100)
        self.assertEqual(self.bench.store.why_due(), "size")


class FailingOnRun(InlinePools):
    """The pool opened last fails at the nth run after `fail_on` was set to n, as a disk that fills up does."""

    fail_on = 0

    def __call__(self, path: Path, prepare: Callable[[sqlite3.Connection], object]) -> InlinePool:
        owner = self

        class Pool(InlinePool):
            runs = 0

            async def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
                self.runs += 1
                if self.runs == owner.fail_on and getattr(work, "__func__", None) is Current.begin:
                    raise sqlite3.OperationalError("database or disk is full")
                return await super().run(work, *args, **kwargs)

        return Pool(path, prepare, self)


class TakenAway(StoreTest):
    """Rule 1: what is deleted by someone else is missed before anything more is answered."""

    def assert_written_again(self) -> None:
        self.assertEqual(self.bench.store.why_due(), "deleted by someone else")
        self.assertRaises(StoreFailed, self.bench.keep, a_result())
        self.rotate()
        self.bench.keep(a_result())
        left = self.bench.crashed(Path(self.mktemp()))
        self.assertEqual(len(rows_of(left.path, "SELECT id FROM ping_results")), 2)
        self.assertEqual({0o640}, {stat.S_IMODE(file.stat().st_mode) for file in self.bench.path.glob("*.db*")})

    def test_the_file(self) -> None:
        """Rule 1."""
        self.bench.keep(a_result())
        self.bench.store.current.info.path.unlink()
        self.assert_written_again()

    def test_all_of_the_directory_within_the_second_in_which_a_file_was_made(self) -> None:
        """The names of those that are gone are not given to others: the current one is written again under its own."""
        self.bench.keep(a_result())
        self.rotate()
        self.bench.keep(a_result())
        name = self.bench.store.current.info.path.name
        shutil.rmtree(self.bench.path)
        self.rotate()
        self.assertEqual({}, self.bench.store.lost)
        self.bench.keep(a_result())
        self.assertIn(name, os.listdir(self.bench.path))
        left = self.bench.crashed(Path(self.mktemp()))
        self.assertEqual([(2,), (3,)], rows_of(left.path, "SELECT id FROM ping_results"))

    def test_the_file_within_a_second_before_a_stop(self) -> None:
        """Rule 1."""
        self.bench.keep(a_result())
        self.bench.store.current.info.path.unlink()
        self.bench.stop()
        self.assertEqual([(1,)], rows_of(self.bench.path, "SELECT id FROM ping_results"))
        self.bench.start()

    def test_its_wal_alone(self) -> None:
        """Rule 1: what only the WAL holds would be gone after a kill."""
        self.bench.keep(a_result())
        wal_of(self.bench.store.current.info.path).unlink()
        self.assert_written_again()


class Anywhere(SynchronousTestCase):
    def test_the_name_of_the_directory_may_be_any_bytes(self) -> None:
        """Files are made, read, written again, closed and told of there as elsewhere."""
        path = Path(os.fsdecode(os.fsencode(self.mktemp()) + b"-\xff\xc3%?#"))
        bench = Bench(path)
        bench.keep(a_result())
        first = bench.store.current.info.path
        first.unlink()
        bench.outcome(bench.store.rotate())
        bench.keep(a_result())
        bench.start()
        bench.outcome(bench.store.rotate())
        bench.outcome(bench.store.finish_closed())
        self.assertEqual([(1,), (2,)], rows_of(path, "SELECT id FROM ping_results"))
        with contextlib.closing(sqlite3.connect(path / first.name)) as db:
            db.execute(f"PRAGMA user_version={resultfile.SCHEMA.version + 1}")
        error = self.assertRaises(NewerFile, bench.start)
        self.assertIn(str(first), str(error))


class Replaced(StoreTest):
    """Rule 1: what an open connection holds is written to another name when another file is put in the place of its."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.keep(a_result())
        self.backup = Path(self.mktemp())
        with reading(self.bench.store.current.info.path) as db:
            db.execute("VACUUM INTO ?", (str(self.backup),))
        self.bench.keep(*[a_result()] * 10)
        self.path_of_it = self.bench.store.current.info.path
        self.foreign = self.backup.read_bytes()

    def replace(self) -> None:
        os.replace(self.backup, self.path_of_it)

    def test_what_was_answered_is_under_another_name_at_once(self) -> None:
        """The file that was put there is left as it is, and no WAL of ours beside it."""
        self.replace()
        self.assertEqual("replaced by someone else", self.bench.store.why_due())
        self.assertRaises(StoreFailed, self.bench.keep, a_result())
        self.assertFalse(wal_of(self.path_of_it).exists())
        with said() as texts:
            self.rotate()
        rescued, current = self.bench.store.files
        self.assertEqual({}, self.bench.store.lost)
        with reading(rescued.path) as db:
            self.assertEqual((11,), db.execute("SELECT count(*) FROM ping_results").fetchone())
        self.assertNotIn(self.path_of_it, [rescued.path, current.path])
        self.assertTrue([text for text in texts if self.path_of_it.name in text and rescued.path.name in text], texts)
        self.assertIn(rescued.path.name, self.bench.store.replaced[self.path_of_it.name].reason)
        self.bench.keep(a_result())
        self.assertEqual(self.foreign, self.path_of_it.read_bytes())
        self.assertFalse(wal_of(self.path_of_it).exists())

    def test_an_idle_service_too(self) -> None:
        self.replace()
        self.rotate()
        self.bench.outcome(self.bench.store.finish_closed())
        self.assertEqual(self.foreign, self.path_of_it.read_bytes())
        self.assertEqual([], [path.name for path in self.path.glob(f"{self.path_of_it.name}-*")])
        self.assertEqual(1, len(self.bench.store.closed))

    def test_the_next_start_goes_on_above_all_of_it(self) -> None:
        """Rule 12: the rescued file has the place of both, since it has more."""
        self.replace()
        self.rotate()
        rescued = self.bench.store.files[0].path
        self.bench.keep(a_result())
        self.restart()
        self.assertEqual([rescued, self.bench.store.current.info.path], [info.path for info in self.bench.store.files])
        self.bench.keep(a_result())
        ids = [id for info in self.bench.store.files for (id,) in self.ids_in(info.path)]
        self.assertEqual(([*range(1, 12)], 2), (ids[:11], len(set(ids[11:]))))

    def ids_in(self, path: Path) -> list[Any]:
        with reading(path) as db:
            return db.execute("SELECT id FROM ping_results").fetchall()

    def test_until_then_nobody_opens_the_other_file_beside_the_wal_of_ours(self) -> None:
        """SQLite would mix both, and cut off the -shm that is mapped, which ends the process."""
        shm = Path(f"{self.path_of_it}-shm")
        size = shm.stat().st_size
        self.replace()
        with self.assertRaises(sqlite3.OperationalError), reading(self.path_of_it) as db:
            db.execute("SELECT count(*) FROM ping_results").fetchone()
        self.assertEqual(size, shm.stat().st_size)

    def test_at_a_stop_within_the_second_too(self) -> None:
        """It goes on in the rescued file, which has more."""
        self.replace()
        self.bench.stop()
        self.assertEqual([], [path.name for path in self.path.glob("*-wal")])
        self.assertEqual(self.foreign, self.path_of_it.read_bytes())
        self.bench.start()
        with reading(self.bench.store.current.info.path) as db:
            self.assertEqual((11,), db.execute("SELECT count(*) FROM ping_results").fetchone())

    def test_a_wal_that_was_put_there_with_it_is_left(self) -> None:
        """It is that of the other file."""
        other = wal_of(self.backup)
        other.write_bytes(b"of the other file")
        os.replace(other, wal_of(self.path_of_it))
        self.replace()
        self.rotate()
        self.assertEqual(b"of the other file", wal_of(self.path_of_it).read_bytes())


class ClosedFiles(StoreTest):
    """Rule 11: a closed file becomes one self-contained file by a job that tries again until done."""

    def is_finished(self, path: Path) -> bool:
        return not wal_of(path).exists() and path.read_bytes()[18:20] == b"\1\1"

    def finish(self) -> None:
        self.bench.outcome(self.bench.store.finish_closed())

    def test_it_becomes_self_contained(self) -> None:
        """Rule 11."""
        old = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.rotate()
        self.finish()
        self.assertTrue(self.is_finished(old))
        with reading(old) as db:
            self.assertTrue(db.execute("SELECT count(*) FROM sqlite_stat1").fetchone()[0])

    def test_until_nothing_more_is_written_into_it_its_wal_stays(self) -> None:
        """Rule 11: a closed file never changes once it has no `-wal`, whoever looks at it between two steps."""
        old = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.rotate()
        self.assertTrue(wal_of(old).exists())
        self.finish()
        self.assertTrue(self.is_finished(old))

    def test_none_is_written_again_when_the_newest_is_damaged_at_a_start(self) -> None:
        """Rule 11: a new file follows instead."""
        closed = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.rotate()
        self.finish()
        newest = self.bench.store.current.info.path
        self.bench.stop()
        whole, text = closed.read_bytes(), bytearray(newest.read_bytes())
        text[100:4096] = b"\xff" * 3996
        newest.write_bytes(text)
        self.bench.start()
        self.assertNotEqual(closed, self.bench.store.current.info.path)
        self.bench.keep(a_result())
        self.assertEqual(whole, closed.read_bytes())

    def test_a_damaged_one_is_set_aside_and_does_not_keep_the_later_ones_from_it(self) -> None:
        """Rule 11."""
        first = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.rotate()
        second = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.rotate()
        with first.open("r+b") as file:
            file.write(b"\xa5" * 24)
        self.finish()
        self.assertTrue(self.is_finished(second))
        self.assertEqual(list(self.bench.directory.damaged()), [f"{first.name}.damaged"])
        self.assertNotIn(first, [info.path for info in self.bench.store.files])

    def test_it_is_tried_again_while_a_reader_holds_it(self) -> None:
        """Rule 11."""
        old = self.bench.store.current.info.path
        self.bench.keep(a_result())
        with reading(old) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ping_results").fetchone()
            self.rotate()
            self.finish()
            self.assertFalse(self.is_finished(old))
        self.finish()
        self.assertTrue(self.is_finished(old))

    def test_it_is_tried_again_at_the_next_start(self) -> None:
        """Rule 11."""
        old = self.bench.store.current.info.path
        self.bench.keep(a_result())
        self.rotate()
        self.restart()
        self.finish()
        self.assertTrue(self.is_finished(old))

    def test_after_a_kill_too(self) -> None:
        """Rule 11."""
        old = self.bench.store.current.info.path.name
        self.bench.keep(a_result())
        self.rotate()
        left = self.bench.crashed(Path(self.mktemp()))
        left.outcome(left.store.finish_closed())
        self.assertTrue(self.is_finished(left.path / old))

    def test_the_current_file_is_left_to_its_writer(self) -> None:
        """Rule 11."""
        self.bench.keep(a_result())
        self.finish()
        self.assertTrue(wal_of(self.bench.store.current.info.path).exists())
        self.bench.keep(a_result())

    def test_it_does_not_count_as_finished_while_its_writer_closes_it(self) -> None:
        """Rule 15: `/dump?file=` would send it without what its WAL holds, and its handle would drop SQLite's locks."""
        old, pool = self.bench.store.current.info.path, self.bench.pool()
        self.bench.keep(a_result())
        gate = slow_to_close(pool)
        rotated = started(self.bench.store.rotate())
        self.assertFalse(self.bench.outcome(self.bench.store.finish(old)))
        gate.callback(None)
        self.successResultOf(rotated)
        self.assertTrue(self.bench.outcome(self.bench.store.finish(old)))
        self.assertTrue(self.is_finished(old))

    def test_no_second_connection_writes_before_the_writer_s_is_closed(self) -> None:
        """Rule 11: SQLite before 3.51.3 can lose pages when two connections race at a checkpoint."""
        old, pool = self.bench.store.current.info.path, self.bench.pool()
        self.bench.keep(a_result())
        gate = slow_to_close(pool)
        rotated = started(self.bench.store.rotate())
        self.assertNoResult(rotated)
        self.finish()
        with reading(old) as db:
            touched = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchone()
        self.assertIsNone(touched, "the job has written into a file that its writer still has open")
        gate.callback(None)
        self.successResultOf(rotated)
        self.finish()
        self.assertTrue(self.is_finished(old))


class Retention(StoreTest):
    def setUp(self) -> None:
        super().setUp()
        self.restart(keep_files=3)

    def rotate_times(self, times: int) -> None:
        for _ in range(times):
            self.bench.keep(a_result())
            self.bench.clock.advance(1)
            self.rotate()

    def test_the_oldest_go_first_and_the_current_one_counts(self) -> None:
        """Rule 13."""
        self.rotate_times(4)
        names = self.names()
        self.assertEqual(self.bench.outcome(self.bench.store.prune(_ALL)), names[:2])
        self.assertEqual(self.names(), names[2:])
        self.assertEqual([info.path.name for info in self.bench.store.files], names[2:])

    def test_nothing_goes_while_there_are_no_more_than_told(self) -> None:
        """Rule 13."""
        self.rotate_times(2)
        self.assertEqual(self.bench.outcome(self.bench.store.prune(_ALL)), [])
        self.assertEqual(len(self.names()), 3)

    def test_files_without_our_mark_are_left_alone_and_not_counted(self) -> None:
        """Rule 13."""
        foreign = {
            "0.db": b"nothing", "results_2020-01-01_00-00-00.db": b"no database of ours", "notes.txt": b"mine",
            "results_2020-01-01_00-00-00.csv": b"a,b",
        }  # fmt: skip
        for name, data in foreign.items():
            (self.path / name).write_bytes(data)
        (self.path / "theirs.db").touch()
        with sqlite3.connect(self.path / "theirs.db") as db:
            db.execute("CREATE TABLE t (a)")
        db.close()
        self.restart(keep_files=3)
        self.rotate_times(5)
        self.bench.outcome(self.bench.store.prune(_ALL))
        self.assertEqual({name: (self.path / name).read_bytes() for name in foreign}, foreign)
        self.assertTrue((self.path / "theirs.db").exists())
        self.assertEqual(len(self.names()), 3 + 3)

    def test_a_file_stays_while_what_it_holds_is_kept_nowhere_else(self) -> None:
        """Rule 18: its batches are above what the hop ledger has on disk."""
        self.rotate_times(4)
        names = self.names()
        self.assertEqual(self.bench.outcome(self.bench.store.prune(0)), [])
        self.assertEqual(self.bench.outcome(self.bench.store.prune(1)), names[:1])
        self.assertEqual([info.path.name for info in self.bench.store.excess], names[1:2])

    def test_it_is_known_after_a_restart_too(self) -> None:
        """Rule 18."""
        self.rotate_times(4)
        names = self.names()
        self.restart(keep_files=3)
        self.assertEqual(self.bench.outcome(self.bench.store.prune(1)), names[:1])

    def test_the_oldest_is_known_by_the_order_kept_in_the_files(self) -> None:
        """Rules 11 and 13."""
        self.rotate_times(2)
        first = self.bench.store.files[0].path
        self.bench.stop()
        renamed = first.rename(self.path / "results_2099-01-01_00-00-00.db")
        self.bench.start()
        self.rotate_times(1)
        self.assertEqual(self.bench.outcome(self.bench.store.prune(_ALL)), [renamed.name])

    def test_a_smaller_number_holds_at_the_next_start(self) -> None:
        """Rule 13."""
        self.rotate_times(2)
        self.restart(keep_files=1)
        current = self.bench.store.current.info.path.name
        self.bench.outcome(self.bench.store.prune(_ALL))
        self.assertEqual(self.names(), [current])

    def test_one_that_is_set_aside_meanwhile_is_no_error(self) -> None:
        """Rule 11: a damaged file is met while the oldest is being deleted."""
        self.rotate_times(3)
        self.restart(keep_files=1)
        store, in_thread = self.bench.store, self.bench.store_thread
        damaged = store.files[0].path
        with damaged.open("r+b") as file:
            file.truncate(20_000)

        async def meeting_it(work: Any, *args: Any, **kwargs: Any) -> Any:
            self.bench.store_thread = in_thread
            await store.finish(damaged)
            return await in_thread(work, *args, **kwargs)

        self.bench.store_thread = meeting_it
        pruned = self.bench.outcome(store.prune(_ALL))
        self.assertEqual(len(pruned), 3)
        self.assertEqual([info.path for info in store.files], [store.current.info.path])
        self.assertEqual(len(list(self.path.glob("*.damaged"))), 1)

    def test_one_that_cannot_be_deleted_does_not_keep_the_others(self) -> None:
        """Rule 11: and is tried again."""
        self.rotate_times(3)
        names = self.names()
        self.restart(keep_files=2)
        remove = DataDir.remove

        def stubborn(directory: DataDir, path: Path) -> None:
            if path.name == names[0]:
                raise PermissionError("Operation not permitted")
            remove(directory, path)

        patch = self.patch(DataDir, "remove", stubborn)
        self.failureResultOf(started(self.bench.store.prune(_ALL)), PermissionError)
        self.assertEqual(self.names(), [names[0], *names[2:]])
        patch.restore()
        self.bench.outcome(self.bench.store.prune(_ALL))
        self.assertEqual(self.names(), names[2:])

    def test_two_at_once_delete_no_more_than_one_would_and_forget_no_file(self) -> None:
        """Rules 11 and 13: the second-hand and POSTs to /rotate prune at the same time."""
        self.rotate_times(3)
        names = self.names()
        gates: list[Deferred[None]] = []

        async def later(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            gates.append(Deferred())
            await gates[-1]
            return work(*args, **kwargs)

        self.bench.store_thread = later
        both = [started(self.bench.store.prune(_ALL)) for _ in range(2)]
        while gates:
            gates.pop(0).callback(None)
        for one in both:
            self.successResultOf(one)
        self.assertEqual(self.names(), names[1:])
        self.assertEqual([info.path.name for info in self.bench.store.files], names[1:])

    def test_what_an_operator_has_put_in_the_place_of_a_file_is_left_alone(self) -> None:
        """Rule 13: ours is what has both our name and our mark, at the time of its deletion, too."""
        self.rotate_times(6)
        self.bench.outcome(self.bench.store.finish_closed())
        notes, foreign, folder, pipe = [info.path for info in self.bench.store.files[:4]]
        for path in (notes, foreign, folder, pipe):
            path.unlink()
        notes.write_text("mine")
        manifest_of(notes).write_text("{}")
        folder.mkdir()
        os.mkfifo(pipe)
        with contextlib.closing(sqlite3.connect(foreign)) as db:
            db.execute("CREATE TABLE t (a)")
        with said() as lines:
            self.bench.outcome(self.bench.store.prune(_ALL))
        self.assertEqual(notes.read_text(), "mine")
        self.assertTrue(foreign.exists() and folder.is_dir() and pipe.is_fifo())
        self.assertEqual(len(self.bench.store.files), 3)
        self.assertEqual(sum("is no longer a result file of ours" in line for line in lines), 4)
        self.restart()
        self.assertEqual(notes.read_text(), "mine")

    def test_a_name_is_not_given_again_after_a_start(self) -> None:
        """Issue 15: after many rotations a second, or with a clock that was set back, pruned files had later names."""
        self.restart(keep_files=1)
        given = []
        for _ in range(3):
            given.append(self.bench.store.current.info.path.name)
            self.rotate_times(4)
            self.bench.outcome(self.bench.store.prune(_ALL))
            self.restart(keep_files=1)
        self.assertEqual(given, [f"results_2026-01-07_22-30-{n}.db" for n in (45, 49, 53)])

    def test_a_file_that_an_operator_deleted_is_no_error(self) -> None:
        """Rule 13."""
        self.rotate_times(3)
        self.bench.store.files[0].path.unlink()
        self.bench.outcome(self.bench.store.prune(_ALL))
        self.assertEqual(len(self.names()), 3)
