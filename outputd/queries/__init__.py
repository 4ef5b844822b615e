"""Questions to all result files of an instance, answered beside the writer and never in its way.

Each is answered in a thread of a pool of its own, from files that are opened for it read-only and closed at once, and
has a time limit that ends its SQL. What takes long goes on inside SQLite, without the GIL. A long answer is made page
by page as it is read: a slow reader holds neither a thread nor a result file.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from outputd.naming.naming import Naming
from outputd.process.log import Logger
from outputd.process.threads import InThread, Share
from outputd.process.trouble import Failure
from outputd.queries.arrivals import ARRIVALS
from outputd.queries.cells import CELLS
from outputd.queries.changes import CHANGES
from outputd.queries.failures import FAILURES
from outputd.queries.hops import HOP
from outputd.queries.labels import label
from outputd.queries.links import LINKS
from outputd.queries.nodes import NODES
from outputd.queries.paths import PATHS
from outputd.queries.question import Question
from outputd.queries.reading import Reading, Readings, Whole
from outputd.queries.recent import RECENT
from outputd.queries.rejected import REJECTED
from outputd.queries.result import RESULT
from outputd.queries.sent import Sent
from outputd.queries.series import SERIES
from outputd.queries.session import NotReady, Session, TooLong
from outputd.queries.tables import Format, Notes, Rows, Table
from outputd.queries.targets import TARGETS
from outputd.queries.trace import TRACE
from outputd.store.file import FileInfo
from outputd.summary.keeping_up import UpToDate
from outputd.web.compression import HELD_BYTES, Gzip, gzipped

_log = Logger()
A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
QUESTIONS: tuple[Question[Any], ...] = (
    RECENT, RESULT, FAILURES, REJECTED, TARGETS, NODES, ARRIVALS, LINKS, HOP, PATHS, TRACE, SERIES, CELLS, CHANGES,
)  # fmt: skip
"""All that can be asked, in the order of the OpenAPI document."""

LIMIT_S = 10.0
"""What one question may take."""
_PATIENCE_S = 0.3
_MOST_AT_ONCE = 64
_AGAIN_S = 0.1
_MOST_PAGES = 2
"""Pages of long answers that are made at a time: half of the threads, so that a short question finds one."""


class Queries:
    """Answers questions. Who cancels one ends its SQL."""

    def __init__(
        self, files: Callable[[], Sequence[FileInfo]], summary: Path, up_to_date: UpToDate, in_thread: InThread,
        readings: Readings, reactor: IReactorTime, now: Callable[[], float], limit_s: float = LIMIT_S,
        naming: Naming | None = None,
    ) -> None:  # fmt: skip
        self.sent = Sent()
        """What the pages of lists have sent."""
        self._files = files
        self._summary = summary
        self._up_to_date = up_to_date
        self._in_thread = in_thread
        self._share = Share(in_thread, _MOST_PAGES)
        self._readings = readings
        self._reactor = reactor
        self._now = now
        self._limit_s = limit_s
        self._naming = naming
        self._long_page = threading.Lock()
        self._asking: dict[Session, IDelayedCall] = {}
        self._stopped: NotReady | None = None
        self._idle: Deferred[None] | None = None
        self._unreadable: dict[str, Failure] = {}

    @property
    def unreadable(self) -> dict[str, Failure]:
        """Damaged result files that a question has met, by name."""
        there = {info.path.name for info in self._files()}
        self._unreadable = {name: failure for name, failure in self._unreadable.items() if name in there}
        return self._unreadable

    @property
    def under_way(self) -> int:
        """Questions that are being answered, or wait for it."""
        return len(self._asking)

    async def ask(
        self, question: Question[A], asked: A, form: Format, gzip_from_bytes: float = math.inf
    ) -> Whole | Reading | None:
        """The answer to a question in a form; None when there is nothing with this name. A Reading wants its `end`.

        From so many bytes on it is compressed. Raises BadQuestion, Gone, NotReady, TooLong and sqlite3.Error.
        """
        if question.is_from_summary:
            await self._up_to_date(_PATIENCE_S)
        if self._stopped is None and len(self._asking) >= _MOST_AT_ONCE:
            raise NotReady("too many questions wait")
        session = Session(list(self._files()), self._summary, self._long_page, self._naming, self.sent)
        work = self._work(self._in_thread, session, _find, session, question, asked, form, gzip_from_bytes, self._now())
        answer: Deferred[_Found | None] = Deferred()
        work.chainDeferred(answer)
        try:
            found = await answer
        except CancelledError:
            session.end(CancelledError())
            work.addBoth(lambda _: Deferred.fromCoroutine(self._in_thread(session.close)))
            raise
        if found is None or found.rest is None:
            return None if found is None else Whole(found.first, found.notes)
        rest = found.rest
        reading = Reading(
            session, found.first, lambda: self._work(self._share, session, next, rest, None), self._readings,
            found.notes, found.held_bytes,
        )  # fmt: skip
        await self._readings.begin(reading)
        return reading

    async def stop(self) -> None:
        """End all questions; when it returns, no file is open for one."""
        self._stopped = NotReady("outputd is shutting down")
        for session in self._asking:
            session.end(self._stopped)
        if self._asking:
            self._idle = Deferred()
            await self._idle

    def _work(
        self, in_thread: InThread, session: Session, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Work with a session in a thread, within its time. Raises NotReady."""
        if self._stopped is not None:
            raise self._stopped
        self._asking[session] = self._reactor.callLater(self._limit_s, self._end, session)
        return Deferred.fromCoroutine(in_thread(_paged, session, partial(work, *args, **kwargs))).addBoth(
            self._left, session
        )

    def _left(self, found: T, session: Session) -> T:
        """The thread has left a question, whether it is still asked or not."""
        self._remember(session)
        late = self._asking.pop(session)
        if late.active():
            late.cancel()
        if self._idle is not None and not self._asking and not self._idle.called:
            self._idle.callback(None)
        return found

    def _remember(self, session: Session) -> None:
        for name, reason in session.unreadable.items():
            if name not in self._unreadable:
                _log.error("{file} cannot be read: {reason}", file=name, reason=reason)
                self._unreadable[name] = Failure(reason, self._now())

    def _end(self, session: Session) -> None:
        """End a question that takes too long; again, should the first call have come between two statements."""
        if session in self._asking:
            session.end(TooLong(f"it takes more than {self._limit_s:g} s: ask for less"))
            self._asking[session] = self._reactor.callLater(_AGAIN_S, self._end, session)


def _paged(session: Session, work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        session.end_page()


_ENOUGH_BYTES = 256 * 1024
"""An answer that is no longer is sent as a whole."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a thread has found: the beginning of an answer, and where the rest comes from, None when that is all."""

    first: bytes
    rest: Iterator[bytes] | None
    held_bytes: int
    """What it holds beside the bytes: scratch tables, most of it on the disk, and what compresses it."""
    notes: Notes


def _find(
    session: Session, question: Question[A], asked: A, form: Format, gzip_from_bytes: float, now_s: float
) -> _Found | None:
    """The beginning of an answer; the session is closed unless there is more of it."""
    begun: _Found | None = None
    try:
        found = question.find(session, asked, now_s)
        if session.naming is not None and isinstance(found, Table):
            label(found, question, session.naming)
        begun = None if found is None else _begin(found, form, gzip_from_bytes)
        return begun
    finally:
        if begun is None or begun.rest is None:
            session.close()


def _begin(found: Rows | Table, form: Format, gzip_from_bytes: float) -> _Found:
    first, pages = b"", found.pages(form)
    for page in pages:
        first += page
        if len(first) > _ENOUGH_BYTES:
            found.session.has_begun = True
            begun = _Found(first, pages, max(found.session.scratch_bytes, found.held_bytes), found.notes)
            break
    else:
        begun = _Found(first, None, 0, found.notes)
    return begun if len(first) < gzip_from_bytes else _compressed(begun)


def _compressed(found: _Found) -> _Found:
    """The same, here in the thread that has made it, and the rest in the one that makes that."""
    notes = replace(found.notes, is_gzipped=True)
    if found.rest is None:
        return _Found(gzipped(found.first), None, 0, notes)
    stream = Gzip()
    return _Found(stream.part(found.first), stream.rest(found.rest), found.held_bytes + HELD_BYTES, notes)
