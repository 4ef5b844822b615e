"""Whether a service is one into whose files invented results may go."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import msgspec
from treq.client import HTTPClient
from twisted.web.iweb import IResponse

from outputd.client.exchange import content_of, drained
from outputd.client.words import in_words, told

_HEALTH_PORT = 8091


def health_url_of(url: str) -> str:
    """Where the health port of a service is, unless it was moved: beside the URL for its results."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit((parts.scheme, f"{host}:{_HEALTH_PORT}", "", "", ""))


async def why_not(http: HTTPClient, url: str, health_url: str) -> str:
    """Why nothing invented may be posted to a service; empty when it has no result in any file.

    Both ports are asked, since they may be those of two services.
    """
    try:
        newest = msgspec.json.decode(await _body(http, f"{health_url}/recent?limit=1"), type=list[msgspec.Raw])
        if newest:
            return f"the service at {health_url} has results, and invented ones would lie among them"
        current = msgspec.json.decode(await _body(http, f"{health_url}/stats"), type=_Stats).current_db_file
        answer = await http.request("HEAD", url.rpartition("/")[0] + "/dump", allow_redirects=False)
        await drained(answer)
    except Exception as error:
        return f"cannot see whether the service is empty: {in_words(error)}"
    disposition = answer.headers.getRawHeaders(b"Content-Disposition") or [b""]
    if answer.code != 200 or disposition[0] != f'attachment; filename="{current}"'.encode():
        return f"{health_url} is not of the service at {url}, as far as it tells"
    return ""


class _Stats(msgspec.Struct):
    current_db_file: str


class _Refused(Exception):
    """An answer that tells nothing; the text says which."""


async def _body(http: HTTPClient, url: str) -> bytes:
    answer: IResponse = await http.get(url, allow_redirects=False, unbuffered=True)
    content = await content_of(answer)
    if answer.code != 200:
        raise _Refused(f"{url} answers {answer.code} {told(content.decode(errors='replace'))}")
    return content
