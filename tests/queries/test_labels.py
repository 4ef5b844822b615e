"""What `outputd.queries.labels` promises: networks and names as further columns, and nothing else by them."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.api import openapi
from outputd.naming.lookups import NAMED_S, Lookups
from outputd.naming.names import Looked, Names
from outputd.naming.naming import Naming
from outputd.naming.origins import Origins
from outputd.process.threads import Threads
from outputd.process.trouble import Unusable
from outputd.queries import QUESTIONS, labels
from outputd.queries.hops import HOP, Hop
from outputd.queries.links import LINKS, Links
from outputd.queries.paths import PATHS, Paths
from outputd.queries.question import Question
from outputd.queries.targets import TARGETS, Targets
from outputd.queries.trace import TRACE, Trace
from tests.kit.asking import Asking
from tests.kit.document import Document
from tests.kit.makers import a_result, a_trace, body_of
from tests.kit.networks import MAXMIND, TABLE, mmdb
from tests.kit.reverse import ReverseServer
from tests.kit.running import REACTOR, Running, eventually

EXAMPLE = {"asn": 64500, "as_name": "Example Net"}
NOTHING = {"asn": None, "as_name": None}
HOPS = ({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "ip": "_gateway"}, {"ttl": 4, "ip": "8.8.8.8"},
        {"ttl": 5, "ip": "8.8.9.1"}, {"ttl": 6, "ip": "2001:db8::1"})  # fmt: skip
ASKED: tuple[tuple[Question[Any], Any], ...] = (
    (TARGETS, Targets()), (LINKS, Links()), (PATHS, Paths("8.8.8.8")), (HOP, Hop("8.8.9.1")),
    (TRACE, Trace("8.8.8.8")),
)  # fmt: skip


def prefixed(prefix: str, labels: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in labels.items()}


class Labelled(Asking):
    def setUp(self) -> None:
        super().setUp()
        self.bench.post(a_trace(*HOPS), a_result(ip="9.9.9.9"), a_result(ip="2001:db8::5"), node="a")
        self.before = {question.name: self.ask(question, asked) for question, asked in ASKED}
        self.wanted: list[str] = []
        self.threads = Threads(REACTOR, "test", 1)
        self.addCleanup(self.threads.stop)

    def known(self, networks: bytes | None = None, names: Iterable[Looked] | None = None) -> None:
        origins = None
        if networks is not None:
            path = Path(self.mktemp())
            path.write_bytes(networks)
            origins = Origins(path, self.bench.now, self.bench.clock.seconds)
            origins.take(origins.read())
        lookups = None
        if names is not None:
            book = Names(self.bench.directory.names, lambda: True)
            book.keep(list(names))
            book.close()
            lookups = Lookups(book, tuple, lambda ip, servers: Deferred(), self.bench.in_thread, self.bench.clock,
                              self.bench.now)  # fmt: skip
        self.queries = self.bench.queries(
            Naming(origins, lookups, self.threads, self.bench.directory.names, self.bench.now, self.want)
        )

    def want(self, _: object, ips: list[str]) -> None:
        self.wanted += ips

    def looked(self, ip: str, name: str | None, again_s: float = 1000.0) -> Looked:
        return Looked(ip, name, 0, int(self.bench.now() + again_s), True)

    def test_every_address_has_its_network(self) -> None:
        self.known(TABLE)
        targets = {row["ip"]: row for row in self.ask(TARGETS, Targets())["targets"]}
        for ip, said in (("8.8.8.8", EXAMPLE), ("9.9.9.9", NOTHING), ("2001:db8::5", EXAMPLE)):
            self.assertEqual(said, {name: targets[ip][name] for name in said})
        (link, other) = self.ask(LINKS, Links(sort="from"))["links"]
        self.assertEqual(link, link | prefixed("from_", EXAMPLE) | prefixed("to_", {"asn": 64501}))
        self.assertEqual(other, other | prefixed("from_", {"asn": 64501}) | prefixed("to_", EXAMPLE))
        (path,) = self.ask(PATHS, Paths("8.8.8.8"))["paths"]
        self.assertEqual([None, None, None, 64500, 64501, 64500], path["hop_asn"])
        self.assertEqual(len(path["hops"]), len(path["hop_as_name"]))
        for row in self.ask(TRACE, Trace("8.8.8.8"))["hops"]:
            asns = {"8.8.8.8": 64500, "8.8.9.1": 64501, "2001:db8::1": 64500}
            self.assertEqual([asns.get(each["ip"]) for each in row["addresses"]], row["address_asn"])
        hop = self.ask(HOP, Hop("8.8.9.1"))
        self.assertEqual((64501, "Other Net, Inc."), (hop["asn"], hop["as_name"]))
        for relation in ("before", "after", "targets"):
            self.assertEqual([64500], [each["asn"] for each in hop[relation]])

    def test_a_file_of_maxmind_serves_as_well(self) -> None:
        self.known(mmdb({"8.8.8.0/24": MAXMIND, "2001:db8::/32": MAXMIND}))
        found = {row["ip"]: row["asn"] for row in self.ask(TARGETS, Targets())["targets"]}
        self.assertEqual({"8.8.8.8": 64500, "2001:db8::5": 64500, "9.9.9.9": None}, found)

    def test_names_that_are_known_are_shown_and_the_others_are_wanted(self) -> None:
        self.known(names=[
            self.looked("8.8.8.8", "a.example"), self.looked("9.9.9.9", "old.example", again_s=-1),
            self.looked("10.0.0.1", None), self.looked("8.8.9.1", "future.example", again_s=NAMED_S + 100),
        ])  # fmt: skip
        names = {row["ip"]: row["name"] for row in self.ask(TARGETS, Targets())["targets"]}
        self.assertEqual({"8.8.8.8": "a.example", "9.9.9.9": "old.example", "2001:db8::5": None}, names)
        self.assertEqual({"9.9.9.9", "2001:db8::5"}, set(self.wanted))
        self.wanted.clear()
        self.ask(PATHS, Paths("8.8.8.8"))
        self.assertEqual({"8.8.9.1", "2001:db8::1"}, set(self.wanted), "also by a clock that was wrong")

    def test_a_target_is_found_by_its_name(self) -> None:
        self.known(names=[self.looked("8.8.8.8", "A.example"), self.looked("9.9.9.9", None)])
        for text, found in (("a.ex", ["8.8.8.8"]), ("9.9", ["9.9.9.9"]), ("%", [])):
            self.assertEqual(found, [row["ip"] for row in self.ask(TARGETS, Targets(text=text))["targets"]])
        self.bench.directory.names.unlink()
        self.assertEqual([], self.ask(TARGETS, Targets(text="a.ex"))["targets"])

    def test_without_a_file_of_names_or_with_a_damaged_one_there_are_none(self) -> None:
        self.known(names=[self.looked("8.8.8.8", "a.example")])
        path = self.bench.directory.names
        for spoil in (lambda: path.write_bytes(b"no database" * 1000), path.unlink):
            spoil()
            self.assertEqual({None}, {row["name"] for row in self.ask(TARGETS, Targets())["targets"]})
            self.assertIn("8.8.8.8", self.wanted)

    def test_all_else_stays_as_it_was(self) -> None:
        self.known(TABLE, [])
        for question, asked in ASKED:
            now = self.ask(question, asked)
            self.assertEqual(self.before[question.name], _without(now), question.name)

    def test_csv_and_ndjson_have_the_same(self) -> None:
        self.known(TABLE, [self.looked("8.8.8.8", "-a.example")])
        for question, asked in ASKED:
            rows = [json.loads(line) for line in (self.answer(question, asked, "ndjson") or "").splitlines()]
            lines = list(csv.DictReader(io.StringIO(self.answer(question, asked, "csv"))))
            self.assertEqual(len(rows), len(lines))
            for row, line in zip(rows, lines, strict=True):
                self.assertEqual(list(row), list(line))
                for name, value in row.items():
                    if "asn" in name:
                        self.assertEqual("" if value is None else str(value) if isinstance(value, int) else
                                         json.dumps(value, separators=(",", ":")), line[name])  # fmt: skip
        self.assertIn("'-a.example", self.answer(TARGETS, Targets(), "csv") or "")

    def test_each_of_many_rows_has_its_own_over_all_pages(self) -> None:
        self.patch(labels, "MOST_REMEMBERED", 700)
        for first in range(0, 2000, 500):
            ends = [f"{number // 250}.{number % 250}" for number in range(first, first + 500)]
            self.bench.post(*(a_trace({"ttl": 1, "ip": f"8.8.{end}"}, {"ttl": 2, "ip": f"8.9.{end}"}) for end in ends))
        table = [f"8.8.{number}.0\t8.8.{number}.255\t{number + 1}\tZZ\tx\n" for number in range(8)]
        self.known("".join(table).encode())
        rows = self.ask(LINKS, Links(5000))["links"]
        self.assertGreater(len(rows), 2000)
        for row in rows:
            if row["to"].startswith("8.9."):
                third = int(row["from"].split(".")[2])
                self.assertEqual((third + 1, None), (row["from_asn"], row["to_asn"]), row)

    def test_the_document_of_the_api_has_them_where_the_service_has(self) -> None:
        self.assertNotIn("asn", openapi.text().decode())
        self.known(TABLE, [])
        document = Document(json.loads(openapi.text(("asn", "as_name", "name"))))
        for question, asked in ASKED:
            self.assertTrue(document.is_valid(question.whole, self.ask(question, asked)), question.name)
            self.assertFalse(document.is_valid(question.whole, self.before[question.name]), question.name)

    def test_only_questions_with_addresses_have_them(self) -> None:
        self.assertEqual(
            {"/targets", "/links", "/hops/<ip>", "/paths", "/trace", "/cells"},
            {question.path for question in QUESTIONS if question.addresses},
        )


def _without(answer: Any) -> Any:
    """The same without what labels add."""
    if isinstance(answer, list):
        return [_without(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    ends, beginnings = ("asn", "as_name", "name"), ("from_", "to_", "hop_", "address_as", "address_name")
    return {
        name: _without(value) for name, value in answer.items() if not (name in ends or name.startswith(beginnings))
    }


class WholeService(TestCase):
    def networks(self) -> Path:
        path = Path(self.mktemp())
        self.write(path, TABLE)
        return path

    def write(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)

    async def test_names_come_by_and_by_and_nothing_stored_or_sent_away_has_them(self) -> None:
        dns = ReverseServer({"8.8.8.8": [b"dns.example"]}).open()
        self.addCleanup(dns.close)
        networks = self.networks()
        flags = (f"--asn-db={networks}", "--rdns", f"--rdns-resolver=127.0.0.1:{dns.server.port}")
        plain, named = Running(Path(self.mktemp())).start(), Running(Path(self.mktemp()), *flags).start()
        self.addCleanup(plain.stop)
        self.addCleanup(named.stop)
        for each in (plain, named):
            await each.post(body_of(a_trace(*HOPS)), X_Ping_Node="a")
        found: list[Any] = []

        async def look() -> None:
            found[:] = (await named.ask("GET", "/targets", port="health-port")).json["targets"]

        await look()
        self.assertEqual((64500, "Example Net", None), tuple(found[0][name] for name in ("asn", "as_name", "name")))
        names = named.parts.directory.names
        await eventually(names.exists)
        assert named.parts.naming is not None
        lookups = named.parts.naming.lookups
        assert lookups is not None
        await eventually(lambda: not lookups.waiting and _count(names))
        await look()
        self.assertEqual("dns.example", found[0]["name"])
        exports, health = {}, {}
        for each in (plain, named):
            exports[each] = (await each.ask("GET", "/export.ndjson", port="health-port")).body
            health[each] = (await each.ask("GET", "/health", port="health-port")).json["checks"]
        for text in (b"dns.example", b"Example Net", b"64500"):
            self.assertNotIn(text, exports[named])
        self.assertEqual({"names": {"status": "ok", "waiting_names": 0}}, {
            name: said for name, said in health[named].items() if name not in health[plain]
        })  # fmt: skip
        tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
        self.assertEqual(plain.rows(tables), named.rows(tables))
        (plain_api, named_api) = [
            (await each.ask("GET", "/openapi.json", port="health-port")).body for each in (plain, named)
        ]
        self.assertEqual(openapi.text(), plain_api)
        self.assertEqual(openapi.text(("asn", "as_name", "name")), named_api)

    async def test_a_start_with_a_broken_file_says_what_to_give(self) -> None:
        networks = self.networks()
        self.write(networks, b"broken")
        it = Running(Path(self.mktemp()), f"--asn-db={networks}")
        self.addCleanup(it.parts.free)
        said = str(self.assertRaises(Unusable, it.parts.reload.read_first))
        for word in (str(networks), "ip2asn-combined.tsv", "GeoLite2-ASN"):
            self.assertIn(word, said)

    async def test_a_new_file_is_read_on_sighup_and_a_broken_one_is_told(self) -> None:
        networks = self.networks()
        it = Running(Path(self.mktemp()), f"--asn-db={networks}").start()
        self.addCleanup(it.stop)
        self.write(networks, b"broken")
        await it.parts.reload.again()
        self.flushLoggedErrors()
        check = (await it.ask("GET", "/health", port="health-port")).json["checks"]["names"]
        self.assertEqual("warn", check["status"])
        self.assertIn(str(networks), check["reason"])
        await it.post(body_of(a_result()))
        asn = (await it.ask("GET", "/targets", port="health-port")).json["targets"][0]["asn"]
        self.assertEqual(64500, asn)
        self.write(networks, b"8.8.8.0\t8.8.8.255\t7\tZZ\tSeven\n")
        await it.parts.reload.again()
        check = (await it.ask("GET", "/health", port="health-port")).json["checks"]["names"]
        self.assertEqual({"status": "ok", "waiting_names": 0}, check)
        asn = (await it.ask("GET", "/targets", port="health-port")).json["targets"][0]["asn"]
        self.assertEqual(7, asn)


def _count(path: Path) -> int:
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return int(db.execute("SELECT count(*) FROM name").fetchone()[0])
        finally:
            db.close()
    except sqlite3.OperationalError:  # it is being made
        return 0
