"""outputd-send: how a file becomes bodies, what is remembered of them, and what each answer leads to."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperlink import URL
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from outputd import bodies as bodies_module
from outputd import journal as journal_module
from outputd.bodies import CUT_RESULTS, MOST_BODY_BYTES, Body, Broken, Source, bodies, examine
from outputd.delivery import Delivery, head_of
from outputd.journal import CannotResume, Journal, Refused, Settled, Totals
from outputd.screen import Screen
from outputd.send import ALL_STORED, CANNOT_START, parse
from outputd.sending import ANSWER_S, Sender, Stopped, Target, duration
from tests.fakes import inline

URL_TEXT = "http://localhost:8081/results"
OK = b'{"status":"ok","received":1}'


class FileTests(SynchronousTestCase):
    """A test with a directory."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def written(self, content: bytes, name: str = "results.json") -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def cut(self, content: bytes, name: str = "results.json") -> list[Body]:
        return list(bodies(examine(self.written(content, name))))


# -- bodies ------------------------------------------------------------------------------------------


class LinesTests(FileTests):
    def test_each_line_is_a_body_as_it_is(self) -> None:
        found = self.cut(b'[ {"a":1}]\r\n\n  [2] \nnot JSON\n[3]', "x.jsonl")
        self.assertEqual([b'[ {"a":1}]', b"[2]", b"not JSON", b"[3]"], [body.data for body in found])
        self.assertEqual(["line 1", "line 3", "line 4", "line 5"], [body.where for body in found])
        self.assertEqual([0, 1, 2, 3], [body.number for body in found])

    def test_known_by_the_content_when_the_name_does_not_say(self) -> None:
        self.assertEqual([b"[1]", b"[2,3]"], [body.data for body in self.cut(b"\n[1]\n[2,3]\n")])

    def test_gzip_is_known_by_the_content(self) -> None:
        self.assertEqual([b"[1]", b"[2]"], [body.data for body in self.cut(gzip.compress(b"[1]\n[2]\n"), "x.jsonl")])

    def test_a_line_that_is_too_long_is_not_held_and_costs_only_itself(self) -> None:
        long = b"[" + b" " * MOST_BODY_BYTES + b"]"
        for ending in (b"\n", b"\r\n"):
            found = self.cut(ending.join([b"[1]", long, b"[2]", b""]), "x.jsonl")
            self.assertEqual([b"[1]", b"", b"[2]"], [body.data for body in found])
            self.assertEqual([False, True, False], [bool(body.fault) for body in found])

    def test_a_line_of_the_most_bytes_is_sent(self) -> None:
        line = b"[" + b" " * (MOST_BODY_BYTES - 2) + b"]"
        for ending in (b"", b"\n", b"\r\n"):
            self.assertEqual([line], [body.data for body in self.cut(line + ending, "x.jsonl")])

    def test_damaged_gzip_is_read_as_far_as_it_goes(self) -> None:
        whole = gzip.compress(os.urandom(50_000).hex().encode() + b"\n" + os.urandom(900_000).hex().encode())
        source = Source(self.written(whole[:-100_000], "x.jsonl.gz"), 1, "", "lines")
        found = bodies(source)
        self.assertEqual(100_000, len(next(found).data))
        self.assertRaises(Broken, next, found)


class ArrayTests(FileTests):
    def test_it_is_cut_at_so_many_results(self) -> None:
        items = list(range(2 * CUT_RESULTS + 1))
        found = self.cut(json.dumps(items, indent=2).encode())
        self.assertEqual([CUT_RESULTS, CUT_RESULTS, 1], [len(json.loads(body.data)) for body in found])
        self.assertEqual(items, [item for body in found for item in json.loads(body.data)])
        self.assertEqual("items 1000 to 1999", found[1].where)

    def test_it_is_cut_at_so_many_bytes(self) -> None:
        self.patch(bodies_module, "CUT_BYTES", 20)
        found = [body.data for body in self.cut(b'["123456","123456","1","' + b"x" * 50 + b'",1]')]
        self.assertEqual([b'["123456","123456"]', b'["1"]', b'["' + b"x" * 50 + b'"]', b"[1]"], found)

    def test_items_are_verbatim(self) -> None:
        item = b'{"a" : 1e400,  "b":1.0, "c":"\\u00e9\xc3\xa9\\"]},[{\xff", "d":' + b"9" * 5000 + b"}"
        self.assertEqual(
            [b"[" + item + b",-0.0,null]"], [body.data for body in self.cut(b"\xef\xbb\xbf[" + item + b" ,-0.0,null]")]
        )

    def test_an_empty_one_has_no_bodies(self) -> None:
        for content in (b"[]", b" [ \n ] \n", b""):
            self.assertEqual([], self.cut(content))

    def test_what_is_no_array_is_said(self) -> None:
        for content in (b'{"a":1}', b"x", b"<html>\n"):
            self.assertRaises(Broken, self.cut, content)

    def test_what_comes_before_the_fault_is_sent(self) -> None:
        for rest in (
            b"",
            b",",
            b",]",
            b",,3]",
            b" 3]",
            b",3",
            b',{"a":}]',
            b",NaN]",
            b"]]",
            b"] x",
            b',"',
            b",[" * 99_999,
        ):
            content = b'[1,\n{"a":2}' + rest
            found = bodies(Source(self.written(content), len(content), "", "array"))
            self.assertEqual(1, json.loads(next(found).data)[0], rest[:9])
            self.assertRaises(Broken, lambda found=found: list(found))

    def test_what_is_no_end_is_not_read_for_ever(self) -> None:
        class Endless(io.RawIOBase):
            held = 0

            def read(self, size: int = -1) -> bytes:
                self.held += size
                assert self.held < 64 << 20, "all of it is read"
                return b"x" * size

        items = bodies_module._Items(io.BytesIO(b""))
        items._stream, items._text = Endless(), '["'  # type: ignore[assignment]  # reads are all that it needs
        self.assertRaises(Broken, items.next)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.recursive(st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
                              lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), max_size=30),
        st.sampled_from([None, 1]), st.integers(1, 40),
    )  # fmt: skip
    def test_wherever_the_reads_end(self, items: list[Any], indent: int | None, chunk: int) -> None:
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(chunk, size or 0))

        array = json.dumps(items, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
        reader = bodies_module._Items(Slow(array))
        found = []
        while (item := reader.next()) is not None:
            found.append(json.loads(item.decode("utf-8", "surrogatepass")))
        self.assertEqual(items, found)


# -- what is remembered ------------------------------------------------------------------------------


class JournalTests(FileTests):
    def setUp(self) -> None:
        super().setUp()
        self.source = examine(self.written(b"[1]\n[2]\n[3]\n", "x.jsonl"))
        self.path = self.directory / "x.jsonl.sent"

    def journal(self, url: str = URL_TEXT, again: bool = False) -> Journal:
        return Journal(self.path, head_of(self.source, url, ""), again)

    def dropped(self, journal: Journal) -> None:
        """As a kill -9 leaves it: the lock ends with the process."""
        journal._file.close()

    def test_a_kill_costs_nothing(self) -> None:
        journal = self.journal()
        journal.settle(Settled(2, 5, 1))
        journal.settle(Settled(0, 7, 0, duplicate=1))
        self.dropped(journal)
        again = self.journal()
        self.assertEqual([True, False, True, False], [number in again for number in range(4)])
        self.assertEqual(Totals(2, 12, 1, 1, 0), again.totals)
        self.assertIsNotNone(again.was_in_doubt_since)

    def test_a_torn_line_is_none(self) -> None:
        journal = self.journal()
        journal.settle(Settled(0, 5))
        self.dropped(journal)
        content = self.path.read_bytes()
        for size in range(len(content) - 3, len(content)):
            self.path.write_bytes(content[:size])
            again = self.journal()
            self.assertNotIn(0, again)
            self.dropped(again)

    def test_it_stays_small(self) -> None:
        self.patch(journal_module, "_MOST_LINES", 10)
        journal = self.journal()
        for number in range(1000):
            journal.settle(Settled(number, 1))
            self.assertLess(self.path.stat().st_size, 1000)
        self.dropped(journal)
        self.assertEqual((1000, 1000), (self.journal().totals.stored, journal.head.next))

    def test_a_clean_end_leaves_no_doubt(self) -> None:
        self.journal().close(in_doubt=False, whole=False)
        self.assertIsNone(self.journal().was_in_doubt_since)

    def test_a_doubt_stays_until_all_is_sent(self) -> None:
        self.dropped(self.journal())
        self.journal().close(in_doubt=False, whole=False)
        journal = self.journal()
        self.assertIsNotNone(journal.was_in_doubt_since)
        journal.close(in_doubt=False, whole=True)
        self.assertIsNone(self.journal().was_in_doubt_since)

    def test_one_process_at_a_time(self) -> None:
        first = self.journal()
        self.assertIn("another outputd-send", str(self.assertRaises(CannotResume, self.journal)))
        self.assertIn("another outputd-send", str(self.assertRaises(CannotResume, self.journal, again=True)))
        first.settle(Settled(0))  # and it is not disturbed

    def test_another_url_or_another_file_is_not_gone_on_with(self) -> None:
        self.journal().close(in_doubt=False, whole=False)
        self.assertIn(URL_TEXT, str(self.assertRaises(CannotResume, self.journal, "http://other/results")))
        self.source = examine(self.written(b"[1]\n[2]\n[4]\n", "x.jsonl"))
        self.assertIn("is not the file", str(self.assertRaises(CannotResume, self.journal)))
        self.assertEqual(0, self.journal(again=True).head.next)

    def test_what_is_no_journal_is_left_alone(self) -> None:
        for content in (b"", b"{}\n", b"my notes\n"):
            self.path.write_bytes(content)
            self.assertRaises(CannotResume, self.journal)
            self.assertEqual(content, self.path.read_bytes())


class RefusedTests(FileTests):
    def test_nothing_is_written_twice(self) -> None:
        path = self.directory / "refused.jsonl"
        first = Refused(path)
        first.open()
        self.assertFalse(path.exists())
        first.write("a", {"status": 400})
        first.write("b", {"status": 422})
        path.write_bytes(path.read_bytes()[:-4])  # torn
        second = Refused(path)
        second.open()
        for key in "ab":
            second.write(key, {"status": 422})
        second.close()
        self.assertEqual(["a", "b"], [json.loads(line)["key"] for line in path.read_bytes().splitlines()])

    def test_a_file_of_something_else_is_left_alone(self) -> None:
        path = self.written(b"[1]\n", "mine.jsonl")
        self.assertRaises(CannotResume, Refused(path).open)
        self.assertEqual(b"[1]\n", path.read_bytes())


# -- sending -----------------------------------------------------------------------------------------


@dataclass
class Response:
    """What the sender needs of an IResponse."""

    code: int = 200
    content: bytes = OK
    fields: Mapping[str, str] = field(default_factory=dict)
    length: int = -1

    @property
    def headers(self) -> Headers:
        return Headers({name: [value] for name, value in self.fields.items()})

    def deliverBody(self, protocol: IProtocol) -> None:
        protocol.dataReceived(self.content)
        protocol.connectionLost(Failure(ResponseDone()))


def always(answer: Any) -> Callable[[bytes], Any]:
    return lambda _: answer


@dataclass
class FakeService:
    """A Poster; `answer` is asked for each POST: a response, an exception, or a Deferred of either."""

    answer: Callable[[bytes], Any] = lambda _: Response()
    posts: list[tuple[bytes, Headers]] = field(default_factory=list)

    def post(self, url: str | URL, /, *, data: bytes, headers: Headers, allow_redirects: bool) -> Deferred[Any]:
        assert not allow_redirects
        self.posts.append((data, headers))
        answer = self.answer(data)
        if isinstance(answer, Exception):
            failed: Deferred[Any] = Deferred()
            failed.errback(answer)
            return failed
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def of(self, name: str) -> list[str]:
        return [headers.getRawHeaders(name, [""])[0] for _, headers in self.posts]


class SenderTests(FileTests):
    LINES = b"[1]\n[1]\n[2]\n"

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.told: list[str] = []
        self.service = FakeService()
        self.file = self.written(self.LINES, "x.jsonl")

    def begin(self, connections: int = 1, target: Target | None = None, give_up_after_s: float = 600) -> list[Any]:
        """Send the file; the list has the outcome once there is one."""
        target = target or Target(URL_TEXT)
        source = examine(self.file)
        self.journal = Journal(self.directory / "x.sent", head_of(source, target.url, target.node))
        refused = Refused(self.directory / "x.refused.jsonl")
        refused.open()
        self.delivery = Delivery(source, self.journal, refused, target.compress)
        self.sender = Sender(
            self.service, target, self.clock, inline, connections, give_up_after_s, self.told.append,
            now=self.clock.seconds, jitter=lambda: 0.0,
        )  # fmt: skip
        ended: list[Any] = []
        Deferred.fromCoroutine(self.sender.send(self.delivery)).addBoth(ended.append)
        return ended

    def sent(self, **options: Any) -> Totals:
        """Send the file without an end that is not well."""
        ended = self.begin(**options)
        self.assertEqual([None], ended)
        self.delivery.close(in_doubt=False, whole=True)
        return self.journal.totals

    def refused(self) -> list[Any]:
        path = self.directory / "x.refused.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def assertStopped(self, ended: Sequence[Any], reason: str) -> None:
        self.assertEqual(1, len(ended), "it goes on")
        self.assertIn(reason, str(ended[0].trap(Stopped) and ended[0].value))

    def test_equal_bodies_have_keys_of_their_own_that_are_the_same_in_each_run(self) -> None:
        self.assertEqual(Totals(bodies=3, stored=3), self.sent())
        keys = self.service.of("Idempotency-Key")
        self.assertEqual(3, len(set(keys)))
        (self.directory / "x.sent").unlink()
        self.sent()
        self.assertEqual(keys + keys, self.service.of("Idempotency-Key"))

    def test_another_file_with_an_equal_body_has_other_keys(self) -> None:
        self.sent()
        (self.directory / "x.sent").unlink()
        self.file = self.written(b"[1]\n", "y.jsonl")
        self.sent()
        keys = self.service.of("Idempotency-Key")
        self.assertEqual(4, len(set(keys)))

    def test_headers_and_compression(self) -> None:
        self.sent(target=Target(URL_TEXT, "fra-1", (("Authorization", "Bearer t"),), True))
        data, headers = self.service.posts[0]
        self.assertEqual(b"[1]", gzip.decompress(data))
        said = [headers.getRawHeaders(name) for name in ("X-Ping-Node", "Content-Encoding", "Authorization")]
        self.assertEqual([["fra-1"], ["gzip"], ["Bearer t"]], said)

    def test_so_many_at_a_time(self) -> None:
        waiting: list[Deferred[Any]] = []

        def answer(_: bytes) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.service.answer = answer
        ended = self.begin(connections=2)
        self.assertEqual(2, len(waiting))
        waiting[1].callback(Response())
        self.assertEqual(3, len(waiting))
        for one in (waiting[2], waiting[0]):
            one.callback(Response())
        self.assertEqual(([None], 3), (ended, self.journal.totals.stored))

    def test_a_failed_post_is_sent_again_with_its_key(self) -> None:
        answers = [Refusal(), Response(500, b"<html>"), Response(502), Response(), Response(), Response()]
        self.service.answer = lambda _: answers.pop(0)
        ended = self.begin()
        for _ in range(20):
            self.clock.advance(1)
        self.assertEqual([None], ended)
        self.assertEqual([b"[1]"] * 5 + [b"[2]"], [data for data, _ in self.service.posts])
        self.assertEqual(1, len(set(self.service.of("Idempotency-Key")[:4])))
        self.assertEqual(2, len(self.told), self.told)  # away, and there again

    def test_retry_after_holds_all_back(self) -> None:
        posts: list[Deferred[Any]] = []

        def answer(_: bytes) -> Deferred[Any]:
            posts.append(Deferred())
            return posts[-1]

        self.service.answer = answer
        self.begin(connections=2)
        posts[0].callback(Response(503, b'{"status":503,"detail":"busy"}', {"Retry-After": "7"}))
        self.service.answer = always(Response())
        posts[1].callback(Response())  # the other connection takes the next body, and waits too
        self.clock.advance(6.9)
        self.assertEqual(2, len(self.service.posts))
        self.clock.advance(0.2)
        self.assertEqual((4, 3), (len(self.service.posts), self.journal.totals.stored))

    def test_a_busy_service_is_no_news(self) -> None:
        answers = [Response(), Response(503, b"", {"Retry-After": "1"})] * 3
        self.service.answer = lambda _: answers.pop()
        ended = self.begin()
        self.clock.pump([1.0] * 9)
        self.assertEqual(([None], 2), (ended, len(self.told)))

    def test_no_answer_is_waited_for_for_ever(self) -> None:
        self.service.answer = lambda _: Deferred()
        self.begin()
        self.service.answer = lambda _: Response()
        self.clock.advance(ANSWER_S)
        self.clock.advance(1)
        self.assertEqual(3, self.journal.totals.stored)

    def test_it_gives_up_in_the_end_and_goes_on_from_there(self) -> None:
        self.service.answer = lambda data: Refusal() if data == b"[2]" else Response()
        ended = self.begin(give_up_after_s=30)
        self.clock.pump([1.0] * 40)
        self.assertStopped(ended, "given up after 0:30")
        self.delivery.close(self.sender.in_doubt, whole=False)
        self.service.answer = lambda _: Response()
        self.assertEqual(Totals(bodies=3, stored=3), self.sent())
        self.assertEqual([b"[2]"], [self.service.posts[-1][0]])

    def test_what_no_body_can_help_stops_at_once(self) -> None:
        for status in (301, 401, 403, 404, 405, 415):
            self.service.posts.clear()
            self.service.answer = always(Response(status, b'{"status":1,"detail":"no\\nno"}'))
            self.assertStopped(self.begin(), f"the service answers {status}: no no")
            self.assertEqual((1, []), (len(self.service.posts), self.refused()))
            self.assertFalse(self.sender.in_doubt)
            self.delivery.close(in_doubt=False, whole=False)

    def test_a_2xx_of_something_else_is_no_success(self) -> None:
        for content in (b"<html>welcome", b'{"status":"fine"}', b"[]"):
            self.service.answer = always(Response(200, content))
            self.assertStopped(self.begin(), "not that of outputd")
            self.assertEqual(0, self.journal.totals.bodies)
            self.delivery.close(in_doubt=False, whole=False)

    def test_refused_bodies_are_kept_and_the_others_go_on(self) -> None:
        self.file = self.written(b"[1]\nno JSON \xff\n[2]\n", "x.jsonl")
        self.service.answer = lambda data: Response() if data == b"[1]" else Response(
            400, b'{"title":"Bad Request","status":400,"detail":"why"}'
        )  # fmt: skip
        self.assertEqual(Totals(bodies=3, stored=1, refused=2), self.sent())
        first, second = self.refused()
        self.assertEqual(
            ("x.jsonl", "line 2", 400, "why"), tuple(first[k] for k in ("file", "where", "status", "detail"))
        )
        self.assertEqual(("no JSON \\xff", [2]), (first["text"], second["results"]))

    def test_rejected_items_are_kept(self) -> None:
        self.file = self.written(b'[{"a":1},{"b" : 2},{"c":3}]\n', "x.jsonl")
        errors = [{"index": 1, "field": "ip", "error": "e"}]
        answer = {"status": "partial", "received": 2, "rejected": 1, "errors": errors, "duplicate": True}
        self.service.answer = lambda _: Response(200, json.dumps(answer).encode())
        self.assertEqual(Totals(bodies=1, stored=2, duplicates=1, rejected=1), self.sent())
        self.assertEqual(([{"b": 2}], errors), (self.refused()[0]["results"], self.refused()[0]["errors"]))

    def test_when_not_all_rejected_items_are_named_the_body_is_kept(self) -> None:
        self.file = self.written(b"[1,2,3]\n", "x.jsonl")
        answer = {"status": "partial", "received": 1, "rejected": 2, "errors": [{"index": 1}]}
        self.service.answer = lambda _: Response(200, json.dumps(answer).encode())
        self.sent()
        self.assertEqual(([1, 2, 3], 1), (self.refused()[0]["results"], self.refused()[0]["received"]))

    def test_a_body_that_cannot_be_sent_is_noted(self) -> None:
        self.file = self.written(b"[1]\n[" + b" " * MOST_BODY_BYTES + b"]\n", "x.jsonl")
        self.assertEqual(Totals(bodies=2, stored=1, refused=1), self.sent())
        self.assertIn("longer than 8 MiB", self.refused()[0]["detail"])

    def test_stopping_waits_for_what_is_under_way(self) -> None:
        held: Deferred[Any] = Deferred()
        self.service.answer = lambda _: held
        ended = self.begin()
        self.sender.stop("interrupted")
        self.assertEqual([], ended)
        held.callback(Response())
        self.assertStopped(ended, "interrupted")
        self.assertEqual((1, 1, False), (len(self.service.posts), self.journal.totals.bodies, self.sender.in_doubt))

    def test_stopping_cuts_off_what_does_not_come(self) -> None:
        self.service.answer = lambda _: Deferred()
        ended = self.begin(connections=2)
        self.sender.stop("interrupted")
        self.clock.advance(10)
        self.assertStopped(ended, "interrupted")
        self.assertTrue(self.sender.in_doubt)

    def test_stopping_ends_a_rest(self) -> None:
        self.service.answer = lambda _: Response(503, b"", {"Retry-After": "300"})
        ended = self.begin(connections=2)
        self.sender.stop("interrupted")
        self.assertStopped(ended, "interrupted")
        self.assertFalse(self.sender.in_doubt)

    def test_a_disk_that_fails_ends_it(self) -> None:
        def answer(_: bytes) -> Response:
            self.journal._file.close()
            return Response()

        self.service.answer = answer
        ended = self.begin(connections=2)
        self.assertIsInstance(ended[0].value, ValueError)


# -- the command -------------------------------------------------------------------------------------


class ParseTests(SynchronousTestCase):
    def test_flags_may_follow_files(self) -> None:
        options = parse(["a.jsonl", "b.json", "--url", URL_TEXT, "--state", "s", "--gzip"])
        self.assertEqual([Path("a.jsonl"), Path("b.json")], options.files)
        self.assertEqual(Path("s/a.jsonl.sent"), options.state_of(options.files[0]))
        self.assertEqual(Path("s/b.json.refused.jsonl"), options.refused_of(options.files[1]))

    def test_files_may_follow_flags(self) -> None:
        self.assertEqual([Path("a"), Path("b")], parse(["a", "--again", "b"]).files)

    def test_beside_the_file_by_default(self) -> None:
        options = parse(["d/a.json"])
        self.assertEqual(Path("d/a.json.sent"), options.state_of(options.files[0]))

    def test_a_wrong_flag_is_one_line(self) -> None:
        wrong: list[list[str]] = [
            ["--connections=0"], ["--url=localhost:8081"], ["--url=http://"], ["--node=ä"], ["--node=" + 65 * "x"],
            ["--give-up-after=-1"], ["--give-up-after=nan"], ["b/f.json", "--state=s"], ["--key=k"],
        ]  # fmt: skip
        for flags in wrong:
            said = io.StringIO()
            with redirect_stderr(said):
                ended = self.assertRaises(SystemExit, parse, ["f.json", *flags])
            self.assertEqual((CANNOT_START, 1), (ended.code, said.getvalue().count("\n")), flags)

    def test_an_ipv6_url(self) -> None:
        self.assertEqual("http://[::1]:8081/results", parse(["f", "--url", "http://[::1]:8081/results"]).url)
        self.assertEqual(0, ALL_STORED)


class ScreenTests(SynchronousTestCase):
    def test_plain_lines_without_a_terminal(self) -> None:
        out = io.StringIO()
        clock = Clock()
        screen = Screen(out, clock.seconds)
        screen.begin("x.jsonl", 1000)
        clock.advance(2)
        screen.progress(Totals(bodies=9, stored=3000, refused=1), 50, 200)
        screen.end()
        said = out.getvalue()
        self.assertEqual(
            ["x.jsonl:", "25%", "3,000", "results", "1,000/s", "1", "bodies", "refused,", "0", "items", "rejected"],
            said.split(),
        )
        self.assertNotIn("\x1b", said)

    def test_a_bar_on_a_terminal_is_drawn_again_below_lines(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        screen = Screen(out, Clock().seconds)
        screen.begin("x", 0)
        screen.progress(Totals(), 1, 2)
        screen.say("a line")
        screen.end()
        shown = out.getvalue().split("\r\x1b[K")
        self.assertIn("############............", shown[1])
        self.assertEqual((f"a line\n{shown[1]}", ""), (shown[2], shown[3]))

    def test_durations(self) -> None:
        self.assertEqual(["0:00", "1:05", "6:00:00"], [duration(seconds) for seconds in (0, 65, 21600)])


class ModeTests(SynchronousTestCase):
    def test_the_file_itself_is_only_read(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"[1]")
        path.chmod(stat.S_IRUSR)
        self.assertEqual([b"[1]"], [body.data for body in bodies(examine(path))])
