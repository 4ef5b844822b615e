"""Whether a service is one into whose files invented results may go."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
from treq.client import HTTPClient
from twisted.web.iweb import IResponse

from outputd.client.exchange import content_of, drained
from outputd.client.words import in_words, told

_HEALTH_PORT = 8091
T = TypeVar("T")


def health_url_of(url: str) -> str:
    """Where the health port of a service is, unless it was moved: beside the URL for its results."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit((parts.scheme, f"{host}:{_HEALTH_PORT}", "", "", ""))


async def why_not(http: HTTPClient, url: str, health_url: str) -> str:
    """Why nothing invented may be posted to a service; empty when nothing of any other has ever shown in it.

    Both ports are asked, since they may be those of two services.
    """
    try:
        recent, newest = await _asked(http, f"{health_url}/recent?limit=1", list[msgspec.Raw])
        _, known = await _asked(http, f"{health_url}/nodes?limit=1", _Nodes)
        _, health = await _asked(http, f"{health_url}/health", _Health)
        answer = await http.request("HEAD", url.rpartition("/")[0] + "/dump", allow_redirects=False)
        await drained(answer)
    except Exception as error:
        return f"cannot see whether the service is empty: {in_words(error)}"
    disposition = answer.headers.getRawHeaders(b"Content-Disposition") or [b""]
    if answer.code != 200 or disposition[0] != f'attachment; filename="{health.stats.current_db_file}"'.encode():
        return f"{health_url} is not of the service at {url}, as far as it tells"
    for found, words in (
        (newest, "has results, and invented ones would lie among them"),
        (recent.headers.hasHeader(b"Unreadable-Files"), "has files that it cannot read: there may be results in them"),
        (health.stats.total_results > 0, "has had results"),
        (health.stats.hops_discovered > 0, "has discovered hops"),
        (health.checks.rotation.files > 1, "has more than one result file"),
        (health.checks.input_service.waiting_hops > 0, "has hops that wait for its own input_service"),
        (known.nodes, "has heard of a node"),
    ):
        if found:
            return f"the service at {health_url} {words}"
    return ""


class _Nodes(msgspec.Struct):
    nodes: list[msgspec.Raw]


class _Stats(msgspec.Struct):
    current_db_file: str
    total_results: int
    hops_discovered: int


class _Rotation(msgspec.Struct):
    files: int


class _InputService(msgspec.Struct):
    waiting_hops: int


class _Checks(msgspec.Struct):
    rotation: _Rotation
    input_service: _InputService


class _Health(msgspec.Struct):
    stats: _Stats
    checks: _Checks


class _Refused(Exception):
    """An answer that tells nothing; the text says which."""


async def _asked(http: HTTPClient, url: str, kind: type[T]) -> tuple[IResponse, T]:
    answer: IResponse = await http.get(url, allow_redirects=False, unbuffered=True)
    content = await content_of(answer)
    if answer.code != 200:
        raise _Refused(f"{url} answers {answer.code} {told(content.decode(errors='replace'))}")
    return answer, msgspec.json.decode(content, type=kind)
