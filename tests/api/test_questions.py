"""What `outputd.api.questions` promises of every question; a number is that of a rule of the contract."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from outputd.queries import QUESTIONS
from outputd.security.access import Access
from outputd.web.routes import Routes
from outputd.web.site import Site
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.wire import Reply, get, over_a_narrow_wire

ASK = b"GET /recent?include=traceroute HTTP/1.1\r\nHost: x\r\n\r\n"


class QuestionsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        self.questions = bench.questions()
        room = Admission(1 << 20, bench.clock.seconds)
        self.site = Site(Routes(self.questions.routes()), bench.clock, room, 64 << 10, 200, Access())

    def get(self, path: str) -> Reply:
        return get(self.site, path)

    def test_each_has_a_route_for_readers(self) -> None:
        self.assertEqual(
            [("GET", question.path, "reader") for question in QUESTIONS],
            [(route.method, route.path, route.role) for route in self.questions.routes()],
        )

    def test_a_full_page_says_where_the_next_one_is_and_keeps_what_was_asked(self) -> None:
        """Rule 16."""
        self.bench.post(*[a_result(), a_result(ip="192.0.2.1")] * 5, node="a&b")
        path: str | None = "/recent.ndjson?ip=8.8.8.8&limit=0002&node=a%26b"
        found: list[int] = []
        while path is not None:
            reply = self.get(path)
            ids = [int(number) for number in re.findall(rb'"id":(\d+)', reply.body)]
            found += ids
            link = reply.header("Link")
            self.assertEqual(len(ids) == 2, link is not None)
            match = re.fullmatch(r'<(\?.*)>; rel="next"', link or "")
            path = f"/recent.ndjson{match[1]}" if match else None
        self.assertEqual([9, 7, 5, 3, 1], found)

    def test_a_bucket_that_was_made_longer_says_so_in_every_form(self) -> None:
        self.bench.post(a_result(), node="a")
        span = "since=2026-01-01T00:00:00Z&until=2026-01-31T00:00:00Z"
        for path, asked_s, bucket_s in (
            ("/series", 1, 260), ("/series", 3600, 3600), ("/arrivals", 61, 300), ("/arrivals", 3600, 3600),
        ):  # fmt: skip
            for form in ("json", "ndjson", "csv"):
                reply = self.get(f"{path}.{form}?ip=8.8.8.8&bucket={asked_s}&{span}")
                self.assertEqual(str(bucket_s), reply.header("Bucket-Seconds"), (path, form))
        self.assertIsNone(self.get("/targets.csv").header("Bucket-Seconds"))

    def test_a_suffix_says_the_form_of_any_of_them(self) -> None:
        self.bench.post(a_result(), node="a")
        for path in ("/recent", "/results/1", "/targets", "/nodes", "/arrivals", "/links", "/series?ip=8.8.8.8"):
            stem, mark, query = path.partition("?")
            for suffix, media in (("json", "application/json"), ("csv", "text/csv; charset=utf-8")):
                reply = self.get(f"{stem}.{suffix}{mark}{query}")
                self.assertEqual((200, media), (reply.status, reply.header("Content-Type")), (path, suffix))

    def test_what_it_does_not_know_is_ignored_and_of_two_the_last_counts(self) -> None:
        self.bench.post(*[a_result()] * 3)
        self.assertEqual(2, len(self.get("/recent?limit=x&limit=2&limits=1&_=7").json))

    def test_an_error_in_the_middle_is_no_end(self) -> None:
        """What it has of a damaged file cannot be told any more."""
        self.bench.post(*[a_trace(*many_hops(1000))] * 20)
        file = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish(file))
        _, transport = over_a_narrow_wire(self.site, 1000, ASK)
        file.write_bytes(b"no database" * 1000)
        transport.read(100 << 20)
        self.assertEqual(b"HTTP/1.1 200 OK", transport.sent[:15])
        self.assertNotEqual(b"0\r\n\r\n", transport.sent[-5:])
        self.assertTrue(transport.is_aborted)
