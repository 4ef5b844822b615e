"""Which batches become one object."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive import cutting
from outputd.archive.cutting import cut
from outputd.archive.files import Unreadable
from outputd.process.trouble import Kind
from outputd.sqlite.files import delete_database
from tests.kit.bench import Bench
from tests.kit.damage import spoil_leaf
from tests.kit.makers import a_result, a_trace, many_hops

_DAY_S = 86_400


class CutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.stop)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(info.path for info in self.bench.store.files)

    def rotate(self) -> None:
        self.bench.outcome(self.bench.rotation.rotate("told to"))

    def spans(self, after: int = 0) -> list[tuple[int, int]]:
        """All, one after another."""
        found = []
        while (span := cut(self.paths, after, True)) is not None:
            found.append((span.first_batch_id, span.last_batch_id))
            after = span.last_batch_id
        return found

    def test_there_is_nothing_to_ship_of_nothing(self) -> None:
        self.assertIsNone(cut((), 0, True))
        self.assertIsNone(cut(self.paths, 0, True))
        self.bench.post(a_result())
        self.assertIsNone(cut(self.paths, 1, True))

    def test_what_may_still_grow_is_only_given_when_it_is_asked_for(self) -> None:
        self.bench.post(a_result())
        self.bench.post(a_result())
        self.assertIsNone(cut(self.paths, 0, False))
        span = cut(self.paths, 0, True)
        assert span is not None
        self.assertEqual((self.paths[0], "2026-01-07", 1, 2), (span.path, span.date, *self.spans()[0]))
        self.assertEqual(span, cut(self.paths, 0, True))
        self.assertEqual([(2, 2)], self.spans(after=1))

    def test_what_is_damaged_is_a_span_of_its_own(self) -> None:
        """Else all of the file would have to be given up with it."""
        for n in range(50):
            self.bench.post(*[a_result(error=f"of {n} " + "x" * 200)] * 20)
        path = self.paths[0]
        self.rotate()
        self.bench.outcome(self.bench.store.finish_closed())
        spoil_leaf(path, b"of 24 ")
        # the page begins in batch 24
        self.assertEqual([(1, 21), (22, 24), (25, 27), (28, 50)], self.spans())

    def test_no_span_has_batches_of_two_files(self) -> None:
        for _ in range(2):
            self.bench.post(a_result())
            self.bench.post(a_result())
            self.rotate()
        self.assertEqual([(1, 2), (3, 4)], self.spans())
        self.assertEqual([(2, 2), (3, 4)], self.spans(after=1))
        self.assertIsNotNone(cut(self.paths, 0, False))
        self.assertIsNotNone(cut(self.paths, 2, False))

    def test_no_span_has_batches_of_two_days_whatever_the_clock_does(self) -> None:
        for clock_is_off_s in (0, 0, _DAY_S, 0, 0):
            self.bench.clock_is_off_s = clock_is_off_s
            self.bench.post(a_result())
        self.assertEqual([(1, 2), (3, 3), (4, 5)], self.spans())
        dates = [span and span.date for span in (cut(self.paths, after, False) for after in (0, 2, 3))]
        self.assertEqual(["2026-01-07", "2026-01-08", None], dates)

    def test_a_span_ends_before_its_rows_are_too_large_whatever_they_are(self) -> None:
        for items in (
            [a_result(error="x" * 1000)] * 4,
            [a_trace(*many_hops(20), error="y" * 500)] * 4,
            [{"ip": "z" * 1000}] * 4,
        ):
            for _ in range(10):
                self.bench.post(*items)
        for most_bytes in (1, 5_000, 20_000, 1 << 30):
            self.patch(cutting, "_MOST_BYTES", most_bytes)
            spans = self.spans()
            self.assertEqual(list(range(1, 31)), [batch for first, last in spans for batch in range(first, last + 1)])
            most = max(last - first + 1 for first, last in spans)
            self.assertEqual({1: 1, 5_000: 1, 20_000: 4, 1 << 30: 30}[most_bytes], most)
        self.assertEqual(spans, [(1, 30)])

    def test_how_many_batches_are_looked_at_at_once_changes_nothing(self) -> None:
        for count in (1, 7, 3, 20, 1):
            self.bench.post(*[a_trace(*many_hops(5))] * count)
        self.patch(cutting, "_MOST_BYTES", 3_000)
        expected = self.spans()
        for batches, items in ((1, 1), (2, 10), (1024, 8)):
            self.patch(cutting, "_MOST_BATCHES", batches)
            self.patch(cutting, "_MOST_ITEMS", items)
            self.assertEqual(expected, self.spans())

    def test_a_full_span_is_given_though_the_file_grows(self) -> None:
        for _ in range(3):
            self.bench.post(*[a_result(error="x" * 1000)] * 4)
        self.patch(cutting, "_MOST_BYTES", 10_000)
        span = cut(self.paths, 0, False)
        self.assertEqual(2, span and span.last_batch_id)
        self.assertIsNone(cut(self.paths, 2, False))

    def test_a_file_that_cannot_be_read_is_named(self) -> None:
        self.bench.post(a_result())
        self.rotate()
        self.bench.post(a_result())
        first, second = self.paths
        gone = self.paths[0].with_name("gone.db")
        self.assertEqual(gone, self.assertRaises(Unreadable, cut, (gone, second), 0, True).path)
        foreign = Path(self.mktemp())
        foreign.write_bytes(b"SQLite format 3\0" + bytes(4080))
        failed = self.assertRaises(Unreadable, cut, (foreign, second), 0, True)
        self.assertEqual((foreign, Kind.DAMAGED), (failed.path, failed.kind))
        delete_database(first)
        self.assertEqual(Kind.GONE, self.assertRaises(Unreadable, cut, (first, second), 0, True).kind)
