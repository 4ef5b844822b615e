"""What the pages promise without a browser: their heads, their files, and the news; the rest is in tests/system."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import outputd.pages
from outputd.intake.admission import Admission
from outputd.pages.events import Events
from outputd.pages.templates import page
from outputd.security.access import Access
from outputd.store.directory import DataDir
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.bench import Bench
from tests.kit.makers import a_result
from tests.kit.wire import Reply, get, over_a_narrow_wire, over_the_wire, parsed

STATIC = Path(outputd.pages.__file__).parent / "static"
PAGES = ("/", "/targets/192.0.2.1", "/nodes/ams", "/nodes/?name=a/b", "/heat", "/topology")


class PagesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        health = bench.health()
        self.pages = bench.pages(health.report)
        self.addCleanup(self.pages.stop)
        self.site = Site(
            Routes([*health.routes(), *self.pages.routes()]),
            bench.clock,
            Admission(1 << 20, bench.clock.seconds),
            64 << 10,
            200,
            Access(),
        )

    def get(self, path: str, **headers: str) -> Reply:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        channel, transport = over_the_wire(self.site, f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        reply = parsed(transport.value())
        channel.connectionLost(Failure(ConnectionDone()))
        return reply

    def listen(self) -> tuple[Any, StringTransport]:
        """A connection that listens to the news."""
        return over_the_wire(self.site, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")


class Heads(PagesTest):
    def test_a_page_runs_no_script_and_no_style_but_its_own_files(self) -> None:
        for path in PAGES:
            reply = self.get(path)
            self.assertEqual((200, "text/html; charset=utf-8"), (reply.status, reply.header("Content-Type")))
            policy = str(reply.header("Content-Security-Policy"))
            self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), policy)
            self.assertNotIn("unsafe", policy)
            self.assertNotRegex(
                reply.body.decode(), r"<style|<script(?!(?: type=\"module\")? src=\"\.{1,2}/static/)|\s(style|on\w+)="
            )

    def test_a_page_names_files_that_there_are(self) -> None:
        for path in PAGES:
            for name in re.findall(r'(?:src|href)="([^"#]+)"', self.get(path).body.decode()):
                self.assertFalse(name.startswith("/"), f"{name} would leave the path where a proxy puts the pages")
                if "static/" in name:
                    self.assertEqual(200, self.get(urljoin(path, name)).status, name)

    def test_a_module_imports_files_that_there_are(self) -> None:
        for module in STATIC.glob("*.js"):
            for name in re.findall(r'(?:from |URL\()"\./([^"]+)"', module.read_text(encoding="utf-8")):
                self.assertTrue((STATIC / name).exists(), f"{module.name} imports {name}")

    def test_any_spelling_of_an_address_has_a_page_and_nothing_else(self) -> None:
        self.assertIn(b'data-ip="2001:db8::a"', self.get("/targets/2001:DB8:0::A").body)
        for text in ("x", "1.2.3", "%3Cscript%3E", "1.2.3.4%22"):
            reply = self.get(f"/targets/{text}")
            self.assertEqual((400, "application/problem+json"), (reply.status, reply.header("Content-Type")))

    def test_every_name_of_a_node_has_a_page(self) -> None:
        for path, name in (
            ("ams", "ams"), ("%C3%A4%22%3C", "ä&quot;&lt;"), ("x.csv", "x.csv"), ("a%25b", "a%b"), ("?name=a/b", "a/b"),
            ("?name=..", ".."), ("?name=a%2F%2F%26c", "a//&amp;c"), ("?name=x&name=", ""), ("x" * 255, "x" * 255),
        ):  # fmt: skip
            reply = self.get(f"/nodes/{path}")
            self.assertEqual(200, reply.status, path)
            self.assertIn(f'data-node="{name}"'.encode(), reply.body)

    def test_what_comes_from_outside_is_text(self) -> None:
        html = page("target", "<b>&", {"ip": '"><script>alert(1)</script>'})
        self.assertIn(b"<title>&lt;b&gt;&amp; \xc2\xb7 outputd</title>", html)
        self.assertIn(b'data-ip="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"', html)

    def test_pages_are_for_readers(self) -> None:
        self.assertEqual({"reader"}, {route.role for route in self.pages.routes()})


class Files(PagesTest):
    def test_a_file_is_kept_by_the_browser_until_it_changes(self) -> None:
        for coding in ("", "gzip"):
            first = self.get("/static/style.css", Accept_Encoding=coding)
            etag = str(first.header("ETag"))
            again = self.get("/static/style.css", Accept_Encoding=coding, If_None_Match=f'"other", W/{etag}')
            self.assertEqual((304, b"", etag), (again.status, again.body, again.header("ETag")))
            self.assertEqual(200, self.get("/static/style.css", Accept_Encoding=coding, If_None_Match='"x"').status)

    def test_a_file_is_sent_compressed_to_those_who_take_it(self) -> None:
        content = (STATIC / "style.css").read_bytes()
        plain, compressed = self.get("/static/style.css"), self.get("/static/style.css", Accept_Encoding="br, gzip")
        self.assertEqual((content, None), (plain.body, plain.header("Content-Encoding")))
        self.assertEqual((content, "gzip"), (gzip.decompress(compressed.body), compressed.header("Content-Encoding")))
        self.assertNotEqual(plain.header("ETag"), compressed.header("ETag"))
        self.assertEqual("Accept-Encoding", compressed.header("Vary"))

    def test_nothing_else_can_be_had(self) -> None:
        for name in ("", "x.js", "../__init__.py", "..%2f__init__.py", "%2e%2e/templates/frame.xml", "style.css/"):
            self.assertEqual(404, self.get(f"/static/{name}").status, name)


def events(sent: bytes) -> list[Any]:
    """The news that a listener has been sent."""
    return [json.loads(line) for line in re.findall(rb"^data: (.*)\n\n", sent, re.MULTILINE)]


class News(PagesTest):
    def test_a_listener_hears_the_state_at_once_and_each_second(self) -> None:
        self.patch(DataDir, "free_bytes", lambda _: 1 << 40)  # that of the machine moves between two questions
        _, transport = self.listen()
        self.assertIn(b"Content-Type: text/event-stream", transport.value())
        (first,) = events(transport.value())
        health = get(self.site, "/health").json
        self.assertEqual(health, {name: first[name] for name in health})
        self.assertEqual(["results_2026-01-07_22-30-45.db"], [file["name"] for file in first["files"]])
        self.bench.post(a_result(), {"ip": 1})
        self.bench.clock.advance(1)
        news = events(transport.value())[-1]
        self.assertEqual((1, {"ip": 1}), (news["stats"]["total_results"], news["rejected"]))

    def test_listening_is_no_silence_that_the_site_ends(self) -> None:
        _, transport = self.listen()
        self.site.startFactory()
        for _ in range(2000):
            self.bench.clock.advance(1)
        self.assertFalse(transport.disconnecting or transport.disconnected)
        self.assertGreater(len(events(transport.value())), 1900)

    def test_when_the_pages_stop_nothing_is_in_flight(self) -> None:
        _, transport = self.listen()
        self.assertEqual(1, self.site.in_flight)
        self.pages.stop()
        self.assertEqual((0, True), (self.site.in_flight, transport.disconnecting))
        self.assertTrue(transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(503, get(self.site, "/events").status)

    def test_one_who_has_gone_is_told_nothing_more(self) -> None:
        channel, transport = self.listen()
        channel.connectionLost(Failure(ConnectionDone()))
        sent = transport.value()
        self.bench.clock.advance(5)
        self.assertEqual((sent, 0, []), (transport.value(), self.site.in_flight, self.bench.clock.getDelayedCalls()))

    def test_head_is_answered_and_over(self) -> None:
        channel, transport = over_the_wire(self.site, b"HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((200, 0), (parsed(transport.value()).status, self.site.in_flight))
        channel.connectionLost(Failure(ConnectionDone()))


class Crowd(SynchronousTestCase):
    """Events alone: how many may listen, and what one holds who does not read."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked = 0
        self.fails = False
        self.before_news: Callable[[], Deferred[None]] | None = None
        events = Events(self.news, self.clock, most=3)
        self.addCleanup(events.stop)
        routes = Routes([Route("GET", "/", None, events.listen)])
        self.site = Site(routes, self.clock, Admission(1 << 20, self.clock.seconds), 1 << 16, 200, Access())

    async def news(self) -> bytes:
        self.asked += 1
        if self.before_news is not None:
            await self.before_news()
        if self.fails:
            raise OSError("no news")
        return b"%d" % self.asked

    def listen(self) -> tuple[Any, StringTransport]:
        return over_the_wire(self.site, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    def test_nothing_is_asked_while_nobody_listens(self) -> None:
        self.clock.advance(10)
        self.assertEqual(0, self.asked)

    def test_all_hear_the_same_and_it_is_made_once(self) -> None:
        transports = [self.listen()[1] for _ in range(3)]
        self.clock.advance(1)
        self.assertEqual([2, 2, 2], [events(transport.value())[-1] for transport in transports])
        self.assertEqual(2, self.asked)

    def test_many_who_come_and_go_have_no_more_of_it_made(self) -> None:
        """Nor any sooner: at most once a second, also while the last of it is still being made."""
        made: Deferred[None] = Deferred()
        self.before_news = lambda: made
        for number in range(100):
            channel, _ = self.listen()
            if number == 50:
                made.callback(None)
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(1, self.asked)
        self.clock.advance(1)
        self.listen()
        self.assertEqual(2, self.asked)

    def test_who_comes_beyond_the_most_is_told_so_until_one_has_gone(self) -> None:
        channels = [self.listen()[0] for _ in range(3)]
        reply = parsed(self.listen()[1].value())
        self.assertEqual((503, "application/problem+json"), (reply.status, reply.header("Content-Type")))
        self.assertTrue(reply.header("Retry-After"))
        channels[0].connectionLost(Failure(ConnectionDone()))
        self.assertEqual(200, parsed(self.listen()[1].value()).status)

    def test_who_does_not_read_misses_news_and_is_right_with_the_next(self) -> None:
        """Nothing is kept for it: what it held when it was full is all that it holds."""
        _, transport = over_a_narrow_wire(self.site, 1 << 20, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(1)
        transport.room = 10  # and ten bytes of the next are taken
        for _ in range(100):
            self.clock.advance(1)
        self.assertEqual([1, 2], events(transport.sent))
        transport.read(1 << 20)
        self.assertEqual([1, 2, 3], events(transport.sent))
        self.clock.advance(1)
        self.assertEqual([1, 2, 3, 103], events(transport.sent))

    def test_no_news_once_is_no_end(self) -> None:
        _, transport = self.listen()
        self.fails = True
        self.clock.advance(1)
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))
        self.fails = False
        self.clock.advance(1)
        self.assertEqual([1, 3], events(transport.value()))
