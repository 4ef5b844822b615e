"""SQL for times in the stored form. Text order is time order, so times are compared as text, to the nanosecond.

SQLite's date functions round to milliseconds, and so into the next second: they are given whole seconds.
"""

from __future__ import annotations

_LEAST_S = -62_135_596_800
"""The begin of the year 1, in seconds since 1970."""


def within(time: str, since: str | None, until: str | None) -> list[str]:
    """SQL conditions for a time in a span, which holds its beginning and not its end; None is no bound.

    The bounds are parameters of these names, in the stored form.
    """
    return [*([f"{time} >= :since"] if since is not None else ()), *([f"{time} < :until"] if until is not None else ())]


def minute_bound(time: str) -> str:
    """What the minutes of the summary ('2026-01-07 22:30') are compared with in place of this bound of a span.

    A minute belongs to the span that holds its beginning.
    """
    return time.removesuffix(":00")


def second_of(time: str) -> str:
    """SQL for the whole seconds from 1970 to a time, rounded down."""
    return f"CAST(strftime('%s', substr({time}, 1, 19)) AS INTEGER)"


def seconds_between(earlier: str, later: str) -> str:
    """SQL for the seconds from a time to another, to the millisecond."""
    return f"round({second_of(later)} - {second_of(earlier)} + {_fraction(later)} - {_fraction(earlier)}, 3)"


def bucket_of(second: str, length: str) -> str:
    """SQL for the bucket of this length, in seconds, that holds a second, as the stored time of its beginning.

    Buckets are counted from 1970 both ways; the first one there can be begins with the year 1.
    """
    return f"datetime(max({second} - ({second} % {length} + {length}) % {length}, {_LEAST_S}), 'unixepoch')"


def a_day_after(time: str) -> str:
    """SQL for the time 24 hours later; beyond the year 9999 a text above all times."""
    return f"coalesce(datetime(substr({time}, 1, 19), '+1 day') || substr({time}, 20), '9999-12-31 24')"


def is_set(before: str, after: str) -> str:
    """SQL for whether the clock may have been set between two arrivals: back by a minute, or forward by an hour."""
    least, most = (f"datetime(substr({before}, 1, 19), '{by}')" for by in ("-1 minute", "+1 hour"))
    return f"coalesce({after} < {least} OR {after} > {most}, 0)"


def _fraction(time: str) -> str:
    return f"CAST('0' || substr({time}, 20) AS REAL)"
