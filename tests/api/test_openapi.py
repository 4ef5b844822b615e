"""The OpenAPI document: valid, whole, and true of what the service takes and answers."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import json
import os
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.api import exports, openapi
from outputd.export.walk import Lost, Walk
from outputd.process.trouble import Kind
from outputd.queries.exports import EXPORTS
from outputd.queries.session import NotReady, Session, TooLong
from outputd.results.agreement import MOST_BODY_BYTES
from outputd.results.model import Origin
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from outputd.security.access import NODE, OPERATOR, ROLES, Holder, line_of, new_token
from outputd.store.directory import DataDir
from tests.kit.document import Document
from tests.kit.makers import a_result, a_trace, body_of, read_by
from tests.kit.properties import given, settings
from tests.kit.running import REACTOR, Running
from tests.kit.wire import Reply, Wire, parsed, unchunked

DOCUMENT = Document(json.loads(openapi.text()))
SERVERS = {"port": openapi.RESULTS_SERVER, "health-port": openapi.HEALTH_SERVER}
BUG = 500


def raising(error: Exception) -> Callable[..., None]:
    """A function that raises."""

    def raises(*_: object) -> None:
        raise error

    return raises


def port_of(path: str) -> str:
    """The flag of the port of a path, an unknown one on the port for results."""
    servers = DOCUMENT.raw["paths"].get(path, {}).get("servers", [openapi.RESULTS_SERVER])
    return next(flag for flag, server in SERVERS.items() if servers == [server])


def is_stored(item: object) -> bool:
    """Whether the service takes an item."""
    origin = Origin("node", "2026-01-07 22:30:00", "2026-01-08 22:30:00")
    batch = read_by(Parser(lambda _: True), body_of(item), origin)
    return isinstance(batch, Batch) and batch.accepted == 1


def fail(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


class DocumentTests(SynchronousTestCase):
    def test_it_is_valid_openapi_3_1(self) -> None:
        self.assertEqual([], list(OpenAPIV31SpecValidator(dict(DOCUMENT.raw)).iter_errors()))

    def test_its_examples_are_what_it_asks_for(self) -> None:
        for name, schema in DOCUMENT.raw["components"]["schemas"].items():
            for value in schema.get("examples", []):
                self.assertTrue(DOCUMENT.is_valid(name, value), name)

    def test_operations_have_names_of_their_own(self) -> None:
        names = [operation["operationId"] for operation in DOCUMENT.operations.values()]
        self.assertEqual(sorted(set(names)), sorted(names))

    def test_every_field_that_a_node_may_send_is_described(self) -> None:
        schemas = DOCUMENT.raw["components"]["schemas"]
        silent = [
            (name, field)
            for name in ("PingResult", "Traceroute", "Hop")
            for field, schema in schemas[name]["properties"].items()
            if "description" not in schema
        ]
        self.assertEqual([], silent)


ANYTHING: list[Any] = [
    None, True, False, 0, -1, 1, 4, 4.0, 0.5, -0.5, 99.5, 100, 100.5, 101, 255, 256, 2**63 - 1, 2**63, -(2**63), "",
    "x", [], {}, [[]], [{"ttl": 1}], [{}], {"hops": [{"ttl": 0, "ip": "*", "rtt": -1, "timeout": None}]},
    {"hops": [{"ttl": 1, "ip": 1}]}, {"hops": [{"ttl": 256}]}, {"completed": 1},
    {"hops": None, "method": "", "completed": True, "error": None},
]  # fmt: skip
ADDRESSES = [
    "8.8.8.8", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "0x7f.1.1.1", " 8.8.8.8", "8.8.8.8 ",
    "::", "::1", "2001:DB8::A", "2001:db8::1::2", "::ffff:8.8.8.8", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9", "12345::", "[::1]", "::1/128", "example.org", "8.8.8.8\0",
]  # fmt: skip
TIMES = [
    "2026-01-07T22:30:00Z", "2026-01-07t22:30:00z", "2026-01-07T22:30:00.123456789Z", "2026-01-07T22:30:00.1234567890Z",
    "2026-01-07T22:30:00.Z", "2026-01-07T22:30:00+23:59", "2026-01-07T22:30:00-00:00", "2026-01-07T22:30:00+24:00",
    "2026-01-07T22:30:00", "2026-01-07 22:30:00Z", "2026-01-07T22:30Z", "2026-01-07T22:30:60Z", "2026-01-07T24:00:00Z",
    "2024-02-29T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "10000-01-01T00:00:00Z",
    "2026-01-07T22:30:00+0100", "2026-01-07T22:30:00Z ", "٢٠٢٦-01-07T22:30:00Z", "2026-1-7T22:30:00Z", "now",
]  # fmt: skip
FIELDS: list[str] = sorted(DOCUMENT.raw["components"]["schemas"]["PingResult"]["properties"])
ITEMS = st.one_of(
    st.builds(
        lambda change, absent: {key: value for key, value in a_result(**change).items() if key not in absent},
        st.fixed_dictionaries({}, optional={name: st.sampled_from(ANYTHING) for name in [*FIELDS, "unknown"]}),
        st.sets(st.sampled_from(FIELDS), max_size=1),
    ),
    st.builds(lambda name, value: a_result(**{name: value}), st.sampled_from(FIELDS), st.sampled_from(ANYTHING)),
    st.builds(lambda ip: a_result(ip=ip), st.sampled_from(ADDRESSES) | st.ip_addresses().map(str)),
    st.builds(lambda time: a_result(timestamp=time), st.sampled_from(TIMES) | st.datetimes().map(lambda t: f"{t}Z")),
    st.sampled_from(ANYTHING),
)


def is_spared(item: Any) -> bool:
    """The one rule between two values that the schema tells in words only."""
    loss = item.get("packet_loss") if isinstance(item, dict) else None
    return isinstance(loss, int | float) and loss < 0


class SentSchemaTests(SynchronousTestCase):
    """What the document says of an item, by types and by hand, is what the service takes."""

    @settings(max_examples=1000, derandomize=True, database=None, deadline=None)
    @given(ITEMS.filter(lambda item: not is_spared(item)))
    def test_an_item_fits_the_schema_exactly_if_it_is_stored(self, item: object) -> None:
        self.assertEqual(DOCUMENT.is_valid("PingResult", item), is_stored(item), item)

    def test_every_address_and_time_is_judged_alike(self) -> None:
        for item in [a_result(ip=ip) for ip in ADDRESSES] + [a_result(timestamp=time) for time in TIMES]:
            self.assertEqual(DOCUMENT.is_valid("PingResult", item), is_stored(item), item)

    def test_two_rules_between_values_are_told_in_words_only(self) -> None:
        spared = a_result(sent=1, received=2, packet_loss=-100)
        self.assertEqual((False, True), (DOCUMENT.is_valid("PingResult", spared), is_stored(spared)))
        over = a_result(timestamp="0001-01-01T00:00:00+01:00")
        self.assertEqual((True, False), (DOCUMENT.is_valid("PingResult", over), is_stored(over)))


class ServiceTests(TestCase):
    def setUp(self) -> None:
        self.seen: set[tuple[str, str, int]] = set()
        self.begin()

    def begin(self, *flags: str) -> None:
        """Have a service of these flags answer from now on."""
        self.running = running = Running(Path(self.mktemp()), *flags).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(running.stop()))

    async def want(
        self, status: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Ask, and hold the answer against the document; where GET is allowed, HEAD is asked too."""
        path_alone = DOCUMENT.template(path.partition("?")[0])
        sent = {"Host": "here", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        reply = await self.answer(port_of(path_alone), "\r\n".join(lines).encode("latin-1") + body)
        self.judge(status, method, path_alone, reply)
        if method == "GET" and status not in (206, 416):
            await self.want(status, "HEAD", path, headers=headers)
        return reply

    async def answer(self, flag: str, request: bytes) -> Reply:
        """What is answered on a bare connection: a client of Twisted changes the headers of an answer."""
        endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.running.port(flag))
        wire = await connectProtocol(endpoint, Wire())
        wire.write(request)
        await wire.closed
        reply = parsed(wire.data)
        is_chunked = reply.header("Transfer-Encoding") == "chunked"
        body = unchunked(reply.body) if is_chunked and reply.body else reply.body
        is_gzipped = reply.header("Content-Encoding") == "gzip" and body
        return dataclasses.replace(reply, body=gzip.decompress(body) if is_gzipped else body)

    def judge(self, status: int, method: str, path: str, reply: Reply) -> None:
        headers = {name.decode(): values[-1].decode() for name, values in reply.headers.getAllRawHeaders()}
        self.assertEqual(status, reply.status, (method, path, reply.body[:500]))
        self.assertEqual(
            [], DOCUMENT.faults(method, path, status, headers, reply.body), (method, path, reply.body[:500])
        )
        self.seen.add((method, path, status))

    def test_every_route_is_in_the_document_and_every_path_of_it_is_routed(self) -> None:
        parts = self.running.parts
        assert parts.pages is not None
        of_pages = {route.path for route in parts.pages.routes()}
        routed = {
            (method, route.path.replace("<", "{").replace(">", "}"), flag)
            for flag, site in (("port", parts.results_site), ("health-port", parts.health_site))
            for route in site.resource.all
            for method in ((route.method, "HEAD") if route.method == "GET" else (route.method,))
            if route.path not in of_pages
        }
        self.assertEqual(routed, {(method, path, port_of(path)) for method, path in DOCUMENT.operations})

    async def test_the_health_port_serves_it(self) -> None:
        reply = await self.want(200, "GET", "/openapi.json")
        self.assertEqual(DOCUMENT.raw, reply.json)

    async def test_what_is_compressed_is_what_is_documented(self) -> None:
        await self.want(200, "POST", "/results", body_of(*[a_result()] * 50))
        for path in ("/openapi.json", "/metrics", "/recent", "/recent.ndjson", "/recent.csv"):
            reply = await self.want(200, "GET", path, headers={"Accept-Encoding": "gzip"})
            self.assertEqual("gzip", reply.header("Content-Encoding"), path)

    async def test_nothing_else_is(self) -> None:
        """Rule 15 and the health checks of proxies: what is copied or exported has its length and digest as it is."""
        await self.want(200, "POST", "/results", body_of(*[a_result()] * 50))
        closed = (await self.want(200, "GET", "/stats")).json["current_db_file"]
        await self.want(200, "POST", "/rotate")
        for path in ("/health", "/ready", "/dump", f"/dump?file={closed}", "/export.ndjson", "/files"):
            reply = await self.want(200, "GET", path, headers={"Accept-Encoding": "gzip, identity;q=0"})
            self.assertIsNone(reply.header("Content-Encoding"), path)

    async def test_every_documented_answer_but_of_a_bug_is_given_as_documented(self) -> None:
        await self._results()
        await self._files()
        await self._health()
        await self._questions()
        await self._exports()
        await self._without_leave()
        documented = {answer for answer in DOCUMENT.answers if answer[2] != BUG}
        if find_spec("pyarrow") is None:
            documented = {answer for answer in documented if answer[1] != "/export.parquet"}
        self.assertEqual(set(), documented - self.seen)

    def tokens_file(self, tokens: Mapping[str, str]) -> Path:
        path = Path(self.mktemp())
        path.write_text("".join(f"{line_of(Holder(role, 'a'), token)}\n" for role, token in tokens.items()))
        return path

    async def _without_leave(self) -> None:
        """With tokens asked for: without one, and with one of the other role."""
        tokens = {role: new_token() for role in ROLES}
        self.begin(f"--tokens-file={self.tokens_file(tokens)}")
        for (method, template), operation in DOCUMENT.operations.items():
            if method == "HEAD" or "401" not in operation["responses"]:
                continue
            asked = re.sub(r"\{\w+\}", "1", template)
            other = NODE if template != "/results" else OPERATOR
            await self.want(401, method, asked)
            await self.want(403, method, asked, headers={"Authorization": f"Bearer {tokens[other]}"})

    async def test_unknown_paths_and_methods_are_the_documented_problems(self) -> None:
        for method, path in (("GET", "/nothing"), ("POST", "/nothing"), ("POST", "/results/")):
            await self.want(404, method, path)
        for path, item in DOCUMENT.raw["paths"].items():
            allowed = {method.upper() for method in item} - {"SERVERS"}
            for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} - allowed:
                reply = await self.want(405, method, path)
                self.assertEqual(", ".join(sorted(allowed)), reply.header("Allow"))

    async def test_what_cannot_be_read_is_the_documented_problem(self) -> None:
        for line in ("GET /stats", "GET /\xff HTTP/1.1", "G\xcbT /stats HTTP/1.1"):
            for header in ("a: b", "no colon", "Content-Length: x", "Transfer-Encoding: gzip", f"a: {'b' * 20_000}"):
                for flag in SERVERS:
                    reply = await self.answer(
                        flag, f"{line}\r\nConnection: close\r\n{header}\r\n\r\n".encode("latin-1")
                    )
                    self.judge(400, "", "", reply)

    async def test_a_header_that_may_stand_once_stands_once(self) -> None:
        for name in ("X-Ping-Node", "Idempotency-Key"):
            await self.want(400, "POST", "/results", body_of(a_result()), {name: f"a\r\n{name}: b"})

    async def test_the_limits_of_the_headers_are_those_documented(self) -> None:
        parameters = {p["name"]: p["schema"] for p in DOCUMENT.operations["POST", "/results"]["parameters"]}
        node, key = parameters["X-Ping-Node"]["maxLength"], parameters["Idempotency-Key"]["maxLength"]
        told = DOCUMENT.operations["POST", "/results"]["requestBody"]["description"]
        self.assertIn(f"At most {MOST_BODY_BYTES >> 20} MiB", told)
        good, bad = body_of(a_result()), 400
        for status, name, value in (
            (200, "X-Ping-Node", "~" * node), (bad, "X-Ping-Node", "~" * (node + 1)), (bad, "X-Ping-Node", "é"),
            (200, "X-Ping-Node", ""), (200, "Idempotency-Key", "k" * key), (bad, "Idempotency-Key", "k" * (key + 1)),
            (200, "Idempotency-Key", f'"{"q" * key}"'), (bad, "Idempotency-Key", ""), (bad, "Idempotency-Key", '""'),
            (200, "Content-Encoding", "identity"), (415, "Content-Encoding", "br"),
        ):  # fmt: skip
            await self.want(status, "POST", "/results", good, {name: value})

    async def _results(self) -> None:
        good, bad = a_trace({"ttl": 1, "ip": "10.0.0.1"}), a_trace({"ttl": 256})
        keyed = {"Idempotency-Key": "k"}
        for body in (body_of(), body_of(good), body_of(good, bad, *[None] * 30)):
            await self.want(200, "POST", "/results", body)
        for body in (body_of(good, bad), body_of(good, bad)):
            reply = await self.want(200, "POST", "/results", body, keyed)
        self.assertIs(True, reply.json["duplicate"])
        await self.want(422, "POST", "/results", body_of(good), keyed)
        await self.want(422, "POST", "/results", body_of(bad, 1))
        await self.want(400, "POST", "/results", b"{}")
        await self.want(400, "POST", "/results", b"")
        await self.want(400, "POST", "/results", b"[]", {"Content-Encoding": "gzip"})
        await self.want(413, "POST", "/results", b"[" + b" " * MOST_BODY_BYTES + b"]")
        await self.want(413, "POST", "/results", b"[" + b"1," * 131_072 + b"1]")
        await self.want(415, "POST", "/results", b"[]", {"Content-Encoding": "br"})
        self.running.admission.change(self.running.admission.limit_bytes)
        await self.want(503, "POST", "/results", body_of(good))
        self.running.admission.change(-self.running.admission.limit_bytes)

    async def _files(self) -> None:
        closed = (await self.want(200, "GET", "/stats")).json["current_db_file"]
        await self.want(200, "POST", "/rotate")
        full = self.patch(DataDir, "free_bytes", lambda _: 0)
        await self.want(503, "GET", "/dump")
        full.restore()
        await self.want(200, "GET", "/dump")
        await self.want(200, "GET", f"/dump?file={closed}")
        await self.want(304, "GET", f"/dump?file={closed}", headers={"If-None-Match": "*"})
        await self.want(200, "GET", "/files")
        await self.want(206, "GET", f"/dump?file={closed}", headers={"Range": "bytes=0-99"})
        await self.want(416, "GET", f"/dump?file={closed}", headers={"Range": "bytes=999999999-"})
        await self.want(404, "GET", "/dump?file=results_2026-01-07_22-30-45.db")
        broken = self.patch(DataDir, "publish", fail)
        await self.want(503, "POST", "/rotate")
        broken.restore()

    async def _health(self) -> None:
        for path in (
            "/health",
            "/ready",
            "/metrics",
            "/stats",
            "/openapi.json",
            "/recent",
            "/recent?ip=8.8.8.8&limit=2",
        ):
            await self.want(200, "GET", path)
        for query in (
            "failed=yes", "since=now", "until=2026-01-07", "before=0", "include=all",
            "limit=0", "limit=-1", "limit=x", "limit=", "ip=x", "ip=",
        ):  # fmt: skip
            await self.want(400, "GET", f"/recent?{query}")
        trouble = self.running.parts.store.trouble
        lasting = self.patch(trouble, "end", lambda: None)  # a write is tried each second, and would end it
        for kind in (Kind.OTHER, Kind.FULL):
            trouble.begin("no more", kind)
            reply = await self.want(503, "GET", "/health")
            self.assertEqual("unhealthy", reply.json["status"])
        lasting.restore()
        trouble.end()
        self.running.parts.stopping.has_begun = True
        await self.want(503, "GET", "/ready")
        self.running.parts.stopping.has_begun = False

    async def _questions(self) -> None:
        hops = [{"ttl": 1, "ip": "10.0.0.1", "rtt": 5}, {"ttl": 2, "ip": "10.0.0.2"}, {"ttl": 3, "timeout": True}]
        spread = a_result(error='a "b",\n', avg_rtt=5, min_rtt=1, max_rtt=9, stddev_rtt=2)
        await self.want(200, "POST", "/results", body_of(a_trace(*hops), spread, a_result(received=0), {"ip": 1}),
                        {"X-Ping-Node": "n,1"})  # fmt: skip
        newest = (await self.want(200, "GET", "/recent?limit=1&include=traceroute")).json[0]["id"]
        await self.running.parts.changes.up_to_date(30.0)
        week = "since=2026-01-01T00:00:00Z&until=2026-01-08T00:00:00%2B01:00&bucket=3600"
        questions = (
            "/recent", f"/results/{newest}", f"/results/{newest - 1}", "/targets", "/nodes", "/links", "/hops/10.0.0.1",
            "/arrivals", "/arrivals?bucket=90&since=2026-01-01T00:00:00Z&node=n%2C1", "/targets?ip=8.8.8.8",
            "/paths?ip=8.8.8.8", f"/series?ip=8.8.8.8&{week}", "/series?ip=9.9.9.9", "/links?ip=10.0.0.2&min_count=1",
            "/changes", "/changes?kind=loss_began&ip=8.8.8.8&node=a&until=2027-01-01T00:00:00Z",
            "/targets?since=2026-01-01T00:00:00Z", "/links?since=2030-01-01T00:00:00Z", "/paths?ip=9.9.9.9",
            "/recent?include=node,traceroute", "/failures", "/failures?node=nobody", "/rejected", "/rejected?limit=1",
            "/trace?ip=8.8.8.8", "/trace?ip=9.9.9.9",
            f"/cells?{week}", "/cells?limit=1&sort=ip",
            "/targets?limit=1", "/nodes?limit=1&sort=results", "/links?limit=1&sort=from&order=desc",
        )  # fmt: skip
        for question in questions:
            path, mark, query = question.partition("?")
            for media in ("application/json", "application/x-ndjson", "text/csv"):
                reply = await self.want(200, "GET", question, headers={"Accept": media})
                self.assertTrue(str(reply.header("Content-Type")).startswith(media))
                suffix = media.rpartition("/")[2].removeprefix("x-")
                again = await self.want(200, "GET", f"{path}.{suffix}{mark}{query}", headers={"Accept": "image/png"})
                self.assertEqual(reply.header("Content-Type"), again.header("Content-Type"))
        for question in (
            "/results/x", "/targets?limit=0", "/nodes?limit=x", "/arrivals?bucket=x", "/links?min_count=0", "/hops/x",
            "/failures?since=x", "/trace", "/rejected?before=7", "/recent?include=hops", "/targets?sort=x", "/paths",
            "/series?ip=x", "/series?ip=8.8.8.8&bucket=0", "/changes?kind=x",
            "/cells?sort=x",
        ):  # fmt: skip
            await self.want(400, "GET", question)
        for question in ("/results/999999", "/hops/192.0.2.1"):
            await self.want(404, "GET", question)
        for asked in (
            "/targets?limit=1", "/nodes?limit=1&sort=last_heard", "/links?limit=1", f"/cells?limit=1&{week}"
        ):  # fmt: skip
            path, first = asked.partition("?")[0], await self.want(200, "GET", asked)
            following = re.sub(r'^<(.*).{32}>; rel="next"$', rf"\g<1>{'0' * 32}", first.header("Link") or "")
            await self.want(410, "GET", f"{path}{following}")
        for status, error in ((503, NotReady("not yet")), (504, TooLong("too long"))):
            patch = self.patch(Session, "execute", raising(error))
            for question in questions:
                await self.want(status, "GET", question)
            patch.restore()

    async def _exports(self) -> None:
        for export in EXPORTS:
            if export.library:
                without = self.patch(exports, "find_spec", lambda _: None)
                await self.want(501, "GET", export.path)
                without.restore()
                if find_spec(export.library) is None:
                    continue
            reply = await self.want(200, "GET", f"{export.path}?ip=8.8.8.8")
            self.assertTrue(reply.body)
            for query in ("ip=x", "since=now", "failed=1", "limit=1"):
                await self.want(400, "GET", f"{export.path}?{query}")
            gone = self.patch(Walk, "begin", raising(Lost("a file is gone")))
            await self.want(503, "GET", export.path)
            gone.restore()
