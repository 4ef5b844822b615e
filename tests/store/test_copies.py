"""What `outputd.store.copies` and `GET /dump` promise; a number is that of a rule of the contract."""

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

from outputd.process.threads import InThread
from outputd.sqlite.connections import reading
from outputd.store import manifest
from outputd.store.copies import MOST_COPIES, Copies, Copy, Reader
from outputd.store.copying import NoRoom, copy_live
from outputd.store.directory import DataDir
from outputd.store.manifests import Manifests
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import inline, outcome


def contents(copy: Copy) -> bytes:
    return os.pread(copy.handle, copy.size_bytes + 1, 0)


class Disk(DataDir):
    """A directory on a disk with as much room as it is told."""

    free = 1 << 40

    def free_bytes(self) -> int:
        return self.free


class CopiesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)
        self.gates: list[Deferred[None]] = []
        self.disk = Disk(self.path)
        self.copies = self.made_by(inline)
        self.slow = self.made_by(self.later)
        self.addCleanup(self.copies.stop)
        self.addCleanup(self.slow.stop)

    def made_by(self, in_thread: InThread) -> Copies:
        """Copies that this makes; they spare a MiB of the disk."""
        manifests = Manifests(self.disk, lambda: self.bench.store.closed, in_thread, self.bench.clock)
        return Copies(
            self.disk, in_thread, self.bench.clock, lambda: self.bench.store.stored_batches, 1 << 20, manifests
        )

    async def later(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """In a thread that waits for its gate before it copies."""
        if work is copy_live:
            self.gates.append(Deferred())
            await self.gates[-1]
        return work(*args, **kwargs)

    @property
    def current(self) -> Path:
        return self.bench.store.current.info.path

    def copy(self) -> Copy:
        reader = outcome(self.copies.current(self.current))
        self.addCleanup(reader.end)
        return reader.copy

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

    def test_its_pages_are_those_of_its_source(self) -> None:
        """Rule 15: whatever their size, and whatever part of it is in the WAL; only counters of changes differ."""
        for page_bytes in (512, 4096, 8192, 65536):
            path = self.path / f"{page_bytes}.sqlite3"
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute(f"PRAGMA page_size={page_bytes}")
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("CREATE TABLE t (a)")
                for _ in range(7):
                    db.execute("INSERT INTO t VALUES (randomblob(99999))")
                    db.execute("PRAGMA wal_checkpoint")
                db.execute("UPDATE t SET a = randomblob(77777) WHERE rowid = 3")
                file = copy_live(self.disk, path)
                self.addCleanup(os.close, file.handle)
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                source = path.read_bytes()
            copied = os.pread(file.handle, file.size_bytes + 1, 0)
            self.assertEqual((len(source), b"\1\1"), (len(copied), copied[18:20]), page_bytes)
            self.assertEqual((source[:18], source[100:]), (copied[:18], copied[100:]), page_bytes)

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
        self.disk.free = (1 << 20) + self.current.stat().st_size - 1
        self.assertRaises(NoRoom, outcome, self.copies.current(self.current))
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
    """Rule 15: a copy holds all that was answered before the request."""

    def ask(self) -> Deferred[Reader]:
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
        self.assertEqual({id(reader.copy) for reader in shared}, {id(shared[0].copy)})
        self.assertIsNot(old.copy, shared[0].copy)
        self.assertEqual(self.rows(shared[0].copy, "SELECT count(*) FROM ping_results"), [(1,)])
        for reader in (old, *shared):
            reader.end()

    def test_it_is_shared_as_long_as_nothing_more_is_stored(self) -> None:
        """Thirty readers of a quiet service have one copy, and take its room once."""
        self.bench.keep(a_result())
        shared = {id(self.copy()) for _ in range(30)}
        self.assertEqual(1, len(shared))
        self.bench.keep(a_result())
        newer = self.copy()
        self.assertNotIn(id(newer), shared)
        self.assertEqual(self.rows(newer, "SELECT count(*) FROM ping_results"), [(2,)])

    def test_it_is_closed_soon_after_its_last_reader(self) -> None:
        """Rule 15: no copy is left behind; one who comes soon still shares it."""
        first, second = [outcome(self.copies.current(self.current)) for _ in range(2)]
        first.end()
        self.bench.clock.pump([1.0] * 10)
        self.assertTrue(contents(second.copy))
        second.end()
        self.bench.clock.advance(1)
        third = outcome(self.copies.current(self.current))
        self.assertIs(third.copy, second.copy)
        third.end()
        self.bench.clock.pump([1.0] * 3)
        self.assertFalse(second.copy.is_open)
        self.assertEqual([], self.bench.clock.getDelayedCalls())

    def test_one_that_is_made_while_all_stops_is_closed_with_its_reader(self) -> None:
        """Rule 23: and nothing looks after it for ever."""
        asked = self.ask()
        self.slow.stop()
        self.gates.pop().callback(None)
        reader = self.successResultOf(asked)
        self.assertEqual([], self.bench.clock.getDelayedCalls())
        reader.end()
        self.assertFalse(reader.copy.is_open)

    def test_all_who_share_it_are_told_of_its_failure(self) -> None:
        """Rule 15."""
        self.patch(self.disk, "temporary", lambda kind: self.path / "no" / kind)
        asks = [self.ask() for _ in range(2)]
        for _ in range(2):
            self.gates.pop(0).callback(None)
        for one in asks:
            self.failureResultOf(one, OSError)


class Closing(CopiesTest):
    """To close a copy is to delete a large file, for which the reactor does not wait."""

    def setUp(self) -> None:
        super().setUp()
        self.closings: list[Deferred[None]] = []
        self.copies = self.made_by(self.closed_later)

    async def closed_later(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if work is os.close:
            self.closings.append(Deferred())
            await self.closings[-1]
        return work(*args, **kwargs)

    def test_its_room_counts_until_it_is_free(self) -> None:
        """One who needs the room waits, and nobody is given a copy that is being closed."""
        self.disk.free = (1 << 20) + 2 * self.current.stat().st_size
        reader = outcome(self.copies.current(self.current))
        self.disk.free = 0
        reader.end()
        self.bench.clock.pump([1.0] * 4)
        self.assertEqual((True, 1), (reader.copy.is_open, len(self.closings)))
        asked = Deferred.fromCoroutine(self.copies.current(self.current))
        self.assertNoResult(asked)
        self.disk.free = 1 << 30
        self.closings[0].callback(None)
        self.assertFalse(reader.copy.is_open)
        newer = self.successResultOf(asked)
        self.assertIsNot(reader.copy, newer.copy)
        newer.end()
        self.bench.clock.pump([1.0] * 4)
        self.closings[1].callback(None)
        self.bench.clock.pump([1.0] * 2)
        self.assertEqual([], self.bench.clock.getDelayedCalls())

    def test_a_closed_file_is_closed_at_once(self) -> None:
        old = self.current
        self.bench.keep(a_result())
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        reader = outcome(self.copies.closed(old))
        reader.end()
        self.assertEqual((False, []), (reader.copy.is_open, self.closings))


class GivingWay(CopiesTest):
    """Copies are few, and results need the disk more than they do."""

    def setUp(self) -> None:
        super().setUp()
        self.cut: list[Reader] = []

    def read(self) -> Reader:
        """One who reads a copy of its own, as another has stored something before."""
        self.bench.keep(a_result())
        asked = Deferred.fromCoroutine(self.copies.current(self.current))
        if not asked.called:
            self.bench.clock.advance(1)  # the last place is not taken at once

        async def given() -> Reader:
            return await asked

        reader = outcome(given())

        def cut_off() -> None:
            self.cut.append(reader)
            reader.end()

        reader.cut_off = cut_off
        self.addCleanup(reader.end)
        return reader

    def test_whoever_comes_in_the_second_before_the_last_place_is_taken_shares_it(self) -> None:
        """However quickly a copy is made: a burst would have three in no time, and the rest of it none."""
        readers = [self.read() for _ in range(MOST_COPIES - 1)]
        burst = []
        for _ in range(5):
            self.bench.keep(a_result())
            burst.append(Deferred.fromCoroutine(self.copies.current(self.current)))
            self.bench.clock.advance(0.19)
        for asked in burst:
            self.assertNoResult(asked)
        self.bench.clock.advance(0.05)
        shared = [self.successResultOf(asked) for asked in burst]
        self.assertEqual(1, len({id(reader.copy) for reader in shared}))
        self.assertNotIn(shared[0].copy, [reader.copy for reader in readers])
        for reader in shared:
            reader.end()

    def test_beyond_the_most_who_reads_slowest_gives_way(self) -> None:
        """So that readers who take their time keep no dump from others."""
        readers = [self.read() for _ in range(MOST_COPIES)]
        for _ in range(10):
            self.bench.clock.advance(1)
            for reader, bytes_a_second in zip(readers, (300_000, 100, 200), strict=True):
                reader.read_bytes += bytes_a_second
        self.read()
        self.assertEqual([readers[1]], self.cut)
        self.assertFalse(readers[1].copy.is_open)
        self.assertTrue(contents(readers[0].copy) and contents(readers[2].copy))

    def test_nobody_who_reads_on_gives_way_to_a_newcomer(self) -> None:
        """Nor who has only begun."""
        readers = [self.read() for _ in range(MOST_COPIES)]
        self.assertRaises(NoRoom, self.read)
        for _ in range(100):
            self.bench.clock.advance(1)
            for reader in readers:
                reader.read_bytes += 300_000
        self.assertRaises(NoRoom, self.read)
        self.assertEqual([], self.cut)

    def test_when_the_disk_runs_low_they_give_way_to_results(self) -> None:
        """The slowest first, and however quickly they are read, until there is room again."""
        readers = [self.read() for _ in range(2)]
        self.disk.free = (1 << 20) - 1
        self.bench.clock.advance(1)
        self.assertEqual(readers, self.cut)
        self.disk.free = 1 << 30
        self.read()
        self.bench.clock.advance(1)
        self.assertEqual(readers, self.cut)

    def test_for_a_newcomer_on_a_full_disk_only_who_is_slow_gives_way(self) -> None:
        """Rule 15: no room for it is 503."""
        reader = self.read()
        self.disk.free = 1 << 20
        self.assertRaises(NoRoom, self.read)
        self.assertEqual([], self.cut)
        reader.end()
        self.assertRaises(NoRoom, self.read)
        self.assertFalse(reader.copy.is_open)


class ClosedFile(CopiesTest):
    def closed(self, path: Path) -> Copy:
        """As `/dump?file=` has it."""
        done = self.bench.outcome(self.bench.store.finish(path))
        reader = outcome(self.copies.closed(path) if done else self.copies.current(path))
        self.addCleanup(reader.end)
        return reader.copy

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

    def test_many_who_ask_at_once_have_it_digested_once_and_opened_once(self) -> None:
        """Nor is another file's digest forgotten for it."""
        files = [self.rotated() for _ in range(3)]
        self.bench.outcome(self.bench.store.finish_closed())
        digested: list[int] = []
        digest = manifest.digest_of

        def counted(handle: int, goes_on: Callable[[], bool]) -> bytes:
            digested.append(handle)
            return digest(handle, goes_on)

        self.patch(manifest, "digest_of", counted)
        readers = [outcome(self.copies.closed(path)) for _ in range(30) for path in files]
        self.assertEqual((3, 3), (len(digested), len({reader.copy.handle for reader in readers})))
        for reader in readers:
            reader.end()
        for path in files:
            outcome(self.copies.closed(path)).end()
        self.assertEqual(3, len(digested))
        for reader in readers:
            self.assertFalse(reader.copy.is_open)

    def test_one_whose_last_reader_ends_while_another_comes_is_opened_anew(self) -> None:
        """Else the other would read from a number that the next file of the process has."""
        old = self.rotated()
        self.bench.outcome(self.bench.store.finish_closed())
        gate: Deferred[None] = Deferred()
        looks: list[Path] = []

        async def slow_to_look(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if work is os.stat:
                looks.append(args[0])
                if len(looks) == 4:  # twice for each: by the manifests, and by the copies
                    await gate
            return work(*args, **kwargs)

        copies = self.made_by(slow_to_look)
        first = outcome(copies.closed(old))
        asked = Deferred.fromCoroutine(copies.closed(old))
        first.end()
        gate.callback(None)
        second = self.successResultOf(asked)
        self.addCleanup(second.end)
        self.assertEqual((second.copy.is_open, contents(second.copy)), (True, old.read_bytes()))

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
