"""What `outputd.parts` promises: a list of parts by name, of which one may be left out."""

import dataclasses
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.kit.makers import a_result, a_trace, body_of, many_hops
from tests.kit.running import Running


class LeftOut(TestCase):
    async def test_without_pages_the_rest_answers(self) -> None:
        it = Running(Path(self.mktemp()), with_pages=False).start()
        self.addCleanup(it.stop)
        self.assertIsNone(it.parts.pages)
        for path, status in (("/", 404), ("/events", 404), ("/health", 200), ("/targets", 200)):
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
