"""The routes of --health-port that ask the files: a question as it is declared, and its answer on its way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred

from outputd.api.endpoints import endpoint_of
from outputd.api.formats import MEDIA, wanted_format
from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure
from outputd.queries import QUESTIONS, Queries
from outputd.queries.parameters import BadQuestion, read
from outputd.queries.question import Question
from outputd.queries.session import NotReady, TooLong
from outputd.queries.tables import Format, Rows, Table
from outputd.sqlite.errors import DatabaseFailed, DatabaseUnusable
from outputd.web.answers import SAFE, Answer, problem
from outputd.web.request import CappedRequest, answered, put_head, send
from outputd.web.routes import Route
from outputd.web.streaming import Streaming

_log = Logger()


class Questions:
    """What the health site answers to those who ask the files."""

    def __init__(self, queries: Queries, in_thread: InThread) -> None:
        self._queries = queries
        self._in_thread = in_thread

    @property
    def unreadable(self) -> Mapping[str, Failure]:
        """Damaged result files that a question has met, by name."""
        return self._queries.unreadable

    def routes(self) -> list[Route]:
        """A route a question."""
        return [self._route(question) for question in QUESTIONS]

    def _route(self, question: Question[Any]) -> Route:
        def handler(request: CappedRequest, suffix: str, **named: str) -> None:
            answered(request, self._answer(request, question, suffix, named))

        return endpoint_of(question).answered_by(handler)

    async def _answer(
        self, request: CappedRequest, question: Question[Any], suffix: str, named: Mapping[str, str]
    ) -> Answer | None:
        sent = {key.decode(errors="replace"): values[-1].decode(errors="replace")
                for key, values in request.args.items()}  # fmt: skip
        try:
            asking = Deferred.fromCoroutine(self._queries.ask(question, read(question, {**sent, **named})))
            request.notifyFinish().addErrback(lambda _: asking.cancel())
            found = await asking
        except CancelledError:
            return None
        except (BadQuestion, TooLong, NotReady, DatabaseUnusable) as error:
            return _refusal(error)
        if found is None:
            return problem(404, "there is nothing of this name")
        headers = _link_to_next(sent, found)
        await self._give(request, found, wanted_format(suffix, request.header_text(b"Accept")), headers)
        return None

    async def _give(
        self, request: CappedRequest, found: Rows | Table, form: Format, headers: Mapping[bytes, bytes]
    ) -> None:
        headers = {b"Content-Type": MEDIA[form].encode(), b"Vary": b"Accept", **headers, **SAFE}
        if unreadable := self.unreadable:
            headers[b"Unreadable-Files"] = ", ".join(sorted(unreadable)).encode()
        pages = found.pages(form)
        try:
            first, more = await self._in_thread(_first_two, found, pages)
            if more is None:
                send(request, 200, first, headers)
            else:
                await self._stream(request, headers, [more, first], pages)
        finally:
            await self._queries.done(found)

    async def _stream(
        self, request: CappedRequest, headers: Mapping[bytes, bytes], begun: list[bytes], pages: Iterator[bytes]
    ) -> None:
        async def part() -> bytes | None:
            if begun:
                return begun.pop()
            return None if request.method == b"HEAD" else await self._in_thread(next, pages, None)

        if request.gone:
            return
        put_head(request, 200, headers, None)
        try:
            await Streaming(request, part).run()
        except (TooLong, NotReady, DatabaseFailed) as error:
            _log.warn("an answer broke off: {error!s}", error=error)


_ENOUGH_BYTES = 256 * 1024


def _refusal(error: Exception) -> Answer:
    match error:
        case BadQuestion():
            return problem(400, str(error))
        case TooLong():
            return problem(504, str(error))
        case NotReady():
            return problem(503, str(error), retry_after_s=1)
        case _:
            return problem(503, f"the files cannot be read now: {error}", retry_after_s=5)


def _link_to_next(sent: Mapping[str, str], found: Rows | Table) -> Mapping[bytes, bytes]:
    """The header that says where the next page is, if there may be one."""
    if not found.following:
        return {}
    return {b"Link": f'<?{urlencode({**sent, **found.following})}>; rel="next"'.encode()}


def _first_two(found: Rows | Table, pages: Iterator[bytes]) -> tuple[bytes, bytes | None]:
    """What can be sent as a whole, and what comes after it, if anything does."""
    first = b""
    for page in pages:
        if len(first) + len(page) > _ENOUGH_BYTES and first:
            found.session.has_begun = True
            return first, page
        first += page
    return first, None
