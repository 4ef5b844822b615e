"""What `outputd.queries.arrivals` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from outputd.queries.arrivals import ARRIVALS, Arrivals
from tests.kit.asking import Asking
from tests.kit.bench import EPOCH
from tests.kit.makers import a_result


class TheArrivals(Asking):
    def test_spans_of_arrival_that_adjoin_have_each_minute_once(self) -> None:
        """Rule 16; a minute is where its beginning is."""
        for _ in range(6):
            self.bench.post(a_result())
            self.bench.clock.advance(30)
        whole = ("2026-01-07 22:30:00", "2026-01-07 22:34:00")
        for cut in ("22:31:00", "22:31:00.000000001", "22:31:59.999999999", "22:32:00", "22:33:00", "22:30:00.5"):
            spans = [(whole[0], f"2026-01-07 {cut}"), (f"2026-01-07 {cut}", whole[1])]
            starts = [self.arrived(*span) for span in spans]
            self.assertEqual([*starts[0], *starts[1]], self.arrived(*whole), cut)
        self.assertEqual(self.arrived("2026-01-07 22:30:00", "2026-01-07 22:31:00"), ["2026-01-07T22:30:00Z"])
        self.assertEqual(len(self.arrived(*whole)), 4)

    def arrived(self, since: str, until: str, minutes: int = 1) -> list[str]:
        """Where buckets with arrivals start."""
        answer = self.ask(ARRIVALS, Arrivals(60 * minutes, since, until))
        return [bucket["start"] for bucket in answer["buckets"]]

    def test_a_clock_of_our_own_that_is_before_1970_has_its_buckets_too(self) -> None:
        self.bench.clock.rightNow = -EPOCH - 90 * 60
        self.bench.post(a_result())
        self.assertEqual(self.arrived("1969-12-01 00:00:00", "1970-02-01 00:00:00", 60), ["1969-12-31T22:00:00Z"])
