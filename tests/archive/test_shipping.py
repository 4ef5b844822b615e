"""Exactly once, whatever happens between a put and the mark: what `shipping` and `finding` promise."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.archive.asks import Shipped, Span, Taken
from outputd.archive.files import Unreadable
from outputd.archive.objects import ArchiveFailed
from outputd.process.trouble import Kind
from outputd.sqlite.connections import connect
from tests.kit.bench import Bench

_HAS_EXTRA = find_spec("pyarrow") is not None and find_spec("obstore") is not None
if _HAS_EXTRA:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from obstore.store import MemoryStore

    from outputd.archive import cutting, listing
    from outputd.archive.cloud import Cloud
    from outputd.archive.directory import Directory
    from outputd.archive.shipping import ship
    from outputd.export import parquet
    from tests.archive.collector import Collector, paths_in, posted_to, rejected_in, rows_in, targets_in

_DAY_S = 86_400


class Unsure:
    """Objects of which the answers to puts may be lost, after or before the put."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects
        self.lost: list[str] = []
        """"after" or "before", for each of the next puts."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    def put(self, path: str, parts: Sequence[bytes]) -> bool:
        when = self.lost.pop(0) if self.lost else ""
        is_new = when != "before" and self._objects.put(path, parts)
        if when:
            raise ArchiveFailed("no answer")
        return bool(is_new)


class SignIn:
    """What lies before an archive and answers whatever it is asked with a page of its own."""

    def folders(self, folder: str) -> list[str]:
        return []

    def paths(self, folder: str, beginning: str) -> Iterator[str]:
        return iter(())

    def put(self, path: str, parts: Sequence[bytes]) -> bool:
        return True

    def read(self, path: str) -> bytes:
        return b"<html><body>Sign in first</body></html>"

    def end_of(self, path: str, most_bytes: int) -> bytes:
        return self.read(path)


class ShippingTests(SynchronousTestCase):
    """Over a directory; below over obstore, too."""

    def setUp(self) -> None:
        if not _HAS_EXTRA:
            raise SkipTest("pyarrow or obstore is not installed: pip install 'outputd[archive]'")
        self.objects = Unsure(self.archive())
        self.collectors: list[Collector] = []
        self.one = self.collector()

    def archive(self) -> Any:
        base = Path(self.mktemp())
        base.mkdir()
        return Directory(base)

    def collector(self) -> Collector:
        bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        self.collectors.append(Collector(bench, self.objects))
        return self.collectors[-1]

    def clone(self, of: Collector) -> Collector:
        self.collectors.append(of.cloned(Path(self.mktemp())))
        self.addCleanup(self.collectors[-1].bench.stop)
        return self.collectors[-1]

    def check(self, *collectors: Collector) -> None:
        """Once all is shipped, each result is there once."""
        for collector in collectors or self.collectors:
            collector.ship()
        self.assertEqual(posted_to(self.collectors), targets_in(self.objects))

    def test_what_is_shipped_is_there_once_with_the_rejected_items(self) -> None:
        self.one.post(2, wrong=1)
        self.one.rotate()
        self.one.post(2)
        self.one.post(2, right=0, wrong=3)
        answers = self.one.ship()
        told = [
            (answer.results, answer.rejected, answer.was_there) for answer in answers if isinstance(answer, Shipped)
        ]
        self.assertEqual([(4, 2, False), (4, 6, False)], told)
        self.assertEqual(
            sum(answer.nbytes for answer in answers if isinstance(answer, Shipped)),
            sum(len(self.objects.read(path)) for path in paths_in(self.objects)),
        )
        self.check()
        self.assertEqual([(1, 2), (2, 2), (5, 0), (5, 1), (5, 2), (6, 0), (6, 1), (6, 2)], [
            item[1:] for item in rejected_in(self.objects)
        ])  # fmt: skip
        self.assertEqual({"tokyo"}, {row["instance"] for row in rows_in(self.objects)})
        self.assertEqual(
            ["results/date=2026-01-07/tokyo-0000000000000000001-0000000000000000002.parquet",
             "results/date=2026-01-07/tokyo-0000000000000000003-0000000000000000006.parquet",
             "rejected/date=2026-01-07/tokyo-0000000000000000001-0000000000000000002.parquet",
             "rejected/date=2026-01-07/tokyo-0000000000000000003-0000000000000000006.parquet"],
            paths_in(self.objects),
        )  # fmt: skip

    def test_what_was_put_is_only_shipped_once_it_can_be_read(self) -> None:
        self.one.post(2)
        span = cutting.cut(self.one.paths, 0, True)
        assert span is not None
        failed = self.assertRaises(ArchiveFailed, ship, SignIn(), span, "tokyo")
        self.assertIn("was put and cannot be read", str(failed))

    def test_what_has_only_rejected_items_or_nothing_is_shipped_as_that(self) -> None:
        self.one.post(right=0, wrong=2)
        self.one.rotate()
        self.one.ship()
        self.assertEqual(1, len(paths_in(self.objects)))
        self.one.post(right=0, wrong=1)
        with closing(connect(self.one.paths[-1])) as db:  # as when there is no more room for what is rejected
            db.execute("DELETE FROM rejected_results")
        self.assertEqual([Shipped(0, 0, 0, False)], self.one.ship())
        self.assertEqual((2, 1), (self.one.mark, len(paths_in(self.objects))))
        self.one.mark = 0
        self.assertFalse(self.one.find())
        self.assertEqual(1, self.one.mark)

    def test_the_same_span_again_is_done_without_a_put(self) -> None:
        self.one.post(2, wrong=1)
        self.one.ship()
        self.one.mark = 0
        self.objects.lost = ["before"] * 4
        self.assertEqual([Shipped(4, 2, 0, True)], self.one.ship())
        self.patch(parquet, "_MOST_GROUP_ROWS", 1)
        self.one.mark = 0
        self.assertEqual([Shipped(4, 2, 0, True)], self.one.ship())
        self.check()

    def test_a_doubtful_answer_is_no_loss_and_no_double(self) -> None:
        self.one.post(2, wrong=1)
        for lost in (["before"], ["after"], ["before"], ["after"]):
            self.objects.lost = lost
            self.assertRaises(ArchiveFailed, self.one.ship)
            self.assertEqual(0, self.one.mark)
        answer = self.one.ship()[0]
        self.assertEqual(Shipped(4, 2, 0, True), answer)
        self.check()
        self.assertEqual(2, len(rejected_in(self.objects)))

    def test_one_that_another_put_meanwhile_is_compared(self) -> None:
        self.one.post(2)
        self.patch(self.objects, "folders", lambda folder: [])
        for twin in (self.one, self.clone(self.one)):
            twin.ship()
            self.assertEqual(2, twin.mark)
        other = self.collector()
        other.post(2)
        self.assertRaises(AssertionError, other.ship)
        self.assertEqual(0, other.mark)
        del self.objects.folders
        self.check()

    def test_objects_of_another_digest_are_never_overwritten(self) -> None:
        self.one.post()
        self.one.ship()
        before = {path: self.objects.read(path) for path in paths_in(self.objects)}
        other = self.collector()
        other.post()
        answers = other.ship()
        self.assertIsInstance(answers[0], Taken)
        self.assertEqual("tokyo.2", other.name)
        self.assertLessEqual(before.items(), {path: self.objects.read(path) for path in paths_in(self.objects)}.items())
        self.check()

    def test_what_is_no_parquet_under_our_name_is_not_ours(self) -> None:
        self.one.post()
        for number, content in enumerate([b"", b"PAR1", b"x" * 1000]):
            name = f"tokyo-{1:019}-{1:019}.parquet"
            self.objects.put(f"results/date=2026-01-0{number + 7}/{name}", [content])
        self.one.ship()
        self.assertEqual(("tokyo.2", 1), (self.one.name, self.one.mark))

    def test_what_is_parquet_of_another_kind_under_our_name_is_not_ours(self) -> None:
        self.one.post()
        columns = ("batch_id", "id", "node", "received_at", "ip", "timestamp")
        for number, values in enumerate(([["a"]], ["a"], [None], [1])):
            file = io.BytesIO()
            pq.write_table(pa.table(dict.fromkeys(columns, values)), file)
            name = f"tokyo-{1:019}-{1:019}.parquet"
            self.objects.put(f"results/date=2026-01-0{number + 6}/{name}", [file.getvalue()])
        self.one.ship()
        self.assertEqual(("tokyo.2", 1), (self.one.name, self.one.mark))

    def test_a_lost_mark_is_found_again(self) -> None:
        for wrong in (0, 1, 0):
            self.one.post(2, wrong=wrong)
            self.one.ship()
        self.one.post()
        self.one.mark = 0
        self.assertFalse(self.one.find())
        self.assertEqual(6, self.one.mark)
        self.check()
        self.assertEqual(2, len(rejected_in(self.objects)))

    def test_a_mark_that_is_lost_and_not_looked_for_costs_nothing(self) -> None:
        for _ in range(3):
            self.one.post(2, wrong=1)
            self.one.ship()
        self.one.mark = 0
        self.one.post(2)
        self.assertIsInstance(self.one.ship()[0], Taken)
        self.assertEqual("tokyo", self.one.name)
        self.check()

    def test_a_mark_that_is_lost_between_the_two_objects_of_a_span_is_found_behind_it_and_the_second_is_put(
        self,
    ) -> None:
        self.one.post(2, wrong=1)
        self.objects.lost = ["", "before"]
        self.assertRaises(ArchiveFailed, self.one.ship)
        self.one.post()
        self.assertFalse(self.one.find())
        self.assertEqual((2, 2), (self.one.mark, len(rejected_in(self.objects))))
        self.check()

    def test_a_lost_mark_is_found_again_when_spans_end_elsewhere(self) -> None:
        self.patch(cutting, "_MOST_BYTES", 600)
        self.one.post(10)
        self.one.ship(3)
        mark = self.one.mark
        self.assertGreater(10, mark)
        self.patch(cutting, "_MOST_BYTES", 1100)
        self.one.mark = 0
        self.one.find()
        self.assertEqual(mark, self.one.mark)
        self.one.mark = 0
        self.check()
        self.assertEqual("tokyo", self.one.name)

    def test_a_lost_mark_is_found_when_older_files_were_pruned(self) -> None:
        for _ in range(3):
            self.one.post(2)
            self.one.ship()
            self.one.rotate()
        self.one.mark = 0
        paths = self.one.paths[1:]
        self.patch(Collector, "paths", paths)
        self.assertFalse(self.one.find())
        self.assertEqual(6, self.one.mark)
        self.one.mark = 0
        self.patch(Collector, "paths", self.one.paths[1:][-1:])
        self.assertFalse(self.one.find())

    def test_spans_of_several_days_are_found_whatever_the_clock_did(self) -> None:
        for clock_is_off_s in (0, 3 * _DAY_S, -_DAY_S, _DAY_S):
            self.one.bench.clock_is_off_s = clock_is_off_s
            self.one.post()
            self.one.ship()
        self.one.mark = 0
        self.assertFalse(self.one.find())
        self.assertEqual(4, self.one.mark)
        self.check()

    def test_a_clone_ships_what_both_had_once_and_its_own_under_another_name(self) -> None:
        for shipped, unshipped in ((0, 3), (2, 0), (2, 3), (0, 0)):
            self.setUp()
            self.one.post(shipped, wrong=1)
            self.one.ship()
            self.one.post(unshipped)
            other = self.clone(self.one)
            self.one.post(2)
            other.post(3)
            self.one.ship()
            other.ship()
            self.assertEqual(("tokyo", "tokyo.2"), (self.one.name, other.name))
            self.one.post()
            other.post()
            self.check()
            self.assertEqual(shipped, len(rejected_in(self.objects)))

    def test_a_clone_that_has_lost_its_mark_and_ends_its_spans_elsewhere_ships_the_rest_once(self) -> None:
        self.patch(cutting, "_MOST_BYTES", 600)
        self.one.post(7)
        other = self.clone(self.one)
        self.one.post(3)
        self.one.ship()
        self.patch(cutting, "_MOST_BYTES", 1500)
        other.rotate()
        other.post(5)
        other.mark = 0
        self.assertTrue(other.find())
        self.assertEqual(7, other.mark)
        self.check()

    def test_a_clone_that_is_behind_and_has_posted_nothing_takes_another_name_when_it_does(self) -> None:
        self.one.post(2)
        other = self.clone(self.one)
        self.one.post(2)
        self.one.ship()
        other.ship()
        self.assertEqual(("tokyo.2", 2), (other.name, other.mark))
        other.post(4)
        self.check()

    def test_a_restored_backup_goes_on_above_what_it_has(self) -> None:
        self.one.post(3)
        self.one.ship(1)
        self.one.post(1)
        backup = self.clone(self.one)
        self.one.post(2)
        self.one.ship()
        self.one.post(2)
        self.one.ship()
        self.assertTrue(backup.find())
        self.assertEqual(4, backup.mark)
        backup.post(10)
        self.check()

    def test_a_backup_that_is_restored_days_later_takes_another_name(self) -> None:
        """What was shipped meanwhile is of earlier days than all that is new, and than the file which that is in."""
        for is_found in (False, True):
            self.setUp()
            self.one.post(2)
            self.one.ship()
            backup = self.clone(self.one)
            self.one.post(2)
            self.one.ship()
            backup.bench.clock_is_off_s = 5 * _DAY_S
            backup.rotate()
            backup.post(2)
            if is_found:
                self.assertTrue(backup.find())
            self.check()
            self.assertEqual("tokyo.2", backup.name)

    def test_two_histories_of_one_name_from_the_beginning_share_nothing(self) -> None:
        other = self.collector()
        self.one.post(3)
        other.post(5)
        self.one.ship()
        self.assertTrue(other.find())
        self.assertEqual(0, other.mark)
        self.check()

    def test_batches_without_rows_are_no_proof_that_two_are_alike(self) -> None:
        other = self.clone(self.one)
        self.one.post(2)
        self.one.ship()
        self.one.post(right=0, wrong=1)
        self.one.post(1)
        self.one.ship()
        other.post(2)
        other.post(right=0, wrong=1)
        other.post(2)
        other.find()
        self.assertEqual(0, other.mark)
        self.check()

    def test_rejected_items_are_no_proof_that_results_are_alike(self) -> None:
        other = self.clone(self.one)
        self.one.post(right=0, wrong=1)
        self.one.ship()
        other.post(right=1, wrong=1)
        other.find()
        self.assertEqual(0, other.mark)
        self.check()

    def test_the_days_before_ours_are_not_listed(self) -> None:
        self.one.bench.clock_is_off_s = -5 * _DAY_S
        older = self.collector()
        older.bench.clock_is_off_s = -5 * _DAY_S
        older.post()
        older.ship()
        listed: list[str] = []

        def paths(folder: str, beginning: str, above: str) -> Iterator[str]:
            listed.append(folder)
            return iter(())

        self.patch(self.objects, "paths", paths)
        for mark in (0, 1):
            fresh = self.collector()
            fresh.mark = mark
            fresh.find()
            fresh.post()
            fresh.ship()
        self.assertNotIn("results/date=2026-01-02", listed)
        self.assertIn("results/date=2026-01-07", listed)

    def test_of_a_day_only_names_above_the_mark_are_listed_and_those_that_may_reach_beyond_it(self) -> None:
        self.patch(listing, "_MOST_BATCHES", 3)
        for _ in range(6):
            self.one.post()
            self.one.ship()
        before, listed = paths_in(self.objects), []
        paths = self.objects.paths

        def watched(*asked: str) -> list[str]:
            listed.extend(paths(*asked))
            return list(paths(*asked))

        self.patch(self.objects, "paths", watched)
        self.one.post()
        self.one.ship()
        self.assertEqual(before[2:], listed)

    def test_two_that_have_put_at_the_same_moment_find_out_when_they_put_next(self) -> None:
        self.one.post(2)
        other = self.clone(self.one)
        self.one.post()
        self.patch(self.objects, "folders", lambda folder: [])
        self.one.ship()
        other.ship()
        self.assertEqual(("tokyo", "tokyo"), (self.one.name, other.name))
        del self.objects.folders
        other.post()
        other.ship()
        self.assertEqual("tokyo.2", other.name)

    def test_a_damaged_file_of_ours_holds_nothing_up(self) -> None:
        for _ in range(3):
            self.one.post(2)
            self.one.ship()
            self.one.rotate()
        self.one.mark = 0
        with closing(connect(self.one.paths[2])) as db:
            db.execute("UPDATE ping_results SET timestamp = 'soon'")
        self.assertFalse(self.one.find())
        self.assertEqual(6, self.one.mark)
        self.one.mark = 0
        damaged = Path(self.mktemp())
        damaged.write_bytes(b"SQLite format 3\0" + bytes(4080))
        self.patch(Collector, "paths", (*self.one.paths[:1], damaged, self.one.paths[-1]))
        self.assertFalse(self.one.find())
        self.assertEqual(2, self.one.mark)

    def test_nothing_is_shipped_under_a_name_that_would_not_be_found_again(self) -> None:
        self.one.post()
        for name in ("to-kyo", "", "x" * 98):
            self.one.name = name
            self.assertRaises(ArchiveFailed, self.one.ship)
            self.assertRaises(ArchiveFailed, self.one.find)
        self.one.name = "x" * 97
        self.check()

    def test_a_span_that_its_file_does_not_have_is_not_shipped_in_part(self) -> None:
        self.one.post(2)
        for first, last in ((1, 3), (3, 4), (0, 2)):
            failed = self.assertRaises(
                Unreadable, ship, self.objects, Span(self.one.paths[0], "2026-01-07", first, last), "x"
            )
            self.assertEqual(Kind.GONE, failed.kind)
        self.assertEqual([], paths_in(self.objects))

    def test_names_of_other_instances_are_left_alone(self) -> None:
        for name in ("to", "tokyo.a", "tokyo1", "u"):
            other = self.collector()
            other.name = name
            other.post(3)
            other.ship()
        self.one.post(2)
        self.one.ship()
        self.assertFalse(self.one.find())
        self.check()


class CloudTests(ShippingTests):
    def archive(self) -> Any:
        return Cloud(MemoryStore())


class DirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not _HAS_EXTRA:
            raise SkipTest("pyarrow or obstore is not installed: pip install 'outputd[archive]'")
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.objects = Directory(self.base)

    def test_nothing_is_made_where_the_directory_is_not(self) -> None:
        self.base.rmdir()
        for work in (lambda: self.objects.put("results/a", [b""]), lambda: self.objects.folders("results")):
            self.assertEqual(Kind.GONE, self.assertRaises(ArchiveFailed, work).kind)
        self.assertFalse(self.base.exists())

    def test_a_put_that_fails_leaves_nothing(self) -> None:
        self.assertRaises(TypeError, self.objects.put, "results/a", [b"a", None])
        self.assertEqual([], [path.name for path in self.base.rglob("*") if path.is_file()])

    def test_a_full_disk_is_told_as_that_and_leaves_nothing(self) -> None:
        def no_room(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch = self.patch(os, "fsync", no_room)
        failed = self.assertRaises(ArchiveFailed, self.objects.put, "results/a", [b"a"])
        self.assertEqual(Kind.FULL, failed.kind)
        self.assertEqual([], [path.name for path in self.base.rglob("*") if path.is_file()])
        patch.restore()
        self.assertTrue(self.objects.put("results/a", [b"a"]))

    def test_a_file_system_without_hard_links_is_refused(self) -> None:
        def no_links(made: Path, path: Path) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        self.patch(os, "link", no_links)
        failed = self.assertRaises(ArchiveFailed, self.objects.put, "results/a", [b"a"])
        self.assertIn("hard links", str(failed))
        self.assertEqual([], [path.name for path in self.base.rglob("*") if path.is_file()])

    def test_what_a_crash_has_left_is_deleted_when_it_is_old(self) -> None:
        for name, age_s in ((".outputd-old.tmp", 7200), (".outputd-new.tmp", 0), ("theirs.tmp", 7200)):
            path = self.base / name
            path.touch()
            state = path.stat()
            os.utime(path, (state.st_atime - age_s, state.st_mtime - age_s))
        self.objects.put("results/a", [b"a"])
        self.assertEqual({".outputd-new.tmp", "theirs.tmp", "results"}, {path.name for path in self.base.iterdir()})
