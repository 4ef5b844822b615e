"""What `outputd.queries.paths` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from outputd.queries.paths import PATHS, Paths
from outputd.queries.trace import TRACE, Trace
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

    def test_only_what_was_measured_in_a_time_is_read(self) -> None:
        for hour in range(4):
            trace = a_trace({"ttl": 1, "ip": f"10.0.0.{hour}"}, {"ttl": 2, "ip": "8.8.8.8"})
            self.bench.post(trace | {"timestamp": f"2026-01-07T0{hour}:00:00Z"})
        found = self.ask(PATHS, Paths("8.8.8.8", None, "2026-01-07 01:00:00", "2026-01-07 03:00:00"))
        self.assertEqual({"10.0.0.1", "10.0.0.2"}, {path["hops"][0] for path in found["paths"]})

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

    def test_the_most_usual_path_is_the_first_and_of_equally_usual_ones_the_newest(self) -> None:
        for ip in ("10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3", "10.0.0.4"):
            self.bench.post(a_trace({"ttl": 1, "ip": ip}))
        found = self.ask(PATHS, Paths("8.8.8.8"))
        self.assertEqual([["10.0.0.2"], ["10.0.0.4"], ["10.0.0.3"], ["10.0.0.1"]], [p["hops"] for p in found["paths"]])
        self.assertEqual([1, 2, 0, 0, 3], [place for _, _, place in found["timeline"]])

    def test_how_a_silence_was_written_makes_no_other_path(self) -> None:
        ends = [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 4, "ip": "8.8.8.8"}]
        silent = {"ttl": 2, "timeout": True}
        for hops in (ends, [*ends, silent], [*ends, silent | {"ttl": 5}, silent | {"ttl": 255}], [*ends, {"ttl": 3}]):
            self.bench.post(a_trace(*hops), node="a")
        (path,) = self.ask(PATHS, Paths("8.8.8.8"))["paths"]
        self.assertEqual((["10.0.0.1", None, None, "8.8.8.8"], [1, 2, 3, 4]), (path["hops"], path["ttls"]))
        self.assertEqual(4, path["count"])

    def test_a_path_has_the_name_that_its_route_has_in_trace_whatever_else_is_there(self) -> None:
        self.bench.post(a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 9, "ip": "_gateway"}), node="a")
        self.assertEqual(["11c42a68049f"], [path["route"] for path in self.ask(PATHS, Paths("8.8.8.8"))["paths"]])
        for node, ip in (("a", "10.0.0.1"), ("b", "10.0.0.1"), ("a", "10.0.0.2")):
            self.bench.post(*[a_trace({"ttl": 1, "ip": ip})] * 3, node=node)
            self.bench.outcome(self.bench.store.rotate())
        found = [(path["node"], path["route"]) for path in self.ask(PATHS, Paths("8.8.8.8"))["paths"]]
        rows = self.ask(TRACE, Trace("8.8.8.8"))["hops"]
        told = dict.fromkeys((row["node"], row["route"]) for row in rows if row["route"] is not None)
        self.assertEqual(list(told), found)
        self.assertEqual(("a", "11c42a68049f"), found[-1])

    def test_no_text_of_a_hop_takes_the_name_of_another_route(self) -> None:
        self.bench.post(a_trace({"ttl": 1, "ip": "a"}, {"ttl": 2, "ip": "b"}))
        self.bench.post(*(a_trace({"ttl": 1, "ip": text}) for text in ("a\n2 1 b", "ab", "a 2 b")))
        self.assertEqual(4, len({path["route"] for path in self.ask(PATHS, Paths("8.8.8.8"))["paths"]}))

    def test_a_silence_is_as_long_as_it_was_or_cut_short_and_the_ttls_are_true(self) -> None:
        for number, (ttls, hops, told) in enumerate((
            ((0, 1), ["0", "1"], [0, 1]), ((3,), [None, None, "3"], [1, 2, 3]),
            ((1, 255), ["1", *[None] * 30, "255"], [*range(1, 32), 255]),
            ((32,), [*[None] * 30, "32"], [*range(1, 31), 32]), ((0, 3), ["0", None, None, "3"], [0, 1, 2, 3]),
            ((31,), [*[None] * 30, "31"], [*range(1, 32)]), ((), [], []),
        )):  # fmt: skip
            self.bench.post(a_trace(*({"ttl": ttl, "ip": f"{ttl}"} for ttl in ttls)), node=f"{number}")
            (path,) = self.ask(PATHS, Paths("8.8.8.8", f"{number}"))["paths"]
            self.assertEqual((hops, told), (path["hops"], path["ttls"]))
