"""What schemathesis is told of this API; it imports this file by the variable SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import gzip
import json
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.checks import RejectedPositiveData

from outputd.results.model import OURS
from tests.kit.document import Document

_GZIP = ("gzip", "x-gzip")
schemathesis.openapi.format(
    "cidr", strategies.builds("{}/{}".format, strategies.ip_addresses(), strategies.integers(0, 32))
)


@schemathesis.serializer("application/json")
def compressed_if_it_says_so(context: Any, value: Any) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return gzip.compress(body) if _coding(context.case.headers) in _GZIP else body


@schemathesis.check
def answers_as_documented(context: Any, response: Response, case: Case[Any]) -> None:
    """No header and no member that the document does not name, for other methods of a path too."""
    headers = {name: ", ".join(values) for name, values in response.headers.items()}
    method = str(response.request.method)
    faults = _document(case).faults(method, case.operation.path, response.status_code, headers, response.content)
    assert not faults, "\n".join(faults)


@schemathesis.check
def stores_what_fits_the_schema(context: Any, response: Response, case: Case[Any]) -> None:
    """Rule 5: as many items are stored and rejected as fit the schema and do not."""
    if case.operation.label != "POST /results" or response.status_code not in (200, 422):
        return
    answer = response.json()
    if "received" not in answer or "duplicate" in answer or _is_foreign(case):
        return
    body: Any = response.request.body
    if _coding(response.request.headers) in _GZIP:
        body = gzip.decompress(body)
    fitting = [_document(case).is_valid("PingResult", item) for item in json.loads(body)]
    said = (answer["received"], answer.get("rejected", 0))
    assert said == (fitting.count(True), fitting.count(False)), f"{said} of {fitting}"


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Leave to others what schemathesis cannot know.

    To stores_what_fits_the_schema: bad data beside good is taken in part (rule 5), 4.0 is no integer (rule 2), a key
    may be used already (rule 6). To tests/queries/test_order.py: no schema can say which cursors were given.
    """
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400 and "cursor" in (case.query or {}):
        return False
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400 and _is_foreign(case):
        return False  # what fits the schema is ours, and of no other format
    judged = response.status_code == 422 or b'"status":"partial"' in response.content
    about_data = isinstance(failure, AcceptedNegativeData | RejectedPositiveData)
    return not (about_data and judged and case.operation.label == "POST /results")


def _is_foreign(case: Case[Any]) -> bool:
    named = (case.query or {}).get("format", OURS)
    return named != OURS or (case.media_type or "application/json") != "application/json"


def _coding(headers: Any) -> str:
    return str((headers or {}).get("Content-Encoding", ""))


def _document(case: Case[Any]) -> Document:
    return Document(case.operation.schema.raw_schema)
