"""The routes of --health-port that ask the files: a question as it is declared, and its answer on its way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred

from outputd.api.endpoints import endpoint_of
from outputd.api.formats import MEDIA, wanted_format
from outputd.process.log import Logger
from outputd.process.trouble import Failure
from outputd.queries import QUESTIONS, Queries
from outputd.queries.parameters import BadQuestion, read
from outputd.queries.question import Question
from outputd.queries.reading import Reading, Whole
from outputd.queries.sent import Gone
from outputd.queries.session import NotReady, TooLong
from outputd.queries.tables import Notes
from outputd.sqlite.errors import DatabaseFailed, DatabaseUnusable
from outputd.web.answers import SAFE, Answer, problem
from outputd.web.compression import GZIPPED, gzip_from_bytes
from outputd.web.request import CappedRequest, answered, put_head
from outputd.web.routes import Route
from outputd.web.streaming import Streaming

_log = Logger()


class Questions:
    """What the health site answers to those who ask the files."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

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
        form = wanted_format(suffix, request.header_text(b"Accept"))
        gzip_from = gzip_from_bytes(request.header_text(b"Accept-Encoding"))
        try:
            asked = read(question, {**sent, **named})
            asking = Deferred.fromCoroutine(self._queries.ask(question, asked, form, gzip_from))
            request.notifyFinish().addErrback(lambda _: asking.cancel())
            found = await asking
        except CancelledError:
            return None
        except (BadQuestion, Gone, TooLong, NotReady, DatabaseUnusable) as error:
            return _refusal(error)
        if found is None:
            return problem(404, "there is nothing with this name")
        headers = {
            b"Content-Type": MEDIA[form].encode(), b"Vary": b"Accept, Accept-Encoding", **_said(found.notes, sent),
            **SAFE,
        }  # fmt: skip
        if unreadable := self.unreadable:
            headers[b"Unreadable-Files"] = ", ".join(sorted(unreadable)).encode()
        if isinstance(found, Whole):
            return 200, found.body, headers
        try:
            await _send_pages(request, headers, found)
        finally:
            await found.end()
        return None


async def _send_pages(request: CappedRequest, headers: Mapping[bytes, bytes], reading: Reading) -> None:
    """Send a long answer as fast as it is read."""
    if request.gone:
        return
    put_head(request, 200, headers, None)
    if request.method == b"HEAD":
        request.finish()
        return
    reading.cut_off = request.cut_off
    try:
        await Streaming(request, reading.page).run()
    except (TooLong, NotReady, DatabaseFailed) as error:
        _log.warn("an answer broke off: {error!s}", error=error)


def _refusal(error: Exception) -> Answer:
    match error:
        case BadQuestion():
            return problem(400, str(error))
        case Gone():
            return problem(410, str(error))
        case TooLong():
            return problem(504, str(error))
        case NotReady():
            return problem(503, str(error), retry_after_s=1)
        case _:
            return problem(503, f"the files cannot be read now: {error}", retry_after_s=5)


def _said(notes: Notes, sent: Mapping[str, str]) -> Mapping[bytes, bytes]:
    """The headers that say where the next page is, if there may be one, how long buckets are, and the coding."""
    headers = {**GZIPPED} if notes.is_gzipped else {}
    if notes.following:
        headers[b"Link"] = f'<?{urlencode({**sent, **notes.following})}>; rel="next"'.encode()
    if notes.bucket_s is not None:
        headers[b"Bucket-Seconds"] = b"%d" % notes.bucket_s
    return headers
