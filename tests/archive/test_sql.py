"""What `outputd/archive/sql` promises: an archive answers as the service does, to the last figure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries import QUESTIONS
from outputd.queries.arrivals import ARRIVALS, Arrivals
from outputd.queries.hops import HOP, Hop
from outputd.queries.links import LINKS, Links
from outputd.queries.nodes import NODES, Nodes
from outputd.queries.paths import PATHS, Paths
from outputd.queries.question import Question
from outputd.queries.recent import RECENT, Recent
from outputd.queries.result import RESULT, Result
from outputd.queries.series import SERIES, Series
from outputd.queries.targets import TARGETS, Targets
from outputd.results import timestamps
from tests.kit.archived import archive
from tests.kit.asking import Asking
from tests.kit.depth import long
from tests.kit.exported import WEIRD
from tests.kit.makers import a_result, a_trace
from tests.kit.sql_engines import CLICKHOUSE, DUCKDB, SQL, Asked, Engine, needs
from tests.summary.test_summary import wild
from tests.system.shared import replay

INSTANCE = "graz.0a1b2c3d"
ALL_TIME = ("0001-01-01 00:00:00", "9999-12-31 23:59:59")
DAY_S = 86_400
ALONE = {"failures", "rejected", "changes", "trace", "cells"}
"""Questions that the service alone answers."""
_IN_LIST = {
    "Targets": "targets", "Nodes": "nodes", "Arrivals": "buckets", "Links": "links", "Series": "buckets",
}  # fmt: skip


class TheFiles(SynchronousTestCase):
    def test_each_question_that_an_archive_answers_has_its_sql_for_each_engine(self) -> None:
        answered = {question.name.lower() for question in QUESTIONS} - ALONE
        wanted = sorted(["views.sql", *(f"{name}.sql" for name in answered)])
        for engine in (DUCKDB, CLICKHOUSE):
            self.assertEqual(wanted, sorted(file.name for file in (SQL / engine.name).iterdir()))


class Answers(Asking):
    """An archive of what a bench has stored, asked what the service is asked."""

    def assertAnswersAlike(self, engine: Engine, *asked: tuple[Question[Any], Any]) -> None:
        """That an engine answers to each of these questions what the service answers."""
        self.bench.stop()
        place = Path(self.mktemp()).absolute()
        archive([info.path for info in self.bench.store.files], place, INSTANCE)
        self.bench.start()
        answers = [self.ask(*each) for each in asked]
        questions = [self.asked(*each, answer) for each, answer in zip(asked, answers, strict=True)]
        for each, answer, rows in zip(asked, answers, engine.answers(place, questions), strict=True):
            self.assertEqual(_rows_of(each[0].name, answer), rows, each)

    def asked(self, question: Question[Any], asked: Any, answer: Any) -> Asked:
        """A question to an archive, which chooses no bounds by itself."""
        parameters = dataclasses.asdict(asked)
        for name in (
            "include",
            "sort",
            "order",
            "cursor",
            "prefix",
            "loss_over",
            "last_seen_before",
            "last_heard_before",
            "text",
            "total",
        ):
            parameters.pop(name, None)
        match question.name:
            case "Recent" | "Result":
                parameters["instance"] = INSTANCE
            case "Nodes":
                del parameters["node"]
                parameters["now"] = timestamps.printed(timestamps.at(self.bench.now()))
            case "Arrivals" | "Series":
                parameters |= {"since": answer["since"], "until": answer["until"], "bucket": answer["bucket_s"]}
            case "Paths":
                parameters["traceroutes"] = 5000
        for bound in ("since", "until"):
            if parameters.get(bound):
                parameters[bound] = parameters[bound].rstrip("Z").replace(" ", "T") + "Z"
        return question.name.lower(), parameters


def _rows_of(name: str, answer: Any) -> Any:
    """An answer of the service as rows. An archive names no file, and what it has is complete."""
    match name:
        case "Hop":
            return [] if answer is None else [_without("complete", answer)]
        case "Result":
            return [{"error": None} | _without("file", answer)]
        case "Paths":
            timeline = [dict(zip(("at", "node", "place"), point, strict=True)) for point in answer["timeline"]]
            return [_without("complete", answer) | {"timeline": timeline}]
        case "Recent":
            return [{"error": None, "instance": INSTANCE} | row for row in answer]
    return answer[_IN_LIST[name]]


def _without(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in answer.items() if member != name}


class SmallArchives(Answers):
    """Of results that are made here, each file of one node."""

    def fill_with(self, make: Callable[[int], Any]) -> None:
        for number, node in enumerate(("a", "b", "a", "c")):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for _ in range(3):
                self.bench.post(*(make(place) for place in range(30)), *[{"ip": 1}] * (number % 2), node=node)
                self.bench.clock.advance(20_000.25)

    def everything(self, *targets: str) -> list[tuple[Question[Any], Any]]:
        hops = ("10.0.0.1", "10.0.0.2", "2001:db8::1", "_gateway", "203.0.113.1")
        return [
            (NODES, Nodes()), (NODES, Nodes(1)),
            (TARGETS, Targets()), (TARGETS, Targets(1, node="a")), (TARGETS, Targets(since="2026-01-05 00:00:00.5")),
            (ARRIVALS, Arrivals(3600, *ALL_TIME)), (ARRIVALS, Arrivals(DAY_S, *ALL_TIME, node="a")),
            (ARRIVALS, Arrivals(60, "2026-01-08 04:00:00", "2026-01-09 09:36:46")),
            (LINKS, Links()), (LINKS, Links(3, min_count=2)), (LINKS, Links(ip="10.0.0.2")), (LINKS, Links(node="b")),
            (LINKS, Links(since="2026-01-07 22:30:00")),
            *((HOP, Hop(ip, limit)) for ip in hops for limit in (1, 100)),
            *((PATHS, Paths(ip, node, since)) for ip in targets for node in (None, "a")
              for since in (None, "2026-01-01 00:00:00.5")),
            *((SERIES, Series(ip, bucket, *ALL_TIME, node=node)) for ip in targets for bucket in (3600, 7 * DAY_S)
              for node in (None, "c")),
            (RECENT, Recent(include="traceroute")), (RECENT, Recent(7, before=50, include="traceroute")),
            *((RECENT, Recent(9, ip, "a", failed, "2026-01-01 00:00:00.5", "2026-02-01 00:00:00", include="traceroute"))
              for ip in targets for failed in (None, False, True)),
            *((RESULT, Result(number)) for number in (1, 2, 7, 150, 360)),
        ]  # fmt: skip

    def wild(self, engine: Engine) -> None:
        needs(engine.module)
        self.fill_with(wild)
        self.assertAnswersAlike(engine, *self.everything("192.0.2.1", "192.0.2.2"))

    def test_duckdb(self) -> None:
        self.wild(DUCKDB)

    def test_clickhouse(self) -> None:
        self.wild(CLICKHOUSE)

    def weird(self, engine: Engine, kept: Sequence[Any]) -> None:
        """Years that no library holds, nanoseconds, sums beyond 64 bits, halves to round; and no item was rejected."""
        needs(engine.module)
        self.bench.post(*(a_result(**changes) for changes in kept), node="a")
        for received in (1599, 1551, 0):
            self.bench.post(a_result(ip="192.0.2.7", sent=1600, received=received, avg_rtt=received), node="a")
        for rtts in ((1000, 1001), (1001, 1000), (0, 1), (2**62, 1)):
            near, far = ({"ttl": ttl, "ip": f"10.0.0.{ttl}", "rtt": rtt} for ttl, rtt in enumerate(rtts, 1))
            self.bench.post(a_trace(near, far), a_trace(near, far | {"rtt": 3}), node="a")
        for text in ("\u00e9\ud83d\ude00", '"\\/', "a\n2 1 b", "\x00", ""):
            for ttls in ((0, 1), (1, 33), (31, 255), (32, 64)):
                self.bench.post(a_trace(*({"ttl": ttl, "ip": text} for ttl in ttls), {"ttl": 99, "timeout": True}))
        self.assertAnswersAlike(
            engine,
            (NODES, Nodes()), (TARGETS, Targets()), (ARRIVALS, Arrivals(60, *ALL_TIME)), (LINKS, Links()),
            (HOP, Hop("10.0.0.1")), (HOP, Hop("10.0.0.2")), (SERIES, Series("8.8.8.8", 3600, *ALL_TIME)),
            (SERIES, Series("192.0.2.7", DAY_S, *ALL_TIME)), (PATHS, Paths("8.8.8.8")),
            (PATHS, Paths("8.8.8.8", until=ALL_TIME[1])),
            (PATHS, Paths("2001:db8::a")), (RECENT, Recent(include="traceroute")),
            *((RESULT, Result(number)) for number in range(1, len(kept) + 1)),
        )  # fmt: skip

    @long("tests.archive.test_sql.SmallArchives.test_duckdb")
    def test_what_is_hard_to_carry_over_in_duckdb(self) -> None:
        self.weird(DUCKDB, WEIRD)

    @long("tests.archive.test_sql.SmallArchives.test_clickhouse")
    def test_what_is_hard_to_carry_over_in_clickhouse(self) -> None:
        """But for a traceroute that says nothing, which ClickHouse reads as none."""
        said = [changes for changes in WEIRD if changes.get("traceroute") not in ({}, {"hops": []})]
        self.weird(CLICKHOUSE, said)


@long("tests.archive.test_sql.SmallArchives.test_duckdb", "tests.archive.test_sql.SmallArchives.test_clickhouse")
class RealArchives(Answers):
    """Of real results, from five nodes in three files of two days."""

    def real(self, engine: Engine) -> None:
        needs(engine.module)
        bodies = replay("medium").bodies
        for number, body in enumerate(bodies):
            self.bench.post(*json.loads(body), *[{"ip": 1}] * (number % 7 == 3), node=f"node-{number % 5}")
            self.bench.clock.advance(2 * DAY_S / len(bodies))
            if number in (len(bodies) // 3, len(bodies) // 2):
                self.bench.outcome(self.bench.store.rotate())
        targets = [target["ip"] for target in self.ask(TARGETS, Targets(50))["targets"]]
        links = self.ask(LINKS, Links(100))["links"]
        everything = 100_000
        self.assertAnswersAlike(
            engine,
            (NODES, Nodes()), (TARGETS, Targets(everything)), (TARGETS, Targets(node="node-1")),
            (TARGETS, Targets(since="2023-01-01 00:00:00")), (ARRIVALS, Arrivals(60)),
            (ARRIVALS, Arrivals(3600, node="node-2")), (LINKS, Links(everything)), (LINKS, Links(ip=links[0]["from"])),
            (LINKS, Links(min_count=5, since="2022-01-01 00:00:00")),
            *((HOP, Hop(link["from"], 10_000)) for link in links[::20]), *((PATHS, Paths(ip)) for ip in targets[:10]),
            *((SERIES, Series(ip, DAY_S, *ALL_TIME)) for ip in targets),
            (SERIES, Series(targets[0], 3600, *ALL_TIME, node="node-3")),
            (RECENT, Recent(1000, include="traceroute")), (RECENT, Recent(failed=True, include="traceroute")),
            *((RECENT, Recent(ip=ip, node="node-4", include="traceroute")) for ip in targets[:3]),
            *((RESULT, Result(number)) for number in range(1, 10_000, 500)),
        )  # fmt: skip

    def test_duckdb(self) -> None:
        self.real(DUCKDB)

    def test_clickhouse(self) -> None:
        self.real(CLICKHOUSE)
