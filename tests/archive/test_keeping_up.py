"""What `outputd.archive.keeping_up` promises, beside an archive in memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive import mark as marks
from outputd.archive.asking import Asking
from outputd.archive.asks import Failed, Find, Ship
from outputd.archive.keeping_up import KeepingUp
from outputd.archive.retention import Retention
from outputd.archive.standing import Standing
from outputd.store.rotation import Rotation
from tests.archive.worker import Place
from tests.kit.bench import Bench
from tests.kit.damage import spoil_leaf
from tests.kit.logs import said
from tests.kit.makers import a_result
from tests.kit.pools import inline, outcome

EVERY_S = 600.0


class Sender:
    """A store with the shipping of what it has, on one clock; `start` begins a new process on the directory."""

    def __init__(self, test: SynchronousTestCase, place: Place, directory: Path, **limits: float) -> None:
        self.test = test
        self.place = place
        self.name: str | None = None
        self.url = "s3://bucket/prefix"
        self.bench = Bench(directory, **limits)
        self.begin()

    def begin(self) -> None:
        bench = self.bench
        self.asking = Asking(self.place.worker, inline, bench.clock)
        self.standing = Standing(bench.store, bench.directory, self.url, self.name, "host", inline, bench.clock)
        self.shipping = KeepingUp(
            bench.store, self.standing, EVERY_S, self.asking, bench.clock, chance=lambda: 0.0
        )  # fmt: skip
        self.retention = Retention(lambda: bench.store.files, lambda: self.standing.through, 3 << 20)
        bench.rotation = Rotation(bench.store, bench.clock, bench.ledger, lambda: self.retention.let_go)
        self.shipping.start()
        self.test.addCleanup(lambda: outcome(self.shipping.stop()))

    def end(self) -> None:
        """As a kill leaves it, but for the connections."""
        self.bench.outcome(self.shipping.stop())
        self.bench.stop()

    def again(self) -> None:
        self.end()
        self.bench.start()
        self.begin()

    def keep(self, batches: int, *items: object) -> None:
        for _ in range(batches):
            self.bench.post(*(items or [a_result(), a_result(ip="9.9.9.9")]))

    def rotate(self) -> None:
        self.bench.outcome(self.bench.rotation.rotate("asked for"))

    def pass_seconds(self, seconds: int) -> None:
        self.bench.clock.pump([1.0] * seconds)

    def mark(self) -> marks.Mark:
        mark = marks.read(self.bench.directory.archive)
        assert mark is not None, "there is none"
        return mark


class ShippingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place()
        self.sender = self.another()

    def another(self, **limits: float) -> Sender:
        return Sender(self, self.place, Path(self.mktemp()), **limits)

    def copied(self, of: Sender) -> Sender:
        """Another service on a copy of a directory."""
        path = Path(self.mktemp())
        shutil.copytree(of.bench.path, path)
        for companion in (*path.glob("*-wal"), *path.glob("*-shm")):
            assert companion.stat().st_size >= 0
        return Sender(self, self.place, path)


class When(ShippingTest):
    def test_nothing_is_asked_and_no_child_lives_while_there_is_nothing(self) -> None:
        self.sender.pass_seconds(2000)
        self.assertEqual(([], 0), (self.place.asked, self.place.children))
        self.assertFalse(self.sender.bench.directory.archive.exists())

    def test_what_makes_no_whole_object_waits_for_company(self) -> None:
        self.sender.pass_seconds(1000)
        self.sender.keep(2)
        self.sender.pass_seconds(599)
        self.assertEqual([], self.place.spans)
        self.sender.pass_seconds(2)
        self.assertEqual([(1, 2)], self.place.spans)
        self.assertEqual(0.0, self.sender.shipping.lag_s)

    def test_a_closed_file_is_shipped_at_once_and_the_rest_is_not(self) -> None:
        self.sender.keep(2)
        self.sender.rotate()
        self.sender.keep(1)
        self.sender.pass_seconds(1)
        self.assertEqual([(1, 2)], self.place.spans)

    def test_no_object_is_of_two_files(self) -> None:
        self.sender.keep(2)
        self.sender.rotate()
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.assertEqual([(1, 2), (3, 4)], self.place.spans)

    def test_a_file_that_grows_by_128_mib_is_shipped_at_once_as_far_as_it_makes_whole_objects(self) -> None:
        self.sender.keep(4)
        self.sender.pass_seconds(1)
        self.assertEqual([], self.place.spans)
        self.sender.bench.store.current.size_bytes = 128 << 20
        self.sender.pass_seconds(1)
        self.assertEqual([(1, 3)], self.place.spans)
        asked = len(self.place.asked)
        self.sender.pass_seconds(100)
        self.assertEqual(asked, len(self.place.asked))
        self.sender.bench.store.current.size_bytes = 256 << 20
        self.sender.pass_seconds(1)
        self.assertGreater(len(self.place.asked), asked)

    def test_what_comes_while_the_rest_is_shipped_waits_for_its_own_time(self) -> None:
        """Else a stream of results would be a stream of tiny objects."""
        self.place.after_put = lambda: self.sender.bench.keep(a_result())
        self.sender.keep(1)
        self.sender.pass_seconds(600 + 590)
        self.assertEqual(1, len(self.place.spans))
        self.sender.pass_seconds(11)
        self.assertEqual(2, len(self.place.spans))
        self.assertLess(self.sender.shipping.lag_s, 605)

    def test_the_end_of_a_day_is_shipped_at_once(self) -> None:
        """An hour and a half after the clock of the tests begins, by whatever the time of day says."""
        self.sender.keep(1)
        self.sender.bench.clock_is_off_s = 5_400.0
        self.sender.pass_seconds(1)
        self.assertEqual([(1, 1)], self.place.spans)

    def test_a_clock_that_is_set_a_day_back_and_forth_ships_all_of_it_once(self) -> None:
        for off_s in (0.0, -86_400.0, 0.0, 86_400.0, 0.0):
            self.sender.bench.clock_is_off_s = off_s
            self.sender.keep(1)
            self.sender.pass_seconds(2)
        self.sender.pass_seconds(600)
        self.assertEqual(list(range(1, 11)), self.place.ids)

    def test_a_child_lives_while_there_is_more_and_half_a_minute_longer(self) -> None:
        self.sender.keep(9)
        self.sender.rotate()
        self.sender.pass_seconds(1)
        self.assertEqual([(1, 3), (4, 6), (7, 9)], self.place.spans)
        self.assertEqual(1, self.place.children)
        self.sender.pass_seconds(31)
        self.assertEqual(0, self.place.children)

    def test_what_rejects_all_is_shipped_too(self) -> None:
        self.sender.bench.post({"ip": "none"})
        self.sender.pass_seconds(600)
        self.assertEqual([(1, 1)], self.place.spans)


class Mark(ShippingTest):
    def test_a_start_goes_on_behind_it_without_a_listing(self) -> None:
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.sender.again()
        self.place.asked.clear()
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.assertEqual([(1, 2), (3, 3)], self.place.spans)
        self.assertEqual([], [asked for asked in self.place.asked if isinstance(asked, Find)])
        since = [asked.since[:10] for asked in self.place.asked if isinstance(asked, Ship)]
        self.assertEqual(["2026-01-07"], since)

    def test_a_span_is_written_down_before_it_is_put(self) -> None:
        there: list[marks.Mark] = []
        self.place.after_put = lambda: there.append(self.sender.mark())
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        file = self.sender.bench.store.current.info.path.name
        self.assertEqual([marks.UnderWay(file, "2026-01-07", 1, 2)], [mark.under_way for mark in there])
        self.assertEqual((2, None), (self.sender.mark().batch_id, self.sender.mark().under_way))

    def test_a_kill_between_the_put_and_the_mark_ships_nothing_twice(self) -> None:
        """The rest of a file would be cut at another place, once more has come."""
        left = Path(self.mktemp())
        self.sender.keep(2)
        self.place.after_put = lambda: shutil.copytree(self.sender.bench.path, left)
        self.sender.pass_seconds(600)
        self.place.after_put = lambda: None
        self.sender.end()
        restarted = Sender(self, self.place, left)
        restarted.keep(1)
        restarted.pass_seconds(600)
        self.assertEqual([(1, 2), (3, 3)], self.place.spans)
        self.assertEqual(1, len(self.place.instances))

    def test_one_that_is_lost_or_broken_is_found_again(self) -> None:
        for number, text in enumerate((None, b"", b"{", b"[]", b'{"place": 3}', os.urandom(100))):
            self.sender.keep(2)
            self.sender.pass_seconds(600)
            self.sender.end()
            if text is None:
                self.sender.bench.directory.archive.unlink()
            else:
                self.sender.bench.directory.archive.write_bytes(text)
            self.sender.bench.start()
            self.sender.begin()
            self.sender.keep(1)
            self.sender.pass_seconds(600)
            self.assertEqual(list(range(1, 6 * number + 7)), self.place.ids, text)
        self.assertEqual(1, len(self.place.instances))

    def test_one_that_says_what_cannot_be_is_found_again(self) -> None:
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        written = json.loads(self.sender.bench.directory.archive.read_bytes())
        span = {"file": self.sender.bench.store.current.info.path.name, "date": "2026-01-07"}
        for wrong in (
            {"batch_id": -1}, {"batch_id": 2**63}, {"batch_id": -(2**64)}, {"instance": ""}, {"instance": "../x-1"},
            {"under_way": {**span, "first_batch_id": 1, "last_batch_id": 2**64}},
            {"under_way": {**span, "first_batch_id": 1, "last_batch_id": 1, "date": "../.."}},
        ):  # fmt: skip
            self.sender.end()
            self.sender.bench.directory.archive.write_text(json.dumps({**written, **wrong}), encoding="ascii")
            self.sender.bench.start()
            with said() as lines:
                self.sender.begin()
            self.assertIn("archive.json cannot be read", " ".join(lines), wrong)
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.assertEqual([(1, 2), (3, 3)], self.place.spans)
        self.assertEqual(1, len(self.place.instances))

    def test_it_cannot_be_written_on_a_full_disk_and_shipping_goes_on(self) -> None:
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        full = OSError(errno.ENOSPC, "No space left on device")

        def fail(*_: object) -> None:
            raise full

        self.patch(type(self.sender.bench.directory), "overwrite", fail)
        self.sender.keep(2)
        with said() as lines:
            self.sender.pass_seconds(1200)
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.assertEqual(list(range(1, 13)), self.place.ids)
        failure = self.sender.standing.unwritten.failure
        assert failure is not None
        self.assertEqual("archive.json cannot be written: No space left on device", failure.reason)
        self.assertEqual(1, sum("archive.json" in line for line in lines), lines)
        self.sender.again()
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.assertEqual(list(range(1, 15)), self.place.ids)

    def test_nothing_is_put_under_a_name_that_is_not_on_disk(self) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(type(self.sender.bench.directory), "overwrite", fail)
        self.sender.keep(2)
        self.sender.pass_seconds(1000)
        self.assertEqual([], self.place.spans)
        failure = self.sender.shipping.trouble.failure
        assert failure is not None
        self.assertIn("No space left", failure.reason)

    def test_another_place_gets_all_that_is_still_here(self) -> None:
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.sender.end()
        self.sender.url, self.sender.place = "s3://other", Place()
        self.sender.bench.start()
        self.sender.begin()
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.assertEqual(list(range(1, 7)), self.sender.place.ids)
        self.assertEqual("s3://other", self.sender.mark().place)

    def test_what_was_pruned_while_the_archive_was_turned_off_is_told(self) -> None:
        self.sender = self.another(keep_files=1)
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.sender.end()
        self.sender.bench.start()
        self.sender.keep(2)
        self.sender.rotate()
        self.sender.end()
        self.sender.bench.start()
        self.sender.keep(1)
        with said() as lines:
            self.sender.begin()
        self.assertEqual(2, self.sender.shipping.losses.batches)
        self.assertIn("batches 3 to 4 will never be in the archive", " ".join(lines))
        self.sender.pass_seconds(600)
        self.assertEqual([(1, 2), (5, 5)], self.place.spans)


class Name(ShippingTest):
    def test_it_is_that_of_the_host_and_of_the_files(self) -> None:
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.assertEqual([f"host.{self.sender.bench.store.instance}"], self.place.instances)

    def test_another_one_goes_on_where_the_first_ended(self) -> None:
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.sender.name = "graz"
        self.sender.again()
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        of = self.sender.bench.store.instance
        self.assertEqual({(f"graz.{of}", 2, 2), (f"host.{of}", 1, 1)}, set(self.place.objects))
        self.sender.name = None
        self.sender.again()
        self.assertEqual(f"graz.{of}", self.sender.standing.mark.instance)

    def test_another_one_after_a_kill_in_the_middle_ships_nothing_twice(self) -> None:
        left = Path(self.mktemp())
        self.sender.keep(2)
        self.place.after_put = lambda: shutil.copytree(self.sender.bench.path, left)
        self.sender.pass_seconds(600)
        self.place.after_put = lambda: None
        self.sender.end()
        restarted = Sender(self, self.place, left)
        restarted.end()
        restarted.name = "graz"
        restarted.bench.start()
        restarted.begin()
        restarted.keep(1)
        restarted.pass_seconds(600)
        self.assertEqual([(1, 2), (3, 3)], self.place.spans)
        self.assertEqual(["graz", "host"], [instance.partition(".")[0] for instance in self.place.instances])

    def test_a_clone_takes_another_and_what_both_had_is_there_once(self) -> None:
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.sender.keep(2)
        self.sender.end()
        clone = self.copied(self.sender)
        self.sender.bench.start()
        self.sender.begin()
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        clone.bench.clock.advance(1)
        clone.keep(3, a_result(ip="1.1.1.1"))
        with said() as lines:
            clone.pass_seconds(1200)
        self.assertIn("another directory has shipped under the name", " ".join(lines))
        self.assertEqual(2, len(self.place.instances))
        rows = [row for rows in self.place.objects.values() for row in rows]
        self.assertEqual(6 * 2 + 3, len(rows))
        self.assertEqual(len(rows), len(set(rows)))
        assert clone.shipping.shared is not None
        self.assertEqual(clone.mark().instance, clone.standing.mark.instance)
        clone.again()
        self.assertEqual(clone.mark().instance, clone.standing.mark.instance)

    def test_a_restored_backup_takes_another_and_ships_what_is_new(self) -> None:
        """Its files end before the mark, or have other batches there."""
        for later in (1, 5):
            with self.subTest(later=later):
                self.setUp()
                self.sender.keep(2)
                self.sender.end()
                backup = Path(self.mktemp())
                shutil.copytree(self.sender.bench.path, backup)
                self.sender.bench.start()
                self.sender.begin()
                self.sender.keep(2)
                self.sender.pass_seconds(600)
                self.sender.end()
                shutil.copy(self.sender.bench.directory.archive, backup)
                restored = Bench(backup)
                restored.clock.advance(7)
                for _ in range(later):
                    restored.keep(a_result(ip="1.1.1.1"))
                restored.stop()
                sender = Sender(self, self.place, backup)
                sender.pass_seconds(600)
                rows = [row for rows in self.place.objects.values() for row in rows]
                self.assertEqual(4 * 2 + later, len(rows))
                self.assertEqual(len(rows), len(set(rows)))

    def test_a_restored_backup_without_all_that_was_under_way_ships_what_comes_in_its_place(self) -> None:
        self.sender.keep(2)
        self.sender.pass_seconds(600)
        self.sender.end()
        backup = Path(self.mktemp())
        shutil.copytree(self.sender.bench.path, backup)
        self.sender.bench.start()
        self.sender.begin()
        self.sender.keep(3)
        self.place.failure = Failed("no answer")
        self.sender.pass_seconds(601)
        self.assertEqual(5, self.sender.mark().last_batch_id)
        self.sender.end()
        shutil.copy(self.sender.bench.directory.archive, backup)
        self.place.failure = None
        restored = Sender(self, self.place, backup)
        for _ in range(3):
            restored.keep(1)
            restored.pass_seconds(601)
        self.assertEqual([(1, 2), (3, 3), (4, 4), (5, 5)], self.place.spans)


class Outages(ShippingTest):
    def test_it_tries_again_ever_less_often_and_loses_nothing(self) -> None:
        self.sender.keep(2)
        self.place.failure = Failed("connection refused")
        with said() as lines:
            self.sender.pass_seconds(600 + 3600)
            self.assertIn("connection refused", str(self.sender.shipping.trouble.failure))
            tries = self.sender.shipping.counts.failures
            self.assertLess(tries, 3600 / 30 + 10)
            self.assertGreater(tries, 3600 / 60)
            self.place.failure = None
            self.sender.pass_seconds(61)
        self.assertIsNone(self.sender.shipping.trouble.failure)
        self.assertEqual([1, 2, 3, 4], self.place.ids)
        self.assertEqual(1, sum("trying again" in line for line in lines))
        self.assertEqual(1, sum("shipped to the archive again" in line for line in lines))

    def test_the_same_span_is_put_again_though_more_has_come(self) -> None:
        self.sender.keep(1)
        self.sender.pass_seconds(600)
        self.sender.keep(1)
        self.place.failure = Failed("no answer")
        self.sender.pass_seconds(660)
        self.sender.keep(1)
        self.place.failure = None
        self.sender.pass_seconds(1260)
        self.assertEqual([(1, 1), (2, 2), (3, 3)], self.place.spans)

    def test_a_child_that_has_ended_is_replaced(self) -> None:
        self.sender.keep(1)
        self.place.failure = Failed("the archive's process has ended (-9)", is_over=True)
        self.sender.pass_seconds(601)
        self.assertEqual(0, self.place.children)
        self.place.failure = None
        self.sender.pass_seconds(60)
        self.assertEqual([(1, 1)], self.place.spans)

    def test_lag_is_that_of_the_oldest_result_that_waits(self) -> None:
        self.place.failure = Failed("no")
        self.sender.pass_seconds(100)
        self.sender.keep(1)
        self.sender.pass_seconds(700)
        self.assertAlmostEqual(700.0, self.sender.shipping.lag_s, delta=2)


class Losses(ShippingTest):
    def closed(self, batches: int = 2) -> Path:
        path = self.sender.bench.store.current.info.path
        self.sender.keep(batches)
        self.sender.rotate()
        self.sender.bench.outcome(self.sender.bench.store.finish_closed())
        return path

    def test_a_damaged_range_is_left_out_after_a_few_tries_and_holds_up_nothing(self) -> None:
        for n in range(100):
            self.sender.keep(1, a_result(error=f"of {n} " + "x" * 500))
        damaged = self.sender.bench.store.current.info.path
        self.sender.rotate()
        self.sender.bench.outcome(self.sender.bench.store.finish_closed())
        spoil_leaf(damaged, b"of 77")
        self.closed()
        with said() as lines:
            self.sender.pass_seconds(60)
        lost = self.sender.shipping.losses.batches
        self.assertGreater(lost, 0)
        self.assertEqual(102, self.sender.standing.through)
        self.assertEqual(100 - lost + 2 * 2, len(self.place.ids))
        self.assertIn("will never be in the archive", " ".join(lines))
        self.assertIsNotNone(self.sender.shipping.losses.failure)

    def test_a_closed_file_that_someone_deletes_holds_up_nothing(self) -> None:
        self.place.failure = Failed("no")
        gone = self.closed()
        self.sender.pass_seconds(5)
        gone.unlink()
        self.closed()
        self.place.failure = None
        self.sender.pass_seconds(300)
        self.assertEqual(0, self.sender.shipping.losses.batches)
        self.sender.pass_seconds(1200)
        self.assertEqual([(3, 4)], self.place.spans)
        self.assertEqual(2, self.sender.shipping.losses.batches)

    def test_one_that_comes_back_in_time_is_shipped(self) -> None:
        """Its disk was away."""
        gone = self.closed()
        gone.rename(aside := gone.with_suffix(".aside"))
        self.sender.pass_seconds(300)
        aside.rename(gone)
        self.sender.pass_seconds(61)
        self.assertEqual([(1, 2)], self.place.spans)
        self.assertEqual(0, self.sender.shipping.losses.batches)

    def test_a_current_file_that_someone_deletes_is_waited_for(self) -> None:
        self.sender.bench.rotation.start()
        self.addCleanup(lambda: self.sender.bench.outcome(self.sender.bench.rotation.stop()))
        self.sender.keep(2)
        self.sender.bench.store.current.info.path.unlink()
        self.sender.pass_seconds(700)
        self.assertEqual([1, 2, 3, 4], self.place.ids)
        self.assertEqual(0, self.sender.shipping.losses.batches)

    def test_a_file_of_someone_else_in_the_place_of_the_current_one_is_not_shipped(self) -> None:
        self.sender.bench.rotation.start()
        self.addCleanup(lambda: self.sender.bench.outcome(self.sender.bench.rotation.stop()))
        other = self.another()
        other.keep(5, a_result(ip="1.1.1.1"))
        other.end()
        self.sender.keep(2)
        made = self.sender.bench.path / "made"
        shutil.copy(other.bench.store.current.info.path, made)
        os.replace(made, self.sender.bench.store.current.info.path)
        self.sender.pass_seconds(700)
        rows = [row for rows in self.place.objects.values() for row in rows]
        self.assertEqual({"8.8.8.8", "9.9.9.9"}, {row[3] for row in rows})
        self.assertEqual([1, 2, 3, 4], self.place.ids)

    def test_no_file_is_deleted_before_it_is_shipped(self) -> None:
        self.sender = self.another(keep_files=2)
        self.place.failure = Failed("no")
        for _ in range(5):
            self.closed()
        self.assertEqual(6, len(self.sender.bench.store.files))
        self.assertGreater(self.sender.retention.backlog_bytes, 0)
        self.assertIsNone(self.sender.bench.rotation.failure)
        self.place.failure = None
        self.sender.pass_seconds(61)
        self.closed()
        self.assertEqual(2, len(self.sender.bench.store.files))
        self.assertEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], self.place.ids)

    def test_above_the_limit_the_oldest_goes_and_is_told(self) -> None:
        self.sender = self.another(keep_files=2)
        self.place.failure = Failed("no")
        for _ in range(6):
            self.sender.keep(1, *[a_result(error="x" * 1000)] * 900)
            self.sender.pass_seconds(1)
            with said() as lines:
                self.sender.rotate()
                self.sender.pass_seconds(1)
        self.assertLess(self.sender.retention.backlog_bytes, 3 << 20)
        lost = self.sender.shipping.losses.batches
        self.assertGreater(lost, 1)
        self.assertIn(f"batches {lost} to {lost} will never be in the archive", " ".join(lines))
        self.place.failure = None
        self.sender.pass_seconds(61)
        self.assertEqual(6 - lost, len(self.place.spans))


class Ends(ShippingTest):
    def test_a_stop_ends_the_child_and_starts_no_other(self) -> None:
        self.sender.keep(1)
        self.sender.rotate()
        self.sender.pass_seconds(1)
        self.assertEqual(1, self.place.children)
        self.sender.bench.outcome(self.sender.shipping.stop())
        self.sender.keep(5)
        self.sender.pass_seconds(2000)
        self.assertEqual((0, [(1, 1)]), (self.place.children, self.place.spans))
