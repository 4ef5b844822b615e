"""What `outputd.queries.targets` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from outputd.queries.arrivals import ARRIVALS, Arrivals
from outputd.queries.series import SERIES, Series
from outputd.queries.targets import TARGETS, Targets
from tests.kit.asking import JANUARY, Asking
from tests.kit.makers import a_result


class TheTargets(Asking):
    def test_duplicates_of_one_result_make_up_for_no_loss_of_another(self) -> None:
        """Rule 16: over results, nodes, files and buckets alike."""
        whole, none = a_result(received=8), a_result(received=0)
        self.bench.post(whole, none, node="a")
        self.bench.outcome(self.bench.store.rotate())
        self.bench.post(whole, node="a")
        self.bench.post(none, node="b")
        (target,) = self.ask(TARGETS, Targets(10))["targets"]
        (arrived,) = self.ask(ARRIVALS, Arrivals(3600, *JANUARY))["buckets"]
        counts = [(row["sent"], row["received"], row["lost"], row["loss_percent"]) for row in (target, arrived)]
        self.assertEqual(counts, [(16, 16, 8, 50.0)] * 2)
        of_a, of_b = self.ask(SERIES, Series("8.8.8.8", 3600, *JANUARY))["buckets"]
        self.assertEqual((of_a["lost"], of_a["loss_percent"], of_b["lost"], of_b["loss_percent"]), (4, 33.333, 4, 100))

    def test_all_is_lost_where_nothing_was_sent(self) -> None:
        """Rule 2."""
        self.bench.post(a_result(sent=0, received=0))
        (target,) = self.ask(TARGETS, Targets(10))["targets"]
        self.assertEqual((target["lost"], target["loss_percent"]), (0, 100))
