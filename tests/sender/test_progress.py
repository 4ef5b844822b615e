from __future__ import annotations

import io

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.sender.journal import Totals
from outputd.sender.progress import Screen
from outputd.sender.sender import duration


class ScreenTests(SynchronousTestCase):
    def test_plain_lines_without_a_terminal(self) -> None:
        out = io.StringIO()
        clock = Clock()
        screen = Screen(out, clock.seconds)
        screen.begin("x.jsonl", 1000)
        clock.advance(2)
        screen.progress(Totals(bodies=9, stored=3000, refused=1), 50, 200, "the line is slow")
        screen.end()
        said = out.getvalue()
        self.assertEqual(
            [
                "x.jsonl:",
                "25%",
                "3,000",
                "results",
                "1,000/s",
                "1",
                "bodies",
                "refused,",
                "0",
                "items",
                "rejected",
                "the",
                "line",
                "is",
                "slow",
            ],
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
