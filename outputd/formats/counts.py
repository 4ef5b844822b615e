"""Foreign counts and times as ours, or which field is at fault; and how much is read at all."""

from __future__ import annotations

from decimal import Decimal

from outputd.formats.numbers import MILLISECONDS, instant, nanoseconds
from outputd.formats.reader import Refused

MOST_ITEM_BYTES = 512 * 1024
"""The longest text that is decoded as one object: what it becomes takes many times as much."""
MOST_TTL = 255
"""The last TTL there is."""

_MOST = 2**63 - 1


def count(number: Decimal, field: str) -> int:
    """The whole number that a number or a text spells; Refused unless it is in 0..2^63-1."""
    if number.is_finite() and number.adjusted() < len(str(_MOST)):  # before 1e999999999 becomes an integer
        whole = int(number)
        if whole == number and 0 <= whole <= _MOST:
            return whole
    raise Refused("not a count", field)


def time_ns(number: Decimal, field: str, unit: int = MILLISECONDS) -> int:
    """A time in nanoseconds; Refused unless it is one."""
    try:
        return nanoseconds(number, unit)
    except ValueError as error:
        raise Refused(str(error), field) from error


def rtt_ns(number: Decimal | None, field: str, unit: int = MILLISECONDS) -> int | None:
    """The same, None of none."""
    return None if number is None else time_ns(number, field, unit)


def moment(since_1970_ns: int, field: str) -> str:
    """The RFC 3339 time of so many nanoseconds since 1970; Refused unless there is one."""
    try:
        return instant(since_1970_ns)
    except ValueError as error:
        raise Refused(str(error), field) from error
