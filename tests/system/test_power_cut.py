"""A power cut at any moment: what was acknowledged is there, of results, hops and keys, and the service starts."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.kit.depth import long
from tests.kit.makers import a_trace
from tests.system.cuts import CASES, broken_by
from tests.system.files import column, opened
from tests.system.harness import Outputd, SystemTest
from tests.system.powercut import Disk, Rest
from tests.system.recorder import CannotRecord, Recorder

_CUTS = 3
_SECONDS = 3.0
_WRITER = """
import os, sys
for name in ("synced", "unsynced", "nameless"):
    handle = os.open(name, os.O_CREAT | os.O_WRONLY)
    os.write(handle, b"first")
    if name != "unsynced":
        os.fsync(handle)
    if name == "unsynced":
        directory = os.open(".", os.O_RDONLY)
        os.fsync(directory)
    os.pwrite(handle, b"SECOND", 0)
os.rename("synced", "renamed")
"""


_MORTAL = "import os; os.pwrite(os.open('renamed', os.O_WRONLY), b'THIRD!', 0)"


def recorder(root: Path) -> Recorder:
    """One that is ready; where none can be, the test is skipped."""
    try:
        return Recorder(root).build()
    except CannotRecord as error:
        raise SkipTest(str(error)) from None


class TheProof(SynchronousTestCase):
    """What is believed of disks."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute() / "disk"
        self.root.mkdir(parents=True)
        self.recorder = recorder(self.root)
        subprocess.run([sys.executable, "-c", _WRITER], cwd=self.root, env=self.recorder.environment, check=True)
        self.disk = Disk(self.root)
        for call in self.recorder.calls():
            self.disk.take(call)

    def left(self, rest: Rest, seed: int = 0) -> dict[str, bytes]:
        place = self.root.with_name(f"{rest.name}-{seed}")
        self.disk.cut(place, rest, random.Random(seed))
        return {path.name: path.read_bytes() for path in place.iterdir()}

    def test_what_was_fsynced_is_there_and_nothing_else(self) -> None:
        """Names are in their directory, which is fsynced by itself."""
        self.assertEqual(self.left(Rest.NOTHING), {"synced": b"first", "unsynced": b""})

    def test_or_all_of_it(self) -> None:
        """The kernel may have written everything, too."""
        self.assertEqual(self.left(Rest.ALL), dict.fromkeys(("renamed", "unsynced", "nameless"), b"SECOND"))

    def test_or_some_of_it(self) -> None:
        """In any order, and a rename is there as a whole or not at all."""
        seen = [self.left(Rest.SOME, seed) for seed in range(40)]
        self.assertGreater(len({tuple(sorted(left.items())) for left in seen}), 5)
        self.assertEqual({("synced" in left) + ("renamed" in left) for left in seen}, {1})

    def test_a_process_that_is_to_die_has_made_no_call_that_is_not_recorded(self) -> None:
        """Its next start goes on with what is there in truth."""
        self.recorder.fault("pwrite renamed die")
        died = subprocess.run(
            [sys.executable, "-c", _MORTAL], cwd=self.root, env=self.recorder.environment, check=False
        )
        self.assertEqual(-signal.SIGKILL, died.returncode)
        self.assertNotIn(b"THIRD!", [bytes(call.data) for call in self.recorder.calls()])
        self.assertEqual(b"SECOND", (self.root / "renamed").read_bytes())


class PowerCuts(SystemTest):
    """Rules 1, 6, 12 and 18."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.directory / "disk"
        self.root.mkdir(parents=True)

    def test_after_a_prune(self) -> None:
        """What a pruned file held of hops and keys is on disk elsewhere."""
        recording = recorder(self.root)
        running = self.watched(
            Outputd(self.root / "data", "--input-url=", "--keep-files=1", environment=recording.environment)
        )
        running.start()
        result = a_trace({"ttl": 1, "ip": "10.0.0.1"})
        self.assertEqual(200, running.post([result], idempotency_key="k").status)
        self.assertEqual(200, running.rotate().status)
        running.kill()
        disk = Disk(self.root)
        for call in recording.calls():
            disk.take(call)
        for rest in (Rest.NOTHING, Rest.ALL):
            left = self.root.with_name(rest.name)
            disk.cut(left, rest, random.Random(0))
            again = self.watched(Outputd(left / "data", "--input-url=")).start()
            self.assertTrue(again.post([result], idempotency_key="k").json.get("duplicate"), rest)
            again.stop()
            with opened(left / "data" / "hops.sqlite3") as db:
                self.assertEqual(column(db, "SELECT count(*) FROM waiting"), [1], rest)

    @long(
        "tests.system.test_power_cut.PowerCuts.test_after_a_prune",
        "tests.system.test_power_cut.TheProof.test_or_some_of_it",
    )
    def test_under_load(self) -> None:
        """At any moment of a run with rotations and prunes; `make cuts` has a hundred of them."""
        for number, case in enumerate(CASES):
            with self.subTest(str(case)):
                recorder(self.root)
                self.assertEqual(
                    [], broken_by(case, _SECONDS, _CUTS, number, self.directory / f"{number}", lambda _: None)
                )
