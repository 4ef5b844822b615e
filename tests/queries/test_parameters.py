"""What `outputd.queries.parameters` promises: a dataclass is a question's parameters, and how each is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries import QUESTIONS
from outputd.queries.parameters import BadQuestion, address, flag, limit, parameters_of, read, text, time, whole, word
from outputd.queries.question import Question


@dataclass(frozen=True, slots=True)
class Everything:
    ip: Annotated[str, address("an address", missing="say which")]
    limit: Annotated[int, limit(1000)] = 100
    before: Annotated[int | None, whole("a number", most=2**62)] = None
    node: Annotated[str | None, text("a text")] = None
    failed: Annotated[bool | None, flag("a flag")] = None
    since: Annotated[str | None, time("a time")] = None
    include: Annotated[str | None, word("a word", "hops", "raw")] = None


def nothing(*_: Any) -> None:
    raise AssertionError("nobody asks")


EVERYTHING = Question("Everything", "/everything", Everything, nothing, schemas={}, whole="", row="", summary="All")


def asked(**texts: str) -> Everything:
    return read(EVERYTHING, {"ip": "8.8.8.8", **texts})


class Reading(SynchronousTestCase):
    def test_what_is_not_sent_has_its_default(self) -> None:
        self.assertEqual(Everything("8.8.8.8", 100, None, None, None, None, None), asked())

    def test_what_is_sent_is_read_by_its_kind(self) -> None:
        self.assertEqual(
            Everything("2001:db8::a", 7, 5, "", False, "2026-01-07 22:30:00.5", "raw"),
            asked(ip="2001:0DB8::A", limit="007", before="5", node="", failed="false",
                  since="2026-01-07T23:30:00.50 01:00", include="raw"),
        )  # fmt: skip

    def test_a_number_over_the_most_is_the_most(self) -> None:
        self.assertEqual((1000, 2**62), (asked(limit="1001").limit, asked(before="9" * 1000).before))

    def test_what_no_parameter_is_called_is_ignored(self) -> None:
        self.assertEqual(asked(), asked(self="x", limits="x"))

    def test_what_cannot_be_understood_is_told_with_what_to_write(self) -> None:
        for name, wrong, said in (
            ("ip", "x", "ip must be an IPv4 or IPv6 address"),
            ("limit", "0", "limit must be a whole number of at least 1"),
            ("before", "-1", "before must be a whole number of at least 1"),
            ("failed", "1", "failed must be true or false"),
            ("since", "now", "since must be an RFC 3339 time with a zone, such as 2026-01-07T22:30:00Z"),
            ("include", "", "include must be hops or raw"),
        ):
            self.assertEqual(said, str(self.assertRaises(BadQuestion, asked, **{name: wrong})))
        self.assertEqual("say which", str(self.assertRaises(BadQuestion, read, EVERYTHING, {})))


class Declarations(SynchronousTestCase):
    """What follows from a declaration has all that it needs."""

    def test_every_part_of_a_path_is_a_parameter_that_is_needed(self) -> None:
        for question in QUESTIONS:
            parts = {part[1:-1] for part in question.path.split("/") if part.startswith("<")}
            needed = {parameter.name for parameter in parameters_of(question) if parameter.is_needed}
            self.assertLessEqual(parts, needed, question.path)

    def test_every_parameter_says_what_it_means_and_a_needed_one_what_is_missing(self) -> None:
        for question in QUESTIONS:
            for parameter in parameters_of(question):
                self.assertTrue(parameter.kind.meaning, (question.path, parameter.name))
                if parameter.is_needed and f"<{parameter.name}>" not in question.path:
                    self.assertTrue(parameter.kind.missing, (question.path, parameter.name))

    def test_every_question_describes_what_it_answers(self) -> None:
        for question in QUESTIONS:
            described = {name for each in QUESTIONS for name in each.schemas}
            self.assertLessEqual({question.whole, question.row}, described)
