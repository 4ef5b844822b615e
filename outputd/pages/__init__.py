"""What a person looks at: the pages, the files that they load, and the news that keeps them up to date.

The pages are shells: they ask the same questions as everybody, and draw the answers in the browser.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from twisted.internet.interfaces import IReactorTime

from outputd.pages.assets import Assets
from outputd.pages.events import Events
from outputd.pages.refusals import Refusals
from outputd.pages.templates import page
from outputd.process.threads import InThread
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.security.access import READER
from outputd.store.file import FileInfo
from outputd.web.answers import problem
from outputd.web.request import CappedRequest, send
from outputd.web.routes import Route

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"Content-Type": b"text/html; charset=utf-8",
    b"Content-Security-Policy": _CSP.encode(),
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
    b"Cache-Control": b"no-store",
}

Report = Callable[[], Awaitable[Mapping[str, Any]]]
"""Makes what /health says."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a page tells of the ports: their numbers, None for none, and whether they ask for tokens."""

    results_port: Callable[[], int | None]
    health_port: Callable[[], int | None]
    asks_for_tokens: bool


class Counted(Protocol):
    """What a page tells of what was counted."""

    rejected: Counter[str]
    duplicate_posts: int


class Pages:
    """What the health site answers to browsers; `report` makes what /health says."""

    def __init__(
        self, report: Report, stats: Counted, files: Callable[[], list[FileInfo]], surroundings: Surroundings,
        in_thread: InThread, clock: IReactorTime, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._report = report
        self._stats = stats
        self._files = files
        self._surroundings = surroundings
        self._in_thread = in_thread
        self._now = now
        self._assets = Assets()
        self._started_at = timestamps.printed(timestamps.at(now()))
        self._events = Events(self._news, clock)
        self._shells = [
            Route("GET", "/", READER, self._overview),
            Route("GET", "/heat", READER, self._heat),
            Route("GET", "/topology", READER, self._topology),
            Route("GET", "/targets/<ip>", READER, self._target),
            Route("GET", "/nodes/", READER, self._named_node),
            Route("GET", "/nodes/<name>", READER, self._node),
        ]
        self.refusals = Refusals({route.path for route in self._shells}, _HEADERS, surroundings.health_port)

    def routes(self) -> list[Route]:
        """The routes; they are for browsers, and no part of the API that the OpenAPI document describes."""
        return [
            *self._shells,
            Route("GET", "/events", READER, self._events.listen),
            Route("GET", "/static/<name>", READER, self._assets.send),
        ]

    def stop(self) -> None:
        """End the news, so that nothing is in flight that would not end by itself."""
        self._events.stop()

    def _overview(self, request: CappedRequest) -> None:
        self._send_page(request, "overview", "Overview")

    def _heat(self, request: CappedRequest) -> None:
        self._send_page(request, "heat", "Heat map")

    def _topology(self, request: CappedRequest) -> None:
        self._send_page(request, "topology", "Topology")

    def _target(self, request: CappedRequest, ip: str) -> None:
        address = canonical(ip)
        if address is None:
            answer = problem(400, "a target is an IPv4 or IPv6 address")
            send(request, *self.refusals.on_health_port(request, answer))
        else:
            self._send_page(request, "target", address, ip=address, root="../")

    def _node(self, request: CappedRequest, name: str) -> None:
        self._send_page(request, "node", name, node=name, root="../")

    def _named_node(self, request: CappedRequest) -> None:
        """The page of a node whose name is no part of a path: a browser makes another path of `.` and of a slash."""
        self._node(request, request.args.get(b"name", [b""])[-1].decode(errors="replace"))

    def _send_page(
        self, request: CappedRequest, name: str, title: str, ip: str = "", node: str = "", root: str = "./"
    ) -> None:
        port = self._surroundings.results_port()
        facts = {
            "ip": ip,
            "node": node,
            "results-port": "" if port is None else str(port),
            "tokens": "asked" if self._surroundings.asks_for_tokens else "",
            "may": "read" if request.holder is not None and request.holder.role == READER else "",
        }
        send(request, 200, page(name, title, facts, root), _HEADERS)

    async def _news(self) -> bytes:
        """The state of the service in JSON: what /health says, the rejects by reason, and the files."""
        report = await self._report()
        files = self._files()
        sizes = await self._in_thread(_sizes, files)
        return msgspec.json.encode(
            {
                **report,
                "now": timestamps.printed(timestamps.at(self._now())),
                "started": self._started_at,
                "rejected": dict(self._stats.rejected.most_common(_MOST_REASONS)),
                "duplicate_posts": self._stats.duplicate_posts,
                "files": [
                    {"name": info.path.name, "created": timestamps.printed(info.created_at), "size_bytes": size}
                    for info, size in zip(files, sizes, strict=True)
                ],
            }
        )


_MOST_REASONS = 20


def _sizes(files: list[FileInfo]) -> list[int | None]:
    """Bytes of each file; None for one that is gone by now."""
    sizes: list[int | None] = []
    for info in files:
        try:
            sizes.append(info.path.stat().st_size)
        except OSError:
            sizes.append(None)
    return sizes
