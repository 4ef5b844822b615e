"""What `outputd.parts` promises: a list of parts by name, of which one may be left out."""

import dataclasses
import gzip
import random
import threading
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.sqlite.files import wal_of
from tests.kit.damage import spoil_leaf
from tests.kit.makers import a_result, a_trace, body_of, many_hops
from tests.kit.running import Running, eventually


class TwoPools(TestCase):
    async def test_what_takes_long_holds_up_nothing_brief(self) -> None:
        """Rules 15 and 20: dumps, however many, keep neither /health nor a compressed POST nor a rotation waiting."""
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)
        begun: list[None] = []
        may_end = threading.Event()
        self.addCleanup(may_end.set)

        def work() -> None:
            begun.append(None)
            may_end.wait(60)

        works = [Deferred.fromCoroutine(it.parts.long(work)) for _ in range(10)]
        await eventually(lambda: len(begun) >= 4)
        health = (await it.ask("GET", "/health", port="health-port")).json
        self.assertEqual(health["checks"]["disk"]["status"], "ok", health)
        body = gzip.compress(body_of(*[a_result(error=random.randbytes(1000).hex()) for _ in range(100)]))
        self.assertGreater(len(body), 64 * 1024)
        self.assertEqual((await it.post(body, Content_Encoding="gzip")).status, 200)
        self.assertEqual((await it.ask("POST", "/rotate")).status, 200)
        self.assertFalse(any(work.called for work in works))
        may_end.set()
        for each in works:
            await each


class Inspecting(TestCase):
    async def test_what_is_found_at_a_start_is_told_by_the_database_check(self) -> None:
        """Rule 20: nobody has asked for what is damaged."""
        path = Path(self.mktemp())
        it = Running(path).start()
        await it.post(body_of(*[a_trace(*many_hops(20), method=f"of {n}") for n in range(100)]))
        old = it.parts.store.current.info.path
        await it.ask("POST", "/rotate")
        await eventually(lambda: not wal_of(old).exists())
        await it.stop()
        spoil_leaf(old, b"of 77")
        again = Running(path).start()
        self.addCleanup(again.stop)
        await eventually(lambda: again.parts.inspection.found)
        check = (await again.ask("GET", "/health", port="health-port")).json["checks"]["database"]
        self.assertEqual("warn", check["status"])
        self.assertIn(f"{old.name} cannot be read: ", check["reason"])


class LeftOut(TestCase):
    async def test_without_pages_the_rest_answers(self) -> None:
        it = Running(Path(self.mktemp()), with_pages=False).start()
        self.addCleanup(it.stop)
        self.assertIsNone(it.parts.pages)
        for path, status in (("/", 404), ("/events", 404), ("/health", 200), ("/recent", 200)):
            self.assertEqual((await it.ask("GET", path, port="health-port")).status, status, path)

    async def test_a_feed_that_is_left_out_is_never_started(self) -> None:
        it = Running(Path(self.mktemp()), "--input-url=http://127.0.0.1:9/hops")
        feed = it.parts.feed
        assert feed is not None
        it.parts = dataclasses.replace(it.parts, feed=None)
        it.start()
        await it.post(body_of(a_trace(*many_hops(3))))
        await it.stop()
        self.assertEqual((feed.running, feed.posts_failed), (0, 0))

    async def test_no_part_can_be_exchanged_by_the_way(self) -> None:
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            it.parts.store = it.parts.store  # type: ignore[misc]  # that it is refused is what is shown
        self.assertEqual((await it.post(body_of(a_result()))).status, 200)
