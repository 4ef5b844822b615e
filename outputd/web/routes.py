"""Routes: what is answered at a path, to whom, and by what. A path and a method are matched once, and in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, NamedTuple
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from outputd.security.access import READER
from outputd.web.answers import Answer, problem

Handler = Callable[Concatenate[Any, ...], None]
"""Sends the answer to a request itself, at once or later; it is given the path's `<parts>` by their names."""
Judge = Callable[[Any], Answer | None]
"""Reads a request's headers before its body comes in: the answer to one that is refused for them, None for a good one.

What it finds out it leaves in `said` of the request, for the handler.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route without what answers it: for those who only tell of it."""

    method: str
    path: str
    role: str | None
    suffixes: tuple[str, ...] = ()
    codings: tuple[bytes, ...] = ()
    is_dear: bool = False

    def answered_by(self, handler: Handler, judge_head: Judge | None = None) -> Route:
        """The route."""
        return Route(self.method, self.path, self.role, handler, self.suffixes, self.codings, self.is_dear, judge_head)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path with its `<parts>`, the role that it asks for (None: everybody's), and what answers it.

    A path with `suffixes` may end in one of them (`/targets.csv`); its handler gets it as `suffix`, "" for none.
    GET is HEAD, too. A route with `codings` takes a body in one of these; to others a body is of no use, and they keep
    none. What `is_dear` is not even had by a link on a page of another site. `judge_head` is asked last of all.
    """

    method: str
    path: str
    role: str | None
    handler: Handler
    suffixes: tuple[str, ...] = ()
    codings: tuple[bytes, ...] = ()
    is_dear: bool = False
    judge_head: Judge | None = None

    @property
    def takes_body(self) -> bool:
        """Whether the body of a request is of any use; else it is thrown away as it arrives."""
        return bool(self.codings)


class Found(NamedTuple):
    """The route of a request, and what stands in its path."""

    route: Route
    parts: Mapping[str, str]

    @property
    def role(self) -> str | None:
        """Who may ask: that of the route."""
        return self.route.role


class Miss(NamedTuple):
    """There is no route: what is answered instead, and to whom. Others are not told which paths there are."""

    answer: Answer
    role: str | None = READER


class Routes(Resource):
    """The routes of a site, as its resource. Klein has the table."""

    isLeaf = True

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__()
        self.all = tuple(routes)
        app = Klein()
        self._by_endpoint: dict[str, Route] = {}
        self._exact: dict[tuple[bytes, bytes], Found] = {}
        for route in self.all:
            endpoint = f"{route.method} {route.path}"
            app.route(route.path, methods=[route.method], endpoint=endpoint)(route.handler)
            self._by_endpoint[endpoint] = route
            if "<" not in route.path:
                found = Found(route, {"suffix": ""} if route.suffixes else {})
                self._exact[route.method.encode(), route.path.encode()] = found
        self._table = app.url_map.bind("outputd")

    def find(self, method: bytes, target: bytes) -> Found | Miss:
        """The route of a request, by the method and the target of its first line alone.

        A path that is spelled as it is declared costs one look-up: Klein's table costs as much as a small POST.
        """
        return self._exact.get((method, target)) or self._search(method, _path_of(target))

    def render(self, request: Any) -> int:
        """See Resource."""
        found = request.found
        found.route.handler(request, **found.parts)
        return NOT_DONE_YET

    def _search(self, method: bytes, path: bytes) -> Found | Miss:
        if not path.startswith(b"/"):
            return _NOWHERE
        try:
            verb, text = method.decode("ascii"), unquote_to_bytes(path).decode()
        except UnicodeDecodeError:
            return Miss(problem(400, "the method is not ASCII, or the path not UTF-8"))
        stem, _, suffix = text.rpartition(".")
        here = (self._at(stem, suffix) if suffix else None) or self._at(text)
        if verb in here:
            return here[verb]
        if not here:
            return _NOWHERE
        allowed = {b"Allow": ", ".join(sorted(here)).encode()}
        answer = problem(405, "this path does not support this method", allowed)
        return Miss(answer, next(iter(here.values())).role)

    def _at(self, path: str, suffix: str = "") -> dict[str, Found]:
        """What is at a path, by method. Another spelling of a path, to which the table would redirect, is none."""
        here: dict[str, Found] = {}
        for method in self._table.allowed_methods(path):
            endpoint, parts = self._table.match(path, method)
            route = self._by_endpoint[endpoint]
            if not suffix or suffix in route.suffixes:
                here[method] = Found(route, {**parts, "suffix": suffix} if route.suffixes else parts)
        return here


_NOWHERE = Miss(problem(404, "there is nothing at this path"))


def _path_of(target: bytes) -> bytes:
    """The path of a target, which may be an absolute URL: every server must take that form."""
    if target.startswith((b"http://", b"https://")):
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return target.partition(b"?")[0]
