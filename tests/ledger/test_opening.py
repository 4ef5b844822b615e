"""What `outputd.ledger.opening` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.ledger.opening import open_files
from outputd.process.trouble import Unusable
from outputd.sqlite.errors import DatabaseFailed
from outputd.store.store import Store
from tests.kit.bench import Bench
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import FULL as NO_ROOM
from tests.kit.pools import sqlite_error

FULL = OSError(errno.ENOSPC, "No space left on device")


class Opening(SynchronousTestCase):
    """A start on a directory with three files."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        for _ in range(2):
            self.bench.post(a_result())
            self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.bench.stop()

    def start(self, keep_files: int, *failures: OSError, archived: int | None = None) -> list[str]:
        """Open as a start does whose first tries fail so; what it logs."""
        bench, left, inner = self.bench, [*failures], Store.open
        bench.store.limits = dataclasses.replace(bench.store.limits, keep_files=keep_files)

        def opened(store: Store, heard: int) -> None:
            if left:
                raise left.pop(0)
            inner(store, heard)

        self.patch(Store, "open", opened)
        with said() as log:
            kept = None if archived is None else lambda: archived
            open_files(bench.store, bench.ledger, bench.feedable, False, bench.path, kept)
        self.addCleanup(bench.stop)
        return log

    def test_a_start_opens_both(self) -> None:
        self.start(5)
        self.assertEqual((len(self.bench.store.files), self.bench.ledger.is_gone()), (3, False))

    def test_on_a_full_disk_files_beyond_the_limit_make_room(self) -> None:
        """Rule 11: a full disk must not keep its own relief from coming."""
        oldest = self.bench.store.files[0].path.name
        log = self.start(2, FULL)
        self.assertEqual(len(self.bench.store.files), 2)
        self.assertEqual(sum("pruned before the start" in line and oldest in line for line in log), 1, log)

    def test_what_the_ledger_has_is_read_without_more_room(self) -> None:
        """Rule 11: where there is none at all, none is there for a -shm either."""
        ledger = self.bench.ledger
        shm = Path(f"{self.bench.directory.ledger}-shm")
        shm.symlink_to("nowhere")  # so that none can be made
        self.assertRaises(DatabaseFailed, ledger.heard)
        self.assertEqual((ledger.heard(alone=True), ledger.kept), (2, 2))

    def test_but_none_that_holds_what_the_ledger_lacks(self) -> None:
        """Rule 18: as after a kill, or with a ledger that was deleted."""
        self.bench.directory.ledger.unlink()
        self.start(2, FULL)
        self.assertEqual(len(self.bench.store.files), 3)

    def test_nor_one_that_the_archive_lacks(self) -> None:
        """Rule 13: it is shipped once there is room to start."""
        for archived, files in ((0, 3), (1, 2)):
            self.start(2, FULL, archived=archived)
            self.assertEqual(files, len(self.bench.store.files))
            self.bench.stop()
            self.bench.start()
            self.bench.stop()

    def test_a_disk_that_fills_up_right_after_it_gets_its_room_back_too(self) -> None:
        """Rule 11: what the ledger had on disk at the start is enough, though nothing more can be written."""
        self.start(2)
        self.bench.pools.failing["ledger"] = sqlite_error(*NO_ROOM)
        self.bench.outcome(self.bench.rotation.ask())
        self.assertEqual(len(self.bench.store.files), 2)
        self.bench.pools.failing.clear()

    def test_also_by_what_is_in_the_ledger_s_wal_alone(self) -> None:
        """Rule 11: a full disk has no room for a checkpoint."""
        bench = self.bench.start()
        with contextlib.closing(sqlite3.connect(bench.directory.ledger, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM mark").fetchone()  # as good as no room: it holds the checkpoint up
            bench.post(a_trace(*many_hops(1)))
            self.assertEqual((bench.ledger.heard(), bench.ledger.kept), (3, 3))
        bench.stop()

    def test_but_not_by_a_ledger_that_the_start_has_made(self) -> None:
        """Rule 18: nobody has brought to disk what it holds."""
        for damage in (Path.unlink, lambda path: path.write_bytes(b"no database" * 1000)):
            damage(self.bench.directory.ledger)
            self.start(2)
            self.bench.pools.failing["ledger"] = sqlite_error(*NO_ROOM)
            self.bench.outcome(self.bench.rotation.ask())
            self.assertEqual((len(self.bench.store.files), self.bench.ledger.kept), (3, 0))
            self.bench.pools.failing.clear()
            self.bench.stop()

    def test_the_summary_gives_its_room_back(self) -> None:
        """Rule 13: it is made anew from the result files."""
        self.bench.directory.summary.write_bytes(bytes(1 << 20))
        self.start(5, FULL)
        self.assertFalse(self.bench.directory.summary.exists())

    def test_a_full_disk_without_any_is_one_line(self) -> None:
        """Rule 23."""
        error = self.assertRaises(Unusable, self.start, 5, FULL, FULL)
        self.assertIn(f"cannot use {self.bench.path}: ", str(error))

    def test_what_is_no_full_disk_costs_no_file(self) -> None:
        """Rule 13."""
        self.assertRaises(Unusable, self.start, 1, OSError(errno.EIO, "Input/output error"))
        self.assertEqual(len(list(self.bench.path.glob("results_*.db"))), 3)
