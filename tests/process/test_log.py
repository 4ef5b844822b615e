"""What `outputd.log` promises: the lines as twistd writes them, one for each that is logged."""

from __future__ import annotations

import io
import re
import unicodedata
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st
from twisted.logger import Logger as TwistedLogger
from twisted.logger import textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.process.log import Logger, in_one_line
from tests.kit.properties import given, settings

FORGED = "2026-01-07T22:30:45+0000 [outputd.rotation#info] pruned results_2026-01-01_00-00-00.db"
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[[a-z.]+#[a-z]+\] ")
BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
TRICKS = ["\0", "\x1b[2K\x1b[1A", "\b" * 80, "\x9b2K", "\u202e", "\u200b", "\ud800", "\x7f"]


class Lines(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = io.StringIO()
        self.log = Logger("outputd.tests", observer=textFileLogObserver(self.file))

    def lines(self) -> list[str]:
        """All that a reader takes for a line, whichever of the many line breaks it knows."""
        lines = self.file.getvalue().splitlines()
        self.assertTrue(lines)
        return lines

    def test_no_value_begins_a_line_or_moves_a_cursor(self) -> None:
        for trick in BREAKS + TRICKS:
            for value in (f"x{trick}{FORGED}", ValueError(f"x{trick}{FORGED}"), Path(f"x{trick}{FORGED}"), [trick]):
                self.file.truncate(self.file.seek(0))
                self.log.warn("{value} and {value!s} and {value!r}", value=value)
                (line,) = self.lines()
                self.assertRegex(line, LINE)
                self.assertTrue(line.isprintable(), line)

    def test_nor_does_the_message_of_an_exception_that_is_logged_with_its_traceback(self) -> None:
        for trick in BREAKS + TRICKS:
            self.file.truncate(self.file.seek(0))
            try:
                raise LookupError(f"x{trick}{FORGED}")
            except LookupError:
                self.log.failure("{what} failed", what=f"x{trick}{FORGED}")
            first, *rest = self.lines()
            self.assertRegex(first, LINE)
            self.assertTrue(all(line.startswith("\t") and line[1:].isprintable() for line in rest), rest)
            self.assertEqual(1, sum(FORGED in line for line in rest))
            self.assertTrue(rest[-2].startswith("\tbuiltins.LookupError: x"), rest)

    def test_the_same_by_twisted_s_own_logger_is_forged(self) -> None:
        """Or the tests above could not fail."""
        TwistedLogger("outputd.tests", observer=self.log.observer).warn("{value}", value=f"x\r{FORGED}")
        self.assertIn(FORGED, self.lines())

    def test_what_is_logged_keeps_its_kind_and_its_place(self) -> None:
        seen: list[Any] = []
        log = Logger("outputd.tests", observer=cast(Any, seen.append))
        log.info("{text} {seconds:.1f} {count:,} {nothing}", text="grüße 東京", seconds=1.25, count=1000, nothing=None)
        self.assertEqual("grüße 東京", seen[0]["text"])
        self.assertEqual((1.25, 1000, None), (seen[0]["seconds"], seen[0]["count"], seen[0]["nothing"]))
        self.assertEqual(__name__, Logger().namespace)

    def test_a_failure_is_still_the_failure(self) -> None:
        seen: list[Any] = []
        failure = Failure(KeyError("k"))
        Logger("outputd.tests", observer=cast(Any, seen.append)).failure("bad", failure)
        told = seen[0]["log_failure"]
        assert isinstance(told, Failure)
        self.assertIs(failure.value, told.value)
        self.assertIs(KeyError, told.check(LookupError, KeyError) and told.type)
        self.assertEqual(failure.getTraceback(), told.getTraceback())

    def test_a_long_value_is_cut(self) -> None:
        self.assertEqual(len(in_one_line("x" * 10_000_000)), 2003)

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(st.text(st.characters()))
    def test_any_text_becomes_printable_and_loses_nothing_else(self, text: str) -> None:
        told = in_one_line(text)
        self.assertTrue(told.isprintable())
        if all(unicodedata.category(each)[0] in "LNPS" for each in text):
            self.assertEqual(text, told)
