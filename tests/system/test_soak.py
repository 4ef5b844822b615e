"""The short form of `make soak`, and whether its account would see what is wrong."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.bench import Bench
from tests.kit.depth import long
from tests.system.account import Account, Told
from tests.system.disk import CannotMount, Disk
from tests.system.files import result_files
from tests.system.load import MixedSource
from tests.system.soak import Soak, shared

_DISK_MIB = 160


@long(
    "tests.system.test_soak.AccountTests.test_all_is_well",
    "tests.system.test_crash.CrashTests.test_killed_under_load",
    "tests.system.test_disk.FullDisk.test_killed_while_it_is_full",
    "tests.system.test_feed.FeedTests.test_over_an_outage_and_a_crash",
)
class SoakTests(SynchronousTestCase):
    """Rules 1, 5, 6, 11 to 13, 15 to 21 and 23, together."""

    def test_every_kind_of_trouble_once(self) -> None:
        """Each event comes at least once, then all is accounted for."""
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True)
        disk: Disk | None = None
        with suppressed(CannotMount):
            mounted = disk = Disk(place / "disk", _DISK_MIB).mount()
            self.addCleanup(mounted.unmount)
        said: list[str] = []
        soak = Soak(place, disk, 15.0, 3, 300.0, *shared(), said.append)
        soak.run()
        report = soak.report()
        self.assertEqual([], soak.broken, f"{chr(10).join(said)}\n{report}\n{soak.outputd.log[-3000:]}")
        self.assertEqual(10 if disk is not None else 9, len(soak.events))
        self.assertGreater(soak.account.counts()[Told.STORED, 1], 500)
        self.assertGreater(len(soak.account.fed), 100)
        self.assertIn("promises broken    0", report)


class AccountTests(SynchronousTestCase):
    """An account that finds nothing wrong is worth as much as what it would find."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()).absolute())
        self.account = Account()
        self.post = MixedSource(1, ()).post(10, bad=2)
        self.account.sent(self.post)
        self.bench.post(*self.post.results)
        self.bench.stop()

    def take(self, sql: str = "") -> None:
        (path,) = result_files(self.bench.path)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript(sql)
        self.account.take_rest(self.bench.path)

    def test_all_is_well(self) -> None:
        self.account.answered(self.post)
        self.take()
        self.assertEqual({(Told.STORED, 1): 8, (Told.REJECTED, 0): 2}, dict(self.account.counts()))
        self.assertEqual(([], []), (self.account.faults, self.account.order_faults()))
        self.assertEqual(
            (2, 2, 2), (self.account.rejected_told, self.account.rejected_rows, self.account.rejected_kept)
        )

    def test_what_was_never_answered(self) -> None:
        self.take()
        self.assertEqual({(Told.NOTHING, 1): 8, (Told.REJECTED, 0): 2}, dict(self.account.counts()))

    def test_a_missing_result(self) -> None:
        self.account.answered(self.post)
        self.take("PRAGMA foreign_keys=OFF; DELETE FROM ping_results WHERE id = 3")
        self.assertEqual(1, self.account.counts()[Told.STORED, 0])
        self.assertNotEqual([], self.account.faults)

    def test_one_that_is_there_twice(self) -> None:
        self.account.answered(self.post)
        self.take("UPDATE ping_results SET ip = (SELECT ip FROM ping_results WHERE id = 1) WHERE id = 2")
        self.assertEqual((1, 1), (self.account.counts()[Told.STORED, 2], self.account.counts()[Told.STORED, 0]))

    def test_a_rejected_and_an_invented_one(self) -> None:
        self.account.answered(self.post)
        (bad, _), invented = self.post.bad, MixedSource(2, ()).post(11).targets[10]
        self.take(
            f"UPDATE ping_results SET ip = '{bad}' WHERE id = 1; UPDATE ping_results SET ip = '{invented}' WHERE id = 2"
        )
        self.assertEqual((1, 1), (self.account.counts()[Told.REJECTED, 1], self.account.counts()[0, 1]))

    def test_ids_that_do_not_rise_and_a_file_that_has_gone(self) -> None:
        self.take("UPDATE result_file SET sequence = 4; UPDATE batches SET first_id = NULL")
        self.assertIn("batch 1 is not whole", "".join(self.account.faults))
        self.assertEqual(
            [f"file {number} was gone before it was read" for number in (1, 2, 3)], self.account.order_faults()
        )
