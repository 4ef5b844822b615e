"""What `outputd.access`, `outputd.token` and `outputd.reload` promise, and what both sites make of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.process.reload import Reload, Reloadable
from outputd.process.trouble import Unusable
from outputd.security.access import Access, Holder, line_of, new_token
from tests.kit.logs import said
from tests.kit.makers import a_result, body_of
from tests.kit.pools import inline
from tests.kit.running import Running, eventually
from tests.kit.wire import Reply, Wire, parsed

NODE = Holder("node", "graz")
READER = Holder("reader", "otto")
OPERATOR = Holder("operator", "anna")
OF_OPERATORS = {
    ("POST", "/rotate"), ("GET", "/dump"), ("GET", "/files"), ("GET", "/export.ndjson"), ("GET", "/export.parquet"),
}  # fmt: skip
OF_ALL = {("GET", "/health"), ("GET", "/ready")}


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.access = Access(self.path)

    def read(self, text: str) -> Access:
        self.path.write_text(text, encoding="utf-8")
        self.access.take(self.access.read())
        return self.access

    def test_a_token_is_known_by_its_digest_alone(self) -> None:
        first, second = new_token(), new_token()
        access = self.read(f"# ours\n\n{line_of(NODE, first)}\n  {line_of(OPERATOR, second)}  \n")
        self.assertEqual(access.holder(f"Bearer {first}".encode()), NODE)
        self.assertEqual(access.holder(f"bearer  {second}".encode()), OPERATOR)
        self.assertEqual(access.holder(basic(second).encode()), OPERATOR)
        self.assertNotIn(first, self.path.read_text())
        self.assertGreaterEqual(len(first), 43)  # 256 bits

    def test_nobody_else_is(self) -> None:
        known = new_token()
        access = self.read(line_of(NODE, known))
        digest = hashlib.sha256(known.encode()).hexdigest()
        for header in (
            None, b"", b"Bearer", b"Bearer ", f"Bearer {new_token()}".encode(), f"Bearer {digest}".encode(),
            known.encode(), f"Digest {known}".encode(), b"Basic !", basic("").encode(), b"Basic \xff",
            b"Bearer \xff\x00", f"Bearer {known}x".encode(), f"Bearer {known[:-1]}".encode(),
        ):  # fmt: skip
            self.assertIsNone(access.holder(header), header)

    def test_a_file_that_is_wrong_is_told_with_its_line(self) -> None:
        good = line_of(NODE, "t")
        digest = good.split()[2]
        for text, wrong in {
            "": "no token in it",
            "# nothing\n": "no token in it",
            f"{good}\nnode graz\n": "line 2: expected a role, a name and the SHA-256 of a token",
            f"admin graz {digest}": "line 1: the role must be one of node, reader, operator, not 'admin'",
            f"node {'x' * 65} {digest}": "line 1: a name has at most 64 printable characters",
            f"node graz {digest[:-1]}": "line 1: the SHA-256 of a token has 64 hexadecimal digits",
            f"node graz {'g' * 64}": "line 1: the SHA-256 of a token has 64 hexadecimal digits",
            f"{good}\n\n{good}": "line 3: this token is already that of graz",
            f"node gräz {digest}": "not ASCII text",
        }.items():
            error = self.assertRaises(Unusable, self.read, text)
            self.assertIn(wrong, str(error))
            self.assertIn(str(self.path), str(error))
        self.path.unlink()
        self.assertIn("No such file", str(self.assertRaises(Unusable, self.access.read)))

    def test_one_name_may_have_several_tokens(self) -> None:
        """So that a new one is given out before the old one goes."""
        old, new = new_token(), new_token()
        access = self.read(f"{line_of(NODE, old)}\n{line_of(NODE, new)}\n")
        self.assertEqual({access.holder(f"Bearer {known}".encode()) for known in (old, new)}, {NODE})


class Reloading(SynchronousTestCase):
    def setUp(self) -> None:
        self.taken: list[Any] = []

    def thing(self, name: str, *values: Any) -> Reloadable[Any]:
        left = list(values)

        def read() -> Any:
            value = left.pop(0)
            if isinstance(value, Exception):
                raise value
            return value

        return Reloadable(name, read, self.taken.append)

    def test_what_is_wrong_stays_as_it_was_and_the_rest_is_taken(self) -> None:
        reload = Reload([self.thing("a", 1, Unusable("line 3")), self.thing("b", 2, 3)], inline)
        reload.read_first()
        with said() as log:
            self.successResultOf(Deferred.fromCoroutine(reload.again()))
        self.assertEqual(self.taken, [1, 2, 3])
        self.assertEqual(log, ["a not reloaded, the old one stays in use: line 3", "b reloaded"])

    def test_at_the_start_what_is_wrong_is_an_error(self) -> None:
        self.assertRaises(Unusable, Reload([self.thing("a", Unusable("no"))], inline).read_first)


class Sites(TestCase):
    """With a tokens file each route asks for a role, and without it for none."""

    async def begin(self, *flags: str) -> Running:
        self.node, self.reader, self.operator = new_token(), new_token(), new_token()
        self.file = Path(self.mktemp())
        lines = line_of(NODE, self.node), line_of(READER, self.reader), line_of(OPERATOR, self.operator)
        self.file.write_text("".join(f"{line}\n" for line in lines))
        self.it = Running(Path(self.mktemp()), f"--tokens-file={self.file}", *flags).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.it.stop()))
        return self.it

    async def ask(self, method: str, path: str, token: str | None, port: str = "port", **headers: str) -> Reply:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        body = body_of(a_result()) if path == "/results" else None
        return await self.it.ask(method, path, body, sent, port)

    async def test_each_route_has_its_role(self) -> None:
        """Rule 25. One that is new is a reader's GET, or has to be named above."""
        await self.begin()
        asked = 0
        for port, site in (("port", self.it.parts.results_site), ("health-port", self.it.parts.health_site)):
            for route in site.resource.all:
                place = route.method, route.path
                everybody = place in OF_ALL
                allowed = {self.operator} if place in OF_OPERATORS else {self.operator, self.reader}
                if place == ("POST", "/results"):
                    allowed = {self.node}
                self.assertTrue(route.method == "GET" or place in OF_OPERATORS or allowed == {self.node}, place)
                method = "HEAD" if route.method == "GET" else route.method
                path = re.sub("<.*>", "1", route.path)
                for token in (self.node, self.reader, self.operator):
                    reply = await self.ask(method, path, token, port)
                    self.assertEqual(everybody or token in allowed, reply.status != 403, (place, reply.status))
                    self.assertNotEqual(401, reply.status, place)
                for nobody in (None, new_token()):
                    reply = await self.ask(method, path, nobody, port)
                    self.assertEqual(everybody, reply.status != 401, place)
                    challenge = reply.header("WWW-Authenticate") or ""
                    self.assertTrue(everybody or ("Bearer" in challenge and 'Basic realm="outputd"' in challenge))
                asked += 1
        self.assertGreater(asked, len(OF_OPERATORS) + len(OF_ALL) + 10)

    async def test_a_reader_reads(self) -> None:
        """And an operator, too; a path that there is not is nobody's secret for them."""
        await self.begin()
        await self.ask("POST", "/results", self.node)
        for path, status in (
            ("/recent", 200), ("/recent.csv", 200), ("/targets", 200), ("/results/1", 200), ("/metrics", 200),
            ("/stats", 200), ("/openapi.json", 200), ("/", 200), ("/topology", 200), ("/targets/192.0.2.1", 200),
            ("/static/style.css", 200), ("/%73tats", 200), ("/nothing", 404), ("/%64ump", 404),
        ):  # fmt: skip
            for token in (self.reader, self.operator):
                self.assertEqual(status, (await self.ask("GET", path, token, "health-port")).status, path)
            self.assertEqual(403, (await self.ask("GET", path, self.node, "health-port")).status, path)
        wire = await self.listen(self.reader)
        wire.hang_up()

    async def test_a_page_knows_who_may_only_read(self) -> None:
        """So that it offers no download, nor how to post."""
        await self.begin()
        for token, may in ((self.reader, b'data-may="read"'), (self.operator, b'data-may=""')):
            self.assertIn(may, (await self.ask("GET", "/", token, "health-port")).body)

    async def test_who_becomes_a_reader_is_cut_off_from_what_is_an_operator_s(self) -> None:
        """By the same token: a request that was begun is answered 403 when the file is read again."""
        await self.begin()
        wire = await self.begun("GET", "/dump", self.operator)
        self.file.write_text(f"{line_of(READER, self.operator)}\n")
        await self.it.parts.reload.again()
        await wire.closed
        self.assertEqual(403, parsed(wire.data).status)

    async def test_another_spelling_of_a_path_opens_it_to_nobody_else(self) -> None:
        await self.begin()
        for port, serves in (("port", True), ("health-port", False)):
            for path in (
                "/results", "//results", "///results", "/%2Fresults", "/%2fresults", "%2Fresults", "/./results",
                "/x/../results", "/results/", "/results/.", "/results%2F", "/%72esults", "/RESULTS", "/results.json",
                "/results;x", "/results?x", "results", "http://x/results", "http://x//results", "HTTP://x/results",
            ):  # fmt: skip
                statuses = [await self.post_bare(port, path, token) for token in (None, self.operator, self.node)]
                self.assertEqual(statuses[0], 401, path)
                if statuses[2] == 200:
                    self.assertEqual((serves, statuses[1]), (True, 403), path)
                else:
                    self.assertIn(statuses[1:], ([404, 403], [405, 403]), path)

    async def post_bare(self, port: str, path: str, token: str | None) -> int:
        """The status of a POST whose path no client tidies up."""
        wire = await self.it.connect(port)
        leave = "" if token is None else f"Authorization: Bearer {token}\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{leave}Content-Length: 2\r\n\r\n[]"
        wire.write(head.encode())
        await wire.closed
        return parsed(wire.data).status

    async def test_health_and_ready_are_everybody_s(self) -> None:
        await self.begin()
        for path in ("/health", "/ready", "/%68ealth"):
            for token in (None, self.node, self.operator, "wrong"):
                self.assertEqual((await self.ask("GET", path, token, "health-port")).status, 200)

    async def test_a_browser_s_password_is_a_token(self) -> None:
        await self.begin()
        reply = await self.ask("GET", "/stats", None, "health-port", Authorization=basic(self.operator))
        self.assertEqual(reply.status, 200)

    async def test_the_node_of_a_batch_is_the_token_s_name(self) -> None:
        """Whatever the header says; and the key's scope with it."""
        await self.begin()
        for header in ("elsewhere", "nowhere"):
            reply = await self.ask("POST", "/results", self.node, X_Ping_Node=header, Idempotency_Key="k")
            self.assertEqual(reply.status, 200)
        with contextlib.closing(sqlite3.connect(self.it.parts.store.current.info.path)) as db:
            self.assertEqual(db.execute("SELECT node, key FROM batches").fetchall(), [("graz", "k")])

    async def test_a_key_and_a_name_are_of_one_token_alone(self) -> None:
        """Rules 6 and 7: what another sends under the same key, and under this one's name, is stored as that one's."""
        await self.begin()
        other, twin = new_token(), new_token()
        lines = [line_of(*each) for each in ((NODE, self.node), (Holder("node", "wien"), other), (NODE, twin))]
        self.file.write_text("".join(f"{line}\n" for line in lines))
        await self.it.parts.reload.again()
        said = [
            (await self.ask("POST", "/results", token, X_Ping_Node="graz", Idempotency_Key="k")).json
            for token in (self.node, other, other, twin, self.node)
        ]
        first = {"status": "ok", "received": 1}
        self.assertEqual([first, first, *[{**first, "duplicate": True}] * 3], said)
        stored = self.it.rows("SELECT node, key, accepted FROM batches ORDER BY id")
        self.assertEqual([("graz", "k", 1), ("wien", "k", 1)], stored)

    async def test_a_body_without_a_token_is_never_kept(self) -> None:
        """Whoever has none takes no memory from those who have."""
        await self.begin()
        wire = await self.it.connect()
        wire.write(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + b"[" * 100_000)
        reply = await self.ask("POST", "/results", self.node)
        self.assertEqual((reply.status, self.it.admission.held_bytes), (200, 0))

    async def test_the_file_is_read_again(self) -> None:
        """On SIGHUP, which the process passes on; a broken file lets the old one stay."""
        await self.begin()
        new = new_token()
        self.file.write_text("nonsense\n")
        await self.it.parts.reload.again()
        self.assertEqual((await self.ask("POST", "/results", self.node)).status, 200)
        self.file.write_text(f"{line_of(NODE, new)}\n")
        await self.it.parts.reload.again()
        self.assertEqual((await self.ask("POST", "/results", self.node)).status, 401)
        self.assertEqual((await self.ask("POST", "/results", new)).status, 200)

    async def test_who_is_taken_off_the_file_hears_no_more(self) -> None:
        """Of the events, which have no end; who is still in it goes on."""
        await self.begin()
        other = new_token()
        both = f"{line_of(OPERATOR, other)}\n{line_of(OPERATOR, self.operator)}\n{line_of(NODE, self.node)}\n"
        self.file.write_text(both)
        await self.it.parts.reload.again()
        first, second = [await self.listen(token) for token in (self.operator, other)]
        self.file.write_text(f"{line_of(OPERATOR, self.operator)}\n")
        await self.it.parts.reload.again()
        await second.closed
        first.data = b""
        await first.until(b"data: ")

    async def test_nor_has_a_request_that_was_begun_before(self) -> None:
        """Rule 25: one byte short of its end at the time, it is answered at once, and nothing of it is done."""
        await self.begin()
        for method, path, token in (("POST", "/results", self.node), ("POST", "/rotate", self.operator),
                                    ("GET", "/dump", self.operator)):  # fmt: skip
            with self.subTest(path=path):
                await self.let_in(self.node, self.operator)
                wire = await self.begun(method, path, token)
                await self.let_in(new_token(), new_token())
                await wire.closed
                self.assertEqual(401, parsed(wire.data).status)
        self.assertEqual(1, len(self.it.parts.store.files))

    async def test_nor_a_body_that_comes_in_after_the_change(self) -> None:
        """Whatever was said of its headers: it is asked again when the work begins."""
        await self.begin()
        wire = await self.begun("POST", "/results", self.node)
        (site,) = {channel.site for channel in self.it.site.channels}
        self.patch(site, "judge_again", lambda: None)
        await self.let_in(new_token(), self.operator)
        wire.write(b"]")
        await wire.until(b"401 Unauthorized")

    async def test_nor_a_dump_that_waits_for_its_copy(self) -> None:
        """It is answered at once, and sent nothing of the copy."""
        await self.begin()
        waiting: Deferred[None] = Deferred()

        async def later(work: Callable[..., Any], *args: Any) -> Any:
            await waiting
            return work(*args)

        self.patch(self.it.parts.copies, "_in_thread", later)
        dump = await self.begun("GET", "/dump", self.operator, b"")
        await eventually(lambda: self.it.site.in_flight == 1)
        await self.let_in(new_token(), new_token())
        await dump.closed
        self.assertEqual(401, parsed(dump.data).status)
        waiting.callback(None)
        await eventually(lambda: not self.it.site.in_flight)
        self.assertNotIn(b"SQLite format", dump.data)

    async def let_in(self, node: str, operator: str) -> None:
        self.file.write_text(f"{line_of(OPERATOR, operator)}\n{line_of(NODE, node)}\n")
        await self.it.parts.reload.again()

    async def begun(self, method: str, path: str, token: str, body: bytes | None = None) -> Wire:
        """A connection that has sent a request, all but the last byte when no body is given."""
        wire = await self.it.connect()
        rest, size = (b"[", 2) if body is None else (body, len(body))
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n"
        wire.write(head.encode() + rest)
        await eventually(lambda: any(each.requests and each.requests[0].found for each in self.it.site.channels))
        return wire

    async def listen(self, token: str) -> Wire:
        """A connection that is told the events."""
        wire = await self.it.connect("health-port")
        wire.write(f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        await wire.until(b"data: ")
        return wire

    async def test_no_token_is_logged(self) -> None:
        with said() as log:
            await self.begin("--verbose")
            for token in (self.node, self.operator, "a-wrong-token"):
                await self.ask("POST", "/results", token)
                await self.ask("GET", "/stats", token, "health-port")
        self.assertTrue(log)
        for token in (self.node, self.operator, "a-wrong-token"):
            self.assertNotIn(token, "\n".join(log))

    def test_a_file_that_is_wrong_stops_the_start(self) -> None:
        path = Path(self.mktemp())
        path.write_text("nonsense\n")
        running = Running(Path(self.mktemp()), f"--tokens-file={path}")
        self.assertRaises(Unusable, running.parts.reload.read_first)

    async def test_an_open_service_beyond_this_machine_says_so_once(self) -> None:
        for interface, warned in (("127.0.0.1", 0), ("0.0.0.0", 1)):
            with said() as log:
                it = Running(Path(self.mktemp()), f"--port=tcp:0:interface={interface}").start()
                self.addCleanup(_stop, it)
            self.assertEqual(sum("--tokens-file" in line for line in log), warned)


def _stop(it: Running) -> Deferred[None]:
    return Deferred.fromCoroutine(it.stop())


class OtherSites(TestCase):
    """A page of another site, in the browser of somebody who may, can ask for nothing that changes anything."""

    async def test_their_posts_are_refused(self) -> None:
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(it.stop()))
        ours = f"127.0.0.1:{it.port()}"
        for headers, status in (
            ({}, 200), ({"Origin": f"http://{ours}"}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Sec-Fetch-Site": "none"}, 200), ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403),
            ({"Origin": f"http://evil.example/{ours}"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site", "Origin": f"http://{ours}"}, 403),
        ):  # fmt: skip
            reply = await it.ask("POST", "/rotate", None, headers)
            self.assertEqual(reply.status, status, headers)
            self.assertEqual((await it.ask("POST", "/results", b"[]", headers)).status, status, headers)

    async def test_nor_do_they_load_anything(self) -> None:
        """A dump is a copy of a file, and a question goes through all of them: each time a page asks."""
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(it.stop()))
        link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        click = {**link, "Sec-Fetch-User": "?1"}
        for site, more, dump, page, health in (
            ("same-origin", {}, 200, 200, 200), ("none", link, 200, 200, 200),
            ("cross-site", {}, 403, 403, 200), ("cross-site", link, 403, 200, 200),
            ("cross-site", click, 403, 200, 200), ("cross-site", {**link, "Sec-Fetch-Dest": "iframe"}, 403, 403, 200),
            ("same-site", {}, 403, 403, 200), ("same-site", link, 403, 200, 200), ("same-site", click, 200, 200, 200),
        ):  # fmt: skip
            headers = {"Sec-Fetch-Site": site, **more}
            for path, port, status in (
                ("/dump", "port", dump), ("/dump?file=no.db", "port", dump if dump == 403 else 404),
                ("/files", "port", dump), ("/links", "health-port", dump), ("/links.csv", "health-port", dump),
                ("/targets", "health-port", dump), ("/recent?include=traceroute", "health-port", dump),
                ("/", "health-port", page), ("/targets/192.0.2.1", "health-port", page),
                ("/results/1", "health-port", page if page == 403 else 404), ("/health", "health-port", health),
            ):  # fmt: skip
                self.assertEqual(status, (await it.ask("GET", path, None, headers, port)).status, (path, headers))
        for path, port, status in (
            ("/dump", "port", 403),
            ("/events", "health-port", 403),
            ("/ready", "health-port", 200),
        ):
            reply = await it.ask("HEAD", path, None, {"Origin": "http://evil.example"}, port)
            self.assertEqual(status, reply.status, "of a browser without Fetch Metadata")
