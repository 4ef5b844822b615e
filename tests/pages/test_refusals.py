"""What `outputd.pages.refusals` promises: a browser is told by a page, a program by a problem."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from outputd.pages.refusals import Refusals
from outputd.security.access import NODE, READER, Access, Holder, line_of, new_token
from outputd.web.request import CappedRequest, send
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.bench import Bench
from tests.kit.wire import Reply, over_the_wire, parsed

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROGRAMS = ("", "*/*", "application/json", "application/json, text/html;q=0.9", "text/html;q=0, */*")


class RefusalsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.stop)
        self.port: int | None = 8091
        self.pages = self.bench.pages(self.bench.health().report)
        self.addCleanup(self.pages.stop)

    def site(self, routes: list[Route], access: Access | None = None) -> Site:
        """A health port."""
        return Site(
            Routes(routes), self.bench.clock, Admission(1 << 20, self.bench.clock.seconds), 1 << 16, 200,
            access or Access(), show=self.pages.refusals.on_health_port,
        )  # fmt: skip

    def get(self, site: Site, path: str, accept: str = BROWSER, method: str = "GET", **headers: str) -> Reply:
        lines = "".join(
            f"{name}: {value}\r\n" for name, value in {"Host": "a.example", "Accept": accept, **headers}.items()
        )
        channel, transport = over_the_wire(site, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
        reply = parsed(transport.value())
        channel.connectionLost(Failure(ConnectionDone()))
        return reply


class OfPages(RefusalsTest):
    def test_a_browser_is_told_by_a_page_with_a_way_back(self) -> None:
        site = self.site(self.pages.routes())
        for status, path, said in (
            (404, "/nothing", "there is nothing at this path"), (404, "/a/b/%3Cc%3E?d=/", "there is nothing"),
            (400, "/targets/%3Cscript%3E", "a target is an IPv4 or IPv6 address."),
            (400, "/%FF", "the method is not ASCII, or the path not UTF-8."),
        ):  # fmt: skip
            reply = self.get(site, path)
            self.assertEqual((status, "text/html; charset=utf-8"), (reply.status, reply.header("Content-Type")), path)
            self.assertEqual(("no-store", "Accept"), (reply.header("Cache-Control"), reply.header("Vary")))
            self.assertTrue(str(reply.header("Content-Security-Policy")).startswith("default-src 'none'"))
            html = reply.body.decode()
            self.assertIn(f"{said[:1].upper()}{said[1:]}", html)
            (back,) = re.findall(r'<a href="([^"]*)"', html)
            self.assertEqual("/", urljoin(path, back))
            self.assertEqual(3, len(re.findall(r'(?:src|href)="[./]*/static/', html)))
        self.assertEqual(b"", self.get(site, "/nothing", method="HEAD").body)

    def test_a_program_is_told_by_a_problem(self) -> None:
        site = self.site(self.pages.routes())
        for path in ("/nothing", "/targets/x"):
            for accept in PROGRAMS:
                reply = self.get(site, path, accept)
                self.assertEqual("application/problem+json", reply.header("Content-Type"), accept)
                self.assertEqual(reply.status, reply.json["status"])
        self.assertEqual("application/problem+json", self.get(site, "/", method="POST").header("Content-Type"))

    def test_what_is_no_page_has_no_page_for_its_refusals(self) -> None:
        """Rule 10."""
        site = self.site([Route("GET", "/question", READER, self._answer)], self.access())
        self.assertEqual("application/problem+json", self.get(site, "/question").header("Content-Type"))

    def test_who_may_not_have_a_page_is_asked_for_a_password_once(self) -> None:
        """The page loads nothing: a browser would ask for each of it."""
        site = self.site(self.pages.routes(), self.access())
        for status, headers in ((401, {}), (403, {"Authorization": f"Bearer {self.token}"})):
            reply = self.get(site, "/nodes/ams", **headers)
            self.assertEqual((status, "text/html; charset=utf-8"), (reply.status, reply.header("Content-Type")))
            self.assertEqual(status == 401, reply.header("WWW-Authenticate") is not None)
            self.assertNotRegex(reply.body.decode(), r"static/|src=")
            self.assertIn('<a href="../">', reply.body.decode())

    def access(self) -> Access:
        """One to which a node alone is known, by `token`."""
        self.token = new_token()
        path = Path(self.mktemp())
        path.write_text(line_of(Holder(NODE, "ams"), self.token))
        access = Access(path)
        access.take(access.read())
        return access

    def _answer(self, request: CappedRequest) -> None:
        send(request, 200, b"", {})


class AtTheRootOfTheOtherPort(RefusalsTest):
    def setUp(self) -> None:
        super().setUp()
        refusals = Refusals((), {}, lambda: self.port)
        clock = self.bench.clock
        self.results = Site(
            Routes([]), clock, Admission(1 << 20, clock.seconds), 1 << 16, 200, Access(), show=refusals.on_results_port
        )

    def test_all_are_told_where_the_pages_are(self) -> None:
        for host, address in (
            ("a.example", "//a.example:8091/"), ("a.example:8081", "//a.example:8091/"), ("[::1]:1", "//[::1]:8091/")
        ):  # fmt: skip
            reply = self.get(self.results, "/?x", Host=host)
            self.assertEqual(404, reply.status)
            self.assertIn(f'<a href="{address}">', reply.body.decode())
            self.assertNotIn("static/", reply.body.decode())
        for accept, host in (*((accept, "a.example") for accept in PROGRAMS), (BROWSER, '"><script>'), (BROWSER, "")):
            reply = self.get(self.results, "/", accept, Host=host)
            self.assertEqual((404, "application/problem+json"), (reply.status, reply.header("Content-Type")))
            self.assertIn("the pages are on port 8091", reply.json["detail"])

    def test_all_else_is_a_problem_as_ever(self) -> None:
        for path, method in (("/nothing", "GET"), ("/", "POST"), ("/", "PUT")):
            reply = self.get(self.results, path, method=method)
            self.assertEqual("there is nothing at this path", reply.json["detail"])
        self.port = None
        self.assertEqual("there is nothing at this path", self.get(self.results, "/").json["detail"])
