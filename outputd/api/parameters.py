"""What a query string means."""

from __future__ import annotations

import re
from collections.abc import Mapping

from outputd.queries import Choice
from outputd.results import timestamps
from outputd.results.addresses import canonical

MOST_ROWS = 100_000
"""Rows of an answer that is no list of results."""
DEFAULT_ROWS = 1000
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
DAY_S = 86_400
_SPACE_FOR_PLUS = re.compile(r" (\d\d:\d\d)$")
Parameters = Mapping[str, str]


class BadQuestion(Exception):
    """A question cannot be understood; the text says what to write."""


def choice_of(asked: Parameters) -> Choice:
    """Which rows are asked for. Raises BadQuestion."""
    return Choice(
        limit_of(asked, DEFAULT_ROWS, MOST_ROWS), asked.get("node"), address_of(asked), time_of(asked, "since"),
        min(2**62, whole(asked.get("min_count", "1"), "min_count")),
    )  # fmt: skip


def whole(text: str, name: str) -> int:
    """A whole number of at least 1. Raises BadQuestion."""
    digits = text.lstrip("0")
    if not digits.isascii() or not digits.isdecimal():
        raise BadQuestion(f"{name} must be a whole number of at least 1")
    return int(digits[:20])


def limit_of(asked: Parameters, usual: int, most: int) -> int:
    """How many rows are asked for, at most `most`. Raises BadQuestion."""
    return min(most, whole(asked["limit"], "limit")) if "limit" in asked else usual


def address_of(asked: Parameters) -> str | None:
    """The address that is asked for, in canonical text; None when none is. Raises BadQuestion."""
    if "ip" not in asked:
        return None
    ip = canonical(asked["ip"])
    if ip is None:
        raise BadQuestion("ip must be an IPv4 or IPv6 address")
    return ip


def needed_address(asked: Parameters) -> str:
    """The address that is asked for. Raises BadQuestion when none is."""
    ip = address_of(asked)
    if ip is None:
        raise BadQuestion("ip must say which target")
    return ip


def flag(asked: Parameters, name: str) -> bool | None:
    """true, false, or None when nothing is said. Raises BadQuestion."""
    if name not in asked:
        return None
    if asked[name] not in ("true", "false"):
        raise BadQuestion(f"{name} must be true or false")
    return asked[name] == "true"


def time_of(asked: Parameters, name: str) -> str | None:
    """A time in the stored form; a plus that came unquoted is a space by now."""
    if name not in asked:
        return None
    text = _SPACE_FOR_PLUS.sub(r"+\1", asked[name])
    stored = timestamps.stored(text)
    if stored is None:
        raise BadQuestion(f"{name} must be an RFC 3339 time with a zone, such as 2026-01-07T22:30:00Z")
    return stored


def nice(seconds: float) -> int:
    """The next length of a bucket that a person would choose."""
    for nice in _NICE_S:
        if seconds <= nice:
            return nice
    return int(-(-seconds // DAY_S) * DAY_S)
