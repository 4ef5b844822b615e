"""The parts of benchmarks/ that only reckon: percentiles, ratios of turns, tables, bodies."""

import json
import re
import tempfile
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks import bench, fleet, kinds, limit, load
from benchmarks.figures import Row, Spread, alternating, clock, in_turn, overview, ratios, table


class PercentileTests(SynchronousTestCase):
    def test_nearest_rank(self) -> None:
        self.assertEqual(load.percentiles(range(1000)), {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 999})

    def test_one_value_is_all_of_them(self) -> None:
        self.assertEqual(set(load.percentiles([7.0]).values()), {7.0})

    def test_without_values_there_are_none(self) -> None:
        self.assertEqual(load.percentiles([]), {})


class SpreadTests(SynchronousTestCase):
    def test_median_and_range(self) -> None:
        self.assertEqual(Spread.of([3.0, 1.0, 10.0, 2.0]), Spread(2.5, 1.0, 10.0))

    def test_nothing_measured_is_an_error(self) -> None:
        self.assertRaises(ValueError, Spread.of, [])

    def test_digits_follow_the_median(self) -> None:
        self.assertEqual(str(Spread(0.714, 0.651, 0.7)), "0.71 (0.65-0.70)")
        self.assertEqual(str(Spread(71.44, 6.0, 80.0)), "71.4 (6.0-80.0)")
        self.assertEqual(str(Spread(12345.6, 9.0, 20000.0)), "12,346 (9-20,000)")

    def test_one_value_has_no_range(self) -> None:
        self.assertEqual(str(Spread.of([0.5])), "0.50")


class RatioTests(SynchronousTestCase):
    def test_the_ratio_of_each_turn_and_then_the_median(self) -> None:
        """A machine that becomes twice as slow between two turns changes no ratio."""
        self.assertEqual(ratios([(50.0, 100.0), (25.0, 50.0), (60.0, 100.0)]), Spread(0.5, 0.5, 0.6))

    def test_beside_nothing_it_is_infinite(self) -> None:
        self.assertEqual(ratios([(1.0, 0.0)]).median, float("inf"))


class TurnTests(SynchronousTestCase):
    def test_each_comes_first_in_turn(self) -> None:
        order: list[str] = []

        def taken(name: str) -> str:
            order.append(name)
            return name

        pairs = list(alternating(3, lambda: taken("A"), lambda: taken("B")))
        self.assertEqual("".join(order), "ABBAAB")
        self.assertEqual(pairs, [("A", "B")] * 3)


class RowTests(SynchronousTestCase):
    ROWS = (
        Row("rate", "results/s", {"outputd": [50.0, 20.0], "Go": [100.0, 50.0]}),
        Row("cost", "ms", {"outputd": [2.0]}),
    )

    def test_turns_of_several_go_back_and_forth(self) -> None:
        order: list[str] = []
        works = {name: partial(order.append, name) for name in "ABC"}
        self.assertEqual([set(turn) for turn in in_turn(2, works)], [{"A", "B", "C"}] * 2)
        self.assertEqual("".join(order), "ABCCBA")

    def test_a_row_is_a_share_of_each_other_that_was_measured(self) -> None:
        self.assertEqual(
            overview(self.ROWS),
            "|  | outputd |  | of Go |\n| --- | ---: | ---: | ---: |\n"
            "| rate | 35.0 (20.0-50.0) | results/s | 0.45 (0.40-0.50) |\n| cost | 2.00 | ms |  |",
        )

    def test_a_chart_has_a_bar_for_each_that_was_measured(self) -> None:
        if find_spec("matplotlib") is None:
            raise SkipTest("matplotlib is not installed: `make chart` installs it")
        chart = import_module("benchmarks.chart")
        rows = [{"title": "best rate: small", "unit": "results/s", "outputd": [3.0, 1.0, 2.0], "Go": [4.0]}]
        for theme in chart.THEMES.values():
            [axes] = chart.draw(rows, theme).axes
            self.assertEqual([bar.get_width() for bar in axes.patches], [2.0, 4.0])
        self.assertRaises(ValueError, chart.draw, [], theme)


class TableTests(SynchronousTestCase):
    def test_markdown(self) -> None:
        self.assertEqual(
            table(["connections", "share"], [[1, Spread.of([0.5])], [16, "0.7"]]),
            "| connections | share |\n| --- | ---: |\n| 1 | 0.50 |\n| 16 | 0.7 |",
        )

    def test_a_row_that_does_not_fit_is_an_error(self) -> None:
        self.assertRaises(ValueError, table, ["a", "b"], [[1]])

    def test_clock(self) -> None:
        self.assertEqual([clock(0.9), clock(187.2)], ["0:00", "3:07"])


class BodyTests(SynchronousTestCase):
    def test_one_by_one_they_are_the_same_results(self) -> None:
        kind = kinds.Kind("mix", 1, lambda: kinds.mixed(16))
        singles = [json.loads(body.data) for body in kinds.one_by_one(kind).bodies]
        self.assertEqual(singles, [[item] for body in kind.bodies for item in json.loads(body.data)])

    def test_generated_bodies_hold_what_they_say(self) -> None:
        for body in [*load.generate(load.Shape(results=3, hops=4), most=2), *kinds.mixed(16)]:
            items = json.loads(body.data)
            hops = sum(len(item["traceroute"]["hops"]) for item in items if "traceroute" in item)
            self.assertEqual((len(items), hops), (body.results, body.hops))

    def test_mixed_bodies_are_always_the_same(self) -> None:
        self.assertEqual(kinds.mixed(16), kinds.mixed(16))

    def test_no_body_of_a_generated_kind_is_sent_twice(self) -> None:
        source = load.Source(load.generate(load.Shape(results=1), most=3), fresh=True)
        sent = [source.take().data for _ in range(12)]
        self.assertEqual(len(set(sent)), 12)

    def test_a_source_goes_on_where_another_ended(self) -> None:
        bodies = load.generate(load.Shape(results=1), most=3)
        first, second = load.Source(bodies, fresh=True), load.Source(bodies, fresh=True, before=4)
        self.assertEqual([first.take() for _ in range(6)][4:], [second.take() for _ in range(2)])


class FleetTests(SynchronousTestCase):
    def test_it_has_the_nodes_targets_and_links_that_it_says(self) -> None:
        made = fleet.bodies()
        targets: set[str] = set()
        links: set[tuple[str, str]] = set()
        for body in made:
            for item in json.loads(body.data):
                targets.add(item["ip"])
                links.update(pairwise(hop["ip"] for hop in item["traceroute"]["hops"]))
        self.assertEqual((fleet.NODES, fleet.TARGETS), (len({body.node for body in made}), len(targets)))
        self.assertGreater(len(links), fleet.LINKS * 0.95)

    def test_each_time_a_body_goes_round_another_node_sends_it(self) -> None:
        bodies = [load.Body(b"[]", 0, 0, f"node-{number}") for number in range(3)]
        source = load.Source(load.requests("http://127.0.0.1/results", bodies), fresh=True)
        sent = [re.findall(rb"\r\nX-Ping-Node: node-(\d)\r\n", source.take().data) for _ in range(9)]
        self.assertEqual([[b"%d" % ((number + number // 3) % 3)] for number in range(9)], sent)


class LimitTests(SynchronousTestCase):
    def test_it_stores_whole_bodies(self) -> None:
        bodies = load.generate(load.Shape(results=5, hops=3), most=2)
        with tempfile.TemporaryDirectory() as home:
            figures = limit.run(bodies, True, limit.Settings(0.01, group=2, directory=Path(home)))
            self.assertEqual(list(Path(home).iterdir()), [])
        self.assertAlmostEqual(figures["results_per_s"] / figures["posts_per_s"], 5, places=1)
        self.assertAlmostEqual(figures["hop_rows_per_s"] / figures["results_per_s"], 3, places=1)


class CommandTests(SynchronousTestCase):
    def test_an_unknown_part_is_refused(self) -> None:
        self.assertRaises(SystemExit, bench.main, ["througput"])
