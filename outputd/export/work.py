"""An export of files at rest while it is made, and what is shown of it. Blocking."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from outputd.export.asked import Asked
from outputd.export.page import NEVER_STORED, Page
from outputd.export.reading import Reading
from outputd.export.source import NotExported, Source
from outputd.process.log import in_one_line
from outputd.process.screen import Screen
from outputd.store.resting import reading

_BAR_EVERY_S = 0.2
_PLAIN_EVERY_S = 10.0


class Work:
    """The results of files at rest, in order of arrival, each once though several files are copies of one.

    Within its `with`, an error that a damaged file raises is NotExported.
    """

    def __init__(
        self, instances: Sequence[Sequence[Source]], asked: Asked, screen: Screen, seconds: Callable[[], float]
    ) -> None:
        """`instances` has the files of each in order of arrival, or one merged database of many."""
        self._instances = instances
        self._size_bytes = sum(source.size_bytes for sources in instances for source in sources)
        self._asked = asked
        self._screen = screen
        self._seconds = seconds
        self._every_s = _BAR_EVERY_S if screen.is_terminal else _PLAIN_EVERY_S
        self._shown = seconds()
        self._name = ""
        self._done_bytes = 0
        self.results = 0
        """Those that were read so far."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._screen.end()
        if isinstance(error, sqlite3.Error):
            raise NotExported(f"{self._name}: it cannot be read: {error}") from None
        if isinstance(error, NEVER_STORED):
            raise NotExported(f"{self._name}: it holds what outputd never stores: {in_one_line(str(error))}") from None

    def pages(self) -> Iterator[Page]:
        """All that is asked for. Raises NotExported, sqlite3.Error."""
        for sources in self._instances:
            above_id = 0
            for source in sources:
                self._name = in_one_line(str(source.path))
                with reading(source.path) as db:
                    results = Reading(db, source.info, self._asked, above_id)
                    while (page := results.page()) is not None:
                        self.results += len(page)
                        self._show(source.size_bytes * results.share)
                        yield page
                source.check()  # a service may have been started on it
                above_id = max(above_id, results.last_id)
                self._done_bytes += source.size_bytes

    def _show(self, bytes_of_file: float) -> None:
        now = self._seconds()
        if now - self._shown < self._every_s:
            return
        self._shown = now
        share = (self._done_bytes + bytes_of_file) / self._size_bytes
        self._screen.show(self._name, share, f"{self.results:,} results")
