"""What the detector finds, and what it does not take for a change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import chain

from twisted.trial.unittest import SynchronousTestCase

from outputd.changes.change import Change
from outputd.changes.detector import Detector, Post
from outputd.changes.thresholds import MOST_PAIRS, WINDOW_TRACES
from outputd.results import timestamps
from tests.changes.world import BEGIN_S, EVERY_S, Observation, World, found_by, known, route_of, score

DAY = 288
"""Results of a day, one every five minutes."""
AT_5 = "1/10.0.0.1 2/10.0.0.2 3/10.0.0.3"


def seen(number: int, received: int = 4, rtt_ms: float | None = 20.0, route: str | None = None) -> Observation:
    """The result of this number of one target, five minutes after the one before."""
    at = timestamps.at(BEGIN_S + number * EVERY_S)
    return Observation(
        "192.0.2.1",
        at,
        4,
        received,
        None if rtt_ms is None else int(rtt_ms * 1e3),
        route and route_of(*route.split(" ")),
    )


def changes(observations: Iterable[Observation], detector: Detector | None = None) -> list[Change]:
    """What is found in results of one node that are sent as they are measured."""
    posts = ((Post(number, "graz-1", each.at), [each]) for number, each in enumerate(observations))
    return found_by(detector or Detector(), posts)


def after(number: int) -> str:
    return timestamps.at(BEGIN_S + number * EVERY_S)


class AWorld(SynchronousTestCase):
    def test_in_a_world_with_noise_all_changes_are_found_and_nothing_else(self) -> None:
        """Equal paths, silent hops, lost packets, an hour of noise and a dead target are none. Of 40 worlds with 400
        changes none was missed and none made up; this is what two of them promise."""
        hits = false = missed = 0
        for seed in (0, 4):
            world = World(seed)
            judged = score(found_by(Detector(), world.sent()), known(world.events))
            hits, false, missed = hits + judged.hits, false + len(judged.false), missed + len(judged.missed)
        print(f"precision {hits / (hits + false):.3f}, recall {hits / (hits + missed):.3f} of {hits + missed} changes")
        self.assertEqual((false, missed), (0, 0))

    def test_one_that_goes_on_from_what_it_remembers_finds_the_same(self) -> None:
        sent = list(World(1).sent())
        detector, found = Detector(), []
        for begin in range(0, len(sent), 100):
            found += found_by(detector, iter(sent[begin : begin + 100]))
            detector = Detector.of(list(detector.parts()))
        self.assertEqual(found, found_by(Detector(), iter(sent)))
        self.assertTrue(found)

    def test_without_the_routes_that_it_does_not_want_it_finds_the_same(self) -> None:
        """However many results are taken in at once, of more pairs than there is room for, too."""
        rng = random.Random(6)
        sent = list(World(2).sent())
        quick = [(post, [each._replace(at=f"{each.at[:15]}0:00") for each in seen]) for post, seen in sent]
        crowd = [(Post(number, "graz-1", timestamps.at(BEGIN_S)), [each._replace(target=f"192.0.2.{number}.{place}")
                  for place, each in enumerate(seen)]) for number, (_, seen) in enumerate(sent[:300])]  # fmt: skip
        for posts in (sent, quick, [*sent[:600], *crowd, *sent[600:900]]):
            whole, sparing, left_out = Detector(), Detector(), 0
            begin = 0
            while begin < len(posts):
                page = posts[begin : (begin := begin + rng.randrange(1, 9))]
                wants = list(sparing.wants((each.target, each.at, post.node) for post, seen in page for each in seen))
                wanted = iter(wants)
                spared = [(post, [each if next(wanted) else each._replace(route=None) for each in seen])
                          for post, seen in page]  # fmt: skip
                self.assertEqual(found_by(sparing, iter(spared)), found_by(whole, iter(page)))
                left_out += wants.count(False)
            self.assertEqual(list(sparing.parts()), list(whole.parts()))
            self.assertGreater(left_out, 100)


class Routes(SynchronousTestCase):
    def changed(self, *routes: str) -> list[Change]:
        return changes(seen(number, route=route) for number, route in enumerate(routes))

    def test_another_hop_in_three_traceroutes_is_a_change_with_both_routes_and_when_it_began(self) -> None:
        other = AT_5.replace("0.2", "9.9")
        found = self.changed(*[AT_5] * 30, other, other, other)
        self.assertEqual(
            found,
            [Change("route_changed", "graz-1", "192.0.2.1", after(30), ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
                    ["10.0.0.1", "10.0.9.9", "10.0.0.3"])],
        )  # fmt: skip

    def test_equal_paths_that_alternate_are_none_and_neither_is_any_mixture_of_them(self) -> None:
        ways = [f"1/10.0.0.1 2/10.0.2.{left} 3/10.0.3.{right} 4/10.0.0.4" for left in (1, 2) for right in (1, 2)]
        self.assertEqual(self.changed(*[ways[0], ways[3]] * 20, *ways[1:3] * 20), [])

    def test_silent_hops_are_none(self) -> None:
        silent = ["1/10.0.0.1 3/10.0.0.3", "2/10.0.0.2", "1/10.0.0.1 2/10.0.0.2"]
        self.assertEqual(self.changed(*[AT_5] * 30, *silent * 10), [])

    def test_a_route_of_the_window_is_no_news(self) -> None:
        other = AT_5.replace("0.2", "9.9")
        found = self.changed(*[AT_5] * 30, *[other] * 5, *[AT_5] * WINDOW_TRACES, *[other] * 5)
        self.assertEqual(len(found), 1)

    def test_a_route_that_comes_back_after_the_window_is_news(self) -> None:
        other = AT_5.replace("0.2", "9.9")
        found = self.changed(*[AT_5] * 30, *[other] * 4 * WINDOW_TRACES, *[AT_5] * 5)
        self.assertEqual([change.since for change in found], [after(30), after(30 + 4 * WINDOW_TRACES)])

    def test_traceroutes_beyond_one_in_ten_minutes_cost_nothing_until_one_is_not_explained(self) -> None:
        """A second one of the same ten minutes is not looked at, but each is that follows one with news."""
        other = AT_5.replace("0.2", "9.9")
        self.assertEqual(self.changed(*[AT_5] * 24, *[AT_5, other] * 20), [])
        self.assertEqual(len(self.changed(*[AT_5] * 24, AT_5, AT_5, *[other] * 3)), 1)

    def test_a_crowd_of_addresses_at_one_ttl_is_none(self) -> None:
        self.assertEqual(
            self.changed(*(f"1/10.0.0.1 2/10.0.2.{number * 7 % 64} 3/10.0.0.3" for number in range(300))), []
        )

    def test_a_longer_route_than_is_kept_is_not_watched(self) -> None:
        long = " ".join(f"{ttl}/{'x' * 100}" for ttl in range(1, 20))
        self.assertEqual(self.changed(*[AT_5] * 30, *[long] * 30), [])


class Losses(SynchronousTestCase):
    def changed(self, *received: int) -> list[Change]:
        return changes(seen(number, each, None) for number, each in enumerate(received))

    def test_three_results_with_half_of_the_packets_lost_begin_a_loss_and_three_without_end_it(self) -> None:
        self.assertEqual(
            self.changed(*[4] * 20, *[1, 2, 0, 1], *[4] * 9),
            [
                Change("loss_began", "graz-1", "192.0.2.1", after(20), 0.0, 75.0),
                Change("loss_ended", "graz-1", "192.0.2.1", after(24), 75.0, 0.0),
            ],
        )

    def test_a_lost_packet_now_and_then_is_none(self) -> None:
        self.assertEqual(self.changed(*[4] * 20, *[3, 3, 3, 4, 0, 0, 4, 4] * 20), [])

    def test_what_is_dead_from_the_beginning_or_always_loses_is_none(self) -> None:
        self.assertEqual(self.changed(*[0] * 50), [])
        self.assertEqual(self.changed(*[2, 1, 4, 3, 2] * 50), [])

    def test_duplicates_and_results_without_packets_are_none(self) -> None:
        odd = [seen(number, 9, None)._replace(sent=number % 2 * 4) for number in range(100)]
        self.assertEqual(changes(odd), [])


class RoundTripTimes(SynchronousTestCase):
    def changed(self, times: Sequence[float]) -> list[Change]:
        return changes(seen(number, rtt_ms=each) for number, each in enumerate(times))

    def test_three_buckets_at_another_level_are_a_shift_and_its_end_is_one(self) -> None:
        times = [20 + number % 3 * 0.1 for number in range(DAY)]
        shifted = [time + 5 for time in times[:40]]
        found = self.changed([*times, *shifted, *times[:40]])
        self.assertEqual([change.kind for change in found], ["rtt_shifted"] * 2)
        self.assertEqual([(change.before, change.after) for change in found], [
            (20_100_000, 25_100_000), (25_100_000, 20_100_000),
        ])  # fmt: skip
        self.assertLessEqual(after(DAY - 1), found[0].since)
        self.assertLessEqual(found[0].since, after(DAY + 3))

    def test_less_than_a_millisecond_or_a_hundredth_is_none(self) -> None:
        self.assertEqual(self.changed([20.0] * DAY + [20.9] * 50), [])
        self.assertEqual(self.changed([300.0] * DAY + [302.9] * 50), [])

    def test_less_than_five_deviations_of_the_day_before_is_none(self) -> None:
        scattered = [20 + number // 3 % 7 for number in range(DAY)]
        self.assertEqual(self.changed([*scattered, *[28] * 50]), [])

    def test_a_clock_that_is_set_back_or_on_is_none_and_what_follows_is_found(self) -> None:
        results = [seen(number) for number in range(DAY)]
        for days in (1, -1, -400):
            moved = [
                each._replace(at=timestamps.at(timestamps.seconds(each.at) + days * 86_400), rtt_us=rtt_us)
                for rtt_us, numbers in ((20_000, range(DAY, DAY + 60)), (30_000, range(DAY + 60, DAY + 90)))
                for each in map(seen, numbers)
            ]
            posts = [(Post(number, "graz-1", after(number)), [each]) for number, each in enumerate((*results, *moved))]
            self.assertEqual([change.kind for change in found_by(Detector(), iter(posts))], ["rtt_shifted"], days)


class Silence(SynchronousTestCase):
    def heard(self, *times: tuple[str, float]) -> list[Change]:
        detector = Detector()
        posts = [Post(number, node, timestamps.at(BEGIN_S + at)) for number, (node, at) in enumerate(times)]
        return list(chain.from_iterable(detector.take(post, []) for post in posts))

    def minutely(self, node: str, *spans: range) -> list[tuple[str, float]]:
        return [(node, minute * 60 + len(node)) for span in spans for minute in span]

    def all_heard(self, *nodes: list[tuple[str, float]]) -> list[Change]:
        return self.heard(*sorted(chain.from_iterable(nodes), key=lambda one: one[1]))

    def test_a_node_that_sends_nothing_for_several_of_its_intervals_is_silent_until_it_is_back(self) -> None:
        found = self.all_heard(self.minutely("a", range(300)), self.minutely("b", range(120), range(200, 300)))
        self.assertEqual(
            found,
            [
                Change("node_silent", "b", "", timestamps.at(BEGIN_S + 119 * 60 + 1), None, None),
                Change("node_back", "b", "", timestamps.at(BEGIN_S + 200 * 60 + 1), None, None),
            ],
        )

    def test_one_that_sends_seldom_is_not_silent_between(self) -> None:
        self.assertEqual(self.all_heard(self.minutely("a", range(3000)), self.minutely("b", range(0, 3000, 61))), [])

    def test_a_time_in_which_nobody_is_heard_says_nothing_of_any(self) -> None:
        """The service was stopped for ten hours, or its clock set."""
        nodes = [self.minutely(name, range(120), range(720, 900)) for name in ("a", "bb", "ccc")]
        self.assertEqual(self.all_heard(*nodes), [])

    def test_a_clock_that_is_set_back_says_nothing(self) -> None:
        first = [one for minute in range(200) for one in (("a", minute * 60), ("b", minute * 60 + 1))]
        second = [(node, at - 7200) for node, at in first]
        self.assertEqual(self.heard(*first, *second), [])


class Memory(SynchronousTestCase):
    def targets(self, pairs: int) -> list[Observation]:
        return [seen(0)._replace(target=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(pairs)]

    def test_it_holds_so_many_pairs_and_keeps_those_of_other_nodes(self) -> None:
        """Whoever makes up targets pushes out its own."""
        detector = Detector()
        changes([seen(0)], detector)
        list(detector.take(Post(0, "flood", after(1)), self.targets(10 * MOST_PAIRS)))
        self.assertEqual(len(changes((seen(number, 4 * (number < 30)) for number in range(2, 40)), detector)), 1)
        self.assertLessEqual(detector.pairs, MOST_PAIRS)

    def test_the_room_is_shared_and_how_much_is_not_watched_is_known(self) -> None:
        detector = Detector()
        for number, (node, pairs) in enumerate((("a", 100), ("b", MOST_PAIRS), ("c", MOST_PAIRS), ("d", 200))):
            list(detector.take(Post(number, node, after(number)), self.targets(pairs)))
        self.assertGreater(detector.pairs, MOST_PAIRS // 2)
        self.assertLess(abs(detector.pairs + detector.unwatched - 2 * MOST_PAIRS - 300), MOST_PAIRS // 4)

    def test_once_there_is_room_more_is_watched_again(self) -> None:
        detector = Detector()
        list(detector.take(Post(0, "flood", after(0)), self.targets(4 * MOST_PAIRS)))
        self.assertGreater(detector.unwatched, 0)
        for number in range(1, 240):
            list(detector.take(Post(number, "few", after(number)), self.targets(MOST_PAIRS // 16)))
            list(detector.take(Post(number, "flood", after(number)), self.targets(10)))
        self.assertEqual(detector.unwatched, 0)

    def test_what_is_watched_is_the_same_after_a_restart(self) -> None:
        detector = Detector()
        for number, node in enumerate("abc"):
            list(detector.take(Post(number, node, after(number)), self.targets(MOST_PAIRS)))
        again = Detector.of(list(detector.parts()))
        self.assertEqual((again.pairs, again.unwatched), (detector.pairs, detector.unwatched))
        for each in (detector, again):
            list(each.take(Post(4, "d", after(4)), self.targets(MOST_PAIRS)))
        self.assertEqual(list(again.parts()), list(detector.parts()))

    def test_short_hops_are_remembered_too_however_many_there_are(self) -> None:
        detector = Detector()
        changes((seen(number, route=" ".join(f"1/1.1.1.{hop}" for hop in range(80))) for number in range(40)), detector)
        self.assertEqual(list(Detector.of(list(detector.parts())).parts()), list(detector.parts()))

    def test_what_it_remembers_of_a_pair_is_bounded(self) -> None:
        detector = Detector()
        changes((
            seen(number, rtt_ms=number, route=" ".join(f"{ttl}/{number}{'x' * 20}" for ttl in range(1, 30)))
            for number in range(1, 2000)
        ), detector)  # fmt: skip
        self.assertLess(sum(map(len, detector.parts())), 7 * 1024)
