"""What `outputd.queries.paths` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from outputd.queries.paths import PATHS, Paths
from outputd.queries.traceroutes import MOST_BYTES, MOST_TRACEROUTES
from tests.kit.asking import Asking
from tests.kit.makers import a_trace, many_hops


class ThePaths(Asking):
    def test_paths_are_told_apart_and_their_changes_are_in_the_timeline(self) -> None:
        one = a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 3, "ip": "8.8.8.8"})
        other = a_trace({"ttl": 1, "ip": "10.0.0.2"}, {"ttl": 2, "timeout": True}, {"ttl": 3, "ip": "8.8.8.8"})
        for item in (one, one, other, one):
            self.bench.post(item, node="a")
            self.bench.outcome(self.bench.store.rotate())
        found = self.ask(PATHS, Paths("8.8.8.8"))
        self.assertEqual(
            [(path["hops"], path["count"]) for path in found["paths"]],
            [(["10.0.0.1", None, "8.8.8.8"], 3), (["10.0.0.2", None, "8.8.8.8"], 1)],
        )
        self.assertEqual([place for _, _, place in found["timeline"]], [0, 1, 0, 0])

    def test_a_text_is_no_delimiter(self) -> None:
        """Whatever a hop's text is, it is one hop, and no other."""
        for text in ("gw.example\n", "a\n7 203.0.113.7", '"],[2,"203.0.113.7"]', "\x00", " ", "9", "a,b"):
            self.bench.post(a_trace({"ttl": 1, "ip": text}, {"ttl": 2, "ip": "8.8.8.8"}), node=text.strip() or "a")
            found = self.ask(PATHS, Paths("8.8.8.8"))
            self.assertEqual(found["paths"][0]["hops"], [text, "8.8.8.8"])
            self.assertEqual(found["timeline"][0][2], 0)

    def test_a_path_was_not_seen_at_a_time_that_cannot_be(self) -> None:
        for at in ("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"):
            self.bench.post(a_trace({"ttl": 1, "ip": "8.8.8.8"}) | {"timestamp": at})
        found = self.ask(PATHS, Paths("8.8.8.8"))
        ((first, last),) = ((path["first_seen"], path["last_seen"]) for path in found["paths"])
        self.assertEqual((first, last), ("2026-01-07T22:30:45Z",) * 2)
        self.assertEqual({at for at, _, _ in found["timeline"]}, {first})

    def test_paths_of_one_node_say_so_when_those_of_another_took_the_room(self) -> None:
        trace = a_trace({"ttl": 1, "ip": "8.8.8.8"})
        self.bench.post(trace, node="rare")
        for complete in (True, False):
            self.assertEqual(complete, self.ask(PATHS, Paths("8.8.8.8", "rare"))["complete"])
            self.bench.post(*[trace] * MOST_TRACEROUTES, node="busy")

    def test_no_more_is_read_than_so_many_bytes_of_hops(self) -> None:
        """Rule 9: nodes choose how long a traceroute is, and how long the text of a hop."""
        wide = [{"ttl": ttl, "ip": f"{ttl:0255}"} for ttl in range(1, 256)]
        most = MOST_BYTES // (255 * 255)
        for number in range(2):
            self.bench.post(*[a_trace({"ttl": 1, "ip": f"{number}"}, *wide[1:])] * (most * 2 // 3))
            self.bench.outcome(self.bench.store.rotate())
        found = self.ask(PATHS, Paths("8.8.8.8"))
        self.assertFalse(found["complete"])
        self.assertLess(most * 2 // 3, found["traceroutes"])
        self.assertLess(found["traceroutes"], most)
        self.assertEqual(["1", "0"], [path["hops"][0] for path in found["paths"]])

    def test_one_alone_is_read_however_long_it_is(self) -> None:
        hops = [{"ttl": 1 + n % 255, "ip": f"{n:0250}"} for n in range(MOST_BYTES // 250)]
        self.bench.post(a_trace(*many_hops(1)))
        self.bench.post(a_trace(*hops))
        found = self.ask(PATHS, Paths("8.8.8.8"))
        self.assertEqual((1, False, 255), (found["traceroutes"], found["complete"], len(found["paths"][0]["hops"])))

    def test_a_silence_is_as_long_as_it_was_or_cut_short(self) -> None:
        for ttls, hops in (
            ((0, 1), ["0", "1"]), ((3,), [None, None, "3"]), ((1, 255), ["1", *[None] * 30, "255"]),
            ((32,), [*[None] * 30, "32"]), ((), []),
        ):  # fmt: skip
            self.bench.post(a_trace(*({"ttl": ttl, "ip": f"{ttl}"} for ttl in ttls)))
            self.assertEqual(hops, self.ask(PATHS, Paths("8.8.8.8"))["paths"][0]["hops"])
