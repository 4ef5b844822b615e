"""The OpenAPI document of both sites: every route, with what may be sent to it and all that it may answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import msgspec

from outputd import __version__
from outputd.api.endpoints import (
    DUMP,
    FILES,
    HEALTH,
    METRICS,
    OPENAPI,
    READY,
    RESULTS,
    ROTATE,
    STATS,
    endpoint_of,
    endpoint_of_export,
)
from outputd.api.operations import (
    CODED,
    HEADERS,
    JSON,
    SCHEMES,
    Part,
    answer,
    asking,
    bare,
    exporting,
    file,
    operation,
    problem,
    query,
    reading,
    sent_header,
)
from outputd.api.schemas import schemas
from outputd.formats.formats import BY_MEDIA_TYPE, BY_NAME
from outputd.queries import QUESTIONS
from outputd.queries.exports import EXPORTS
from outputd.results.model import MOST_RESULTS, OURS
from outputd.web.compression import gzipped
from outputd.web.routes import Endpoint
from outputd.web.shapes import FILE_NAME, SENT_AT, ref

_MOST_BODY_MIB = 8
_MOMENT = {"type": "string", "format": "date-time", "pattern": SENT_AT}
_DESCRIPTION = """\
Collects the results of ping and traceroute nodes in SQLite files, and feeds the hops that it finds back.

There are two ports; each path says by its `servers` to which it belongs. Times are UTC, round-trip times nanoseconds.

Errors of every route are `application/problem+json` (RFC 9457). Beside what each operation lists, an unknown path is
answered as in `components/responses/NotFound`, another method of a known path as in
`components/responses/MethodNotAllowed`, and a request that cannot be read as in `components/responses/Unreadable`.
Routes that need no body ignore one. With tokens, the `security` of an operation names the role that it needs; an
operator may do all that a reader may.

What asks the files answers in JSON, NDJSON (a row a line) or CSV, as `Accept` says, or a suffix of the path, which
wins: `/targets.csv`, `/hops/192.0.2.1.ndjson`, `/recent.json`. A question has ten seconds.
"""


def _server(port: str, flag: str, what: str) -> Part:
    variables = {"host": {"default": "localhost"}, "port": {"default": port, "description": f"`{flag}`"}}
    return {"url": "http://{host}:{port}", "description": what, "variables": variables}


RESULTS_SERVER = _server("8081", "--port", "The port for results")
HEALTH_SERVER = _server("8091", "--health-port", "The port for health and metrics")


_RESULTS = {
    "post": operation(
        RESULTS,
        "Results",
        "Store results",
        description="Answered once the results are committed and fsynced. One bad item does not spoil the batch.",
        parameters=[
            sent_header(
                "X-Ping-Node",
                "Name of the node; absent or empty: the address of the sender. At most one.",
                {"type": "string", "maxLength": 64, "pattern": "^[ -~]*$"},
            ),
            sent_header(
                "Idempotency-Key",
                "Makes a retry safe for 12 hours: the same key of the same X-Ping-Node is stored once. At most one. The"
                " quotes of the structured form are removed and not counted.",
                {"type": "string", "minLength": 1, "maxLength": 255},
            ),
            {
                "name": "format",
                "in": "query",
                "description": "What the body is of: another tool's output, or `native`. Without it a media type of"
                " ours tells, else how the body begins.",
                "schema": {"type": "string", "enum": [OURS, *BY_NAME]},
            },
            {
                "name": "at",
                "in": "query",
                "description": "When it was measured, for items of other formats that carry no time; wins over"
                " X-Measured-At.",
                "schema": _MOMENT,
            },
            sent_header(
                "X-Measured-At",
                "When it was measured, for items of other formats that carry no time; without it the time of arrival"
                " is theirs. At most one.",
                _MOMENT,
            ),
            sent_header(
                "Content-Encoding", "The content coding of the body.", {"enum": ["gzip", "x-gzip", "identity"]}
            ),
        ],
        requestBody={
            "required": True,
            "description": f"At most {_MOST_BODY_MIB} MiB, also when decoded. JSON, whatever the Content-Type says; or"
            " the output of another tool, by `format`, by a media type of its own, or by how it begins.",
            "content": {JSON: {"schema": ref("Results")}, **{kind: {} for kind in BY_MEDIA_TYPE}},
        },
        answers={
            "200": answer("The results are on disk.", {"oneOf": [ref("Stored"), ref("PartlyStored")]}),
            "400": problem(
                "Neither a JSON array nor of a format that we read, not the coding it claims, or an invalid header or"
                " parameter; nothing is stored."
            ),
            "413": problem(f"Over {_MOST_BODY_MIB} MiB, or over {MOST_RESULTS} items; nothing is stored."),
            "415": problem("A content coding other than gzip; nothing is stored.", "Accept-Encoding"),
            "422": problem(
                "Every item is invalid, or the Idempotency-Key was used with another body.",
                schema={"anyOf": [ref("NothingStored"), ref("Problem")]},
            ),
            "503": problem(
                "The results cannot be stored now; none of them were. After a disk error and a crash right behind"
                " it they may turn out to be stored: with an Idempotency-Key it is safe to send them again.",
                "Retry-After",
            ),
        },
    )
}
_ROTATE = {
    "post": operation(
        ROTATE,
        "Rotate",
        "Begin a new file",
        description="No POST is refused meanwhile. The old file becomes one self-contained file.",
        answers={
            "200": answer("A new file is being written.", ref("Rotated")),
            "503": problem("No new file can be made; the current one stays in use.", "Retry-After"),
        },
    )
}
_ETAG = {"type": "string", "examples": ['"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"']}
_DUMP = reading(
    DUMP,
    "Dump",
    "Copy a result file",
    description="A consistent copy of the current file, with every result acknowledged before; or a closed file.",
    parameters=[
        query("file", "The name of a file; absent: the current one.", FILE_NAME),
        sent_header(
            "Range",
            "One range of bytes of a closed file (RFC 9110). Other forms, and ranges of the current file, are ignored.",
            {"type": "string", "examples": ["bytes=0-4095"]},
        ),
        sent_header("If-Range", "The ETag of the file whose parts are there; of another the whole is sent.", _ETAG),
        sent_header("If-None-Match", "ETags of closed files that are there already; `*` is any.", _ETAG),
    ],
    answers={
        "200": file("The file, an SQLite database.", "Accept-Ranges", "ETag"),
        "206": file("The part that was asked for.", "Accept-Ranges", "ETag", "Content-Range"),
        "304": bare("The file is there already.", "ETag"),
        "404": problem("There is no result file with this name."),
        "416": problem("The range lies outside of the file.", "Content-Range"),
        "503": problem("There is no room for a copy.", "Retry-After"),
    },
)
_FILES = reading(
    FILES,
    "Files",
    "List the result files",
    description="A closed file has a manifest, which is made in the background once the file is finished.",
    answers={"200": answer("What is known of each file.", ref("Files"))},
)
_HEALTH = reading(
    HEALTH,
    "Health",
    "State and figures",
    {
        "200": answer("Healthy: results are being stored.", ref("Health")),
        "503": answer("Unhealthy: results are not being stored.", ref("Health")),
    },
)
_READY = reading(
    READY,
    "Ready",
    "Whether results can be stored",
    description="A commit of the last second proves it, else a write is tried.",
    answers={
        "200": answer("Results can be stored.", ref("Ready")),
        "503": problem("They cannot, or outputd is shutting down."),
    },
)
_METRICS = reading(
    METRICS,
    "Metrics",
    "Metrics for Prometheus",
    {"200": answer("The text format.", {"type": "string"}, "text/plain; version=0.0.4; charset=utf-8", CODED)},
)
_STATS = reading(STATS, "Stats", "Counts since the start", {"200": answer("The counts.", ref("Stats"))})


_OPENAPI = reading(
    OPENAPI, "OpenApi", "This document", {"200": answer("OpenAPI 3.1.", {"type": "object"}, headers=CODED)}
)


def document(labels: Sequence[str] = ()) -> Part:
    """The document of a service that knows this of addresses."""
    results = {RESULTS: _RESULTS, ROTATE: _ROTATE, DUMP: _DUMP, FILES: _FILES}
    asked = {endpoint_of(question): asking(question) for question in QUESTIONS}
    exports = {endpoint_of_export(export): exporting(export) for export in EXPORTS}
    health = {HEALTH: _HEALTH, READY: _READY, METRICS: _METRICS, STATS: _STATS, **asked, **exports, OPENAPI: _OPENAPI}
    return {
        "openapi": "3.1.0",
        "info": {"title": "outputd", "version": __version__, "description": _DESCRIPTION},
        "servers": [RESULTS_SERVER, HEALTH_SERVER],
        "paths": {
            **{_path(endpoint): {"servers": [RESULTS_SERVER], **item} for endpoint, item in results.items()},
            **{_path(endpoint): {"servers": [HEALTH_SERVER], **item} for endpoint, item in health.items()},
        },
        "components": {
            "schemas": schemas(labels),
            "securitySchemes": SCHEMES,
            "headers": HEADERS,
            "responses": {
                "NotFound": problem("There is nothing at this path."),
                "MethodNotAllowed": problem("The path does not support this method.", "Allow"),
                "Unreadable": problem("This is not HTTP/1.1, the method is not ASCII, or the path is not UTF-8."),
            },
        },
    }


def _path(endpoint: Endpoint) -> str:
    return endpoint.path.replace("<", "{").replace(">", "}")


@cache
def text(labels: tuple[str, ...] = ()) -> bytes:
    """The document in JSON."""
    return msgspec.json.encode(document(labels))


@cache
def compressed(labels: tuple[str, ...] = ()) -> bytes:
    """The same, compressed once."""
    return gzipped(text(labels))
