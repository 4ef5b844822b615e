"""Foreign numbers as ours: times in whole nanoseconds, from the digits of their text and never through a float."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, DecimalException
from fractions import Fraction

SECONDS = 9
"""The power of ten that makes nanoseconds of a number in seconds."""
MILLISECONDS = 6
"""The power of ten that makes nanoseconds of a number in milliseconds."""
MICROSECONDS = 3
"""The power of ten that makes nanoseconds of a number in microseconds."""

_MOST_NS = 2**63 - 1
_EXACT = Context(prec=120)  # the longest number that any tool writes has 20 digits
_NS_A_SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(number: Decimal | str | int, unit: int = MILLISECONDS) -> int:
    """The whole nanoseconds nearest to a number of a unit, half to even; ValueError unless it is in 0..2^63-1."""
    try:
        exact = number if isinstance(number, Decimal) else Decimal(number)
    except DecimalException as error:
        raise ValueError("not a number") from error
    if not exact.is_finite() or (exact.is_signed() and exact):
        raise ValueError("not a time of 0 or more")
    if exact.adjusted() + unit > len(str(_MOST_NS)):  # before 1e999999999 becomes an integer of so many digits
        raise ValueError("too long a time")
    if exact.adjusted() + unit < -1:
        return 0
    whole = int(exact.scaleb(unit, _EXACT).to_integral_value(context=_EXACT))
    if whole > _MOST_NS:
        raise ValueError("too long a time")
    return whole


def mean(times_ns: Iterable[int]) -> int | None:
    """The mean of whole nanoseconds, to the nearest, half to even; None of none."""
    total = count = 0
    for time_ns in times_ns:
        total, count = total + time_ns, count + 1
    return round(Fraction(total, count)) if count else None


def instant(since_1970_ns: int) -> str:
    """The RFC 3339 time of so many nanoseconds since 1970; ValueError after the year 9999."""
    seconds, fraction = divmod(since_1970_ns, _NS_A_SECOND)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("a time after the year 9999") from error
    text = f"{moment:%Y}".zfill(4) + f"{moment:-%m-%dT%H:%M:%S}"
    return f"{text}.{fraction:09}Z" if fraction else f"{text}Z"
