"""What `outputd-merge --pull` promises, of real services and of one that behaves badly."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SynchronousTestCase

from outputd.merge.command import INVALID, MERGED, NOT_MERGED, main
from outputd.merge.making import aside_of
from outputd.merge.pull import Access, NotPulled, place_of, pull
from outputd.security.access import NODE, OPERATOR, Holder, line_of, new_token
from outputd.sqlite.connections import reading
from outputd.sqlite.files import wal_of
from tests.kit.certificates import write_certificate
from tests.kit.makers import a_result
from tests.system.harness import Outputd, SystemTest, is_open
from tests.system.waiting import wait_until


def merge(*arguments: object) -> tuple[int, str]:
    """The exit code of the command, and what it says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main([*map(str, arguments)])
        except SystemExit as end:
            return int(str(end.code)), said.getvalue()
    raise AssertionError("it does not end")


class PullTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.directory.mkdir()
        self.into = self.directory / "pulled"
        self.out = self.directory / "out.db"

    def results(self) -> int:
        with reading(self.out) as db:
            (found,) = db.execute("SELECT count(*) FROM ping_results").fetchone()
        return int(found)

    def rotate(self, it: Outputd) -> str:
        """The name of the file that is closed by it; it has its manifest."""
        before = it.stats["current_db_file"]
        it.rotate()
        wait_until(lambda: it.directory.joinpath(before).with_suffix(".json").exists(), "the manifest is there")
        self.assertFalse(wal_of(it.directory / before).exists())
        return str(before)


class Services(PullTest):
    def test_all_files_of_all_instances_are_taken_and_the_next_time_only_what_is_new(self) -> None:
        one, other = (self.watched(Outputd(self.directory / name, "--input-url=")).start() for name in ("one", "other"))
        one.post([a_result()] * 3)
        closed = self.rotate(one)
        one.post([a_result()] * 4)
        other.post([a_result()] * 5)
        urls = [f"http://localhost:{it.port}" for it in (one, other)]
        flags = [f"--pull={urls[0]}", f"--pull={urls[1]}", f"--into={self.into}"]
        code, said = merge(self.out, *flags)
        self.assertEqual((MERGED, 12), (code, self.results()), said)
        self.assertEqual(3, said.count("pulled "), said)
        self.out.unlink()

        current = self.rotate(one)
        one.post([a_result()] * 6)
        code, said = merge(self.out, *flags)
        self.assertEqual((MERGED, 18), (code, self.results()), said)
        taken = [line.removeprefix("pulled ") for line in said.splitlines() if line.startswith("pulled ")]
        place = place_of(urls[0], self.into)  # the other's files may have the same names
        self.assertNotIn(str(place / closed), taken)
        self.assertIn(str(place / current), taken)
        self.assertEqual((one.directory / current).read_bytes(), (place / current).read_bytes())

    def test_what_an_instance_has_deleted_stays(self) -> None:
        it = self.watched(Outputd(self.directory / "one", "--input-url=", "--keep-files=2")).start()
        for _ in range(3):
            it.post([a_result()])
            self.rotate(it)
            pull(f"http://localhost:{it.port}", self.into, Access(), lambda _: None)
        found = pull(f"http://localhost:{it.port}", self.into, Access(), lambda _: None)
        self.assertEqual(4, len(found))
        self.assertEqual(MERGED, merge(self.out, *found)[0])
        self.assertEqual(3, self.results())

    def test_with_a_token_and_over_tls(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        chain, key = write_certificate(self.directory, "service", authority.issue_cert("localhost"))
        operator, node = new_token(), new_token()
        token, tokens = self.directory / "token", self.directory / "tokens"
        token.write_text(operator)
        lines = line_of(Holder(OPERATOR, "boss"), operator), line_of(Holder(NODE, "node"), node)
        tokens.write_text("\n".join(lines))
        it = self.watched(Outputd(self.directory / "one", "--input-url=", f"--tokens-file={tokens}"))
        flags = [self.out, f"--pull=http://localhost:{it.port}", f"--into={self.into}"]
        it.start()
        it.post([a_result()], authorization=f"Bearer {node}")
        code, said = merge(*flags)
        self.assertEqual(NOT_MERGED, code)
        self.assertIn("/dump answered 401", said)
        self.assertEqual(MERGED, merge(*flags, f"--token-file={token}")[0])
        it.stop()
        self.out.unlink()

        it.launch(f"--tls-cert={chain}", f"--tls-key={key}")
        wait_until(lambda: is_open(it.port), "it listens")
        flags[1] = f"--pull=https://localhost:{it.port}"
        self.assertIn("certificate verify failed", merge(*flags)[1])
        code, said = merge(*flags, f"--token-file={token}", f"--ca={self.directory / 'ca.pem'}")
        self.assertEqual((MERGED, 1), (code, self.results()), said)


class Behaving(BaseHTTPRequestHandler):
    """Answers what the server was given for each path: status, headers, body."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        status, headers, body = server.answers[self.path]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        server.before_body()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Badly(SynchronousTestCase):
    NAME = "results_2026-01-07_22-30-45.db"

    def setUp(self) -> None:
        self.into = Path(self.mktemp()).absolute()
        server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Behaving)
        server.asked, server.answers, server.before_body = [], {}, lambda: None
        self.server = server
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.answers("/dump", b"current", "results_2026-01-07_23-00-00.db")

    def answers(self, path: str, body: bytes, name: str, told: bytes | None = None, **headers: str) -> None:
        digest = base64.b64encode(hashlib.sha256(body if told is None else told).digest()).decode()
        disposition = f'attachment; filename="{name}"'
        said = {"Content-Disposition": disposition, "Repr-Digest": f"sha-256=:{digest}:", **headers}
        self.server.answers[path] = (200, said, body)

    def lists(self, name: str, sha256: str | None) -> None:
        listing = {"files": [{"file": name, "current": False, "sha256": sha256}]}
        self.server.answers["/files"] = (200, {}, json.dumps(listing).encode())

    def refused(self) -> str:
        error = self.assertRaises(NotPulled, pull, self.url, self.into, Access(), lambda _: None)
        place = place_of(self.url, self.into)
        self.assertEqual([], [path.name for path in place.glob("*.tmp")])
        self.assertFalse((place / self.NAME).exists())
        return str(error)

    def test_what_is_not_as_its_digest_says_is_not_kept(self) -> None:
        self.lists(self.NAME, None)
        self.answers(f"/dump?file={self.NAME}", b"closed", self.NAME, told=b"closed and more")
        self.assertIn("did not arrive whole", self.refused())
        self.lists(self.NAME, hashlib.sha256(b"another").hexdigest())
        self.answers(f"/dump?file={self.NAME}", b"closed", self.NAME)
        self.assertIn("did not arrive whole", self.refused())

    def test_what_breaks_off_is_not_kept(self) -> None:
        self.lists(self.NAME, None)
        self.answers(f"/dump?file={self.NAME}", b"closed", self.NAME, told=b"closed more", **{"Content-Length": "11"})
        self.assertIn("did not arrive whole", self.refused())

    def test_of_two_that_pull_into_one_directory_one_gives_up(self) -> None:
        """Else half of a file could get its name."""
        aside = place_of(self.url, self.into) / "results_2026-01-07_23-00-00.db.tmp"

        def other_begins() -> None:
            wait_until(aside.exists, "the first has begun")
            aside.unlink()
            aside.write_bytes(b"cur")

        self.server.before_body = other_begins
        error = self.assertRaises(NotPulled, pull, self.url, self.into, Access(), lambda _: None)
        self.assertIn("another outputd-merge is taking", str(error))
        self.assertEqual([aside], list(aside.parent.iterdir()))
        self.assertEqual(b"cur", aside.read_bytes())

    def test_a_name_never_leads_elsewhere(self) -> None:
        for name in ("../results_2026-01-07_22-30-45.db", "/etc/passwd", "current.db", ""):
            self.lists(name, None)
            self.assertIn("no result file", self.refused())
            self.answers("/dump", b"current", name)
            self.assertIn("no result file", self.refused())
            self.answers("/dump", b"current", "results_2026-01-07_23-00-00.db")

    def test_a_redirect_is_not_followed(self) -> None:
        """A token is for the instance that was named."""
        self.server.answers["/dump"] = (307, {"Location": f"{self.url}/elsewhere"}, b"")
        self.assertIn("/dump answered 307", self.refused())
        self.assertEqual(["/dump"], self.server.asked)

    def test_a_reason_is_told(self) -> None:
        self.server.answers["/dump"] = (503, {}, json.dumps({"title": "x", "detail": "no room for a copy"}).encode())
        self.assertIn("/dump answered 503: no room for a copy", self.refused())
        self.server.answers["/dump"] = (502, {}, b"<html>")
        self.assertTrue(self.refused().endswith("/dump answered 502"))

    def test_a_listing_that_is_none(self) -> None:
        self.server.answers["/files"] = (200, {}, b"[]")
        self.assertIn("/files cannot be read", self.refused())

    def test_nothing_is_pulled_while_a_merge_is_to_be_resumed(self) -> None:
        """The current file has changed since, and what was begun is of the files taken then."""
        self.into.mkdir()
        out = self.into / "out.db"
        aside_of(out).touch()
        self.assertEqual(NOT_MERGED, merge(out, f"--pull={self.url}", f"--into={self.into}")[0])
        self.assertEqual([], self.server.asked)

    def test_a_url_that_is_none_and_nothing_to_merge(self) -> None:
        for url in (
            "localhost:8081",
            "ftp://localhost",
            "http://",
            "http://localhost:99999",
            "http://localhost/results",
            "http://local host:8081",
            "http://..:8081",
            "http://[::1",
        ):
            self.assertIn(
                f"{url}: it must be the http", str(self.assertRaises(NotPulled, pull, url, self.into, Access(), print))
            )
        self.assertEqual(INVALID, merge(self.into / "out.db")[0])
