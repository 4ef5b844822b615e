"""kill -9 at any moment costs no answered result and no hop of one, and stores nothing twice."""

from __future__ import annotations

import random
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from http.client import HTTPException
from threading import Thread

from tests.kit.depth import long
from tests.system.files import all_faults, feedable_rows, stored_targets
from tests.system.harness import Outputd, SystemTest, call
from tests.system.load import Post, Source, targets
from tests.system.waiting import wait_until

ROUNDS = 5
CONNECTIONS = 8


class CrashTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.source = Source(3)
        self.chance = random.Random(3)
        self.answered: list[Post] = []
        self.unanswered: list[Post] = []
        self.rotated: list[int] = []

    def test_killed_under_load(self) -> None:
        """Rules 1, 12, 18: five rounds in one directory, with input_service there to hear of every hop."""
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url)
        for _ in range(ROUNDS):
            self._kill_under_load(outputd)
            self._check_files()
        outputd.start()
        fed = feedable_rows(self.directory)
        self.assertGreater(len(fed), 100)
        wait_until(lambda: input_service.taken.keys() >= fed, "every hop of every round has arrived")
        self.assertEqual(fed, set(input_service.taken))
        self.assertStopped(outputd.stop())
        self._check_files()

    @long(
        "tests.system.test_crash.CrashTests.test_killed_under_load",
        "tests.store.test_rotation.OnRequest.test_many_in_one_second_refuse_and_lose_nothing",
    )
    def test_killed_while_rotating(self) -> None:
        """Rules 1, 11, 12: as above, with a rotation under way most of the time."""
        outputd = self.outputd("--keep-files=10000")
        for _ in range(ROUNDS):
            self._kill_under_load(outputd, rotate=True)
            self._check_files()
        self.assertEqual({200}, set(self.rotated))
        self.assertStopped(outputd.start().stop())
        self._check_files()

    def test_all_sent_again_with_their_keys(self) -> None:
        """Rule 6: whoever repeats all posts after a crash, answered or not, has each result stored exactly once."""
        outputd = self.outputd()
        for _ in range(2):
            self._kill_under_load(outputd, keyed=True)
        outputd.start()
        for post in self.answered:
            answer = call(outputd.port, "POST", "/results", post.body, post.headers).json
            self.assertEqual({"status": "ok", "received": len(post.targets), "duplicate": True}, answer)
        for post in self.unanswered:
            answer = call(outputd.port, "POST", "/results", post.body, post.headers).json
            self.assertEqual(("ok", len(post.targets)), (answer["status"], answer["received"]))
        self.answered += self.unanswered
        self.unanswered = []
        self.assertStopped(outputd.stop())
        self._check_files()

    def _kill_under_load(self, outputd: Outputd, keyed: bool = False, rotate: bool = False) -> None:
        outputd.start()
        load = self.load(outputd, self.source, CONNECTIONS, keyed)
        rotating = Thread(target=self._rotate_on, args=(outputd,), daemon=True)
        if rotate:
            rotating.start()
        load.go_on(self.chance.randint(50, 150))
        if rotate:
            before = len(self.rotated)
            wait_until(lambda: len(self.rotated) > before, "one more rotation")
        outputd.kill()
        load.cut_off()
        if rotate:
            rotating.join()
        self.assertEqual([], load.refused)
        self.assertEqual(CONNECTIONS, len(load.unanswered))
        self.answered += load.answered
        self.unanswered += load.unanswered

    def _rotate_on(self, outputd: Outputd) -> None:
        """One rotation after the other, until it is killed."""
        with suppressed(OSError, HTTPException):
            while True:
                self.rotated.append(outputd.rotate().status)

    def _check_files(self) -> None:
        self.assertEqual([], all_faults(self.directory))
        stored = stored_targets(self.directory)
        answered, unanswered = targets(self.answered), targets(self.unanswered)
        self.assertEqual(answered, stored & answered)  # none missing
        self.assertEqual({}, stored - answered - unanswered)  # none twice, none made up
