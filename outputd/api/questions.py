"""The routes of --health-port that ask the files: what a query string means, and in which form the answer goes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred

from outputd.api.formats import MEDIA, wanted_format
from outputd.api.parameters import (
    DAY_S,
    BadQuestion,
    Parameters,
    address_of,
    choice_of,
    flag,
    limit_of,
    needed_address,
    nice,
    time_of,
    whole,
)
from outputd.process.threads import InThread
from outputd.process.trouble import Failure
from outputd.queries import MOST_RECENT, Arrivals, NotReady, Queries, Rows, Span, Table, TooLong, Wanted
from outputd.queries.tables import Format
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.security.access import OPERATOR
from outputd.sqlite.errors import DatabaseUnusable
from outputd.web.answers import SAFE, Answer, problem
from outputd.web.request import CappedRequest, answered, put_head, send
from outputd.web.routes import Route
from outputd.web.streaming import Streaming

MOST_LISTED = 10_000
"""Length of each list about one hop."""
MOST_BUCKETS = 10_000
"""A bucket that is too short for it is made longer."""
MOST_BUCKET_S = 10_000 * 366 * 86_400
DEFAULT_RECENT = 100
DEFAULT_LISTED = 100
USUAL_BUCKETS = 200
_WEEK_S = 7 * 86_400
_DIGITS = len(str(2**63))


class Questions:
    """What the health site answers to those who ask the files."""

    def __init__(self, queries: Queries, in_thread: InThread, now: Callable[[], float]) -> None:
        self._queries = queries
        self._in_thread = in_thread
        self._now = now

    @property
    def unreadable(self) -> Mapping[str, Failure]:
        """Damaged result files that a question has met, by name."""
        return self._queries.unreadable

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            self._route("/recent", self._recent),
            self._route("/results/<id>", self._result),
            self._route("/targets", self._targets),
            self._route("/nodes", self._nodes),
            self._route("/arrivals", self._arrivals),
            self._route("/links", self._links),
            self._route("/hops/<ip>", self._hop),
            self._route("/paths", self._paths),
            self._route("/series", self._series),
        ]

    def _route(self, path: str, ask: Callable[[Parameters], Coroutine[Any, Any, _Found]]) -> Route:
        def handler(request: CappedRequest, suffix: str, **named: str) -> None:
            answered(request, self._answer(request, ask, suffix, named))

        return Route("GET", path, OPERATOR, handler, tuple(MEDIA))

    # -- questions -----------------------------------------------------------------------------------

    async def _recent(self, asked: Parameters) -> _Found:
        include = asked.get("include")
        if include not in (None, "traceroute"):
            raise BadQuestion("include must be traceroute")
        wanted = Wanted(
            limit=limit_of(asked, DEFAULT_RECENT, MOST_RECENT), ip=address_of(asked), node=asked.get("node"),
            failed=flag(asked, "failed"), since=time_of(asked, "since"), until=time_of(asked, "until"),
            before=None if "before" not in asked else min(2**63 - 1, whole(asked["before"], "before")),
            traceroute=bool(include),
        )  # fmt: skip
        rows = await self._queries.recent(wanted)
        if len(rows.rows) < wanted.limit:
            return rows, {}
        following = {**asked, "limit": str(wanted.limit), "before": str(rows.rows[-1]["id"])}
        return rows, {b"Link": f'<?{urlencode(following)}>; rel="next"'.encode()}

    async def _result(self, asked: Parameters) -> _Found:
        name = asked["id"]
        if not name.isascii() or not name.isdecimal():
            raise BadQuestion("the id of a result is a whole number")
        number = int(name) if len(name) < _DIGITS else 0  # there is no such result, nor such a number in SQLite
        return await self._queries.result(number), {}

    async def _targets(self, asked: Parameters) -> _Found:
        return await self._queries.targets(choice_of(asked)), {}

    async def _nodes(self, asked: Parameters) -> _Found:
        return await self._queries.nodes(choice_of(asked)), {}

    async def _arrivals(self, asked: Parameters) -> _Found:
        until = time_of(asked, "until") or timestamps.at(self._now())
        since = time_of(asked, "since") or timestamps.earlier(until, DAY_S)
        lasts_s = max(0.0, timestamps.seconds(until) - timestamps.seconds(since))
        bucket_s = whole(asked["bucket"], "bucket") if "bucket" in asked else 60
        minutes = min(MOST_BUCKET_S // 60, max(math.ceil(bucket_s / 60), math.ceil(lasts_s / MOST_BUCKETS / 60)))
        return await self._queries.arrivals(Arrivals(minutes, since, until, asked.get("node"))), {}

    async def _links(self, asked: Parameters) -> _Found:
        return await self._queries.links(choice_of(asked)), {}

    async def _hop(self, asked: Parameters) -> _Found:
        ip = canonical(asked["ip"])
        if ip is None:
            raise BadQuestion("a hop is an IPv4 or IPv6 address")
        return await self._queries.hop(ip, limit_of(asked, DEFAULT_LISTED, MOST_LISTED)), {}

    async def _paths(self, asked: Parameters) -> _Found:
        return await self._queries.paths(needed_address(asked), asked.get("node"), time_of(asked, "since")), {}

    async def _series(self, asked: Parameters) -> _Found:
        ip, now_s = needed_address(asked), self._now()
        until = time_of(asked, "until") or timestamps.at(now_s)
        since = time_of(asked, "since") or timestamps.earlier(until, _WEEK_S)
        lasts_s = max(0.0, timestamps.seconds(until) - timestamps.seconds(since))
        bucket_s = whole(asked["bucket"], "bucket") if "bucket" in asked else nice(lasts_s / USUAL_BUCKETS)
        bucket_s = min(MOST_BUCKET_S, max(bucket_s, math.ceil(lasts_s / MOST_BUCKETS)))
        return await self._queries.series(Span(ip, bucket_s, since, until, asked.get("node"))), {}

    # -- answers -------------------------------------------------------------------------------------

    async def _answer(
        self, request: CappedRequest, ask: Callable[[Parameters], Coroutine[Any, Any, _Found]], suffix: str,
        named: Parameters,
    ) -> Answer | None:  # fmt: skip
        asked = {key.decode(errors="replace"): values[-1].decode(errors="replace")
                 for key, values in request.args.items()}  # fmt: skip
        asking = Deferred.fromCoroutine(ask({**asked, **named}))
        request.notifyFinish().addErrback(lambda _: asking.cancel())
        try:
            found, headers = await asking
        except CancelledError:
            return None
        except BadQuestion as error:
            return problem(400, str(error))
        except TooLong as error:
            return problem(504, str(error))
        except NotReady as error:
            return problem(503, str(error), retry_after_s=1)
        except DatabaseUnusable as error:
            return problem(503, f"the files cannot be read now: {error}", retry_after_s=5)
        return await self._give(request, found, wanted_format(suffix, request.header_text(b"Accept")), headers)

    async def _give(
        self, request: CappedRequest, found: Rows | Table | None, form: Format, headers: Mapping[bytes, bytes]
    ) -> Answer | None:
        if found is None:
            return problem(404, "there is nothing of this name")
        headers = {b"Content-Type": MEDIA[form].encode(), b"Vary": b"Accept", **headers, **SAFE}
        if unreadable := self.unreadable:
            headers[b"Unreadable-Files"] = ", ".join(sorted(unreadable)).encode()
        pages = found.pages(form)
        try:
            first, more = await self._in_thread(_first_two, pages)
            if more is None:
                send(request, 200, first, headers)
            else:
                await self._stream(request, headers, [more, first], pages)
        finally:
            if isinstance(found, Table):
                await self._queries.done(found)
        return None

    async def _stream(
        self, request: CappedRequest, headers: Mapping[bytes, bytes], begun: list[bytes], pages: Iterator[bytes]
    ) -> None:
        async def part() -> bytes | None:
            if begun:
                return begun.pop()
            return None if request.method == b"HEAD" else await self._in_thread(next, pages, None)

        if not request.gone:
            put_head(request, 200, headers, None)
            await Streaming(request, part).run()


_Found = tuple[Rows | Table | None, Mapping[bytes, bytes]]
"""What was found, and further headers."""
_ENOUGH_BYTES = 64 * 1024


def _first_two(pages: Iterator[bytes]) -> tuple[bytes, bytes | None]:
    """What can be sent as a whole, and what comes after it, if anything does."""
    first = b""
    for page in pages:
        if len(first) + len(page) > _ENOUGH_BYTES and first:
            return first, page
        first += page
    return first, None
