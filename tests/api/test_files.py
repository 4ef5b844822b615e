"""What `outputd.api.files` and `GET /dump` promise; a number is that of a rule of the contract."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import random
import socket
import ssl
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from outputd.api.files import send_part
from outputd.intake.admission import Admission
from outputd.security.access import Access
from outputd.sqlite.connections import reading
from outputd.store.copies import Copy
from outputd.store.copying import open_closed
from outputd.store.directory import DataDir
from outputd.web.request import CappedRequest, answered, put_head
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.certificates import write_certificate
from tests.kit.makers import a_result, a_trace, body_of, many_hops
from tests.kit.running import Running, eventually
from tests.kit.wire import Reply, over_a_narrow_wire, over_the_wire, parsed

_MIB = 1 << 20
_GET = b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"


class Sending(SynchronousTestCase):
    """A site whose /file is a file of 8 MiB, or the part of it from `start` to `end`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.contents = random.Random(15).randbytes(8 * _MIB)
        self.path.write_bytes(self.contents)
        self.start, self.end = 0, len(self.contents)
        self.reads: list[Deferred[None]] = []
        self.threads_wait = False
        self.copy = Copy(open_closed(self.path), self.path, self.clock.seconds, self.close)
        self.addCleanup(self.copy.end)
        self.site = Site(
            Routes([Route("GET", "/file", None, self.file)]), self.clock, Admission(1000, self.clock.seconds), 100, 200,
            Access(),
        )  # fmt: skip

    async def close(self, copy: Copy) -> None:
        os.close(copy.handle)

    def file(self, request: CappedRequest) -> None:
        put_head(request, 200, {}, self.end - self.start)
        answered(request, self.send(request))

    async def send(self, request: CappedRequest) -> None:
        await send_part(request, self.copy.reader(), self.start, self.end, self.in_thread)

    async def in_thread(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.reads.append(Deferred())
        if self.threads_wait:
            await self.reads[-1]
        return work(*args, **kwargs)

    def only_where_it_can_be_told(self) -> None:
        """Skip where the file system does not say what is in memory."""
        try:
            os.preadv(self.copy.handle, (bytearray(1),), 0, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise SkipTest("this file system does not know RWF_NOWAIT") from None

    def test_what_is_in_memory_is_seldom_handed_to_a_thread(self) -> None:
        self.only_where_it_can_be_told()
        _, transport = over_the_wire(self.site, _GET)
        self.assertEqual(self.contents, parsed(transport.value()).body)
        self.assertLessEqual(len(self.reads), 4 + 1)

    def test_whoever_reads_as_fast_as_it_is_sent_lets_others_be_served(self) -> None:
        self.threads_wait = True
        _, transport = over_the_wire(self.site, _GET)
        sizes = []
        while not self.reads[-1].called:
            sizes.append(len(transport.value()))
            self.reads[-1].callback(None)
        self.assertLess(3, len(sizes))
        self.assertLess(max(after - before for before, after in pairwise(sizes)), 3 * _MIB)
        self.assertEqual(self.contents, parsed(transport.value()).body)

    def test_what_is_not_in_memory_is_read_in_a_thread(self) -> None:
        """The reactor waits for no disk; nor does it where the file system cannot tell."""

        def fail(number: int, *_: object) -> int:
            raise OSError(number, os.strerror(number))

        for number in (errno.EAGAIN, errno.EOPNOTSUPP):
            self.patch(os, "preadv", partial(fail, number))
            self.reads.clear()
            _, transport = over_the_wire(self.site, _GET)
            self.assertEqual(self.contents, parsed(transport.value()).body)
            self.assertLess(64, len(self.reads))

    def test_of_what_is_half_in_memory_that_half_is_sent(self) -> None:
        preadv = os.preadv
        self.patch(os, "preadv", lambda *asked: min(preadv(*asked), 7777))
        _, transport = over_the_wire(self.site, _GET)
        self.assertEqual(self.contents, parsed(transport.value()).body)

    def test_a_part_has_its_bytes_and_no_others(self) -> None:
        """Rule 15: whatever its length."""
        for start, end in ((0, 1), (5, 5), (4095, 4097), (120 * 1024 - 1, 2 * _MIB + 3), (8 * _MIB - 1, 8 * _MIB)):
            self.start, self.end = start, end
            _, transport = over_the_wire(self.site, _GET)
            self.assertEqual(self.contents[start:end], parsed(transport.value()).body, (start, end))

    def test_whoever_reads_slowly_has_all_of_it_and_holds_little(self) -> None:
        """Rule 9."""
        _, transport = over_a_narrow_wire(self.site, 100_000, _GET)
        most_bytes = 0
        while len(transport.sent) < len(self.contents):
            most_bytes = max(most_bytes, self.site.unsent_bytes)
            transport.read(100_000)
        self.assertLess(most_bytes, 128 * 1024)
        self.assertEqual(self.contents, parsed(transport.sent).body)
        self.assertFalse(self.copy.readers)

    def test_a_crowd_that_reads_nothing_is_not_cut_off_and_holds_little(self) -> None:
        """Rule 9: more than a hundred wait, and one who reads is served beside them."""
        crowd = [over_a_narrow_wire(self.site, 0, _GET) for _ in range(130)]
        _, transport = over_the_wire(self.site, _GET)
        self.assertEqual(self.contents, parsed(transport.value()).body)
        self.assertEqual({False}, {each.is_aborted for _, each in crowd})
        self.assertLess(self.site.unsent_bytes, 16 * _MIB)
        for channel, _ in crowd:
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((0, 0), (self.site.unsent_bytes, self.site.in_flight))
        self.assertFalse(self.copy.readers)

    def test_whoever_goes_away_in_the_middle_leaves_nothing(self) -> None:
        """Rule 15: while it is read from memory, and while a thread reads."""
        channel, transport = over_a_narrow_wire(self.site, 100_000, _GET)
        transport.read(_MIB)
        self.threads_wait = True
        transport.read(2 * _MIB)
        waiting, _ = over_the_wire(self.site, _GET)
        for each in (channel, waiting):
            each.connectionLost(Failure(ConnectionDone()))
        for read in self.reads:
            if not read.called:
                read.callback(None)
        self.assertFalse(self.copy.readers)
        self.assertEqual((0, 0), (self.site.unsent_bytes, self.site.in_flight))

    def test_one_that_fails_at_once_is_answered_by_an_error_with_one_length(self) -> None:
        """Not by a head that has the file's length, too: two readers would see two ends of it."""
        os.truncate(self.path, 0)
        _, transport = over_the_wire(self.site, _GET)
        reply = parsed(transport.value())
        lengths = reply.headers.getRawHeaders("Content-Length")
        self.assertEqual((500, [str(len(reply.body))]), (reply.status, lengths))
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))

    def test_one_that_someone_else_cuts_short_breaks_off(self) -> None:
        """An answer that is not whole never looks as if it were: the next one would be taken for its end."""
        channel, transport = over_a_narrow_wire(self.site, _MIB, _GET)
        os.truncate(self.path, 3 * _MIB)
        transport.read(8 * _MIB)
        self.assertTrue(transport.is_aborted)
        self.assertFalse(self.copy.readers)
        (failure,) = self.flushLoggedErrors(OSError)
        self.assertIn("cut", str(failure.value))
        channel.connectionLost(Failure(ConnectionDone()))


class OverTLS(TestCase):
    """`GET /dump` where TLS is around the socket."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()

    async def test_a_closed_file_and_its_ranges(self) -> None:
        """Rule 15."""
        authority = trustme.CA()
        chain, key = write_certificate(self.place, "ours", authority.issue_cert("localhost"))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        service = Running(self.place / "data").start()
        self.addCleanup(lambda: Deferred.fromCoroutine(service.stop()))
        old = service.parts.store.current.info.path
        await service.post(body_of(*[a_result(error="x" * 1000)] * 5000))
        await service.ask("POST", "/rotate")
        await eventually(lambda: old.read_bytes()[18:20] == b"\1\1")
        await service.stop()
        service = Running(self.place / "data", f"--tls-cert={chain}", f"--tls-key={key}").start()
        contents = old.read_bytes()
        self.assertLess(4 * _MIB, len(contents))

        def asked(headers: str) -> Reply:
            request = f"GET /dump?file={old.name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
            bare = socket.create_connection(("127.0.0.1", service.port()), 10)
            with context.wrap_socket(bare, server_hostname="localhost") as wrapped:
                wrapped.sendall(request.encode())
                return parsed(b"".join(iter(lambda: wrapped.recv(1 << 16), b"")))

        whole = await deferToThread(asked, "")
        self.assertEqual((200, contents), (whole.status, whole.body))
        part = await deferToThread(asked, "Range: bytes=99-3000000\r\n")
        self.assertEqual((206, contents[99:3_000_001]), (part.status, part.body))


class OverHTTP(TestCase):
    """`GET /dump` of the whole service."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.service = Running(self.path).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.service.stop()))

    async def rotated(self) -> str:
        old = self.service.parts.store.current.info.path
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
        name = self.service.parts.store.current.info.path.name
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

    async def test_a_closed_file_that_is_there_already_is_not_sent_again(self) -> None:
        """RFC 9110, 13.1.2: by its ETag; of another one, or of none, it is."""
        name = await self.rotated()
        whole = await self.service.ask("GET", f"/dump?file={name}")
        etag = str(whole.header("ETag"))
        self.assertEqual(etag, f'"{hashlib.sha256(whole.body).hexdigest()}"')
        for method, known, status in (
            ("GET", etag, 304),
            ("HEAD", etag, 304),
            ("GET", f'"x", W/{etag}', 304),
            ("GET", "*", 304),
            ("GET", '"x"', 200),
        ):
            reply = await self.service.ask(method, f"/dump?file={name}", headers={"If-None-Match": known})
            self.assertEqual((status, etag), (reply.status, reply.header("ETag")), (method, known))
            self.assertEqual(status == 304, not reply.body)

    async def test_parts_are_of_the_file_whose_parts_are_there_or_the_whole_is_sent(self) -> None:
        """RFC 9110, 13.1.5: a weak tag is none, and a date neither, since none was sent."""
        name = await self.rotated()
        whole = await self.service.ask("GET", f"/dump?file={name}")
        etag = str(whole.header("ETag"))
        for known, status in (
            (etag, 206), (f"W/{etag}", 200), ('"x"', 200), ("Wed, 07 Jan 2026 22:30:00 GMT", 200), ("*", 200)
        ):  # fmt: skip
            headers = {"Range": "bytes=100-199", "If-Range": known}
            reply = await self.service.ask("GET", f"/dump?file={name}", headers=headers)
            body = whole.body[100:200] if status == 206 else whole.body
            self.assertEqual((status, body), (reply.status, reply.body), known)

    async def test_files_are_listed_with_what_is_known_of_each(self) -> None:
        """The closed ones by their manifests, the current one as it is."""
        first, second = [await self.rotated() for _ in range(2)]
        await self.service.post(body_of(a_result()))
        current = self.service.parts.store.current
        await eventually(
            lambda: all(self.service.parts.manifests.look(self.path / name)[1] for name in (first, second))
        )
        reply = await self.service.ask("GET", "/files")
        found = reply.json["files"]
        self.assertEqual([first, second, current.info.path.name], [each["file"] for each in found])
        self.assertEqual([False, False, True], [each["current"] for each in found])
        self.assertEqual([50, 50, None], [each["results"] for each in found])
        digests = [hashlib.sha256((self.path / name).read_bytes()).hexdigest() for name in (first, second)]
        self.assertEqual([*digests, None], [each["sha256"] for each in found])
        self.assertEqual(current.size_bytes, found[-1]["size_bytes"])

    async def test_a_file_that_was_deleted_is_listed_no_more(self) -> None:
        name = await self.rotated()
        (self.path / name).unlink()
        reply = await self.service.ask("GET", "/files")
        self.assertNotIn(name, [each["file"] for each in reply.json["files"]])

    async def test_head_of_a_closed_file_ignores_a_range(self) -> None:
        """Rule 15: a Range is for GET alone (RFC 9110, 14.2)."""
        name = await self.rotated()
        head = await self.service.ask("HEAD", f"/dump?file={name}", headers={"Range": "bytes=0-9"})
        self.assertEqual((head.status, head.header("Content-Length")), (200, str((self.path / name).stat().st_size)))

    async def test_the_current_file_by_its_name_is_the_current_file(self) -> None:
        """Rule 15."""
        await self.service.post(body_of(a_result()))
        name = self.service.parts.store.current.info.path.name
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

    async def test_a_directory_that_cannot_be_written_is_503(self) -> None:
        """Rules 10 and 15: nobody may make a file there, not even root; and a file that is there is not called gone."""
        self.patch(DataDir, "temporary", lambda *_: Path("/proc/sys/kernel/copy"))
        reply = await self.service.ask("GET", "/dump")
        self.assertEqual((reply.status, reply.header("Content-Type")), (503, "application/problem+json"))
        self.assertEqual([], self.flushLoggedErrors())

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
