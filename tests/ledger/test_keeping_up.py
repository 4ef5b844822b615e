"""What `outputd.ledger.keeping_up` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.ledger.keeping_up import Upkeep
from tests.kit.bench import Bench
from tests.kit.logs import said
from tests.kit.makers import a_trace, many_hops


class UpkeepTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.gate: Deferred[None] | None = None
        self.upkeep = Upkeep(
            self.bench.ledger, lambda: self.bench.store.files, self.bench.feedable, self.in_thread, self.bench.clock,
            self.bench.now,
        )  # fmt: skip
        self.upkeep.start()

    async def in_thread(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.gate is not None:
            await self.gate
        return work(*args, **kwargs)

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.bench.clock.advance(1)
            self.bench.clock.advance(0)

    def test_a_ledger_that_was_deleted_is_made_anew(self) -> None:
        """Rule 18."""
        self.bench.post(a_trace(*many_hops(3)))
        self.bench.directory.ledger.unlink()
        self.pass_seconds(1)
        self.assertTrue(self.bench.directory.ledger.exists())
        self.assertEqual((self.bench.ledger.known, self.bench.ledger.failure), (3, None))

    def test_how_far_that_has_come_is_told(self) -> None:
        """In the log, and by `failure` to /health."""
        for _ in range(2):
            self.bench.post(a_trace(*many_hops(3)))
            self.bench.outcome(self.bench.store.rotate())
        self.bench.directory.ledger.unlink()
        reasons = []
        with said() as log:
            commit = self.bench.ledger.commit

            def told(*args: Any) -> Any:
                reasons.append(str(self.bench.ledger.failure))
                return commit(*args)

            self.bench.ledger.commit = told  # type: ignore[assignment]  # watched from outside
            self.pass_seconds(1)
        self.assertTrue(reasons[0].find("rebuilt, 0% so far") > 0 < reasons[1].find("rebuilt, 50% so far"), reasons)
        shares = [line.split("; ")[1].split(" ")[0] for line in log if "again from" in line]
        self.assertEqual(shares, ["0%", "50%", "100%"])
        self.assertIsNone(self.bench.ledger.failure)

    def test_what_cannot_be_written_is_tried_again_and_told_once(self) -> None:
        """Rule 18."""
        self.bench.pools.failing["ledger"] = sqlite3.OperationalError("disk I/O error")
        with said() as log:
            self.pass_seconds(5)
        self.assertEqual(sum("cannot be updated" in line for line in log), 1, log)
        self.bench.pools.failing.clear()
        self.pass_seconds(1)
        self.assertIsNone(self.bench.ledger.failure)

    def test_a_stop_waits_for_what_is_under_way(self) -> None:
        """Rule 23: a ledger that is being made anew would be opened again after its close."""
        self.gate = Deferred()
        self.bench.directory.ledger.unlink()
        self.pass_seconds(1)
        stopped = self.upkeep.stop()
        self.assertNoResult(stopped)
        self.assertFalse(self.bench.directory.ledger.exists())
        self.gate.callback(None)
        self.successResultOf(stopped)
        self.assertTrue(self.bench.directory.ledger.exists())
        self.bench.stop()
        self.pass_seconds(3)
        self.assertEqual(list(self.bench.path.glob("hops.sqlite3-*")), [])

    def test_after_a_stop_nothing_is_begun(self) -> None:
        """Rule 23."""
        self.successResultOf(self.upkeep.stop())
        self.bench.directory.ledger.unlink()
        self.pass_seconds(3)
        self.assertFalse(self.bench.directory.ledger.exists())
