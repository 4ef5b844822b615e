"""What `outputd.queries` promises; a number is that of a rule of the contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries import Wanted
from tests.fakes import Bench, a_result, a_trace, many_hops, outcome


class Recent(SynchronousTestCase):
    """Rule 16: `/recent` spans all files, newest first by arrival."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.queries = self.bench.queries()

    def recent(self, limit: int = 100, ip: str | None = None) -> list[Mapping[str, Any]]:
        return list(outcome(self.queries.recent(Wanted(limit, ip))).rows)

    def rotate(self) -> None:
        self.bench.outcome(self.bench.store.rotate())

    def test_nothing_yet(self) -> None:
        """Rule 16."""
        self.assertEqual(self.recent(), [])

    def test_the_spec_s_seven_fields_in_its_order(self) -> None:
        """Rule 16."""
        self.bench.keep(a_result(packet_loss=0, avg_rtt=15_000_000))
        (found,) = self.recent()
        self.assertEqual(
            list(found.items()),
            [
                ("id", 1), ("ip", "8.8.8.8"), ("sent", 4), ("received", 4), ("packet_loss", 0),
                ("avg_rtt", 15_000_000), ("timestamp", "2026-01-07T22:30:00Z"),
            ],
        )  # fmt: skip

    def test_null_where_there_is_nothing(self) -> None:
        """Rule 16: null where NULL; -1 is absent."""
        self.bench.keep(a_result(), a_result(avg_rtt=-1))
        self.assertEqual([found["avg_rtt"] for found in self.recent()], [None, None])

    def test_an_error_only_where_there_is_one(self) -> None:
        """Rule 16: the spec's jq filter works."""
        self.bench.keep(a_result(), a_result(error="no route"), a_result(error=None), a_result(error=""))
        self.assertEqual(
            [found.get("error", "absent") for found in self.recent()], ["", "absent", "no route", "absent"]
        )

    def test_packet_loss_is_a_whole_number_where_it_is_one(self) -> None:
        """Rule 16: as in the spec's example."""
        self.bench.keep(a_result(packet_loss=25), a_result(packet_loss=33.3), a_result(received=0))
        losses = [found["packet_loss"] for found in self.recent()]
        self.assertEqual([repr(loss) for loss in losses], ["100", "33.3", "25"])

    def test_times_are_printed_with_all_their_digits(self) -> None:
        """Rule 4."""
        self.bench.keep(
            a_result(timestamp="2026-01-07t23:30:00.123456789+01:00"), a_result(timestamp="0001-01-01T00:00:00Z")
        )
        self.assertEqual(
            [found["timestamp"] for found in self.recent()], ["0001-01-01T00:00:00Z", "2026-01-07T22:30:00.123456789Z"]
        )

    def test_newest_first_by_arrival_and_not_by_a_time_that_may_be_wrong(self) -> None:
        """Rule 16."""
        for year in (2026, 9999, 1970, 2001):
            self.bench.keep(a_result(timestamp=f"{year}-01-01T00:00:00Z"))
        self.assertEqual([found["id"] for found in self.recent()], [4, 3, 2, 1])

    def test_over_all_files_in_the_order_of_ids(self) -> None:
        """Rule 16."""
        for _ in range(4):
            self.bench.keep(a_result(), a_trace(*many_hops(2)))
            self.rotate()
        self.assertEqual([found["id"] for found in self.recent()], [8, 7, 6, 5, 4, 3, 2, 1])
        self.assertEqual([found["id"] for found in self.recent(limit=3)], [8, 7, 6])
        self.assertEqual([found["id"] for found in self.recent(limit=1)], [8])

    def test_files_are_read_by_their_order_and_not_by_name(self) -> None:
        """Rules 11 and 16."""
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        self.rotate()
        self.bench.keep(a_result())
        self.bench.stop()
        old.rename(old.with_name("results_2099-01-01_00-00-00.db"))
        self.bench.start()
        self.assertEqual([found["id"] for found in self.recent()], [2, 1])

    def test_of_one_target_alone(self) -> None:
        """Rules 3 and 16."""
        for ip in ("8.8.8.8", "::ffff:8.8.8.8", "2001:DB8::A", "1.1.1.1"):
            self.bench.keep(a_result(ip=ip))
            self.rotate()
        self.assertEqual([found["id"] for found in self.recent(ip="8.8.8.8")], [2, 1])
        self.assertEqual([found["id"] for found in self.recent(ip="2001:db8::a")], [3])
        self.assertEqual(self.recent(ip="9.9.9.9"), [])

    def test_what_was_answered_is_found_though_it_is_still_in_the_wal(self) -> None:
        """Rule 1."""
        self.bench.keep(*[a_result()] * 500)
        self.assertEqual(len(self.recent(1000)), 500)

    def test_a_file_that_is_pruned_meanwhile_costs_nothing_but_its_rows(self) -> None:
        """Rules 13 and 16."""
        for _ in range(2):
            self.bench.keep(a_result())
            self.rotate()
        self.bench.directory.remove(self.bench.store.files[0].path)
        self.assertEqual([found["id"] for found in self.recent()], [2])

    def test_asking_leaves_the_files_as_they_are(self) -> None:
        """Rule 11: readers neither write nor checkpoint."""
        self.bench.keep(*[a_result()] * 500)
        files = {path: path.read_bytes() for path in self.bench.path.iterdir() if not path.name.endswith("-shm")}
        self.recent()
        self.assertEqual({path: path.read_bytes() for path in files}, files)
