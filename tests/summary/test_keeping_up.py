from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from outputd.summary.keeping_up import KeepingUp
from outputd.summary.summary import Summary
from tests.kit.bench import Bench
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, body_of, many_hops
from tests.kit.running import REACTOR, Running, eventually


class KeepingUpTests(TestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.stored = 0
        self.summary = Summary(self.bench.directory.summary, lambda: self.bench.store.files)
        self.busy = False
        self.free_bytes = 1000
        self.keeping_up = KeepingUp(
            self.summary, REACTOR, lambda: self.stored, lambda: self.stored, lambda: self.busy, self.bench.now,
            lambda: self.free_bytes, 1000, rest_s=1.0,
        )  # fmt: skip

    def post(self, *hops: Any) -> None:
        self.bench.post(a_trace(*hops))
        self.stored += 1

    async def fails(self) -> str:
        """Why it fails, once somebody who waits has had it try and it does."""
        asked = Deferred.fromCoroutine(self.keeping_up.up_to_date(30.0))
        await eventually(lambda: self.keeping_up.failure)
        asked.addErrback(lambda failure: failure.trap(CancelledError))
        asked.cancel()
        return str(self.keeping_up.failure)

    def count(self) -> int:
        with contextlib.closing(sqlite3.connect(self.bench.directory.summary)) as db:
            return int(db.execute("SELECT sum(results) FROM node").fetchone()[0])

    async def test_who_waits_finds_what_was_stored_before(self) -> None:
        self.keeping_up.start()
        for number in range(1, 20):
            self.post()
            await self.keeping_up.up_to_date(30.0)
            self.assertEqual(self.count(), number)
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_it_works_beside_waiting_posts_only_when_somebody_asks(self) -> None:
        """The ingest comes first."""
        self.busy = True
        self.post()
        self.keeping_up.start()
        await deferLater(REACTOR, 0.3)
        self.assertFalse(self.summary.path.exists())
        await self.keeping_up.up_to_date(30.0)
        self.assertEqual(self.count(), 1)
        self.post()
        await deferLater(REACTOR, 1.5)
        self.assertEqual(self.count(), 1)
        self.busy = False
        await eventually(lambda: self.count() == 2)
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_one_answer_waits_for_a_summary_that_is_far_behind_and_all_press_it_on(self) -> None:
        """POSTs wait all the time, so that it would not begin by itself."""
        self.busy = True
        self.post()
        self.stored += 5000
        await self.keeping_up.for_an_answer(0.01)  # the first one waits, and it has not begun
        await self.keeping_up.for_an_answer(30.0)
        self.keeping_up.start()
        await eventually(lambda: self.summary.counted_share == 1)
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_nobody_waits_longer_than_he_would(self) -> None:
        self.post()
        await self.keeping_up.up_to_date(0.01)  # it has not begun

    async def test_who_does_not_want_to_wait_any_more_is_let_go(self) -> None:
        self.post()
        asked = Deferred.fromCoroutine(self.keeping_up.up_to_date(30.0))
        asked.cancel()
        with self.assertRaises(CancelledError):
            await asked

    async def test_over_a_minute_behind_is_told_with_the_reason_until_it_has_caught_up(self) -> None:
        """Rule 20."""
        clock = Clock()
        clock.callFromThread = REACTOR.callFromThread  # type: ignore[attr-defined]  # a Clock has none
        keeping_up = KeepingUp(
            self.summary, clock, lambda: self.stored, lambda: self.stored, lambda: self.busy, self.bench.now,
            lambda: 1000, 1000,
        )  # fmt: skip
        self.post()
        clock.advance(60)
        self.assertIsNone(keeping_up.failure)
        clock.advance(15)
        told = keeping_up.failure
        assert told is not None
        self.assertEqual((told.reason[:24], told.since_s), ("counting is 75 s behind,", self.bench.now() - 75))
        self.busy = True
        self.assertIn("POSTs wait", str(keeping_up.failure))
        self.busy = False
        keeping_up.start()
        await eventually(lambda: keeping_up.failure is None)
        self.assertEqual(self.count(), 1)
        await keeping_up.stop(self.bench.in_thread)

    async def test_how_far_it_has_come_is_told_while_it_is_made(self) -> None:
        """In the log every ten seconds, and to /health; afterwards no more."""
        for _ in range(4):
            self.post()
            self.bench.outcome(self.bench.store.rotate())
        clock, shares = Clock(), []
        keeping_up = KeepingUp(
            self.summary, clock, lambda: self.stored, lambda: self.stored, lambda: self.busy, self.bench.now,
            lambda: 1000, 1000,
        )  # fmt: skip
        clock.callFromThread = REACTOR.callFromThread  # type: ignore[attr-defined]  # a Clock has none
        step = self.summary.step

        def long_step() -> bool:
            more = step()
            shares.append(keeping_up.counted_share)
            clock.advance(6)
            return more

        self.summary.step = long_step  # type: ignore[method-assign]  # from outside
        with said() as log:
            keeping_up.start()
            await eventually(lambda: len(shares) > 4 and keeping_up.counted_share is None)
            await keeping_up.stop(self.bench.in_thread)
        self.assertEqual(shares[:3], [0.25, 0.5, 0.75])
        self.assertEqual(
            [line for line in log if "count" in line],
            [
                "counting the results for the summary: 50% so far",
                "counting the results for the summary: 99% so far",
                "all results are counted, after 30 s",
            ],
        )

    async def test_it_rests_while_little_room_is_left(self) -> None:
        """The results come first."""
        self.post()
        self.free_bytes = 999
        self.keeping_up.start()
        self.assertIn("are free", await self.fails())
        self.assertFalse(self.summary.path.exists())
        self.free_bytes = 1000
        await self.keeping_up.up_to_date(30.0)
        self.assertEqual((self.count(), self.keeping_up.failure), (1, None))
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_a_full_disk_gets_its_room_back(self) -> None:
        """And is made anew when there is enough for all of it."""
        self.post()
        self.keeping_up.start()
        await self.keeping_up.up_to_date(30.0)
        self.assertTrue(self.summary.path.exists())
        step = self.summary.step

        def step_on_a_full_disk() -> bool:
            db = self.summary.opened()
            db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}").fetchone()
            return step()

        self.summary.step = step_on_a_full_disk  # type: ignore[method-assign]  # from outside
        self.post(*many_hops(1000))
        size = self.summary.size_bytes
        self.assertIn("full", await self.fails())
        self.assertFalse(self.summary.path.exists())
        self.summary.step = step  # type: ignore[method-assign]  # as it was
        self.free_bytes = 1000 + size
        await self.keeping_up.up_to_date(1.3)
        self.assertFalse(self.summary.path.exists())
        self.free_bytes = 1000 + 4 * size
        await self.keeping_up.up_to_date(30.0)
        self.assertEqual((self.count(), self.keeping_up.failure), (2, None))
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_a_path_that_speaks_of_a_full_disk_costs_a_healthy_summary_nothing(self) -> None:
        """`--db-dir` may lie below a directory named `quota`: what it was that failed is told by its number."""
        self.post()
        self.keeping_up.start()
        await self.keeping_up.up_to_date(30.0)
        before = self.summary.path.stat().st_ino
        step = self.summary.step

        def failing_step() -> bool:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "/mnt/quota/full-backup/results_2026-01-07_22-30-45.db")

        self.summary.step = failing_step  # type: ignore[method-assign]  # from outside
        self.post()
        self.assertIn("quota", await self.fails())
        self.summary.step = step  # type: ignore[method-assign]  # as it was
        await self.keeping_up.up_to_date(30.0)
        self.assertEqual((self.count(), self.keeping_up.failure), (2, None))
        self.assertEqual(before, self.summary.path.stat().st_ino)
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_a_disk_that_fails_is_told_and_survived(self) -> None:
        self.post()
        self.summary.path.mkdir()  # nothing can be made there
        self.keeping_up.start()
        await self.fails()
        shutil.rmtree(self.summary.path)
        await self.keeping_up.up_to_date(30.0)
        self.assertEqual((self.count(), self.keeping_up.failure), (1, None))
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_whatever_goes_wrong_it_goes_on(self) -> None:
        self.post()
        step = self.summary.step

        def without_memory() -> bool:
            raise MemoryError

        self.summary.step = without_memory  # type: ignore[method-assign]  # from outside
        self.keeping_up.start()
        self.assertIn("MemoryError", await self.fails())
        self.summary.step = step  # type: ignore[method-assign]  # as it was
        await self.keeping_up.up_to_date(30.0)
        self.assertEqual((self.count(), self.keeping_up.failure), (1, None))
        await self.keeping_up.stop(self.bench.in_thread)

    async def test_one_that_a_question_finds_damaged_is_made_anew(self) -> None:
        """Though nothing comes in, and the writer has the pages in memory."""
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)
        await it.post(body_of(a_result()))
        self.assertEqual((await it.ask("GET", "/targets", port="health-port")).status, 200)
        await it.parts.summary.up_to_date(30.0)
        with contextlib.closing(sqlite3.connect(it.directory / "summary.sqlite3")) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with (it.directory / "summary.sqlite3").open("r+b") as file:
            file.write(b"\xff" * 4096)
        self.assertEqual((await it.ask("GET", "/targets", port="health-port")).status, 503)
        for _ in range(100):
            targets = await it.ask("GET", "/targets", port="health-port")
            if targets.status == 200:
                break
            self.assertEqual(targets.status, 503)
            await deferLater(REACTOR, 0.1)
        self.assertEqual([target["results"] for target in targets.json["targets"]], [1])

    async def test_no_answer_is_made_of_files_that_are_half_counted(self) -> None:
        """A count of some files would pass for that of all."""
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)
        await it.post(body_of(a_result()))
        await it.parts.summary.up_to_date(30.0)
        with contextlib.closing(sqlite3.connect(it.directory / "summary.sqlite3")) as db, db:
            db.execute("DELETE FROM whole")  # as it is between two steps of the first count
        answer = await it.ask("GET", "/targets", port="health-port")
        self.assertEqual((answer.status, answer.json["detail"]), (503, "the files are being counted, 1 of 1 so far"))

    async def test_the_operator_is_told_on_the_health_port(self) -> None:
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)

        async def database() -> str:
            health = await it.ask("GET", "/health", port="health-port")
            self.assertEqual(health.status, 200)
            return str(health.json["checks"]["database"]["status"])

        async def becomes(status: str) -> None:
            for _ in range(100):
                if await database() == status:
                    return
                await deferLater(REACTOR, 0.1)
            self.fail(f"the database never was {status}")

        await it.post(body_of(a_result()))
        await it.parts.summary.up_to_date(30.0)
        await becomes("ok")
        for path in it.directory.glob("summary.sqlite3*"):
            path.unlink()
        (it.directory / "summary.sqlite3").mkdir()
        await it.post(body_of(a_result()))
        await becomes("warn")
        (it.directory / "summary.sqlite3").rmdir()
        await becomes("ok")
