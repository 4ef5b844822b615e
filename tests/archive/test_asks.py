"""What `outputd.archive.asks` promises."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive import asks
from outputd.archive.asks import Answer, Cut, Failed, Find, Found, Open, Request, Ship, Shipped, Span, Taken
from outputd.process.trouble import Kind

_PATH = Path(os.fsdecode(b"/data/\xff results.db"))
_SPAN = Span(_PATH, "2026-11-30", 7, 9)


class MessageTests(SynchronousTestCase):
    def test_each_message_arrives_as_it_was_sent_whatever_the_bytes_of_a_path(self) -> None:
        requests: tuple[Request, ...] = (
            Open("file:///archive", {"KEY": "secret"}), Cut((_PATH,), 6, True), Ship(_SPAN, "one", "2026-01-07"),
            Find("one", 6, (_PATH,)),
        )  # fmt: skip
        answers: tuple[Answer, ...] = (
            None, _SPAN, Shipped(1, 2, 3, False), Taken("a"), Found(9, True), Failed("full", Kind.FULL, _PATH, True),
        )  # fmt: skip
        self.assertEqual(requests, tuple(asks.decode_request(asks.encode(request)) for request in requests))
        self.assertEqual(answers, tuple(asks.decode_answer(asks.encode(answer)) for answer in answers))
