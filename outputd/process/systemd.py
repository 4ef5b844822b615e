"""What systemd is told of the service (sd_notify): that it is ready, what it does, and that it is alive."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from outputd.process.loops import Every

_STATUS_EVERY_S = 5.0
READY = "READY=1"
STOPPING = "STOPPING=1"


class Notifier:
    """Sends to NOTIFY_SOCKET, and nowhere without one. A message that cannot be sent is lost: systemd asks for no more.

    The protocol is that of sd_notify(3): lines `NAME=value` in a datagram.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_s = _watchdog_s(environ)

    def tell(self, *lines: str) -> None:
        """Send these lines."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), self._address)

    def reloading(self) -> None:
        """Say that settings are read again; `ready` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


class Pulse:
    """Tells the status every few seconds, and the watchdog that we live, for as long as the writer does.

    The reactor that hangs sends nothing by itself; `is_stuck` tells whether the writer hangs.
    """

    def __init__(self, notifier: Notifier, clock: Any, status: Callable[[], str], is_stuck: Callable[[], bool]) -> None:
        self._notifier = notifier
        self._status = status
        self._is_stuck = is_stuck
        self._telling = Every(_STATUS_EVERY_S, self._tell, clock)
        self._living = Every(notifier.watchdog_s / 2, self._live, clock)

    def start(self) -> None:
        """Say that the service is ready, and go on."""
        self._notifier.tell(READY)
        self._telling.start()
        if self._notifier.watchdog_s:
            self._living.start()

    def stop(self) -> None:
        """Say that it stops. The watchdog is served on: a stop has a deadline of its own."""
        self._notifier.tell(STOPPING)
        self._telling.stop()

    def _tell(self) -> None:
        self._notifier.tell(f"STATUS={self._status()}")

    def _live(self) -> None:
        if not self._is_stuck():
            self._notifier.tell("WATCHDOG=1")


class Rate:
    """How much a count has grown in a second, since it was last asked."""

    def __init__(self, count: Callable[[], int], clock: Any) -> None:
        self._count = count
        self._clock = clock
        self._before: tuple[float, int] = clock.seconds(), count()

    def __call__(self) -> float:
        """Ask."""
        now, count = self._clock.seconds(), self._count()
        (before, counted), self._before = self._before, (now, count)
        return (count - counted) / (now - before) if now > before else 0.0


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """The time within which systemd wants to hear of us, 0 when it does not."""
    try:
        micros = int(environ.get("WATCHDOG_USEC", "0"))
        ours = int(environ.get("WATCHDOG_PID", str(os.getpid()))) == os.getpid()
    except ValueError:
        return 0.0
    return micros / 1e6 if ours and micros > 0 else 0.0
