"""What `outputd.dump` and `GET /dump` promise; a number is that of a rule of the contract."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.sqlite.connections import reading
from outputd.store.copies import Copies, Copy, NoRoom
from outputd.store.directory import DataDir
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import inline, outcome


def contents(copy: Copy) -> bytes:
    return os.pread(copy.handle, copy.size_bytes + 1, 0)


class FullDisk(DataDir):
    """A directory on a disk without room."""

    def free_bytes(self) -> int:
        return 0


class CopiesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)
        self.gates: list[Deferred[None]] = []
        self.copies = Copies(self.bench.directory, inline)
        self.slow = Copies(self.bench.directory, self.later)

    async def later(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.gates.append(Deferred())
        await self.gates[-1]
        return work(*args, **kwargs)

    @property
    def current(self) -> Path:
        return self.bench.store.current.info.path

    def copy(self) -> Copy:
        copy = outcome(self.copies.current(self.current))
        self.addCleanup(copy.release)
        return copy

    def rows(self, copy: Copy, query: str) -> list[Any]:
        path = Path(self.mktemp())
        path.write_bytes(contents(copy))
        with contextlib.closing(sqlite3.connect(f"file:{path.absolute()}?immutable=1", uri=True)) as db:
            return db.execute(query).fetchall()

    def left_behind(self) -> list[str]:
        return [name for name in os.listdir(self.path) if name.startswith(".")]


class CopyOfTheCurrentFile(CopiesTest):
    def test_it_holds_what_was_committed_before_it_was_asked_for(self) -> None:
        """Rule 15: what is still in the WAL included."""
        self.bench.keep(a_trace(*many_hops(3)), a_result())
        copy = self.copy()
        self.assertEqual(self.rows(copy, "SELECT id FROM ping_results"), [(1,), (2,)])
        self.assertEqual(self.rows(copy, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows(copy, "PRAGMA foreign_key_check"), [])

    def test_it_bears_no_mark_of_a_wal(self) -> None:
        """Rule 15."""
        self.bench.keep(a_result())
        self.assertEqual(contents(self.copy())[18:20], b"\1\1")

    def test_it_bears_our_mark_and_version(self) -> None:
        """Rule 13: a dump is merged and looked at offline."""
        self.bench.keep(a_result())
        with reading(self.current) as db:
            wanted = [db.execute(f"PRAGMA {name}").fetchall() for name in ("application_id", "user_version")]
        copy = self.copy()
        self.assertEqual([self.rows(copy, f"PRAGMA {name}") for name in ("application_id", "user_version")], wanted)

    def test_size_and_digest_are_its_own(self) -> None:
        """Rule 15: RFC 9530."""
        self.bench.keep(a_result())
        copy = self.copy()
        data = contents(copy)
        self.assertEqual(len(data), copy.size_bytes)
        digest = base64.b64encode(hashlib.sha256(data).digest())
        self.assertEqual(copy.repr_digest, b"sha-256=:" + digest + b":")

    def test_no_file_is_left_behind_even_while_it_is_read(self) -> None:
        """Rule 15."""
        self.bench.keep(a_result())
        self.copy()
        self.assertEqual(self.left_behind(), [])

    def test_it_does_not_change_while_results_keep_arriving(self) -> None:
        """Rule 15: consistent."""
        self.bench.keep(a_result())
        copy = self.copy()
        before = contents(copy)
        self.bench.keep(*[a_result()] * 1000)
        self.assertEqual(contents(copy), before)

    def test_without_room_nothing_is_begun(self) -> None:
        """Rule 15: 503."""
        self.bench.keep(a_result())
        copies = Copies(FullDisk(self.path), inline)
        self.assertRaises(NoRoom, outcome, copies.current(self.current))
        self.assertEqual(self.left_behind(), [])

    def test_a_failed_copy_does_not_stop_the_next_one(self) -> None:
        """Rule 15."""
        self.assertRaises(sqlite3.OperationalError, outcome, self.copies.current(self.path / "gone.db"))
        self.copy()

    def test_the_file_may_be_pruned_once_it_is_copied(self) -> None:
        """Rules 13 and 15."""
        self.bench.keep(a_result())
        copy = self.copy()
        self.bench.directory.remove(self.current)
        self.assertEqual(self.rows(copy, "SELECT count(*) FROM ping_results"), [(1,)])


class Sharing(CopiesTest):
    """Rule 15: a copy is shared only by those who asked before it began."""

    def ask(self) -> Deferred[Copy]:
        return Deferred.fromCoroutine(self.slow.current(self.current))

    def test_who_asks_while_one_is_made_waits_for_the_next_which_is_one(self) -> None:
        """Rule 15: it must hold what was answered before the request."""
        first = self.ask()
        self.bench.keep(a_result())
        later = [self.ask() for _ in range(3)]
        self.assertEqual(len(self.gates), 1, "one at a time")
        self.gates[0].callback(None)
        old = self.successResultOf(first)
        self.gates[1].callback(None)
        shared = [self.successResultOf(one) for one in later]
        self.assertEqual(len(self.gates), 2)
        self.assertEqual({id(copy) for copy in shared}, {id(shared[0])})
        self.assertIsNot(old, shared[0])
        self.assertEqual(self.rows(shared[0], "SELECT count(*) FROM ping_results"), [(1,)])
        for copy in (old, *shared):
            copy.release()

    def test_it_is_closed_with_its_last_reader(self) -> None:
        """Rule 15: no copy is left behind."""
        blocker, asks = self.ask(), [self.ask() for _ in range(2)]
        self.gates[0].callback(None)
        self.successResultOf(blocker).release()
        self.gates[1].callback(None)
        first, second = [self.successResultOf(one) for one in asks]
        first.release()
        self.assertTrue(contents(second))
        second.release()
        self.assertRaises(OSError, os.fstat, second.handle)

    def test_all_who_share_it_are_told_of_its_failure(self) -> None:
        """Rule 15."""
        gone = self.path / "gone.db"
        asks = [Deferred.fromCoroutine(self.slow.current(gone)) for _ in range(2)]
        for _ in range(2):
            self.gates.pop(0).callback(None)
        for one in asks:
            self.failureResultOf(one, sqlite3.OperationalError)


class ClosedFile(CopiesTest):
    def closed(self, path: Path) -> Copy:
        """As `/dump?file=` has it."""
        done = self.bench.outcome(self.bench.store.finish(path))
        copy = outcome(self.copies.closed(path) if done else self.copies.current(path))
        self.addCleanup(copy.release)
        return copy

    def rotated(self) -> Path:
        old = self.current
        self.bench.keep(*[a_trace(*many_hops(3))] * 100)
        self.bench.outcome(self.bench.store.rotate())
        return old

    def test_it_is_sent_as_it_is(self) -> None:
        """Rule 15."""
        old = self.rotated()
        self.bench.outcome(self.bench.store.finish_closed())
        copy = self.closed(old)
        self.assertEqual((copy.name, contents(copy)), (old.name, old.read_bytes()))
        self.assertEqual(copy.digest, hashlib.sha256(old.read_bytes()).digest())

    def test_the_digest_is_kept_until_the_file_changes(self) -> None:
        """Rule 15: a Range a piece must not read all of it each time."""
        old = self.rotated()
        self.bench.outcome(self.bench.store.finish_closed())
        first, second = self.closed(old), self.closed(old)
        self.assertIs(first.digest, second.digest)

    def test_before_it_is_finished_it_is_finished_or_copied(self) -> None:
        """Rule 15: no WAL mark, and nothing that a job still changes under its reader."""
        old = self.rotated()
        copy = self.closed(old)
        self.assertEqual(contents(copy)[18:20], b"\1\1")
        before = contents(copy)
        self.bench.outcome(self.bench.store.finish_closed())
        self.assertEqual(hashlib.sha256(contents(copy)).digest(), hashlib.sha256(before).digest())
        self.assertEqual(copy.digest, hashlib.sha256(contents(copy)).digest())

    def test_while_another_process_reads_it_it_is_copied_with_what_the_wal_holds(self) -> None:
        """Rule 15."""
        old = self.current
        self.bench.keep(a_result())
        with reading(old) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT 1 FROM ping_results").fetchone()
            self.rotated()
            self.bench.outcome(self.bench.store.finish_closed())
            copy = self.closed(old)
        self.assertEqual(self.rows(copy, "SELECT count(*) FROM ping_results"), [(101,)])

    def test_one_that_was_pruned_is_not_found(self) -> None:
        """Rule 15."""
        self.assertRaises(
            (FileNotFoundError, sqlite3.OperationalError), outcome, self.copies.closed(self.path / "a.db")
        )
