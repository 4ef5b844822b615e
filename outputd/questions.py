"""The routes of --health-port that ask the files: what a query string means, and in which form the answer goes out."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.iweb import IRequest

from outputd import timestamps
from outputd.addresses import canonical
from outputd.failures import Failure
from outputd.pools import InThread
from outputd.queries import MOST_RECENT, Arrivals, Choice, NotReady, Queries, Rows, Span, Table, TooLong, Wanted
from outputd.queries.answers import Format
from outputd.streaming import Streaming
from outputd.web import SAFE, Answer, CappedRequest, Resource, answered, problem, put_head, route, send

MOST_ROWS = 100_000
"""Rows of an answer that is no list of results."""
MOST_LISTED = 10_000
"""Length of each list about one hop."""
MOST_BUCKETS = 10_000
"""A bucket that is too short for it is made longer."""
MOST_BUCKET_S = 10_000 * 366 * 86_400
DEFAULT_ROWS = 1000
DEFAULT_RECENT = 100
DEFAULT_LISTED = 100
USUAL_BUCKETS = 200
_WEEK_S = 7 * 86_400
_DIGITS = len(str(2**63))
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_DAY_S = 86_400
MEDIA: Mapping[Format, str] = {
    "json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8",
}  # fmt: skip
_SPACE_FOR_PLUS = re.compile(r" (\d\d:\d\d)$")

Parameters = Mapping[str, str]


class BadQuestion(Exception):
    """A question cannot be understood; the text says what to write."""


class Questions:
    """The routes, for an application of the health site."""

    def __init__(self, queries: Queries, in_thread: InThread, now: Callable[[], float]) -> None:
        self._queries = queries
        self._in_thread = in_thread
        self._now = now

    @property
    def unreadable(self) -> Mapping[str, Failure]:
        """Damaged result files that a question has met, by name."""
        return self._queries.unreadable

    def add_to(self, app: Klein) -> None:
        """Give the routes to an application."""
        self._route(app, "/recent", self._recent)
        self._route(app, "/results/<id>", self._result)
        self._route(app, "/targets", self._targets)
        self._route(app, "/nodes", self._nodes)
        self._route(app, "/arrivals", self._arrivals)
        self._route(app, "/links", self._links)
        self._route(app, "/hops/<ip>", self._hop)
        self._route(app, "/paths", self._paths)
        self._route(app, "/series", self._series)

    def _route(self, app: Klein, path: str, ask: Callable[[Parameters], Coroutine[Any, Any, _Found]]) -> None:
        route(app, path, "GET", lambda request, **named: answered(request, self._answer(request, ask, named)))

    # -- questions -----------------------------------------------------------------------------------

    async def _recent(self, asked: Parameters) -> _Found:
        include = asked.get("include")
        if include not in (None, "traceroute"):
            raise BadQuestion("include must be traceroute")
        wanted = Wanted(
            limit=_limit(asked, DEFAULT_RECENT, MOST_RECENT), ip=_address(asked), node=asked.get("node"),
            failed=_flag(asked, "failed"), since=_time(asked, "since"), until=_time(asked, "until"),
            before=None if "before" not in asked else min(2**63 - 1, _whole(asked["before"], "before")),
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
        return await self._queries.targets(_choice(asked)), {}

    async def _nodes(self, asked: Parameters) -> _Found:
        return await self._queries.nodes(_choice(asked)), {}

    async def _arrivals(self, asked: Parameters) -> _Found:
        until = _time(asked, "until") or timestamps.at(self._now())
        since = _time(asked, "since") or _earlier(until, _DAY_S)
        lasts_s = max(0.0, timestamps.seconds(until) - timestamps.seconds(since))
        bucket_s = _whole(asked["bucket"], "bucket") if "bucket" in asked else 60
        minutes = min(MOST_BUCKET_S // 60, max(math.ceil(bucket_s / 60), math.ceil(lasts_s / MOST_BUCKETS / 60)))
        return await self._queries.arrivals(Arrivals(minutes, since, until, asked.get("node"))), {}

    async def _links(self, asked: Parameters) -> _Found:
        return await self._queries.links(_choice(asked)), {}

    async def _hop(self, asked: Parameters) -> _Found:
        ip = canonical(asked["ip"])
        if ip is None:
            raise BadQuestion("a hop is an IPv4 or IPv6 address")
        return await self._queries.hop(ip, _limit(asked, DEFAULT_LISTED, MOST_LISTED)), {}

    async def _paths(self, asked: Parameters) -> _Found:
        return await self._queries.paths(_needed_address(asked), asked.get("node"), _time(asked, "since")), {}

    async def _series(self, asked: Parameters) -> _Found:
        ip, now_s = _needed_address(asked), self._now()
        until = _time(asked, "until") or timestamps.at(now_s)
        since = _time(asked, "since") or _earlier(until, _WEEK_S)
        lasts_s = max(0.0, timestamps.seconds(until) - timestamps.seconds(since))
        bucket_s = _whole(asked["bucket"], "bucket") if "bucket" in asked else _nice(lasts_s / USUAL_BUCKETS)
        bucket_s = min(MOST_BUCKET_S, max(bucket_s, math.ceil(lasts_s / MOST_BUCKETS)))
        return await self._queries.series(Span(ip, bucket_s, since, until, asked.get("node"))), {}

    # -- answers -------------------------------------------------------------------------------------

    async def _answer(
        self, request: CappedRequest, ask: Callable[[Parameters], Coroutine[Any, Any, _Found]], named: Parameters
    ) -> Answer | None:
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
        except sqlite3.OperationalError as error:
            return problem(503, f"the files cannot be read now: {error}", retry_after_s=5)
        return await self._give(request, found, headers)

    async def _give(
        self, request: CappedRequest, found: Rows | Table | None, headers: Mapping[bytes, bytes]
    ) -> Answer | None:
        if found is None:
            return problem(404, "there is nothing of this name")
        form = wanted_format(request)
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


# -- forms of answers ------------------------------------------------------------------------------


class WithForms(Resource):
    """A site on which `/targets.csv` is `/targets` in CSV."""

    def render(self, request: IRequest) -> Any:
        """See KleinResource."""
        assert isinstance(request, CappedRequest)
        path = request.postpath or []
        if path and path[0].partition(b".")[0] in _ROOTS:
            stem, dot, suffix = path[-1].rpartition(b".")
            if dot and suffix in (b"json", b"ndjson", b"csv"):
                path[-1] = stem
                request.form = suffix.decode()
        return super().render(request)


_ROOTS = (b"recent", b"results", b"targets", b"nodes", b"arrivals", b"links", b"hops", b"paths", b"series")


def wanted_format(request: CappedRequest) -> Format:
    """What the suffix says, else what Accept likes best, else JSON."""
    if request.form:
        return request.form  # type: ignore[return-value]  # one of them, as set above
    likings = _likings(request.getHeader("Accept") or "*/*")
    kinds: dict[str, Format] = {"application/json": "json", "application/x-ndjson": "ndjson", "text/csv": "csv"}

    def liking(media: str) -> float:
        return likings.get(media, likings.get(f"{media.partition('/')[0]}/*", likings.get("*/*", 0.0)))

    return kinds[max(kinds, key=liking)]


def _likings(accept: str) -> dict[str, float]:
    likings = {}
    for part in accept.lower().split(","):
        media, *rest = part.split(";")
        quality = next((text.strip()[2:] for text in rest if text.strip().startswith("q=")), "1")
        try:
            likings[media.strip()] = float(quality)
        except ValueError:
            likings[media.strip()] = 0.0
    return likings


# -- what is asked ---------------------------------------------------------------------------------


def _choice(asked: Parameters) -> Choice:
    return Choice(
        _limit(asked, DEFAULT_ROWS, MOST_ROWS), asked.get("node"), _address(asked), _time(asked, "since"),
        min(2**62, _whole(asked.get("min_count", "1"), "min_count")),
    )  # fmt: skip


def _whole(text: str, name: str) -> int:
    digits = text.lstrip("0")
    if not digits.isascii() or not digits.isdecimal():
        raise BadQuestion(f"{name} must be a whole number of at least 1")
    return int(digits[:20])


def _limit(asked: Parameters, usual: int, most: int) -> int:
    return min(most, _whole(asked["limit"], "limit")) if "limit" in asked else usual


def _address(asked: Parameters) -> str | None:
    if "ip" not in asked:
        return None
    ip = canonical(asked["ip"])
    if ip is None:
        raise BadQuestion("ip must be an IPv4 or IPv6 address")
    return ip


def _needed_address(asked: Parameters) -> str:
    ip = _address(asked)
    if ip is None:
        raise BadQuestion("ip must say which target")
    return ip


def _flag(asked: Parameters, name: str) -> bool | None:
    if name not in asked:
        return None
    if asked[name] not in ("true", "false"):
        raise BadQuestion(f"{name} must be true or false")
    return asked[name] == "true"


def _time(asked: Parameters, name: str) -> str | None:
    """A time in the stored form; a plus that came unquoted is a space by now."""
    if name not in asked:
        return None
    text = _SPACE_FOR_PLUS.sub(r"+\1", asked[name])
    stored = timestamps.stored(text)
    if stored is None:
        raise BadQuestion(f"{name} must be an RFC 3339 time with a zone, such as 2026-01-07T22:30:00Z")
    return stored


def _earlier(time: str, by_s: float) -> str:
    try:
        return timestamps.at(timestamps.seconds(time) - by_s)
    except (ValueError, OverflowError):
        return "0001-01-01 00:00:00"


def _nice(seconds: float) -> int:
    """The next length of a bucket that a person would choose."""
    for nice in _NICE_S:
        if seconds <= nice:
            return nice
    return int(-(-seconds // _DAY_S) * _DAY_S)
