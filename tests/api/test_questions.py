"""What `outputd.api.questions` promises of every question; a number is that of a rule of the contract."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from outputd.queries import QUESTIONS
from outputd.security.access import Access
from outputd.web.compression import HELD_BYTES
from outputd.web.routes import Routes
from outputd.web.site import Site
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.wire import Reply, over_a_narrow_wire, over_the_wire, parsed, unchunked

ASK = b"GET /recent?include=traceroute HTTP/1.1\r\nHost: x\r\n\r\n"
ASK_FOR_GZIP = ASK.replace(b"Host: x", b"Host: x\r\nAccept-Encoding: gzip")


class QuestionsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        self.questions = bench.questions()
        room = Admission(1 << 20, bench.clock.seconds)
        self.site = Site(Routes(self.questions.routes()), bench.clock, room, 64 << 10, 200, Access())

    def get(self, path: str, accept_encoding: str | None = None, method: str = "GET") -> Reply:
        coding = "" if accept_encoding is None else f"Accept-Encoding: {accept_encoding}\r\n"
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{coding}\r\n".encode("latin-1")
        channel, transport = over_the_wire(self.site, request)
        channel.connectionLost(Failure(ConnectionDone()))
        return parsed(transport.value())

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

    def test_a_list_is_read_to_its_end_by_its_links(self) -> None:
        self.bench.post(*(a_result(ip=f"192.0.2.{number}", received=number % 3) for number in range(7)), node="a&b")
        path: str | None = "/targets.ndjson?sort=received&order=asc&limit=3&node=a%26b"
        found: list[int] = []
        while path is not None:
            reply = self.get(path)
            found += [int(received) for received in re.findall(rb'"received":(\d+)', reply.body)]
            match = re.fullmatch(r'<(\?.*)>; rel="next"', reply.header("Link") or "")
            path = f"/targets.ndjson{match[1]}" if match else None
        self.assertEqual([0, 0, 0, 1, 1, 2, 2], found)
        for wrong in (
            "cursor=x",
            "sort=nodes",
            "order=down",
            "prefix=10/8",
            "loss_over=101",
            "loss_over=nan",
            "loss_over=1e9",
        ):
            self.assertEqual(400, self.get(f"/targets?{wrong}").status, wrong)
        for right in ("loss_over=1e1", "loss_over=2.5E-60", "prefix=192.0.2.9/6", "prefix=::1"):
            self.assertEqual(200, self.get(f"/targets?{right}").status, right)

    def test_a_list_that_cannot_be_continued_is_gone(self) -> None:
        self.bench.post(*(a_result(ip=f"192.0.2.{number}") for number in range(3)))
        link = re.fullmatch(r'<(\?.*)>; rel="next"', self.get("/targets?limit=2").header("Link") or "")
        assert link is not None
        cursor = link[1]
        self.assertEqual(200, self.get(f"/targets{cursor}").status)
        gone = self.get(f"/targets{cursor[:-32]}{'0' * 32}")
        self.assertEqual((410, "application/problem+json"), (gone.status, gone.header("Content-Type")))
        self.assertIn("begin again", gone.json["detail"])

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

    def test_an_answer_is_compressed_for_those_who_take_that(self) -> None:
        """Whole or page by page, in every form; HEAD says the same."""
        self.bench.post(*[a_trace(*many_hops(1000))] * 20, *[a_result()] * 50, node="a")
        for path, is_whole in (
            ("/recent", True), ("/recent.csv", True), ("/results/1.ndjson", True),
            ("/recent?include=traceroute", False), ("/recent.ndjson?include=traceroute", False),
        ):  # fmt: skip
            plain, packed = self.get(path), self.get(path, "gzip")
            self.assertEqual((None, "gzip"), (plain.header("Content-Encoding"), packed.header("Content-Encoding")))
            self.assertEqual(is_whole, packed.header("Content-Length") is not None, path)
            bodies = [reply.body if is_whole else unchunked(reply.body) for reply in (plain, packed)]
            self.assertLess(3 * len(bodies[1]), len(bodies[0]), path)
            self.assertEqual(bodies[0], gzip.decompress(bodies[1]), path)
            self.assertEqual(2 * ["Accept, Accept-Encoding"], [reply.header("Vary") for reply in (plain, packed)])
            head = self.get(path, "gzip", "HEAD")
            self.assertEqual(b"", head.body)
            for name in ("Content-Encoding", "Content-Length", "Content-Type", "Vary"):
                self.assertEqual(packed.header(name), head.header(name), (path, name))

    def test_what_is_small_stays_as_it_is_unless_it_must_not(self) -> None:
        self.bench.post(a_result(), node="a")
        for coding, packed in (("gzip", None), ("gzip, identity;q=0", "gzip"), ("identity;q=0", None)):
            self.assertEqual(packed, self.get("/recent", coding).header("Content-Encoding"), coding)

    def test_who_cannot_read_gzip_is_sent_none(self) -> None:
        self.bench.post(*[a_result()] * 100, node="a")
        for coding in (
            "",
            "identity",
            "gzip;q=0",
            "br, deflate",
            "gzip;q=none",
            "\xff;q",
            "*;q=0",
            "gzip;q=0.5, identity",
        ):
            reply = self.get("/recent", coding)
            self.assertEqual((None, 100), (reply.header("Content-Encoding"), len(reply.json)), coding)

    def test_a_long_compressed_answer_counts_what_compresses_it(self) -> None:
        """Rule 9."""
        self.bench.post(*[a_trace(*many_hops(1000))] * 20)
        held = []
        for request in (ASK, ASK_FOR_GZIP):
            channel, _ = over_a_narrow_wire(self.site, 1000, request)
            held.append(self.bench.readings.held_bytes)
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(HELD_BYTES, held[1] - held[0])
        self.assertEqual(0, self.bench.readings.held_bytes)

    def test_a_compressed_answer_that_breaks_off_lacks_its_end(self) -> None:
        self.bench.post(*[a_trace(*many_hops(1000))] * 20)
        file = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish(file))
        _, transport = over_a_narrow_wire(self.site, 1000, ASK_FOR_GZIP)
        file.write_bytes(b"no database" * 1000)
        transport.read(100 << 20)
        self.assertIn(b"Content-Encoding: gzip", transport.sent)
        self.assertTrue(transport.is_aborted)
        self.assertNotEqual(b"0\r\n\r\n", transport.sent[-5:])
        reader = zlib.decompressobj(31)
        reader.decompress(unchunked(transport.sent.partition(b"\r\n\r\n")[2] + b"0\r\n\r\n"))
        self.assertFalse(reader.eof)

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
