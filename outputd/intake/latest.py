"""The latest time that results bear: true whenever it is asked for, whatever the clock was before."""

from __future__ import annotations

from outputd.results.timestamps import horizon

_MOST_HOURS = 2048
_HOUR = len("2026-01-07 22")


class Latest:
    """The latest timestamps of results, one of each hour: the latest hour, and those that were heard of last.

    Which of them is believed is judged when somebody asks: a clock that is set right makes all of them true again.
    """

    def __init__(self) -> None:
        self._believed: dict[str, str] = {}
        self._ahead: dict[str, str] = {}

    def note(self, believed: str, ahead: str) -> None:
        """Take in the latest timestamp of a batch up to its horizon, and the latest beyond it; each may be empty."""
        _note(self._believed, believed)
        _note(self._ahead, ahead)

    def at(self, now_s: float) -> str:
        """The latest of all that is no more than a day ahead of now; empty before any."""
        until = horizon(now_s)
        times = (*self._believed.values(), *self._ahead.values())
        return max((time for time in times if time <= until), default="")


def _note(by_hour: dict[str, str], time: str) -> None:
    if time:
        hour = time[:_HOUR]
        by_hour[hour] = max(time, by_hour.pop(hour, ""))
        if len(by_hour) > _MOST_HOURS:
            latest = max(by_hour)
            del by_hour[next(hour for hour in by_hour if hour != latest)]
