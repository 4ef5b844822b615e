"""Answers as values: status, body and headers; errors are RFC 9457 problems. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

Answer = tuple[int, bytes, Mapping[bytes, bytes]]
"""Status, body and headers."""


def as_json(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return status, msgspec.json.encode(value), JSON


def problem(
    status: int, detail: str, headers: Mapping[bytes, bytes] | None = None, retry_after_s: int | None = None,
    **members: object,
) -> Answer:  # fmt: skip
    """An RFC 9457 problem with further members."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    more = {} if retry_after_s is None else {b"Retry-After": b"%d" % retry_after_s}
    return status, msgspec.json.encode(body), {**_PROBLEM, **(headers or {}), **more}


SAFE = {b"X-Content-Type-Options": b"nosniff", b"Cache-Control": b"no-store"}
JSON = {b"Content-Type": b"application/json", **SAFE}
_PROBLEM = {b"Content-Type": b"application/problem+json", **SAFE}
