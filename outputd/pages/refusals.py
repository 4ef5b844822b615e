"""Refusals for a browser: a page with a way back. Whoever does not ask for a page gets the problem as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import msgspec

from outputd.pages.templates import refusal
from outputd.web.answers import Answer, problem
from outputd.web.negotiation import likings
from outputd.web.request import CappedRequest
from outputd.web.routes import Found, Miss

_HTML, _PROBLEM, _JSON = "text/html", "application/problem+json", "application/json"
_UNSTYLED = (401, 403)
"""Who may not have the page may not have what it loads: a browser would ask for a password for each of it."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,255})(:[0-9]{1,5})?")


class Refusals:
    """Shows refusals of the pages at these paths, and of paths at which there is nothing, on either port."""

    def __init__(
        self, paths: Collection[str], headers: Mapping[bytes, bytes], health_port: Callable[[], int | None]
    ) -> None:  # fmt: skip
        self._paths = paths
        self._headers = headers
        self._health_port = health_port

    def on_health_port(self, request: CappedRequest, answer: Answer) -> Answer:
        """A page for a page that cannot be had, if a browser asks."""
        found = request.found
        is_page = isinstance(found, Miss) or (isinstance(found, Found) and found.route.path in self._paths)
        return self._page(request, answer, _root_from(request.uri)) if is_page and _wants_page(request) else answer

    def on_results_port(self, request: CappedRequest, answer: Answer) -> Answer:
        """At its root, where the pages are; anything else as it is."""
        port = self._health_port()
        is_root = request.uri.partition(b"?")[0] == b"/" and request.method in (b"GET", b"HEAD")
        if not is_root or answer[0] != 404 or port is None:
            return answer
        answer = problem(404, f"this port takes results, at /results; the pages are on port {port}")
        host = _HOST.fullmatch((request.first_header(b"Host") or b"").decode("latin-1"))
        return self._page(request, answer, f"//{host[1]}:{port}/") if host and _wants_page(request) else answer

    def _page(self, request: CappedRequest, answer: Answer, root: str) -> Answer:
        status, body, headers = answer
        said = msgspec.json.decode(body, type=dict[str, object])
        is_styled = status not in _UNSTYLED and not root.startswith("//")
        detail = str(said["detail"])
        html = refusal(str(said["title"]), f"{detail[:1].upper()}{detail[1:]}.", root, is_styled)
        return status, html, {**headers, **self._headers, b"Vary": b"Accept"}


def _wants_page(request: CappedRequest) -> bool:
    """Whether it names HTML, and likes JSON no better: browsers do, programs do not."""
    if request.method not in (b"GET", b"HEAD"):
        return False
    liked = likings(request.header_text(b"Accept"))
    html = liked.get(_HTML, 0.0)
    return html > 0 and html >= max(liked.get(_PROBLEM, 0.0), liked.get(_JSON, 0.0))


def _root_from(target: bytes) -> str:
    """What leads from a path to the root of the site, wherever a proxy puts that."""
    return "../" * (target.partition(b"?")[0].count(b"/") - 1) or "./"
