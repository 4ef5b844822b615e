from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperlink import URL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from outputd.sender.journal import Journal, Refused, Totals
from outputd.sender.outbox import Delivery, head_of
from outputd.sender.pace import PATIENCE_S
from outputd.sender.sender import Sender, Target
from outputd.sender.source import MOST_BODY_BYTES, examine
from outputd.sender.verdict import Stopped
from tests.kit.pools import inline
from tests.sender.test_command import OK, URL_TEXT, FileTests


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
    uploads: list[Any] = field(default_factory=list)
    takes_bytes: int | None = None
    """`answer` may say how much of this body is taken; None is all."""

    def post(self, url: str | URL, /, *, data: Any, headers: Headers, allow_redirects: bool, unbuffered: bool) -> Any:
        assert not allow_redirects and unbuffered
        self.posts.append((data.content, headers))
        self.uploads.append(data)
        answer = self.answer(data.content)
        data.sent_bytes = data.length if self.takes_bytes is None else self.takes_bytes
        self.takes_bytes = None
        if isinstance(answer, Exception):
            failed: Deferred[Any] = Deferred()
            failed.errback(answer)
            return failed
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def of(self, name: str) -> list[str]:
        return [headers.getRawHeaders(name, [""])[0] for _, headers in self.posts]


class SenderTest(FileTests):
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


class SenderTests(SenderTest):
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
        self.clock.advance(PATIENCE_S)
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
            self.assertStopped(self.begin(), f"the service answers {status}: no\\nno")
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
            self.journal.file.close()
            return Response()

        self.service.answer = answer
        ended = self.begin(connections=2)
        self.assertIsInstance(ended[0].value, ValueError)
