from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.sqlite.connections import reading
from outputd.store.directory import DataDir
from tests.kit.makers import a_result, a_trace, body_of, many_hops
from tests.kit.running import Running, eventually
from tests.kit.wire import Reply, parsed


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
