"""The OpenAPI document of both sites: every route, with what may be sent to it and all that it may answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from outputd import __version__
from outputd.api.formats import MEDIA
from outputd.api.parameters import DEFAULT_ROWS, MOST_ROWS
from outputd.api.questions import DEFAULT_LISTED, DEFAULT_RECENT, MOST_BUCKETS, MOST_LISTED
from outputd.api.schemas import schemas
from outputd.api.shapes import ADDRESS, FILE_NAME, SENT_AT, ref
from outputd.queries import MOST_RECENT
from outputd.queries.paths import MOST_IN_TIMELINE, MOST_TRACEROUTES
from outputd.queries.results import MOST_HOPS
from outputd.results.model import MOST_RESULTS

Part = dict[str, Any]
_MOST_BODY_MIB = 8
_JSON = "application/json"
_PROBLEM = "application/problem+json"
_DESCRIPTION = """\
Collects the results of ping and traceroute nodes in SQLite files, and feeds the hops that it finds back.

There are two ports; each path says by its `servers` to which it belongs. Times are UTC, round-trip times nanoseconds.

Errors of every route are `application/problem+json` (RFC 9457). Beside what each operation lists, an unknown path is
answered as in `components/responses/NotFound`, another method of a known path as in
`components/responses/MethodNotAllowed`, and a request that cannot be read as in `components/responses/Unreadable`.
Routes that need no body ignore one.

What asks the files answers in JSON, NDJSON (a row a line) or CSV, as `Accept` says, or a suffix of the path, which
wins: `/targets.csv`, `/hops/192.0.2.1.ndjson`, `/recent.json`. A question has ten seconds.
"""


def _server(port: str, flag: str, what: str) -> Part:
    variables = {"host": {"default": "localhost"}, "port": {"default": port, "description": f"`{flag}`"}}
    return {"url": "http://{host}:{port}", "description": what, "variables": variables}


RESULTS_SERVER = _server("8081", "--port", "The port for results")
HEALTH_SERVER = _server("8091", "--health-port", "The port for health and metrics")


def _header(what: str, schema: Part, required: bool = True) -> Part:
    return {"description": what, "required": required, "schema": schema}


def _matching(pattern: str) -> Part:
    return {"type": "string", "pattern": pattern}


_ALWAYS = ("X-Content-Type-Options", "Cache-Control")
_HEADERS = {
    "Vary": _header("The answer depends on it.", {"const": "Accept"}),
    "Link": _header('The next page, with `rel="next"`.', _matching(r'^<\?.*>; rel="next"$'), required=False),
    "Unreadable-Files": _header(
        "Damaged result files that the answer does without.", _matching(r"^[^,]+\.db(, [^,]+\.db)*$"), required=False
    ),
    "X-Content-Type-Options": _header("The Content-Type is right.", {"const": "nosniff"}),
    "Cache-Control": _header("The next answer may be another.", {"const": "no-store"}),
    "Retry-After": _header("Seconds after which to come again.", {"type": "integer", "minimum": 1, "maximum": 60}),
    "Allow": _header("The methods of this path.", _matching(r"^[A-Z]+(, [A-Z]+)*$")),
    "WWW-Authenticate": _header("How a token is sent.", _matching("^Basic realm=.*, Bearer realm=")),
    "Accept-Encoding": _header("The content coding that is taken.", {"const": "gzip"}),
    "Accept-Ranges": _header("Parts can be asked for; with a closed file.", {"const": "bytes"}, required=False),
    "Content-Length": _header("Bytes of this answer.", {"type": "integer", "minimum": 0}),
    "Content-Range": _header("The part, and the size of the file.", _matching(r"^bytes (\d+-\d+|\*)/\d+$")),
    "Content-Disposition": _header(
        "The name of the file.", _matching(r'^attachment; filename="results_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.db"$')
    ),
    "Repr-Digest": _header("SHA-256 of the whole file (RFC 9530).", _matching(r"^sha-256=:[A-Za-z0-9+/]{43}=:$")),
}


def _answer(what: str, schema: Part, media: str = _JSON, headers: Sequence[str] = ()) -> Part:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in (*_ALWAYS, *headers)}
    return {"description": what, "headers": named, "content": {media: {"schema": schema}}}


def _problem(what: str, *headers: str, schema: Part | None = None) -> Part:
    return _answer(what, schema or ref("Problem"), _PROBLEM, headers)


_EVERYWHERE = {"500": _problem("An error in outputd; its log tells more.")}
_UNKNOWN = {"401": _problem("A token is needed, and none that is known came with the request.", "WWW-Authenticate")}
_NOT_THEIRS = {"403": _problem("The token is for another role, or a page of another site has sent this.")}
_OPEN_TO_ALL = ("Health", "Ready")
_TOKENS: list[Part] = [{}, {"token": []}, {"password": []}]
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "Where there is a `--tokens-file`."},
    "password": {"type": "http", "scheme": "basic", "description": "The token as password, for browsers."},
}
_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/vnd.sqlite3"}
_FILE_HEADERS = ("Content-Length", "Content-Disposition", "Repr-Digest")


def _file(what: str, *headers: str) -> Part:
    return _answer(what, _FILE, "application/vnd.sqlite3", (*_FILE_HEADERS, *headers))


def _operation(name: str, summary: str, answers: Part, parameters: Sequence[Part] = (), **more: Any) -> Part:
    operation: Part = {"operationId": name, "summary": summary, **more}
    if parameters:
        operation["parameters"] = list(parameters)
    refused = {}
    if not name.endswith(_OPEN_TO_ALL):
        operation["security"] = _TOKENS
        refused = {**_UNKNOWN, **_NOT_THEIRS}
        if name.startswith("head"):
            refused = _bare(refused)
    operation["responses"] = dict(sorted({**_EVERYWHERE, **refused, **answers}.items()))
    return operation


def _bare(answers: Part) -> Part:
    """The same answers without their bodies."""
    return {
        status: {key: value for key, value in answer.items() if key != "content"} for status, answer in answers.items()
    }


def _read(name: str, summary: str, answers: Part, parameters: Sequence[Part] = (), **more: Any) -> Part:
    """GET, and HEAD, which is answered without a body, and whole."""
    bare = {
        status: answer for status, answer in _bare({**_EVERYWHERE, **answers}).items() if status not in ("206", "416")
    }
    whole = [parameter for parameter in parameters if parameter["name"] != "Range"]
    return {
        "get": _operation(f"get{name}", summary, answers, parameters, **more),
        "head": _operation(f"head{name}", f"{summary}: the headers", bare, whole),
    }


def _query(name: str, what: str, schema: Part) -> Part:
    return {"name": name, "in": "query", "description": what, "schema": schema}


def _sent_header(name: str, what: str, schema: Part) -> Part:
    return {"name": name, "in": "header", "description": what, "schema": schema}


_RESULTS = {
    "post": _operation(
        "postResults",
        "Store results",
        description="Answered once the results are committed and fsynced. A bad item never costs its neighbours.",
        parameters=[
            _sent_header(
                "X-Ping-Node",
                "Who measured; absent or empty: the address of the sender is kept. At most one.",
                {"type": "string", "maxLength": 64, "pattern": "^[ -~]*$"},
            ),
            _sent_header(
                "Idempotency-Key",
                "Makes a retry safe for 12 hours: the same key of the same X-Ping-Node is stored once. At most one. The"
                " quotes of the structured form are taken off and not counted.",
                {"type": "string", "minLength": 1, "maxLength": 255},
            ),
            _sent_header(
                "Content-Encoding", "The content coding of the body.", {"enum": ["gzip", "x-gzip", "identity"]}
            ),
        ],
        requestBody={
            "required": True,
            "description": f"At most {_MOST_BODY_MIB} MiB, also when decoded. JSON, whatever the Content-Type says.",
            "content": {_JSON: {"schema": ref("Results")}},
        },
        answers={
            "200": _answer("The results are on disk.", {"oneOf": [ref("Stored"), ref("PartlyStored")]}),
            "400": _problem("No JSON array, not the coding that it says, or a bad header; nothing is stored."),
            "413": _problem(f"Over {_MOST_BODY_MIB} MiB, or over {MOST_RESULTS} items; nothing is stored."),
            "415": _problem("Another content coding than gzip; nothing is stored.", "Accept-Encoding"),
            "422": _problem(
                "No item is a result, or the Idempotency-Key was used with another body.",
                schema={"anyOf": [ref("NothingStored"), ref("Problem")]},
            ),
            "503": _problem("The results cannot be stored now; nothing is half taken.", "Retry-After"),
        },
    )
}
_ROTATE = {
    "post": _operation(
        "postRotate",
        "Begin a new file",
        description="No POST is refused meanwhile. The old file becomes one self-contained file.",
        answers={
            "200": _answer("A new file is being written.", ref("Rotated")),
            "503": _problem("No new file can be made; the current one goes on.", "Retry-After"),
        },
    )
}
_DUMP = _read(
    "Dump",
    "Copy a result file",
    description="The current file as a consistent copy, with every result answered before; or a closed file.",
    parameters=[
        _query("file", "The name of a file; absent: the current one.", FILE_NAME),
        _sent_header(
            "Range",
            "One range of bytes of a closed file (RFC 9110). Other forms, and ranges of the current file, are ignored.",
            {"type": "string", "examples": ["bytes=0-4095"]},
        ),
    ],
    answers={
        "200": _file("The file, an SQLite database.", "Accept-Ranges"),
        "206": _file("The part that was asked for.", "Accept-Ranges", "Content-Range"),
        "404": _problem("There is no result file of this name."),
        "416": _problem("The range lies outside of the file.", "Content-Range"),
        "503": _problem("There is no room for a copy.", "Retry-After"),
    },
)
_HEALTH = _read(
    "Health",
    "State and figures",
    {
        "200": _answer("Healthy: results are being stored.", ref("Health")),
        "503": _answer("Unhealthy: results are not being stored.", ref("Health")),
    },
)
_READY = _read(
    "Ready",
    "Whether results can be stored",
    description="A commit of the last second proves it, else a write is tried.",
    answers={
        "200": _answer("Results can be stored.", ref("Ready")),
        "503": _problem("They cannot, or outputd is shutting down."),
    },
)
_METRICS = _read(
    "Metrics",
    "Metrics for Prometheus",
    {"200": _answer("The text format.", {"type": "string"}, "text/plain; version=0.0.4; charset=utf-8")},
)
_STATS = _read("Stats", "Counts since the start", {"200": _answer("The counts.", ref("Stats"))})


def _question(
    name: str, summary: str, schema: str, row: str, parameters: Sequence[Part], *headers: str,
    refuses: str = "", misses: str = "", description: str = "",
) -> Part:  # fmt: skip
    """A question to the files."""
    answer = _answer(summary, ref(schema), headers=("Vary", "Unreadable-Files", *headers))
    answer["content"][MEDIA["ndjson"]] = {"schema": ref(row)}
    answer["content"][MEDIA["csv"]] = {"schema": {"type": "string"}}
    answers = {
        "200": answer,
        "400": _problem(refuses or "A parameter is not what it must be."),
        "503": _problem("It cannot be answered now.", "Retry-After"),
        "504": _problem("It was not answered within its time, and was ended: ask for less."),
    }
    if misses:
        answers["404"] = _problem(misses)
    return _read(name, summary, answers, parameters, description=description or f"{summary}.")


_TIME = {"type": "string", "format": "date-time", "pattern": SENT_AT}
_IP = {**_query("ip", "The target, in any spelling.", ADDRESS), "required": True}
_NODE = _query("node", "Only what this node measured.", {"type": "string"})
_SINCE = _query("since", "Only what was measured at this time or later; an RFC 3339 time with a zone.", _TIME)
_UNTIL = _query("until", "Only what was measured before this time.", _TIME)


def _limit(usual: int, most: int) -> Part:
    whole = {"type": "integer", "minimum": 1, "default": usual}
    return _query("limit", f"The most to return; over {most} is {most}.", whole)


def _path_part(name: str, what: str, schema: Part) -> Part:
    return {"name": name, "in": "path", "required": True, "description": what, "schema": schema}


_RECENT = _question(
    "Recent", "The newest results", "RecentResults", "RecentResult",
    [
        _limit(DEFAULT_RECENT, MOST_RECENT),
        _query("ip", "Only results of this target, in any spelling.", ADDRESS),
        _NODE,
        _query("failed", "true: only those without any reply; false: only those with one.", {"type": "boolean"}),
        _SINCE,
        _UNTIL,
        _query("before", "Only results with smaller ids: the next page.", {"type": "integer", "minimum": 1}),
        _query("include", f"Also the traceroute, of at most {MOST_HOPS} hops.", {"enum": ["traceroute"]}),
    ],
    "Link", description="Of all files, newest first by arrival.",
)  # fmt: skip
_RESULT = _question(
    "Result", "One result whole", "WholeResult", "WholeResult",
    [_path_part("id", "Its id.", {"type": "integer", "minimum": 1})],
    misses="No file has a result of this id.", description="In CSV the hops of its traceroute.",
)  # fmt: skip
_TARGETS = _question(
    "Targets", "All targets", "Targets", "Target",
    [_limit(DEFAULT_ROWS, MOST_ROWS), _query("ip", "Only this target, in any spelling.", ADDRESS), _NODE, _SINCE],
    description="The busiest first. `since` chooses targets; the counts are those of all files.",
)  # fmt: skip
_NODES = _question("Nodes", "All nodes", "Nodes", "Node", [_limit(DEFAULT_ROWS, MOST_ROWS)], description="By name.")
_ARRIVALS = _question(
    "Arrivals", "What arrived over time", "Arrivals", "Arrival",
    [
        _query(
            "bucket", f"Seconds, made whole minutes; made longer where there would be over {MOST_BUCKETS}.",
            {"type": "integer", "minimum": 1, "default": 60},
        ),
        {**_SINCE, "description": "The beginning, by arrival; absent: a day before the end."},
        {**_UNTIL, "description": "The end, not included; absent: now."},
        _NODE,
    ],
    description="By time of arrival. A bucket without results is left out.",
)  # fmt: skip
_LINKS = _question(
    "Links", "The links between addresses", "Links", "Link",
    [
        _limit(DEFAULT_ROWS, MOST_ROWS),
        _query("ip", "Only links of this address.", ADDRESS),
        _query("min_count", "Only links that were seen so often.", {"type": "integer", "minimum": 1, "default": 1}),
        _NODE,
        _SINCE,
    ],
    description="The most frequent first. A TTL without an answer is no link. `since` chooses links; the counts are"
    " those of all files.",
)  # fmt: skip
_HOP = _question(
    "Hop", "One address as a hop", "HopSeen", "HopRelation",
    [
        _path_part("ip", "The address, in any spelling.", ADDRESS),
        _limit(DEFAULT_LISTED, MOST_LISTED),
    ],
    misses="It has never answered as a hop.", description="`limit` is that of each list.",
)  # fmt: skip
_PATHS = _question(
    "Paths", "The paths to a target", "Paths", "Path", [_IP, _NODE, _SINCE],
    description=f"Of the newest {MOST_TRACEROUTES} traceroutes; the timeline has the newest {MOST_IN_TIMELINE}.",
)  # fmt: skip
_SERIES = _question(
    "Series", "A target over time", "Series", "Bucket",
    [
        _IP,
        _query(
            "bucket", f"Seconds; made longer where there would be over {MOST_BUCKETS}.",
            {"type": "integer", "minimum": 1},
        ),
        {**_SINCE, "description": "The beginning; absent: a week before the end."},
        {**_UNTIL, "description": "The end, not included; absent: now."},
        _NODE,
    ],
    description="A bucket a node. A quantile is a value that was measured (nearest rank). The extremes are those of the"
    " single packets where the node gave them.",
)  # fmt: skip
_OPENAPI = _read("OpenApi", "This document", {"200": _answer("OpenAPI 3.1.", {"type": "object"})})


def document() -> Part:
    """The document."""
    results = {"/results": _RESULTS, "/rotate": _ROTATE, "/dump": _DUMP}
    health = {
        "/health": _HEALTH, "/ready": _READY, "/metrics": _METRICS, "/stats": _STATS, "/recent": _RECENT,
        "/results/{id}": _RESULT, "/targets": _TARGETS, "/nodes": _NODES,
        "/arrivals": _ARRIVALS, "/links": _LINKS, "/hops/{ip}": _HOP,
        "/paths": _PATHS, "/series": _SERIES, "/openapi.json": _OPENAPI,
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "outputd", "version": __version__, "description": _DESCRIPTION},
        "servers": [RESULTS_SERVER, HEALTH_SERVER],
        "paths": {
            **{path: {"servers": [RESULTS_SERVER], **item} for path, item in results.items()},
            **{path: {"servers": [HEALTH_SERVER], **item} for path, item in health.items()},
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": _SCHEMES,
            "headers": _HEADERS,
            "responses": {
                "NotFound": _problem("There is nothing at this path."),
                "MethodNotAllowed": _problem("The path does not know this method.", "Allow"),
                "Unreadable": _problem("This is not HTTP/1.1, the method is not ASCII, or the path is not UTF-8."),
            },
        },
    }


@cache
def text() -> bytes:
    """The document in JSON."""
    return msgspec.json.encode(document())
