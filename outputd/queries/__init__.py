"""Questions to all result files of an instance, answered beside the writer and never in its way.

Each is answered in a thread of a pool of its own, from files that are opened for it read-only and closed at once, and
has a time limit that ends its SQL. What takes long goes on inside SQLite, without the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure
from outputd.queries.arrivals import ARRIVALS
from outputd.queries.hops import HOP
from outputd.queries.links import LINKS
from outputd.queries.nodes import NODES
from outputd.queries.paths import PATHS
from outputd.queries.question import Found, Question
from outputd.queries.recent import RECENT
from outputd.queries.result import RESULT
from outputd.queries.series import SERIES
from outputd.queries.session import NotReady, Session, TooLong
from outputd.queries.tables import Rows, Table
from outputd.queries.targets import TARGETS
from outputd.store.file import FileInfo
from outputd.summary.keeping_up import UpToDate

_log = Logger()
A = TypeVar("A")
T = TypeVar("T")
QUESTIONS: tuple[Question[Any], ...] = (RECENT, RESULT, TARGETS, NODES, ARRIVALS, LINKS, HOP, PATHS, SERIES)
"""All that can be asked, in the order of the OpenAPI document."""

LIMIT_S = 10.0
"""What one question may take."""
_PATIENCE_S = 0.3
_MOST_AT_ONCE = 64
_AGAIN_S = 0.1


class Queries:
    """Answers questions. An answer that is a Table holds a session, which its taker gives back by `done`.

    Who cancels a question ends its SQL.
    """

    def __init__(
        self, files: Callable[[], Sequence[FileInfo]], summary: Path, up_to_date: UpToDate, in_thread: InThread,
        reactor: IReactorTime, now: Callable[[], float], limit_s: float = LIMIT_S,
    ) -> None:  # fmt: skip
        self._files = files
        self._summary = summary
        self._up_to_date = up_to_date
        self._in_thread = in_thread
        self._reactor = reactor
        self._now = now
        self._limit_s = limit_s
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

    async def ask(self, question: Question[A], asked: A) -> Found:
        """The answer to a question. Raises NotReady, TooLong and sqlite3.Error."""
        if question.is_from_summary:
            await self._up_to_date(_PATIENCE_S)
        if self._stopped is not None:
            raise self._stopped
        if len(self._asking) >= _MOST_AT_ONCE:
            raise NotReady("too many questions wait")
        session = Session(list(self._files()), self._summary)
        self._asking[session] = self._reactor.callLater(self._limit_s, self._end, session)
        work = Deferred.fromCoroutine(self._in_thread(_find, session, question, asked, self._now()))
        work.addBoth(self._left, session)
        answer: Deferred[Found] = Deferred()
        work.chainDeferred(answer)
        try:
            return await answer
        except CancelledError:
            session.end(CancelledError())
            work.addBoth(lambda _: Deferred.fromCoroutine(self._in_thread(session.close)))
            raise

    async def done(self, found: Rows | Table) -> None:
        """The answer is sent, or not wanted any more."""
        await self._in_thread(found.session.close)

    async def stop(self) -> None:
        """End all questions; when it returns, no file is open for one."""
        self._stopped = NotReady("outputd is shutting down")
        for session in self._asking:
            session.end(self._stopped)
        if self._asking:
            self._idle = Deferred()
            await self._idle

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


def _find(session: Session, question: Question[A], asked: A, now_s: float) -> Found:
    """What a question finds; the session stays open for it."""
    found: Found = None
    try:
        found = question.find(session, asked, now_s)
        return found
    finally:
        if found is None:
            session.close()
