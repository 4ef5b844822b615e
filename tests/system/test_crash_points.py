"""A crash at each interesting point: nothing answered is missing, nothing is there twice, every hop arrives.

Clients have keys and send again all that they had no answer to, as `outputd-send` does.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from http.client import HTTPException
from threading import Thread

from tests.kit.depth import long
from tests.system.account import Account
from tests.system.faulty import POINTS
from tests.system.files import (
    all_faults,
    column,
    feedable_rows,
    is_self_contained,
    merged,
    result_files,
    stored_targets,
)
from tests.system.harness import Outputd, SystemTest, call
from tests.system.load import Source, targets
from tests.system.waiting import DEADLINE_S, wait_until

_CONNECTIONS = 4
_BAD = 2


class FaultyOutputd(Outputd):
    """An instance that kills itself at a point when it was passed so many times."""

    point = ""
    times = 1

    def _command(self, flags: tuple[str, ...]) -> list[str]:
        if not self.point:
            return super()._command(flags)
        return [sys.executable, "-m", "tests.system.faulty", self.point, str(self.times), *self.flags, *flags]


@long(
    "tests.system.test_crash.CrashTests.test_killed_under_load",
    "tests.ledger.test_ledger.Discovery.test_over_a_kill",
    "tests.store.test_store.Numbers.test_hop_ids_outlive_a_kill_between_the_making_of_a_file_and_its_use",
)
class CrashPoints(SystemTest):
    """Rules 1, 6, 11, 12, 13 and 18."""

    def test_every_point(self) -> None:
        """At an early passage or one in the middle of the work; OUTPUTD_LARGE=1 tries both."""
        self.assertGreater(len(POINTS), 15)
        for number, point in enumerate(POINTS):
            for times in (2, 5) if os.environ.get("OUTPUTD_LARGE") else ((2, 5)[number % 2],):
                with self.subTest(point=point, times=times):
                    self.directory = self.directory.with_name(f"{number}-{times}")
                    self._crash_at(point, times)

    def _crash_at(self, point: str, times: int) -> None:
        input_service = self.input_service().open()
        outputd = FaultyOutputd(self.directory, f"--input-url={input_service.url}", "--keep-files=1000")
        self.addCleanup(outputd.kill)
        pruning = "prune" in point
        outputd.point, outputd.times = point, times
        outputd.start(*(["--keep-files=2"] if pruning else []))
        load = self.load(outputd, Source(times), _CONNECTIONS, keyed=True, bad=_BAD)
        asking = Thread(target=self._ask_on, args=(outputd,), daemon=True)
        asking.start()
        outputd.process.wait(DEADLINE_S)
        load.stop()
        asking.join()
        self.assertEqual([], load.refused)
        self.assertEqual(-9, outputd.process.returncode)

        outputd.point, half_made = "", set(self.directory.glob(".*.tmp*"))
        outputd.start()
        for post in load.unanswered:
            answer = call(outputd.port, "POST", "/results", post.body, post.headers).json
            self.assertEqual(post.answer, {name: answer[name] for name in post.answer})
        self.assertEqual(set(), half_made & set(self.directory.glob(".*.tmp*")))  # a manifest is being made, perhaps
        fed = feedable_rows(self.directory) if not pruning else set()
        wait_until(lambda: input_service.taken.keys() >= fed, "every hop has arrived")
        self.assertEqual(200, outputd.rotate().status)
        self.assertStopped(outputd.stop())
        outputd.kill()

        self.assertEqual([], all_faults(self.directory))
        self.assertTrue(all(map(is_self_contained, result_files(self.directory))))
        stored, sent = stored_targets(self.directory), targets(load.answered + load.unanswered)
        self.assertEqual({}, stored - sent)
        if not pruning:
            self.assertEqual(sent, stored)
            posts = len(load.answered + load.unanswered)
            with merged(self.directory) as db:
                kept = column(db, "SELECT count(*) FROM batches") + column(db, "SELECT count(*) FROM rejected_results")
            self.assertEqual([posts, _BAD * posts], kept)
            account = Account()
            account.take_rest(self.directory)
            self.assertEqual([], account.order_faults())
        names = {path.name for path in self.directory.iterdir()}
        names -= {name for path in result_files(self.directory) for name in (path.name, f"{path.stem}.json")}
        made_anew = {"changes.sqlite3", "summary.sqlite3"}
        self.assertEqual({"hops.sqlite3", "outputd.lock"} | made_anew, names | made_anew)

    def _ask_on(self, outputd: Outputd) -> None:
        """Rotations, dumps and questions, until it is dead."""
        with suppressed(OSError, HTTPException):
            while True:
                call(outputd.port, "GET", "/dump")
                outputd.rotate()
                call(outputd.health_port, "GET", "/targets")
