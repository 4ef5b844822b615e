"""What `outputd.sender` promises of slow lines: all arrives once, in smaller pieces if need be."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.client.agent import http_client
from outputd.client.bounds import Bounds
from outputd.sender import pace
from outputd.sender.journal import Journal, Refused
from outputd.sender.outbox import Delivery, head_of
from outputd.sender.sender import Sender, Target
from outputd.sender.source import examine
from tests.kit.makers import a_result
from tests.kit.pools import inline
from tests.kit.running import REACTOR, Running, eventually
from tests.kit.slow import SlowLine
from tests.sender.test_sender import Response, SenderTest

KIB = 1024


class Cutting(SenderTest):
    """A body is cut where the line is too slow for it, unless it may have arrived."""

    LINES = json.dumps([{"n": number, "text": "x" * 99} for number in range(1000)]).encode() + b"\n"

    def setUp(self) -> None:
        super().setUp()
        self.stored: dict[str, bytes] = {}
        self.random = random.Random(7)

    def takes(self, data: bytes) -> Response:
        """Store it as outputd does: a key that was used is answered again, and refused for another body."""
        key = self.service.of("Idempotency-Key")[-1]
        items = json.loads(data)
        if (before := self.stored.get(key)) is not None and before != data:
            return Response(422, b'{"status":422}')
        if items:
            self.stored[key] = data
        answer = {"status": "ok", "received": len(items)}
        return Response(200, json.dumps(answer | ({} if before is None else {"duplicate": True})).encode())

    def assert_once(self) -> None:
        arrived = [item["n"] for data in self.stored.values() for item in json.loads(data)]
        self.assertEqual(Counter(range(1000)), Counter(arrived))

    def slow(self, data: bytes) -> Any:
        """A line that carries 30 KiB before it is cut off."""
        if len(data) <= 30 * KIB:
            return self.takes(data)
        self.service.takes_bytes = 20 * KIB
        return Deferred()

    def kill(self) -> None:
        """As kill -9 does: nothing more is written down, and nothing more is sent."""
        self.journal.file.close()
        self.sender.stop("killed")
        self.sender.abort()

    def pass_time(self, ended: list[Any]) -> None:
        for _ in range(2000):
            if ended:
                return
            self.clock.advance(5)

    def test_one_that_makes_progress_is_not_cut_off(self) -> None:
        """However long it takes."""
        held: Deferred[Any] = Deferred()
        self.service.answer = lambda _: held
        ended = self.begin()
        (upload,) = self.service.uploads
        for _ in range(50):
            self.clock.advance(pace.PATIENCE_S - 1)
            upload.moved()
        self.assertEqual(1, len(self.service.posts))
        held.callback(self.takes(self.service.posts[0][0]))
        self.assertEqual([None], ended)

    def test_pieces_have_keys_of_their_own_and_arrive_once(self) -> None:
        self.patch(pace, "LEAST_BYTES", 8 * KIB)
        self.service.answer = self.slow
        ended = self.begin(connections=4)
        self.pass_time(ended)
        self.assertEqual([None], ended)
        self.assert_once()
        self.assertGreater(len(self.stored), 3)
        self.assertEqual((1, 1000), (self.journal.totals.bodies, self.journal.totals.stored))
        self.assertIn("nothing taken within 120 s; now 2 POSTs at a time", self.told[0])

    def test_what_may_have_arrived_is_sent_again_as_it_was(self) -> None:
        """All of it was taken, and no answer came: in pieces it might be stored twice."""

        def unanswered(data: bytes) -> Any:
            self.takes(data)
            return Deferred() if len(self.service.posts) < 4 else self.takes(data)

        self.service.answer = unanswered
        ended = self.begin(give_up_after_s=7200)
        self.pass_time(ended)
        self.assertEqual([None], ended)
        self.assert_once()
        self.assertEqual(1, len(self.stored))
        self.assertEqual(1, self.journal.totals.duplicates)

    def test_a_kill_at_any_time_stores_nothing_twice(self) -> None:
        """Each POST may be lost before it is whole, or after it was stored; the command is killed again and again."""
        self.patch(pace, "LEAST_BYTES", 8 * KIB)

        def hazard(data: bytes) -> Any:
            if data == b"[]" or self.random.random() < 0.3:
                return self.takes(data)
            if self.random.random() < 0.4:
                self.takes(data)
            else:
                self.service.takes_bytes = min(len(data) - 1, 20 * KIB)
            return Deferred()

        pieces = 0
        for _ in range(30):
            self.stored.clear()
            (self.directory / "x.sent").unlink(missing_ok=True)
            for _ in range(1000):
                self.service.answer = hazard
                ended = self.begin()
                for _ in range(self.random.randrange(40)):
                    self.clock.advance(20)
                is_done = ended == [None]
                self.kill()
                if is_done:
                    break
            self.assertTrue(is_done)
            self.assert_once()
            pieces += len(self.stored)
        self.assertGreater(pieces, 50)

    def test_what_was_stored_before_a_kill_is_not_cut(self) -> None:
        """A POST with no results asks whether its key was used."""

        def loses(data: bytes) -> Any:
            self.takes(data)
            return Deferred()

        self.service.answer = loses
        self.begin()
        self.kill()
        seen: list[bytes] = []

        def slow(data: bytes) -> Any:
            seen.append(data)
            if len(seen) == 1:
                self.service.takes_bytes = 20 * KIB
                return Deferred()
            return self.takes(data)

        self.service.answer = slow
        ended = self.begin()
        self.pass_time(ended)
        self.assertEqual(([None], [b"[]"]), (ended, seen[1:-1]))
        self.assert_once()

    def test_it_says_what_is_slow(self) -> None:
        self.service.takes_bytes = 20 * KIB
        self.service.answer = lambda _: Deferred()
        self.begin()
        self.assertEqual("", self.sender.slowness)
        self.clock.advance(10)
        self.assertEqual("the line is slow (2 KiB/s)", self.sender.slowness)
        (upload,) = self.service.uploads
        upload.sent_bytes = upload.length
        upload.moved()
        self.clock.advance(10)
        self.assertEqual("no answer for 10 s", self.sender.slowness)


class SlowLineTests(TestCase):
    """Four bodies at a time over 64 KiB/s: each would be cut off before it is through."""

    async def test_all_arrives(self) -> None:
        self.patch(pace, "PATIENCE_S", 1.0)
        self.patch(pace, "_SLOW_S", 2.0)
        directory = Path(self.mktemp())
        service = Running(directory).start()
        line = SlowLine(service.port(), 64 * KIB)
        url = f"http://127.0.0.1:{line.open()}/results"
        bodies = [[a_result(error="x" * 900) for _ in range(64)] for _ in range(6)]
        file = directory / "slow.jsonl"
        file.write_bytes(b"\n".join(json.dumps(body).encode() for body in bodies))
        source = examine(file)
        journal = Journal(directory / "slow.sent", head_of(source, url, ""))
        delivery = Delivery(source, journal, Refused(directory / "refused"))
        http = http_client(REACTOR, bounds=Bounds(send_buffer_bytes=4096))
        sender = Sender(http, Target(url), REACTOR, inline, 4, 60, lambda _: None)
        ended: list[Any] = []
        Deferred.fromCoroutine(sender.send(delivery)).addBoth(ended.append)
        await eventually(lambda: ended)
        delivery.close(sender.in_doubt, True)
        await line.close()
        await service.stop()
        self.assertEqual([None], ended)
        self.assertEqual([(6 * 64,)], service.rows("SELECT count(*) FROM ping_results"))
