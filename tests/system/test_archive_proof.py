"""Every trouble of an archive once: what was answered is in it exactly once. `make archive-proof` has more of them."""

from __future__ import annotations

from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.depth import long
from tests.system.account import Told
from tests.system.archive import Proof
from tests.system.disk import CannotMount, Disk
from tests.system.shared import measured

_DISK_MIB = 96
_KILLS = 4


@long(
    "tests.archive.test_keeping_up.Mark.test_a_kill_between_the_put_and_the_mark_ships_nothing_twice",
    "tests.archive.test_keeping_up.Mark.test_one_that_is_lost_or_broken_is_found_again",
    "tests.archive.test_shipping.ShippingTests.test_a_clone_ships_what_both_had_once_and_its_own_under_another_name",
    "tests.archive.test_shipping.ShippingTests.test_a_restored_backup_goes_on_above_what_it_has",
)
class ArchiveProof(SynchronousTestCase):
    """Rules 1 and 20."""

    def test_every_trouble_once(self) -> None:
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True)
        disk: Disk | None = None
        with suppressed(CannotMount):
            mounted = disk = Disk(place / "disk", _DISK_MIB).mount()
            self.addCleanup(mounted.unmount)
        said: list[str] = []
        proof = Proof(place, disk, _KILLS, 7, 100.0, measured("medium"), said.append)
        proof.run()
        report = proof.report()
        self.assertEqual([], proof.broken, f"{chr(10).join(said)}\n{report}")
        self.assertGreater(proof.account.counts()[Told.STORED, 1], 500)
        self.assertGreater(len(proof.archive.instances), 3)
        self.assertIn("promises broken    0", report)
