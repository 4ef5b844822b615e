"""What `outputd.dump` and `GET /dump` promise; a number is that of a rule of the contract."""

import base64
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.datadir import DataDir
from outputd.dump import Copies, Copy, NoRoom, byte_range
from outputd.resultfile import reading
from tests.fakes import (
    Bench,
    Reply,
    Running,
    a_result,
    a_trace,
    body_of,
    eventually,
    inline,
    many_hops,
    outcome,
    parsed,
)


def contents(copy: Copy) -> bytes:
    return os.pread(copy.handle, copy.size_bytes + 1, 0)


class FullDisk(DataDir):
    """A directory on a disk without room."""

    def free_bytes(self) -> int:
        return 0


class CopiesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)
        self.gates: list[Deferred[None]] = []
        self.copies = Copies(self.bench.directory, inline)
        self.slow = Copies(self.bench.directory, self.later)

    async def later(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.gates.append(Deferred())
        await self.gates[-1]
        return work(*args, **kwargs)

    @property
    def current(self) -> Path:
        return self.bench.store.current.info.path

    def copy(self) -> Copy:
        copy = outcome(self.copies.current(self.current))
        self.addCleanup(copy.release)
        return copy

    def rows(self, copy: Copy, query: str) -> list[Any]:
        path = Path(self.mktemp())
        path.write_bytes(contents(copy))
        with contextlib.closing(sqlite3.connect(f"file:{path.absolute()}?immutable=1", uri=True)) as db:
            return db.execute(query).fetchall()

    def left_behind(self) -> list[str]:
        return [name for name in os.listdir(self.path) if name.startswith(".")]


class CopyOfTheCurrentFile(CopiesTest):
    def test_it_holds_what_was_committed_before_it_was_asked_for(self) -> None:
        """Rule 15: what is still in the WAL included."""
        self.bench.keep(a_trace(*many_hops(3)), a_result())
        copy = self.copy()
        self.assertEqual(self.rows(copy, "SELECT id FROM ping_results"), [(1,), (2,)])
        self.assertEqual(self.rows(copy, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows(copy, "PRAGMA foreign_key_check"), [])

    def test_it_bears_no_mark_of_a_wal(self) -> None:
        """Rule 15."""
        self.bench.keep(a_result())
        self.assertEqual(contents(self.copy())[18:20], b"\1\1")

    def test_it_bears_our_mark_and_version(self) -> None:
        """Rule 13: a dump is merged and looked at offline."""
        self.bench.keep(a_result())
        with reading(self.current) as db:
            wanted = [db.execute(f"PRAGMA {name}").fetchall() for name in ("application_id", "user_version")]
        copy = self.copy()
        self.assertEqual([self.rows(copy, f"PRAGMA {name}") for name in ("application_id", "user_version")], wanted)

    def test_size_and_digest_are_its_own(self) -> None:
        """Rule 15: RFC 9530."""
        self.bench.keep(a_result())
        copy = self.copy()
        data = contents(copy)
        self.assertEqual(len(data), copy.size_bytes)
        digest = base64.b64encode(hashlib.sha256(data).digest())
        self.assertEqual(copy.repr_digest, b"sha-256=:" + digest + b":")

    def test_no_file_is_left_behind_even_while_it_is_read(self) -> None:
        """Rule 15."""
        self.bench.keep(a_result())
        self.copy()
        self.assertEqual(self.left_behind(), [])

    def test_it_does_not_change_while_results_keep_arriving(self) -> None:
        """Rule 15: consistent."""
        self.bench.keep(a_result())
        copy = self.copy()
        before = contents(copy)
        self.bench.keep(*[a_result()] * 1000)
        self.assertEqual(contents(copy), before)

    def test_without_room_nothing_is_begun(self) -> None:
        """Rule 15: 503."""
        self.bench.keep(a_result())
        copies = Copies(FullDisk(self.path), inline)
        self.assertRaises(NoRoom, outcome, copies.current(self.current))
        self.assertEqual(self.left_behind(), [])

    def test_a_failed_copy_does_not_stop_the_next_one(self) -> None:
        """Rule 15."""
        self.assertRaises(sqlite3.OperationalError, outcome, self.copies.current(self.path / "gone.db"))
        self.copy()

    def test_the_file_may_be_pruned_once_it_is_copied(self) -> None:
        """Rules 13 and 15."""
        self.bench.keep(a_result())
        copy = self.copy()
        self.bench.directory.remove(self.current)
        self.assertEqual(self.rows(copy, "SELECT count(*) FROM ping_results"), [(1,)])


class Sharing(CopiesTest):
    """Rule 15: a copy is shared only by those who asked before it began."""

    def ask(self) -> Deferred[Copy]:
        return Deferred.fromCoroutine(self.slow.current(self.current))

    def test_who_asks_while_one_is_made_waits_for_the_next_which_is_one(self) -> None:
        """Rule 15: it must hold what was answered before the request."""
        first = self.ask()
        self.bench.keep(a_result())
        later = [self.ask() for _ in range(3)]
        self.assertEqual(len(self.gates), 1, "one at a time")
        self.gates[0].callback(None)
        old = self.successResultOf(first)
        self.gates[1].callback(None)
        shared = [self.successResultOf(one) for one in later]
        self.assertEqual(len(self.gates), 2)
        self.assertEqual({id(copy) for copy in shared}, {id(shared[0])})
        self.assertIsNot(old, shared[0])
        self.assertEqual(self.rows(shared[0], "SELECT count(*) FROM ping_results"), [(1,)])
        for copy in (old, *shared):
            copy.release()

    def test_it_is_closed_with_its_last_reader(self) -> None:
        """Rule 15: no copy is left behind."""
        blocker, asks = self.ask(), [self.ask() for _ in range(2)]
        self.gates[0].callback(None)
        self.successResultOf(blocker).release()
        self.gates[1].callback(None)
        first, second = [self.successResultOf(one) for one in asks]
        first.release()
        self.assertTrue(contents(second))
        second.release()
        self.assertRaises(OSError, os.fstat, second.handle)

    def test_all_who_share_it_are_told_of_its_failure(self) -> None:
        """Rule 15."""
        gone = self.path / "gone.db"
        asks = [Deferred.fromCoroutine(self.slow.current(gone)) for _ in range(2)]
        for _ in range(2):
            self.gates.pop(0).callback(None)
        for one in asks:
            self.failureResultOf(one, sqlite3.OperationalError)


class ClosedFile(CopiesTest):
    def closed(self, path: Path) -> Copy:
        """As `/dump?file=` has it."""
        done = self.bench.outcome(self.bench.store.finish(path))
        copy = outcome(self.copies.closed(path) if done else self.copies.current(path))
        self.addCleanup(copy.release)
        return copy

    def rotated(self) -> Path:
        old = self.current
        self.bench.keep(*[a_trace(*many_hops(3))] * 100)
        self.bench.outcome(self.bench.store.rotate())
        return old

    def test_it_is_sent_as_it_is(self) -> None:
        """Rule 15."""
        old = self.rotated()
        self.bench.outcome(self.bench.store.finish_closed())
        copy = self.closed(old)
        self.assertEqual((copy.name, contents(copy)), (old.name, old.read_bytes()))
        self.assertEqual(copy.digest, hashlib.sha256(old.read_bytes()).digest())

    def test_the_digest_is_kept_until_the_file_changes(self) -> None:
        """Rule 15: a Range a piece must not read all of it each time."""
        old = self.rotated()
        self.bench.outcome(self.bench.store.finish_closed())
        first, second = self.closed(old), self.closed(old)
        self.assertIs(first.digest, second.digest)

    def test_before_it_is_finished_it_is_finished_or_copied(self) -> None:
        """Rule 15: no WAL mark, and nothing that a job still changes under its reader."""
        old = self.rotated()
        copy = self.closed(old)
        self.assertEqual(contents(copy)[18:20], b"\1\1")
        before = contents(copy)
        self.bench.outcome(self.bench.store.finish_closed())
        self.assertEqual(hashlib.sha256(contents(copy)).digest(), hashlib.sha256(before).digest())
        self.assertEqual(copy.digest, hashlib.sha256(contents(copy)).digest())

    def test_while_another_process_reads_it_it_is_copied_with_what_the_wal_holds(self) -> None:
        """Rule 15."""
        old = self.current
        self.bench.keep(a_result())
        with reading(old) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT 1 FROM ping_results").fetchone()
            self.rotated()
            self.bench.outcome(self.bench.store.finish_closed())
            copy = self.closed(old)
        self.assertEqual(self.rows(copy, "SELECT count(*) FROM ping_results"), [(101,)])

    def test_one_that_was_pruned_is_not_found(self) -> None:
        """Rule 15."""
        self.assertRaises(
            (FileNotFoundError, sqlite3.OperationalError), outcome, self.copies.closed(self.path / "a.db")
        )


class Ranges(SynchronousTestCase):
    """Rule 15: `Range`, as RFC 9110 has it."""

    def test_what_is_asked_for(self) -> None:
        """Rule 15."""
        for header, wanted in {
            "bytes=0-0": (0, 1), "bytes=0-99": (0, 100), "bytes=10-19": (10, 20), "bytes=10-": (10, 100),
            "bytes=90-1000": (90, 100), "bytes=-5": (95, 100), "bytes=-1000": (0, 100), "bytes = 1-2": (1, 3),
        }.items():  # fmt: skip
            self.assertEqual(byte_range(header, 100), wanted, header)

    def test_what_is_no_single_range_of_bytes_is_passed_over(self) -> None:
        """Rule 15: then the whole is sent."""
        for header in (
            None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=1-2,5-6",
            "bytes=+1-2", "bytes=1--2", "bytes=\u0661-\u0662", "bytes=0x1-2", "bytes=1 - 2",
        ):  # fmt: skip
            self.assertIsNone(byte_range(header, 100), header)

    def test_what_lies_outside_is_told(self) -> None:
        """Rule 15: 416."""
        for header in ("bytes=100-", "bytes=100-200", "bytes=-0"):
            self.assertRaises(ValueError, byte_range, header, 100)


class OverHTTP(TestCase):
    """`GET /dump` of the whole service."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.service = Running(self.path).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.service.stop()))

    async def rotated(self) -> str:
        old = self.service.parts._store.current.info.path
        await self.service.post(body_of(*[a_result()] * 50))
        self.assertEqual((await self.service.ask("POST", "/rotate")).status, 200)
        await eventually(lambda: old.read_bytes()[18:20] == b"\1\1")
        return str(old.name)

    async def dumped(self, method: str, headers: str = "") -> Reply:
        """An answer with the Content-Length that an Agent keeps to itself."""
        request = f"{method} /dump HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
        return parsed(await self.service.say(request.encode()))

    def saved(self, reply: Reply) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(reply.body)
        return path

    async def test_no_name_leads_out_of_the_directory(self) -> None:
        """Rule 15: `?file=` takes the name of a result file, never a path."""
        name = await self.rotated()
        outside = self.path.parent / f"{self.path.name}-outside.db"
        outside.write_bytes((self.path / name).read_bytes())
        self.addCleanup(outside.unlink)
        tries = (
            f"../{outside.name}",
            f"..%2F{outside.name}",
            str(outside.absolute()),
            f"./{name}",
            "hops.sqlite3",
            "",
            "..",
        )
        for path in tries:
            self.assertEqual((await self.service.ask("GET", f"/dump?file={path}")).status, 404, path)

    async def test_the_current_file_with_all_its_headers(self) -> None:
        """Rule 15."""
        await self.service.post(body_of(a_result(), a_trace(*many_hops(2))))
        reply = await self.dumped("GET")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.header("Content-Length"), str(len(reply.body)))
        name = self.service.parts._store.current.info.path.name
        self.assertEqual(reply.header("Content-Disposition"), f'attachment; filename="{name}"')
        digest = base64.b64encode(hashlib.sha256(reply.body).digest()).decode()
        self.assertEqual(reply.header("Repr-Digest"), f"sha-256=:{digest}:")
        with reading(self.saved(reply)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM ping_results").fetchone(), (2,))

    async def test_head_says_the_same_without_a_body(self) -> None:
        """Rule 15."""
        await self.service.post(body_of(a_result()))
        whole, head = [await self.dumped(method) for method in ("GET", "HEAD")]
        self.assertEqual((head.status, head.body), (200, b""))
        for name in ("Content-Length", "Content-Disposition", "Repr-Digest", "Content-Type"):
            self.assertEqual(head.header(name), whole.header(name), name)

    async def test_a_range_of_the_current_file_is_answered_whole(self) -> None:
        """Rule 15."""
        reply = await self.dumped("GET", "Range: bytes=0-15\r\n")
        self.assertEqual((reply.status, reply.header("Content-Length")), (200, str(len(reply.body))))
        self.assertGreater(len(reply.body), 16)

    async def test_a_closed_file_and_its_ranges(self) -> None:
        """Rule 15."""
        name = await self.rotated()
        whole = await self.service.ask("GET", f"/dump?file={name}")
        self.assertEqual((whole.status, whole.body), (200, (self.path / name).read_bytes()))
        self.assertEqual(whole.header("Accept-Ranges"), "bytes")
        size = len(whole.body)
        part = await self.service.ask("GET", f"/dump?file={name}", headers={"Range": "bytes=100-199"})
        self.assertEqual((part.status, part.body), (206, whole.body[100:200]))
        self.assertEqual(part.header("Content-Range"), f"bytes 100-199/{size}")
        self.assertEqual(part.header("Repr-Digest"), whole.header("Repr-Digest"), "of the whole, as RFC 9530 says")
        outside = await self.service.ask("GET", f"/dump?file={name}", headers={"Range": f"bytes={size}-"})
        self.assertEqual((outside.status, outside.header("Content-Range")), (416, f"bytes */{size}"))
        self.assertEqual(outside.header("Content-Type"), "application/problem+json")

    async def test_head_of_a_closed_file_ignores_a_range(self) -> None:
        """Rule 15: a Range is for GET alone (RFC 9110, 14.2)."""
        name = await self.rotated()
        head = await self.service.ask("HEAD", f"/dump?file={name}", headers={"Range": "bytes=0-9"})
        self.assertEqual((head.status, head.header("Content-Length")), (200, str((self.path / name).stat().st_size)))

    async def test_the_current_file_by_its_name_is_the_current_file(self) -> None:
        """Rule 15."""
        await self.service.post(body_of(a_result()))
        name = self.service.parts._store.current.info.path.name
        reply = await self.service.ask("GET", f"/dump?file={name}")
        with reading(self.saved(reply)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM ping_results").fetchone(), (1,))

    async def test_no_name_leads_to_another_file(self) -> None:
        """Rules 10 and 15."""
        for name in ("hops.sqlite3", "outputd.lock", "..%2Fpasswd", "%2Fetc%2Fpasswd", "nothing.db", "", "%00", "%ff"):
            reply = await self.service.ask("GET", f"/dump?file={name}")
            self.assertEqual((reply.status, reply.header("Content-Type")), (404, "application/problem+json"), name)

    async def test_no_room_is_503_and_leaves_nothing(self) -> None:
        """Rule 15."""
        self.patch(DataDir, "free_bytes", lambda _: 0)
        reply = await self.service.ask("GET", "/dump")
        self.assertEqual((reply.status, reply.header("Content-Type")), (503, "application/problem+json"))
        self.assertEqual([name for name in os.listdir(self.path) if name.startswith(".")], [])

    async def test_no_copy_and_no_handle_is_left_behind(self) -> None:
        """Rule 15: by readers who go away in the middle too."""
        await self.service.post(body_of(*[a_result(error="x" * 1000)] * 5000))
        handles = self.copies_open()
        for _ in range(3):
            wire = await self.service.connect()
            wire.write(b"GET /dump HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.until(b"SQLite format 3")
            wire.hang_up()
            await wire.closed
            await self.service.ask("HEAD", "/dump")
            await self.service.ask("GET", "/dump")
        await eventually(lambda: self.copies_open() == handles and not self.service.site.in_flight)
        self.assertEqual([name for name in os.listdir(self.path) if name.startswith(".")], [])

    def copies_open(self) -> int:
        links = [os.readlink(link.path) for link in os.scandir("/proc/self/fd") if os.path.islink(link.path)]
        return sum(".dump-" in link for link in links)
