"""What changes.sqlite3 promises: each change once, whatever happens to it or to the result files."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.changes.changes import Changes, Found
from outputd.results import timestamps
from outputd.sqlite.files import wal_of
from tests.kit.bench import Bench
from tests.kit.logs import said
from tests.kit.makers import a_result, many_hops
from tests.kit.pools import FULL, sqlite_error

HOPS = [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "timeout": True}, {"ttl": 255, "ip": "10.9.9.9"}]


class Full(Changes):
    """One that finds no room once."""

    is_full = True

    def _keep(self, db: sqlite3.Connection, found: Sequence[Found]) -> list[Found]:
        kept = super()._keep(db, found)
        if self.is_full and found:
            self.is_full = False
            raise sqlite_error(*FULL)
        return kept


class ChangesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.path = self.bench.directory.changes
        self.told: Counter[str] = Counter()
        self.changes = self.make()

    def make(self, most_changes: int = 20_000) -> Changes:
        changes = Changes(self.path, lambda: self.bench.store.files, self.told.update, most_changes)
        self.addCleanup(changes.close)
        return changes

    def look(self, changes: Changes | None = None) -> None:
        while (changes or self.changes).step():
            pass

    def post(self, *received: int, results: int = 1) -> None:
        """POSTs of one node, a minute each, in whose results so many of four packets came back."""
        for each in received:
            self.bench.clock.advance(60)
            at = timestamps.printed(timestamps.at(self.bench.now()))
            trace = {"method": "icmp", "completed": True, "hops": HOPS}
            self.bench.post(
                *(a_result(received=each, timestamp=at, traceroute=trace) for _ in range(results)), node="graz-1"
            )

    def lose(self, times: int = 1) -> None:
        """As often, a loss that begins and ends, with a rotation in it."""
        for _ in range(times):
            self.post(*[4] * 20, 0, 0)
            self.bench.outcome(self.bench.store.rotate())
            self.post(0, 0, 4, 4, 4)

    def rows(self, columns: str = "kind, node, target, since, until, before, after") -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            return db.execute(f"SELECT {columns} FROM change ORDER BY id").fetchall()

    def test_a_change_lasts_until_the_next_one_of_its_kind(self) -> None:
        self.lose()
        self.look()
        began, ended = timestamps.at(self.bench.now() - 6 * 60), timestamps.at(self.bench.now() - 2 * 60)
        self.assertEqual(
            self.rows(),
            [
                ("loss_began", "graz-1", "8.8.8.8", began, ended, "0.0", "100.0"),
                ("loss_ended", "graz-1", "8.8.8.8", ended, None, "100.0", "0.0"),
            ],
        )
        self.assertEqual(self.told, {"loss_began": 1, "loss_ended": 1})

    def test_made_anew_from_the_files_it_has_the_same(self) -> None:
        self.lose(2)
        self.look()
        before = self.rows()
        self.assertEqual(len(before), 4)
        self.changes.close()
        self.path.unlink()
        self.look()
        self.assertEqual(self.rows(), before)

    def test_made_anew_while_the_service_runs_it_tells_of_later_changes_alone(self) -> None:
        """Alerts look at the counts of what was told: what is long known is no news."""
        self.lose(2)
        self.look()
        told = self.told.copy()
        self.path.unlink()
        self.look()
        self.assertEqual((4, told), (len(self.rows()), self.told))
        self.lose()
        self.look()
        self.assertEqual({"loss_began": 3, "loss_ended": 3}, self.told)

    def test_after_a_crash_nothing_is_found_twice_and_nothing_lost(self) -> None:
        """Whenever it comes: what the detector remembers is older than what it has told."""
        self.lose(2)
        self.changes.step()
        self.changes.leave()
        self.look()
        before = self.rows("*")
        self.changes.close()  # and not leave: a crash
        self.lose()
        again = self.make()
        self.look(again)
        self.assertEqual(self.rows("*")[:3], before[:3])
        self.assertEqual([row[0] for row in self.rows("kind")], ["loss_began", "loss_ended"] * 3)
        self.assertEqual(self.told.total(), 6)

    def test_a_step_that_fails_is_done_again_as_if_it_had_not_been(self) -> None:
        self.lose(2)
        changes = Full(self.path, lambda: self.bench.store.files)
        self.addCleanup(changes.close)
        with self.assertRaises(sqlite3.OperationalError):
            self.look(changes)
        self.look(changes)
        self.assertEqual([row[0] for row in self.rows("kind")], ["loss_began", "loss_ended"] * 2)

    def test_a_stop_keeps_what_is_usual(self) -> None:
        self.post(*[4] * 20)
        self.look()
        self.changes.leave()
        self.assertFalse(wal_of(self.path).exists())
        self.bench.outcome(self.bench.store.rotate())
        self.post(0, 0, 0)
        changes = Changes(self.path, lambda: self.bench.store.files[-1:])  # the older one was pruned
        self.addCleanup(changes.close)
        self.look(changes)
        self.assertEqual(len(self.rows()), 1)

    def test_so_many_changes_are_kept_and_the_oldest_go(self) -> None:
        self.lose(4)
        self.look(self.make(3))
        self.assertEqual([row[0] for row in self.rows("kind")], ["loss_ended", "loss_began", "loss_ended"])

    def test_a_damaged_result_file_costs_its_own_changes_alone(self) -> None:
        self.lose(3)
        damaged = self.bench.store.files[1].path
        wal_of(damaged).unlink(missing_ok=True)
        damaged.write_bytes(damaged.read_bytes()[:4096] + bytes(damaged.stat().st_size - 4096))
        with said() as log:
            self.look()
        self.assertIn("cannot be searched for changes", " ".join(log))
        self.assertEqual(self.rows("kind")[-1:], [("loss_ended",)])

    def test_a_damaged_one_is_set_aside_and_made_anew(self) -> None:
        self.lose()
        self.look()
        before = self.rows()
        self.changes.close()
        self.path.write_bytes(b"no database" * 1000)
        with said():
            self.look()
        self.assertEqual(self.rows(), before)
        self.assertTrue(list(self.bench.path.glob("changes.sqlite3*.damaged")))

    def test_another_history_of_files_is_looked_at_from_its_beginning(self) -> None:
        self.lose()
        self.look()
        self.changes.leave()
        other = Bench(Path(self.mktemp()))
        other.post(a_result())
        changes = Changes(self.path, lambda: other.store.files)
        self.addCleanup(changes.close)
        with said() as log:
            self.look(changes)
        self.assertIn("others than they were", " ".join(log))

    def test_a_post_of_many_results_or_of_many_hops_is_looked_at_in_pages(self) -> None:
        self.post(*[4] * 3, results=5000)
        self.bench.post(a_result(traceroute={"method": "icmp", "completed": True, "hops": many_hops(3000)}))
        self.post(*[0] * 3, results=5000)
        self.look()
        self.assertEqual([row[0] for row in self.rows("kind")], ["loss_began"])
