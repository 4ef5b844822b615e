"""What there is to ask of either port, and who may: the routes of the API, without what answers them."""

from __future__ import annotations

from typing import Any

from outputd.api.formats import MEDIA
from outputd.queries.exports import Export
from outputd.queries.question import Question
from outputd.security.access import NODE, OPERATOR, READER
from outputd.web.routes import Endpoint

RESULTS = Endpoint("POST", "/results", NODE, codings=(b"identity", b"gzip", b"x-gzip"))
ROTATE = Endpoint("POST", "/rotate", OPERATOR)
DUMP = Endpoint("GET", "/dump", OPERATOR, is_dear=True)
FILES = Endpoint("GET", "/files", OPERATOR, is_dear=True)
HEALTH = Endpoint("GET", "/health", None)
READY = Endpoint("GET", "/ready", None)
METRICS = Endpoint("GET", "/metrics", READER)  # who watches the service need not be able to change it
STATS = Endpoint("GET", "/stats", READER)
OPENAPI = Endpoint("GET", "/openapi.json", READER)


def endpoint_of(question: Question[Any]) -> Endpoint:
    """Where a question is asked."""
    return Endpoint("GET", question.path, READER, tuple(MEDIA), is_dear=question.is_dear)


def endpoint_of_export(export: Export) -> Endpoint:
    """Where an export is asked for."""
    return Endpoint("GET", export.path, OPERATOR, is_dear=True)
