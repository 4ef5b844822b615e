"""Points in time, as nodes write them (RFC 3339) and as the files keep them. Pure.

The stored form is `2026-01-07 22:30:00.123456789`: UTC, a space, no zone, the fraction without trailing zeros. Equal
instants have one spelling, text order is time order, and SQLite's date functions read it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DAY_S = 86_400
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,9}))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
).fullmatch


def stored(text: str) -> str | None:
    """The stored form of an RFC 3339 time; None for anything else, leap seconds and years outside 1-9999 included."""
    match = _RFC3339(text)
    if match is None:
        return None
    day, clock, fraction, sign, hours, minutes = match.groups()
    if not _is_day(day):
        return None
    if sign is not None:
        moved = _in_utc(day, clock, int(hours) * 60 + int(minutes), sign)
        if moved is None:
            return None
        day, clock = moved
    fraction = fraction.rstrip("0") if fraction else ""
    return f"{day} {clock}.{fraction}" if fraction else f"{day} {clock}"


@lru_cache(maxsize=1024)
def _is_day(day: str) -> bool:
    try:
        datetime.strptime(day, "%Y-%m-%d")  # asks only whether the calendar has this day
    except ValueError:
        return False
    return True


def _in_utc(day: str, clock: str, offset_minutes: int, sign: str) -> tuple[str, str] | None:
    written = datetime.fromisoformat(f"{day}T{clock}")
    offset = timedelta(minutes=offset_minutes)
    try:
        moved = written - offset if sign == "+" else written + offset
    except OverflowError:
        return None
    text = moved.isoformat()
    return text[:10], text[11:19]


def at(seconds: float) -> str:
    """The stored form, in microseconds, of a time in seconds since 1970, from the year 1 to 9999."""
    micros = round(seconds * 1e6)
    whole, fraction = divmod(micros, 1_000_000)
    return f"{_second(whole)}.{fraction:06}".rstrip("0") if fraction else _second(whole)


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    moment = datetime.fromtimestamp(whole, UTC)
    return f"{moment:%Y}".zfill(4) + f"{moment:-%m-%d %H:%M:%S}"


def seconds(text: str) -> float:
    """Seconds since 1970 of a stored time."""
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC).timestamp()


def horizon(now_s: float) -> str:
    """The latest time that a result may bear to be believed now: a day ahead, in whole seconds."""
    return _second(int(now_s // 1) + _DAY_S)


def earlier(text: str, by_s: int) -> str:
    """The stored time so many seconds before, to the nanosecond; the begin of the year 1 where there is none."""
    try:
        return f"{datetime.fromisoformat(text[:19]) - timedelta(seconds=by_s)}{text[19:]}"
    except OverflowError:
        return "0001-01-01 00:00:00"


def printed(text: str) -> str:
    """A stored time as the API prints it: `2026-01-07T22:30:00.123456789Z`."""
    return f"{text[:10]}T{text[11:]}Z"
