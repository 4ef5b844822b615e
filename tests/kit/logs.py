"""What is logged meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider


@contextlib.contextmanager
def said() -> Iterator[list[str]]:
    """The texts that are logged meanwhile."""
    texts: list[str] = []

    @provider(ILogObserver)
    def observer(event: LogEvent) -> None:
        if event.get("log_format") or event.get("log_text"):
            texts.append(formatEvent(event))

    globalLogPublisher.addObserver(observer)
    try:
        yield texts
    finally:
        globalLogPublisher.removeObserver(observer)
