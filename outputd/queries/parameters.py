"""What a query string means: the kinds of parameters that there are, and how those of a question are read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Annotated, Any, Protocol, TypeVar, get_type_hints

from outputd.results import timestamps
from outputd.results.addresses import canonical, network_in
from outputd.web.shapes import ADDRESS, SENT_AT, Schema

A_co = TypeVar("A_co", covariant=True)
DEFAULT_ROWS = 1000
MOST_PART = 255
"""Characters of a text that is looked for in others."""
MOST_ROWS = 100_000
"""Rows of an answer that is no list of results."""
_DIGITS = len(str(2**63))
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_PLACE = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")
_SPACE_FOR_PLUS = re.compile(r" (\d\d:\d\d)$")


class BadQuestion(Exception):
    """A question cannot be understood; the text says what to write."""


class Asks(Hashable, Protocol[A_co]):
    """What is asked by a query string; `asked` is a dataclass whose fields are its parameters."""

    @property
    def asked(self) -> type[A_co]:
        """What the texts are read as."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of parameter, with which a field of a question's dataclass is annotated."""

    meaning: str
    schema: Schema
    """What may be sent."""
    read: Callable[[str, str], Any]
    """The value of a parameter of this name and text. Raises BadQuestion."""
    missing: str = ""
    """What to write, when it is needed and was not sent."""


def whole(meaning: str, most: int = 2**63 - 1) -> Kind:
    """A whole number of at least 1; one above `most` is `most`."""

    def read(name: str, text: str) -> int:
        digits = text.lstrip("0")
        if not digits.isascii() or not digits.isdecimal():
            raise BadQuestion(f"{name} must be a whole number of at least 1")
        return min(most, int(digits[:20]))

    return Kind(meaning, {"type": "integer", "minimum": 1}, read)


def limit(most: int) -> Kind:
    """The most rows to return."""
    return whole(f"The most to return; over {most} is {most}.", most)


def result_id(meaning: str) -> Kind:
    """The id of a result; 0, which none has, for what is no number in SQLite."""

    def read(_: str, text: str) -> int:
        if not text.isascii() or not text.isdecimal():
            raise BadQuestion("the id of a result is a whole number")
        return int(text) if len(text) < _DIGITS else 0

    return Kind(meaning, {"type": "integer", "minimum": 1}, read)


def place(meaning: str) -> Kind:
    """The number of a batch and the place of an item in it."""

    def read(name: str, text: str) -> tuple[int, int]:
        if not _PLACE.fullmatch(text):
            raise BadQuestion(f"{name} must be the number of a batch and the place of an item, such as 7-0")
        batch, _, index = text.partition("-")
        return int(batch), int(index)

    return Kind(meaning, {"type": "string", "pattern": f"^{_PLACE.pattern}$"}, read)


def address(meaning: str, wrong: str = "ip must be an IPv4 or IPv6 address", missing: str = "") -> Kind:
    """An address in any spelling; its value is the canonical text."""

    def read(_: str, text: str) -> str:
        ip = canonical(text)
        if ip is None:
            raise BadQuestion(wrong)
        return ip

    return Kind(meaning, ADDRESS, read, missing)


def text(meaning: str) -> Kind:
    """Any text."""
    return Kind(meaning, {"type": "string"}, lambda _, text: text)


def part(meaning: str) -> Kind:
    """A part of other texts, in any case; its value is in lower case."""

    def read(name: str, text: str) -> str:
        if len(text) > MOST_PART:
            raise BadQuestion(f"{name} must have at most {MOST_PART} characters")
        return text.lower()

    return Kind(meaning, {"type": "string", "maxLength": MOST_PART}, read)


def flag(meaning: str) -> Kind:
    """true or false."""

    def read(name: str, text: str) -> bool:
        if text not in ("true", "false"):
            raise BadQuestion(f"{name} must be true or false")
        return text == "true"

    return Kind(meaning, {"type": "boolean"}, read)


def prefix(meaning: str) -> Kind:
    """A network, as 192.0.2.0/24 or 2001:db8::/32; an address alone is one of its own."""

    def read(name: str, text: str) -> str:
        network = network_in(text)
        if network is None:
            raise BadQuestion(f"{name} must be a network, such as 192.0.2.0/24 or 2001:db8::/32")
        return str(network)

    return Kind(meaning, {"type": "string", "format": "cidr", "examples": ["192.0.2.0/24"]}, read)


def percent(meaning: str) -> Kind:
    """A number from 0 to 100."""

    def read(name: str, text: str) -> float:
        number = float(text) if _NUMBER.fullmatch(text) else -1.0
        if not 0 <= number <= 100:
            raise BadQuestion(f"{name} must be a number from 0 to 100")
        return number

    return Kind(meaning, {"type": "number", "minimum": 0, "maximum": 100}, read)


def word(meaning: str, *words: str) -> Kind:
    """One of these words."""

    def read(name: str, text: str) -> str:
        if text not in words:
            raise BadQuestion(f"{name} must be {' or '.join(words)}")
        return text

    return Kind(meaning, {"enum": list(words)}, read)


def words(meaning: str, *words: str) -> Kind:
    """Some of these words, with commas between them; its value is the text."""

    def read(name: str, text: str) -> str:
        said = text.split(",")
        if len(set(said)) < len(said) or not set(said) <= set(words):
            raise BadQuestion(f"{name} must be {' or '.join(words)}, or several with commas between them")
        return text

    every = [",".join(each) for count in range(1, len(words) + 1) for each in permutations(words, count)]
    return Kind(meaning, {"enum": every}, read)


def time(meaning: str) -> Kind:
    """A time with a zone; its value has the stored form."""

    def read(name: str, text: str) -> str:
        stored = timestamps.stored(_SPACE_FOR_PLUS.sub(r"+\1", text))  # a plus that came unquoted is a space by now
        if stored is None:
            raise BadQuestion(f"{name} must be an RFC 3339 time with a zone, such as 2026-01-07T22:30:00Z")
        return stored

    return Kind(meaning, {"type": "string", "format": "date-time", "pattern": SENT_AT}, read)


Limit = Annotated[int, limit(MOST_ROWS)]
Target = Annotated[str, address("The target, in any spelling.", missing="ip must say which target")]
AnyTarget = Annotated[str | None, address("Only results of this target, in any spelling.")]
Failed = Annotated[bool | None, flag("true: only those without any reply; false: only those with one.")]
Node = Annotated[str | None, text("Only what this node measured.")]
Since = Annotated[str | None, time("Only what was measured at this time or later; an RFC 3339 time with a zone.")]
Prefix = Annotated[str | None, prefix("Only addresses of this network, as 192.0.2.0/24 or 2001:db8::/32.")]
LastSeenBefore = Annotated[str | None, time("Only what was seen last before this time.")]
Until = Annotated[str | None, time("Only what was measured before this time.")]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a question's dataclass."""

    name: str
    kind: Kind
    default: Any
    is_needed: bool


@cache
def parameters_of(question: Asks[Any]) -> tuple[Parameter, ...]:
    """The parameters of a question, in their order."""
    hints = get_type_hints(question.asked, include_extras=True)
    return tuple(
        Parameter(field.name, hints[field.name].__metadata__[0], field.default, field.default is dataclasses.MISSING)
        for field in dataclasses.fields(question.asked)
    )


def read(question: Asks[A_co], texts: Mapping[str, str]) -> A_co:
    """What is asked, by the texts that were sent. Raises BadQuestion. A text of another name is ignored."""
    values = {}
    for parameter in parameters_of(question):
        if parameter.name in texts:
            values[parameter.name] = parameter.kind.read(parameter.name, texts[parameter.name])
        elif parameter.is_needed:
            raise BadQuestion(parameter.kind.missing)
    return question.asked(**values)
