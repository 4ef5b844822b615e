"""What `outputd.api.exports` promises of an export."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure as Gone
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.api import exports as module
from outputd.export import reading, walk
from outputd.export.asked import Asked
from outputd.export.ndjson import NdjsonEncoder
from outputd.export.page import Page
from outputd.intake.admission import Admission
from outputd.process.trouble import Failure
from outputd.security.access import Access
from outputd.sqlite.connections import writing
from outputd.web.routes import Routes
from outputd.web.site import Site
from tests.kit.bench import Bench
from tests.kit.damage import spoil_leaf
from tests.kit.exported import stored
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.wire import Narrow, Reply, get, over_a_narrow_wire, unchunked

if find_spec("pyarrow") is not None:
    import pyarrow.parquet as pq
PATH = "/export.ndjson"
PARQUET = "/export.parquet"
ASK = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
ROWS_A_PAGE = 10


class ExportsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(reading, "_MOST_ROWS", ROWS_A_PAGE)
        self.bench = Bench(Path(self.mktemp()), keep_files=2)
        self.addCleanup(self.bench.stop)
        self.has_room = True
        self.damaged: dict[str, Failure] = {}
        self.serve()

    def serve(self) -> None:
        self.exports = self.bench.exports(lambda: self.has_room, lambda: self.damaged)
        room = Admission(1 << 20, self.bench.clock.seconds)
        self.site = Site(Routes(self.exports.routes()), self.bench.clock, room, 64 << 10, 200, Access())

    # -- what there is, and what is asked ------------------------------------------------------------

    def fill(self, count: int = 30, **changes: Any) -> Path:
        """Store results in the current file, and return that."""
        self.bench.post(*(a_result(**{"error": f"{'x' * 200} {number}", **changes}) for number in range(count)))
        return self.bench.store.current.info.path

    def rotate(self) -> None:
        self.bench.outcome(self.bench.rotation.rotate("asked for"))

    def get(self, query: str = "") -> Reply:
        reply = get(self.site, f"{PATH}{query}")
        return Reply(reply.status, reply.headers, unchunked(reply.body)) if reply.status == 200 else reply

    def lines(self, query: str = "") -> list[dict[str, Any]]:
        """What an export has that is read at once."""
        return lines_of(self.get(query).body)

    def begun(self) -> Narrow:
        """An export whose reader has taken little of the first page, and waits."""
        self.channel, transport = over_a_narrow_wire(self.site, 1000, ASK)
        self.assertEqual(b"HTTP/1.1 200 OK", transport.sent[:15])
        return transport

    def rest_of(self, transport: Narrow) -> list[dict[str, Any]]:
        """All that it has, once its reader reads on."""
        transport.read(100 << 20)
        self.assertFalse(transport.is_aborted)
        return lines_of(unchunked(transport.sent.partition(b"\r\n\r\n")[2]))

    def assertBrokenOff(self, transport: Narrow) -> None:
        if not transport.is_aborted:
            transport.read(100 << 20)
        self.assertTrue(transport.is_aborted)
        self.assertNotEqual(b"0\r\n\r\n", transport.sent[-5:])
        self.channel.connectionLost(Gone(ConnectionAborted()))
        self.assertEqual(0, len(self.exports))

    # -- what is sent --------------------------------------------------------------------------------

    def test_it_is_for_operators_and_no_link_on_another_site_leads_to_it(self) -> None:
        self.assertEqual(
            [("GET", PATH, "operator", True), ("GET", PARQUET, "operator", True)],
            [(route.method, route.path, route.role, route.is_dear) for route in self.exports.routes()],
        )

    def test_all_files_go_out_in_order_of_arrival(self) -> None:
        files = [self.fill()]
        self.rotate()
        files.append(self.fill())
        self.bench.post(a_trace(*many_hops(20)), node="b")
        reply = self.get()
        self.assertEqual([line for file in files for line in stored(file)], lines_of(reply.body))
        self.assertEqual("application/x-ndjson", reply.header("Content-Type"))
        self.assertEqual("no-store", reply.header("Cache-Control"))
        self.assertEqual(
            'attachment; filename="results_2026-01-07_22-30-45.ndjson"', reply.header("Content-Disposition")
        )
        self.assertIsNone(reply.header("Unreadable-Files"))
        self.assertEqual(0, len(self.exports))

    def test_in_parquet_it_has_the_same_results(self) -> None:
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed")
        self.fill()
        self.rotate()
        self.fill()
        reply = get(self.site, PARQUET)
        self.assertEqual("application/vnd.apache.parquet", reply.header("Content-Type"))
        self.assertEqual(
            'attachment; filename="results_2026-01-07_22-30-45.parquet"', reply.header("Content-Disposition")
        )
        table = pq.read_table(io.BytesIO(unchunked(reply.body)))
        self.assertEqual([line["id"] for line in self.lines()], table["id"].to_pylist())

    def test_without_pyarrow_it_is_told_how_to_get_it(self) -> None:
        self.patch(module, "find_spec", lambda _: None)
        reply = get(self.site, PARQUET)
        self.assertEqual(501, reply.status)
        self.assertIn("pip install 'outputd[parquet]'", reply.json["detail"])
        self.assertEqual(200, self.get().status)

    def test_without_results_it_is_empty_and_whole(self) -> None:
        reply = self.get()
        self.assertEqual((200, b""), (reply.status, reply.body))

    def test_what_is_asked_for_is_chosen(self) -> None:
        self.bench.post(a_result(ip="192.0.2.1", timestamp="2026-01-01T00:00:00Z", received=0), node="a")
        self.bench.clock.advance(3600)
        self.bench.post(a_result(), a_result(timestamp="2026-02-01T00:00:00Z"), node="b")
        for query, ids in (
            ("", [1, 2, 3]), ("ip=::ffff:192.0.2.1", [1]), ("node=b", [2, 3]), ("failed=true", [1]),
            ("since=2026-01-07T00:00:00Z", [2, 3]), ("until=2026-01-07T22:30:00.000000001Z", [1, 2]),
            ("arrived_since=2026-01-07T23:00:00Z", [2, 3]), ("arrived_until=2026-01-07T23:00:00Z", [1]),
            ("node=b&failed=true", []), ("node=x", []),
        ):  # fmt: skip
            self.assertEqual(ids, [line["id"] for line in self.lines(f"?{query}")], query)

    def test_a_parameter_that_is_wrong_or_unknown_is_told(self) -> None:
        """Who misspells a bound would get everything."""
        for query, told in (
            ("since=now", "since must be an RFC 3339 time"), ("ip=x", "ip must be an IPv4 or IPv6 address"),
            ("failed=1", "failed must be true or false"), ("untill=2026-01-01T00:00:00Z", "no parameter untill"),
            ("ip=192.0.2.1&ip=192.0.2.2", "ip must be there once"), ("since", "since must have a value"),
        ):  # fmt: skip
            reply = self.get(f"?{query}")
            self.assertEqual(400, reply.status)
            self.assertIn(told, reply.json["detail"])

    def test_head_says_what_get_would_and_takes_no_place(self) -> None:
        self.fill()
        reply = get(self.site, PATH, "HEAD")
        self.assertEqual((200, b"", "application/x-ndjson"), (reply.status, reply.body, reply.header("Content-Type")))
        self.assertEqual(0, len(self.exports))
        self.assertEqual(400, get(self.site, f"{PATH}?ip=x", "HEAD").status)

    def test_it_has_what_was_stored_when_it_was_asked_for_and_once(self) -> None:
        """Also when its file is closed and another begun meanwhile."""
        self.fill()
        transport = self.begun()
        self.fill()
        self.rotate()
        self.fill()
        self.assertEqual(list(range(1, 31)), [line["id"] for line in self.rest_of(transport)])

    # -- who reads it --------------------------------------------------------------------------------

    def test_two_are_read_at_a_time_and_a_third_is_told_when_to_come_again(self) -> None:
        self.fill()
        first, _ = self.begun(), self.begun()
        reply = self.get()
        self.assertEqual((503, "60"), (reply.status, reply.header("Retry-After")))
        self.rest_of(first)
        self.assertEqual(200, self.get().status)

    def test_who_leaves_gives_the_place_back(self) -> None:
        self.fill()
        channel, transport = over_a_narrow_wire(self.site, 1000, ASK)
        self.assertEqual(1, len(self.exports))
        channel.connectionLost(Gone(ConnectionResetError()))
        self.assertEqual(0, len(self.exports))
        self.assertFalse(transport.is_aborted)

    def test_a_page_is_read_once_its_reader_has_room(self) -> None:
        self.fill(100)
        works: list[object] = []

        async def counted(work: Any, *args: Any, **kwargs: Any) -> Any:
            works.append(work)
            return work(*args, **kwargs)

        self.bench.in_thread = counted
        self.serve()
        transport = self.begun()
        before = len(works)
        self.assertLessEqual(before, 3)  # the begin, the encoder, and a page
        transport.read(1000)
        self.assertEqual(before, len(works))
        self.assertEqual(100, len(self.rest_of(transport)))

    def test_a_reader_however_slow_holds_up_neither_a_checkpoint_nor_the_end_of_a_file(self) -> None:
        path = self.fill()
        transport = self.begun()
        busy, *_ = self.bench.outcome(
            self.bench.pool().run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        )
        self.assertEqual(0, busy)
        self.rotate()
        self.assertTrue(self.bench.outcome(self.bench.store.finish(path)))
        self.assertFalse(Path(f"{path}-wal").exists())
        self.assertEqual(30, len(self.rest_of(transport)))

    def test_beside_a_crowd_it_rests_longer_than_it_works(self) -> None:
        self.fill()

        async def beside_a_crowd(work: Any, *args: Any, **kwargs: Any) -> Any:
            self.bench.stats.results += 10_000
            found = work(*args, **kwargs)
            if work is module._next:  # noqa: SLF001  # it tells how long it took
                return (*found[:2], 0.0625)
            self.bench.clock.advance(1)
            return found

        self.patch(time, "process_time", self.bench.clock.seconds)
        self.bench.in_thread = beside_a_crowd
        self.serve()
        _, transport = over_a_narrow_wire(self.site, 100 << 20, ASK)
        pages = 0
        while len(self.exports):
            sent = len(transport.sent)
            self.bench.clock.advance(0.5)
            self.assertEqual(sent, len(transport.sent))
            self.bench.clock.advance(0.5)
            pages += 1
        self.assertEqual(4, pages)
        self.assertEqual(30, len(lines_of(unchunked(transport.sent.partition(b"\r\n\r\n")[2]))))

    def test_what_another_process_works_for_it_counts_too(self) -> None:
        class Busy(NdjsonEncoder):
            def add(self, page: Page) -> bytes:
                self.apart_s += 60
                return super().add(page)

        self.fill()
        here = walk.Walk(self.bench.store.files, Asked(), lambda: True)
        self.addCleanup(here.close)
        here.begin()
        self.assertGreater(module._next(here, Busy())[2], 60)  # noqa: SLF001  # what the pace is given

    # -- what becomes of the files -------------------------------------------------------------------

    def test_what_is_pruned_meanwhile_is_read_to_its_end(self) -> None:
        """Whether it was finished before, or still has its WAL."""
        files = [self.fill()]
        self.rotate()
        files.append(self.fill())
        lines = [line for file in files for line in stored(file)]
        transport = self.begun()
        for _ in range(3):
            self.rotate()
        self.assertEqual([False, False], [file.exists() for file in files])
        self.assertEqual(lines, self.rest_of(transport))
        left = [path for file in files for path in file.parent.glob(f"{file.name}*")]
        self.assertEqual([], left)

    def test_what_is_being_pruned_is_not_begun_any_more(self) -> None:
        """Nobody would hold it for one that comes after the question who needs it."""
        path = self.fill()
        self.rotate()
        self.fill(5)
        found: list[list[int]] = []
        hold = self.bench.store.before_removal
        assert hold is not None

        async def asked_meanwhile(leaving: Path) -> None:
            await hold(leaving)
            found.append([line["id"] for line in self.lines()])

        self.bench.store.before_removal = asked_meanwhile
        self.rotate()
        self.assertFalse(path.exists())
        self.assertEqual([list(range(31, 36))], found)

    def test_what_was_read_is_not_kept(self) -> None:
        first = self.fill()
        self.rotate()
        self.fill(100)
        transport = self.begun()
        transport.read(40_000)  # more than the first file
        (sending,) = self.exports._under_way  # noqa: SLF001  # what it holds is not to be seen from without
        self.rotate()
        self.assertFalse(first.exists())
        self.assertEqual({}, sending.walk._kept)  # noqa: SLF001  # as above
        self.assertEqual(130, len(self.rest_of(transport)))

    def test_more_pruned_files_than_can_be_kept_break_it_off(self) -> None:
        self.patch(walk, "MOST_KEPT", 1)
        self.fill()
        self.rotate()
        self.fill()
        transport = self.begun()
        self.rotate()
        self.assertFalse(transport.is_aborted)
        self.rotate()
        self.assertBrokenOff(transport)

    def test_on_a_disk_that_is_nearly_full_pruned_files_go(self) -> None:
        self.fill()
        self.rotate()
        self.fill()
        transport = self.begun()
        self.rotate()
        self.has_room = False
        self.assertBrokenOff(transport)
        self.assertEqual(200, self.get().status)  # it needs none

    def test_a_file_that_someone_deletes_breaks_it_off(self) -> None:
        self.changed_meanwhile(Path.unlink)

    def test_a_file_that_someone_replaces_breaks_it_off(self) -> None:
        def replace(path: Path) -> None:
            other = path.with_suffix(".other")
            other.write_bytes(path.read_bytes())
            other.rename(path)

        self.changed_meanwhile(replace)

    def test_a_file_that_someone_cuts_short_breaks_it_off(self) -> None:
        self.changed_meanwhile(lambda path: path.write_bytes(path.read_bytes()[:8192]))

    def test_a_file_that_someone_empties_breaks_it_off(self) -> None:
        self.changed_meanwhile(lambda path: path.write_bytes(b""))

    def changed_meanwhile(self, change: Callable[[Path], object]) -> None:
        """Change a closed file while it is read."""
        path = self.fill()
        self.rotate()
        self.assertTrue(self.bench.outcome(self.bench.store.finish(path)))
        transport = self.begun()
        change(path)
        self.assertBrokenOff(transport)

    def test_damage_breaks_it_off_and_the_next_one_names_the_file_and_passes_it_over(self) -> None:
        path = self.fill(100)
        self.rotate()
        self.fill(5)
        self.assertTrue(self.bench.outcome(self.bench.store.finish(path)))
        spoil_leaf(path, b"x 77")
        transport = self.begun()
        self.assertBrokenOff(transport)
        self.assertEqual([path.name], list(self.exports.unreadable))
        reply = self.get()
        self.assertEqual(path.name, reply.header("Unreadable-Files"))
        self.assertEqual(list(range(101, 106)), [line["id"] for line in lines_of(reply.body)])

    def test_a_time_that_is_none_breaks_off_parquet_with_a_line_in_the_log(self) -> None:
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed")
        path = self.fill()
        self.rotate()
        self.fill(5)
        self.assertTrue(self.bench.outcome(self.bench.store.finish(path)))
        with writing(path) as db:
            db.execute("UPDATE ping_results SET timestamp = 'soon' WHERE id = 17")
        with said() as lines:
            self.channel, transport = over_a_narrow_wire(self.site, 1 << 20, ASK.replace(b"ndjson", b"parquet"))
            self.assertBrokenOff(transport)
        self.assertEqual([f"an export was cut off: {path.name} holds what outputd never stores"], lines)
        self.assertEqual([path.name], list(self.exports.unreadable))

    def test_what_is_known_to_be_damaged_is_named_and_passed_over(self) -> None:
        path = self.fill()
        self.rotate()
        self.fill(5)
        self.damaged = {path.name: Failure("damaged", 0.0)}
        reply = self.get()
        self.assertEqual((path.name, 5), (reply.header("Unreadable-Files"), len(lines_of(reply.body))))

    def test_what_someone_has_deleted_before_is_named(self) -> None:
        path = self.fill()
        self.rotate()
        self.fill(5)
        self.bench.outcome(self.bench.store.finish(path))
        path.unlink()
        reply = self.get()
        self.assertEqual((path.name, 5), (reply.header("Unreadable-Files"), len(lines_of(reply.body))))

    # -- the end of the service ----------------------------------------------------------------------

    def test_a_stop_breaks_off_what_is_read_and_lets_none_begin(self) -> None:
        self.fill()
        transport = self.begun()
        stopped: list[None] = []
        Deferred.fromCoroutine(self.exports.stop()).addBoth(stopped.append)
        self.assertBrokenOff(transport)
        self.assertEqual([None], stopped)
        self.assertEqual(503, self.get().status)

    def test_a_stop_waits_for_one_that_was_sent_and_holds_its_files_still(self) -> None:
        self.fill()
        closing: Deferred[None] = Deferred()

        async def slow_to_close(work: Any, *args: Any, **kwargs: Any) -> Any:
            if work.__name__ == "close":
                await closing
            return work(*args, **kwargs)

        self.bench.in_thread = slow_to_close
        self.serve()
        _, transport = over_a_narrow_wire(self.site, 100 << 20, ASK)
        self.assertEqual(b"0\r\n\r\n", transport.sent[-5:])
        stopped: list[None] = []
        Deferred.fromCoroutine(self.exports.stop()).addBoth(stopped.append)
        self.assertEqual([], stopped)
        closing.callback(None)
        self.assertEqual([None], stopped)


def lines_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]
