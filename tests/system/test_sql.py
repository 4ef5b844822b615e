"""docs/sql.md: every command runs and every query gives the right answer, on results made here and on real ones."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sqlite3
import statistics
import subprocess
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.files import TABLES, merged, opened
from tests.system.harness import CHECKOUT, SystemTest, call, free_port
from tests.system.markdown import blocks, run
from tests.system.shared import replay
from tests.system.waiting import wait_until

PAGE = "docs/sql.md"
DATASETTE = yaml.safe_load((CHECKOUT / "monitoring" / "datasette.yml").read_text(encoding="utf-8"))
RECIPES = {block.heading: block.text for block in blocks(PAGE) if block.language == "sql"}
Row = tuple[Any, ...]


class Rows:
    """All that an instance has stored, as plain rows: what the queries are held against."""

    def __init__(self, directory: Path) -> None:
        with merged(directory) as db:
            db.row_factory = sqlite3.Row
            self.tables = {
                name: [dict(row) for row in db.execute(f"SELECT * FROM {name} ORDER BY 1")] for name in TABLES
            }
        self.pings: list[dict[str, Any]] = self.tables["ping_results"]
        self.batches: list[dict[str, Any]] = self.tables["batches"]
        self.rejects: list[dict[str, Any]] = self.tables["rejected_results"]
        self.node = {
            number: batch["node"] for batch in self.batches if batch["first_id"] is not None
            for number in range(batch["first_id"], batch["last_id"] + 1)
        }  # fmt: skip
        self.received = {
            number: batch["received_at"] for batch in self.batches if batch["first_id"] is not None
            for number in range(batch["first_id"], batch["last_id"] + 1)
        }  # fmt: skip
        by_id = {ping["id"]: ping for ping in self.pings}
        self.ping_of = {trace["id"]: by_id[trace["ping_result_id"]] for trace in self.tables["traceroute_results"]}
        self.hops: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for hop in self.tables["traceroute_hops"]:
            self.hops[hop["traceroute_id"]].append(hop)

    def grouped(self, *names: str) -> dict[Any, list[dict[str, Any]]]:
        """Results by columns, `node` being one."""
        found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for ping in self.pings:
            key = tuple(self.node[ping["id"]] if name == "node" else ping[name] for name in names)
            found[key if len(names) > 1 else key[0]].append(ping)
        return dict(sorted(found.items()))

    def paths(self) -> dict[int, str]:
        """Each traceroute that has hops, as text."""
        return {
            number: " ".join(
                "*" if hop["timeout"] or hop["ip"] is None else hop["ip"]
                for hop in sorted(hops, key=lambda hop: (hop["ttl"], hop["id"]))
            )
            for number, hops in self.hops.items()
        }


def _loss(pings: Sequence[dict[str, Any]]) -> float | None:
    sent = sum(ping["sent"] for ping in pings)
    lost = sum(ping["sent"] - min(ping["sent"], ping["received"]) for ping in pings)
    return round(100 * lost / sent, 2) if sent else None


def loss_by_target(rows: Rows) -> list[Row]:
    found = [
        (ip, len(pings), sum(p["sent"] for p in pings), sum(p["received"] for p in pings), _loss(pings))
        for ip, pings in rows.grouped("ip").items() if any(p["sent"] for p in pings)
    ]  # fmt: skip
    return sorted(found, key=lambda row: (-(row[4] or 0), row[0]))


def loss_by_node_and_target(rows: Rows) -> list[Row]:
    return [
        (*key, len(pings), _loss(pings))
        for key, pings in rows.grouped("node", "ip").items()
        if _loss(pings) is not None
    ]


def quantiles(rows: Rows) -> list[Row]:
    found: list[Row] = []
    for ip, pings in rows.grouped("ip").items():
        rtts = sorted(p["avg_rtt"] for p in pings if p["avg_rtt"] is not None and p["received"] > 0)
        if rtts:
            ranks = [math.ceil(round(q * len(rtts), 6)) for q in (0.5, 0.9, 0.99)]
            found.append((ip, len(rtts), *(rtts[rank - 1] / 1e6 for rank in ranks)))
    return found


def hours(rows: Rows) -> list[Row]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for ping in rows.pings:
        found[f"{ping['timestamp'][:13]}:00"].append(ping)
    return [
        (
            hour,
            len(pings),
            sum(p["received"] == 0 for p in pings),
            _mean_ms(p["avg_rtt"] for p in pings if p["received"]),
        )
        for hour, pings in sorted(found.items())
    ]


def _mean_ms(rtts: Iterable[int | None]) -> float | None:
    known = [rtt for rtt in rtts if rtt is not None]
    return statistics.fmean(known) / 1e6 if known else None


def failures(rows: Rows) -> list[Row]:
    failed = [ping for ping in rows.pings if ping["received"] == 0]
    return [(p["timestamp"], p["ip"], p["error"]) for p in failed[::-1][:20]]


def spread(rows: Rows) -> list[Row]:
    ips = {ping["id"]: ping["ip"] for ping in rows.pings if ping["received"] > 0}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.tables["rtt_spread"]:
        if row["ping_result_id"] in ips:
            found[ips[row["ping_result_id"]]].append(row)
    return [
        (
            ip,
            len(spreads),
            min(s["min_rtt"] for s in spreads if s["min_rtt"] is not None) / 1e6,
            max(s["max_rtt"] for s in spreads if s["max_rtt"] is not None) / 1e6,
        )
        for ip, spreads in sorted(found.items())
    ]


def distinct_paths(rows: Rows) -> list[Row]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for number, path in rows.paths().items():
        ping = rows.ping_of[number]
        found[ping["ip"], path].append(ping["timestamp"])
    seen = [(ip, path, len(times), min(times), max(times)) for (ip, path), times in found.items()]
    return sorted(seen, key=lambda row: (row[0], row[3], row[1]))


def route_changes(rows: Rows) -> list[Row]:
    found: dict[tuple[str, str], list[tuple[str, int, str]]] = defaultdict(list)
    for number, path in rows.paths().items():
        ping = rows.ping_of[number]
        found[rows.node[ping["id"]], ping["ip"]].append((ping["timestamp"], ping["id"], path))
    return [
        (*key, now[0], before[2], now[2])
        for key, seen in sorted(found.items()) for before, now in pairwise(sorted(seen)) if before[2] != now[2]
    ]  # fmt: skip


def links(rows: Rows) -> list[Row]:
    found: dict[tuple[str, str], list[int | None]] = defaultdict(list)
    for hops in rows.hops.values():
        for near in hops:
            for far in hops:
                silent = near["timeout"] or far["timeout"] or near["ip"] is None or far["ip"] is None
                if far["ttl"] == near["ttl"] + 1 and not silent and near["ip"] != far["ip"]:
                    known = near["rtt"] is not None and far["rtt"] is not None
                    found[near["ip"], far["ip"]].append(far["rtt"] - near["rtt"] if known else None)
    rows_ = [(*pair, len(rtts), _mean_ms(rtts)) for pair, rtts in found.items()]
    return sorted(rows_, key=lambda row: (-row[2], row[0], row[1]))


def _behind(rows: Rows) -> dict[str, dict[str, dict[int, str]]]:
    found: dict[str, dict[str, dict[int, str]]] = defaultdict(lambda: defaultdict(dict))
    for number, hops in rows.hops.items():
        for hop in hops:
            if not hop["timeout"] and hop["ip"] is not None:
                found[hop["ip"]][rows.ping_of[number]["ip"]][number] = rows.ping_of[number]["timestamp"]
    return found


def busiest(rows: Rows) -> str:
    """The address with most targets behind it, for the query that asks for one."""
    return str(addresses(rows)[0][0])


def behind(rows: Rows) -> list[Row]:
    found = [(target, len(times), min(times.values()), max(times.values()))
             for target, times in _behind(rows)[busiest(rows)].items()]  # fmt: skip
    return sorted(found, key=lambda row: (-row[1], row[0]))


def addresses(rows: Rows) -> list[Row]:
    found = [(address, len(targets)) for address, targets in _behind(rows).items()]
    return sorted(found, key=lambda row: (-row[1], row[0]))[:50]


def nodes(rows: Rows) -> list[Row]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for batch in rows.batches:
        found[batch["node"]].append(batch)
    return [
        (node, len(those), sum(b["accepted"] for b in those), sum(b["rejected"] for b in those),
         max(b["received_at"] for b in those))
        for node, those in sorted(found.items())
    ]  # fmt: skip


def offsets(rows: Rows) -> list[Row]:
    found: dict[str, list[float]] = defaultdict(list)
    for ping in rows.pings:
        late = _moment(rows.received[ping["id"]]) - _moment(ping["timestamp"])
        found[rows.node[ping["id"]]].append(late.total_seconds())
    return [(node, min(late), statistics.fmean(late)) for node, late in sorted(found.items())]


def _moment(text: str) -> datetime:
    whole, _, fraction = text.partition(".")
    return datetime.fromisoformat(whole) + timedelta(microseconds=int(fraction[:6].ljust(6, "0") or 0))


def rejected(rows: Rows) -> list[Row]:
    node = {batch["id"]: batch["node"] for batch in rows.batches}
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows.rejects:
        found[node[row["batch_id"]], row["field"], row["reason"]].append(row["raw"])
    seen = [(*key, len(raws), min(raws)) for key, raws in found.items()]
    return sorted(seen, key=lambda row: (-row[3], row[0], row[1]))


def twice(rows: Rows) -> list[Row]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for batch in rows.batches:
        found[batch["node"], batch["digest"].hex().upper()].append(batch["received_at"])
    seen = [(*key, len(times), min(times), max(times)) for key, times in found.items() if len(times) > 1]
    return sorted(seen, key=lambda row: (row[0], row[3]))


ANSWERS: dict[str, Callable[[Rows], list[Row]]] = {
    "Loss by target": loss_by_target,
    "Loss by node and target": loss_by_node_and_target,
    "RTT quantiles by target": quantiles,
    "Hour by hour": hours,
    "The newest failures": failures,
    "Spread of the replies": spread,
    "Distinct paths to each target": distinct_paths,
    "Route changes": route_changes,
    "Links": links,
    "What lies behind an address": behind,
    "Addresses by the targets behind them": addresses,
    "Nodes and when they were last heard": nodes,
    "Clock offset of each node": offsets,
    "Rejected items by node and reason": rejected,
    "Bodies that were stored twice": twice,
}


def hop(ttl: int, ip: str | None, rtt_ms: int = 0) -> dict[str, Any]:
    return {"ttl": ttl, "timeout": True} if ip is None else {"ttl": ttl, "ip": ip, "rtt": rtt_ms * 1_000_000}


def result(ip: str, at: str, rtt_ms: int | None, *hops: dict[str, Any], **more: Any) -> dict[str, Any]:
    reply = (
        {"received": 0, "avg_rtt": 0, "error": "Request timed out"}  # as nodes in the field report it
        if rtt_ms is None
        else {"received": 4, "avg_rtt": rtt_ms * 1_000_000}
    )
    trace = {"traceroute": {"method": "icmp", "completed": rtt_ms is not None, "hops": list(hops)}} if hops else {}
    return {"ip": ip, "sent": 4, "timestamp": at, **reply, **trace, **more}


T1, T2 = "192.0.2.1", "192.0.2.2"
NORTH = (hop(1, "10.0.0.1", 1), hop(2, "10.0.1.1", 4), hop(3, T1, 9))
SOUTH = (hop(1, "10.0.0.1", 1), hop(2, "10.0.2.1", 6), hop(3, T1, 12))
SILENT = (hop(1, "10.0.0.1", 3), hop(2, None), hop(3, T2, 20))


class SqlTest(SystemTest):
    """A service with results in two files, and a directory in which the page's commands are run."""

    def setUp(self) -> None:
        super().setUp()
        if shutil.which("sqlite3") is None or shutil.which("curl") is None:
            raise SkipTest("the page's commands need sqlite3 and curl")
        self.it = self.outputd().start()
        self.cwd = self.directory.parent / "here"
        self.cwd.mkdir()
        (self.cwd / "output_data").symlink_to(self.directory)

    def send(self, node: str, *results: object, status: int = 200) -> None:
        self.assertEqual(status, self.it.post(list(results), x_ping_node=node).status)

    def send_ours(self) -> None:
        """Results whose answers can be told by heart."""
        now = datetime.now(UTC)
        self.send("north", result(T1, "2026-01-07T22:00:00Z", 9, *NORTH, min_rtt=7_000_000, max_rtt=11_000_000))
        self.send(
            "north", result(T1, "2026-01-07T22:10:00Z", 12, *SOUTH), result(T2, "2026-01-07T22:10:00Z", 20, *SILENT)
        )
        self.send("north", {"ip": "nowhere", "sent": 1, "received": 1, "timestamp": "2026-01-07T22:30:00Z"}, status=422)
        self.assertEqual(200, self.it.rotate().status)
        self.send("north", result(T1, "2026-01-07T23:20:00Z", 10, *NORTH, min_rtt=6_000_000, max_rtt=30_000_000))
        self.send("south", result(T1, "2026-01-07T22:05:00Z", 30, *SOUTH), result(T2, "2026-01-07T22:05:00Z", None))
        self.send("south", result(T1, "2026-01-07T22:05:00Z", 30, *SOUTH), result(T2, "2026-01-07T22:05:00Z", None))
        self.send("south", {"ip": "nowhere", "sent": 1, "received": 1, "timestamp": "2026-01-07T22:30:00Z"}, status=422)
        self.send("ahead", result(T2, (now + timedelta(seconds=500)).isoformat(), 5))
        self.send("behind", result(T2, (now - timedelta(seconds=500)).isoformat(), 5))

    def send_real(self, name: str) -> None:
        """Results of others, half of them in a closed file."""
        bodies = replay(name).bodies
        for number, body in enumerate(bodies):
            if number == len(bodies) // 2:
                self.assertEqual(200, self.it.rotate().status)
            self.assertEqual(200, self.it.post(body, x_ping_node=f"node-{number % 3}").status)

    def page(self, heading: str) -> list[str]:
        """The commands under a heading, for this service."""
        found = [block.text for block in blocks(PAGE) if block.heading == heading and block.language == "bash"]
        self.assertTrue(found, heading)
        return [text.replace("localhost:8081", f"localhost:{self.it.port}") for text in found]

    def gather(self) -> Rows:
        """Do what the page says to get one database, and return what should be in it."""
        run(self.page("One database of all files")[0], self.cwd)
        return Rows(self.directory)

    def ask(self, heading: str, rows: Rows) -> list[Row]:
        with opened(self.cwd / "outputd.db") as db:
            return db.execute(RECIPES[heading], {"ip": busiest(rows)}).fetchall()

    def assert_answers(self, expected: Sequence[Row], found: Sequence[Row], heading: str) -> None:
        self.assertEqual(len(expected), len(found), heading)
        for one, other in zip(expected, found, strict=True):
            for value, told in zip(one, other, strict=True):
                if isinstance(value, float):
                    self.assertIsInstance(told, float | int, heading)
                    self.assertTrue(math.isclose(value, told, rel_tol=1e-9, abs_tol=0.011), (heading, one, other))
                else:
                    self.assertEqual(value, told, (heading, one, other))


class AnswerTests(SqlTest):
    def test_each_recipe_has_an_answer_to_be_held_against(self) -> None:
        self.assertEqual(list(RECIPES), list(ANSWERS))

    def test_ours(self) -> None:
        """Every answer is right, and none is empty."""
        self.send_ours()
        rows = self.gather()
        for heading, answer in ANSWERS.items():
            found = self.ask(heading, rows)
            self.assertTrue(found, f"{heading}: nothing to be seen")
            self.assert_answers(answer(rows), found, heading)

    def test_ours_by_heart(self) -> None:
        """What is in both the query and its check would be in neither of these."""
        self.send_ours()
        rows = self.gather()
        north, south = "10.0.0.1 10.0.1.1 192.0.2.1", "10.0.0.1 10.0.2.1 192.0.2.1"
        self.assertEqual(
            [("north", T1, "2026-01-07 22:10:00", north, south), ("north", T1, "2026-01-07 23:20:00", south, north)],
            self.ask("Route changes", rows),
        )
        self.assertEqual(
            [("10.0.0.1", "10.0.2.1", 3, 5.0), ("10.0.2.1", T1, 3, 6.0), ("10.0.0.1", "10.0.1.1", 2, 3.0),
             ("10.0.1.1", T1, 2, 5.0)],
            self.ask("Links", rows),
        )  # fmt: skip
        self.assertEqual([(T2, 5, 20, 12, 40.0), (T1, 5, 20, 20, 0.0)], self.ask("Loss by target", rows))
        self.assertEqual(
            [(T1, 5, 12.0, 30.0, 30.0), (T2, 3, 5.0, 20.0, 20.0)], self.ask("RTT quantiles by target", rows)
        )
        self.assertEqual([(T1, 2, 6.0, 30.0)], self.ask("Spread of the replies", rows))
        self.assertIn((T2, "10.0.0.1 * 192.0.2.2", 1, *["2026-01-07 22:10:00"] * 2),
                      self.ask("Distinct paths to each target", rows))  # fmt: skip
        self.assertEqual([("10.0.0.1", 2)], self.ask("Addresses by the targets behind them", rows)[:1])
        rejected_items = self.ask("Rejected items by node and reason", rows)
        self.assertEqual([("north", "ip", 1), ("south", "ip", 1)], [(row[0], row[1], row[3]) for row in rejected_items])
        self.assertEqual([("south", 2)], [(row[0], row[2]) for row in self.ask("Bodies that were stored twice", rows)])
        offset = {node: least for node, least, _ in self.ask("Clock offset of each node", rows)}
        self.assertTrue(-501 < offset["ahead"] < -400 and 499 < offset["behind"] < 600, offset)

    @long("tests.system.test_sql.AnswerTests.test_ours", "tests.system.test_sql.AnswerTests.test_ours_by_heart")
    def test_real_ones(self) -> None:
        """On others' results, in which everything odd occurs."""
        self.send_real("medium")
        rows = self.gather()
        self.assertGreater(len(self.ask("Route changes", rows)), 10)
        for heading, answer in ANSWERS.items():
            self.assert_answers(answer(rows), self.ask(heading, rows), heading)


class CommandTests(SqlTest):
    def setUp(self) -> None:
        super().setUp()
        self.send_ours()

    def test_one_database_has_every_row_of_all_files_once(self) -> None:
        rows = self.gather()
        self.gather()  # again, over what is there
        with opened(self.cwd / "outputd.db") as db:
            for name in TABLES:
                ours = Counter(tuple(row.values())[name == "rejected_results" :] for row in rows.tables[name])
                theirs = Counter(
                    tuple(row)[name == "rejected_results" :] for row in db.execute(f"SELECT * FROM {name}")
                )
                self.assertEqual(ours, theirs, name)
            self.assertEqual([], db.execute("PRAGMA foreign_key_check").fetchall())

    def test_several_files_are_asked_without_a_copy(self) -> None:
        self.assertEqual(
            f"{len(Rows(self.directory).pings)}\n", run(self.page("One database of all files")[1], self.cwd)
        )

    def test_csv_and_json(self) -> None:
        rows = self.gather()
        run(self.page("Export")[0], self.cwd)
        with (self.cwd / "results.csv").open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        expected = [{name: "" if value is None else str(value) for name, value in ping.items()} for ping in rows.pings]
        self.assertEqual(expected, table)
        lines = [json.loads(line) for line in (self.cwd / "results.jsonl").read_text(encoding="utf-8").splitlines()]
        self.assertEqual([{name: ping[name] for name in ("ip", "received", "timestamp")} for ping in rows.pings], lines)

    def test_parquet(self) -> None:
        if shutil.which("duckdb") is None:
            raise SkipTest("duckdb is not here; its program is on PyPI as duckdb-cli")
        rows = self.gather()
        for commands in self.page("Export"):
            run(commands, self.cwd)
        told = run(
            "duckdb -csv -noheader -c \"SELECT count(*), sum(avg_rtt)::BIGINT FROM 'results.parquet'\"", self.cwd
        )
        self.assertEqual(f"{len(rows.pings)},{sum(ping['avg_rtt'] or 0 for ping in rows.pings)}", told.strip())


class DatasetteTests(SqlTest):
    queries = DATASETTE["databases"]["outputd"]["queries"]

    def test_its_queries_are_those_of_the_page(self) -> None:
        told = {query["title"]: " ".join(query["sql"].split()) for query in self.queries.values()}
        self.assertEqual({heading: " ".join(sql.split()).rstrip(";") for heading, sql in RECIPES.items()}, told)

    def test_it_loads_them_and_answers(self) -> None:
        if shutil.which("datasette") is None:
            raise SkipTest("datasette is not here; it is on PyPI")
        self.send_ours()
        rows = self.gather()
        (command,) = self.page("Datasette")
        port = free_port()
        (self.cwd / "monitoring").symlink_to(CHECKOUT / "monitoring")
        self.assertIn("--port 8001", command)
        with (self.cwd / "datasette.log").open("wb") as log:
            process = subprocess.Popen(
                command.replace("8001", str(port)).split(),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        wait_until(lambda: self._answers(port, "/outputd.json"), "Datasette answers", 60)
        for name, query in self.queries.items():
            arguments = urllib.parse.urlencode({"_shape": "arrays", "ip": busiest(rows)})
            answer = call(port, "GET", f"/outputd/{name}.json?{arguments}")
            self.assertEqual(200, answer.status, answer.body)
            found = [tuple(row) for row in answer.json["rows"]]
            self.assert_answers(ANSWERS[query["title"]](rows), found, name)

    def _answers(self, port: int, path: str) -> bool:
        try:
            return call(port, "GET", path).status == 200
        except OSError:
            return False
