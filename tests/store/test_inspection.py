"""What `outputd.store.inspection` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.process.threads import InThread
from outputd.sqlite.files import wal_of
from outputd.store.inspection import Inspection
from tests.kit.bench import EPOCH, Bench
from tests.kit.damage import flipped, leaves, spoil_leaf
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import inline


class InspectionTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()), keep_files=1)

    def closed(self) -> Path:
        """A file that was closed, with a leaf of hops that a text tells."""
        path = self.bench.store.current.info.path
        self.bench.keep(*[a_trace(*many_hops(20), method=f"of {n}") for n in range(100)])
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        return path

    def inspected(self, in_thread: InThread = inline) -> Inspection:
        inspection = Inspection(lambda: self.bench.store.files, in_thread, self.bench.now)
        inspection.start()
        return inspection

    def test_a_damaged_newest_file_is_named_with_what_is_wrong(self) -> None:
        old = self.closed()
        spoil_leaf(old, b"of 77")
        with said() as texts:
            found = self.inspected().found
        self.assertEqual([(old.name, EPOCH)], [(name, failure.since_s) for name, failure in found.items()])
        self.assertEqual(1, len([text for text in texts if f"{old.name} is damaged: " in text]), texts)

    def test_a_flipped_bit_of_the_current_one_too(self) -> None:
        """In the number of cells of the first page: POSTs may go on for long before one meets it."""
        self.closed()
        self.bench.keep(*[a_result(error="x" * 100)] * 1000)
        self.bench.stop()
        current = self.bench.store.current.info.path
        self.assertFalse(wal_of(current).exists())
        data = current.read_bytes()
        current.write_bytes(flipped(data, leaves(data)[12] + 3))
        self.bench.start()
        self.assertEqual([current.name], list(self.inspected().found))

    def test_whole_files_are_not_told_of(self) -> None:
        self.closed()
        self.bench.keep(a_result())
        with said() as texts:
            found = self.inspected().found
        self.assertEqual(({}, []), (dict(found), texts))

    def test_a_file_that_is_gone_is_told_of_no_more(self) -> None:
        old = self.closed()
        spoil_leaf(old, b"of 77")
        inspection = self.inspected()
        self.bench.outcome(self.bench.store.prune(2**62))
        self.assertEqual({}, dict(inspection.found))

    def test_a_stop_ends_it(self) -> None:
        """Rule 23: however large a file is."""
        self.closed()
        gate: Deferred[None] = Deferred()

        async def later(work: Any, *args: Any, **kwargs: Any) -> Any:
            await gate
            return work(*args, **kwargs)

        with said() as texts:
            inspection = self.inspected(later)
            stopped = inspection.stop()
            self.assertNoResult(stopped)
            gate.callback(None)
            self.successResultOf(stopped)
        self.assertEqual([], texts)
