"""The clock of the reactor: one that nobody sets."""

from __future__ import annotations

import time
from typing import Any


def by_monotonic_time(reactor: Any) -> None:
    """Let all timers of a reactor go by time since boot, before the first of them is made.

    Twisted takes the time of day: set back by an hour, it leaves every timer asleep for an hour, and set forward it
    ends every connection as silent.
    """
    reactor.seconds = time.monotonic
