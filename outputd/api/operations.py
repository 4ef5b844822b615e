"""The parts of the OpenAPI document: answers, headers, parameters, and the operations that are made of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outputd.api.endpoints import endpoint_of, endpoint_of_export
from outputd.api.formats import MEDIA
from outputd.queries.exports import Export
from outputd.queries.parameters import Parameter, parameters_of
from outputd.queries.question import Question
from outputd.web.routes import Endpoint
from outputd.web.shapes import ref

Part = dict[str, Any]
JSON = "application/json"
_PROBLEM = "application/problem+json"


def _header(what: str, schema: Part, required: bool = True) -> Part:
    return {"description": what, "required": required, "schema": schema}


def _matching(pattern: str) -> Part:
    return {"type": "string", "pattern": pattern}


CODED = ("Vary", "Content-Encoding")
"""The headers of an answer that is compressed for those who take that."""
_ALWAYS = ("X-Content-Type-Options", "Cache-Control")
HEADERS = {
    "Vary": _header("The answer depends on it.", _matching("^(Accept, )?Accept-Encoding$")),
    "Content-Encoding": _header("It is compressed, as `Accept-Encoding` allows.", {"const": "gzip"}, required=False),
    "Link": _header('The next page, with `rel="next"`.', _matching(r'^<\?.*>; rel="next"$'), required=False),
    "Bucket-Seconds": _header(
        "The length of a bucket, which may be longer than asked.", {"type": "integer", "minimum": 1}
    ),
    "Unreadable-Files": _header(
        "Damaged result files that are missing from this answer.",
        _matching(r"^[^,]+\.db(, [^,]+\.db)*$"),
        required=False,
    ),
    "X-Content-Type-Options": _header("The Content-Type is right.", {"const": "nosniff"}),
    "Cache-Control": _header("The next answer may be another.", {"const": "no-store"}),
    "Retry-After": _header("Seconds after which to try again.", {"type": "integer", "minimum": 1, "maximum": 60}),
    "Allow": _header("The methods of this path.", _matching(r"^[A-Z]+(, [A-Z]+)*$")),
    "WWW-Authenticate": _header("How to send a token.", _matching("^Basic realm=.*, Bearer realm=")),
    "Accept-Encoding": _header("The accepted content coding.", {"const": "gzip"}),
    "Accept-Ranges": _header("Ranges are supported, for closed files only.", {"const": "bytes"}, required=False),
    "ETag": _header("What tells this closed file from any other.", _matching(r'^"[0-9a-f]{64}"$'), required=False),
    "Content-Length": _header("Bytes of this answer.", {"type": "integer", "minimum": 0}),
    "Content-Range": _header("The part, and the size of the file.", _matching(r"^bytes (\d+-\d+|\*)/\d+$")),
    "Content-Disposition": _header(
        "The name of the file.",
        _matching(r'^attachment; filename="results_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.(db|ndjson|parquet)"$'),
    ),
    "Repr-Digest": _header("SHA-256 of the whole file (RFC 9530).", _matching(r"^sha-256=:[A-Za-z0-9+/]{43}=:$")),
}


def answer(what: str, schema: Part, media: str = JSON, headers: Sequence[str] = ()) -> Part:
    """An answer of this media type, which always has these headers."""
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in (*_ALWAYS, *headers)}
    return {"description": what, "headers": named, "content": {media: {"schema": schema}}}


def bare(what: str, *headers: str) -> Part:
    """An answer that never has a body."""
    return {name: value for name, value in answer(what, {}, headers=headers).items() if name != "content"}


def problem(what: str, *headers: str, schema: Part | None = None) -> Part:
    """An answer that is an error."""
    return answer(what, schema or ref("Problem"), _PROBLEM, headers)


_EVERYWHERE = {"500": problem("An error in outputd; its log has details.")}
_REFUSED = {
    "401": problem("The request has no valid token.", "WWW-Authenticate"),
    "403": problem("The token has another role, or a page of another site sent the request."),
}
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "Needed with `--tokens-file`."},
    "password": {"type": "http", "scheme": "basic", "description": "The token as password, for browsers."},
}
_EXPORTED = """\
Of all files, in order of arrival, up to the newest result at the time of the request; each with its traceroute. Two
exports are sent at a time. One that fails is cut off: it lacks its last chunk.
"""
_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/vnd.sqlite3"}
_FILE_HEADERS = ("Content-Length", "Content-Disposition", "Repr-Digest")


def file(what: str, *headers: str) -> Part:
    """An answer that is a result file, or a part of one."""
    return answer(what, _FILE, "application/vnd.sqlite3", (*_FILE_HEADERS, *headers))


def operation(
    endpoint: Endpoint, name: str, summary: str, answers: Part, parameters: Sequence[Part] = (), **more: Any
) -> Part:  # fmt: skip
    """What is done at an endpoint. One that asks for a role may refuse."""
    return _operation(endpoint.method, endpoint.role, name, summary, answers, parameters, more)


def reading(
    endpoint: Endpoint, name: str, summary: str, answers: Part, parameters: Sequence[Part] = (), **more: Any
) -> Part:  # fmt: skip
    """GET, and HEAD, which is answered without a body, and whole."""
    bare = {
        status: answer for status, answer in _bare({**_EVERYWHERE, **answers}).items() if status not in ("206", "416")
    }
    whole = [parameter for parameter in parameters if parameter["name"] != "Range"]
    return {
        "get": operation(endpoint, name, summary, answers, parameters, **more),
        "head": _operation("HEAD", endpoint.role, name, f"{summary}: the headers", bare, whole, {}),
    }


def _operation(
    method: str, role: str | None, name: str, summary: str, answers: Part, parameters: Sequence[Part],
    more: Mapping[str, Any],
) -> Part:  # fmt: skip
    made: Part = {"operationId": f"{method.lower()}{name}", "summary": summary, **more}
    if parameters:
        made["parameters"] = list(parameters)
    refused: Part = {}
    if role is not None:
        made["security"] = [{}, *({scheme: [role]} for scheme in SCHEMES)]
        refused = _bare(_REFUSED) if method == "HEAD" else _REFUSED
    made["responses"] = dict(sorted({**_EVERYWHERE, **refused, **answers}.items()))
    return made


def _bare(answers: Part) -> Part:
    """The same answers without their bodies."""
    return {
        status: {key: value for key, value in answer.items() if key != "content"} for status, answer in answers.items()
    }


def query(name: str, what: str, schema: Part) -> Part:
    """A parameter of the query string."""
    return {"name": name, "in": "query", "description": what, "schema": schema}


def sent_header(name: str, what: str, schema: Part) -> Part:
    """A header of the request."""
    return {"name": name, "in": "header", "description": what, "schema": schema}


def asking(question: Question[Any]) -> Part:
    """A question to the files."""
    paged = ("Link",) if question.is_paged else ()
    cut = ("Bucket-Seconds",) if any(each.name == "bucket" for each in parameters_of(question)) else ()
    found = answer(question.summary, ref(question.whole), headers=(*CODED, "Unreadable-Files", *paged, *cut))
    found["content"][MEDIA["ndjson"]] = {"schema": ref(question.row)}
    found["content"][MEDIA["csv"]] = {"schema": {"type": "string"}}
    answers = {
        "200": found,
        "400": problem("A parameter is invalid."),
        "503": problem("It cannot be answered now.", "Retry-After"),
        "504": problem("It took too long and was ended: ask for less."),
    }
    if any(each.name == "sort" for each in parameters_of(question)):
        answers["410"] = problem("The list can no longer be continued: begin again, without `cursor`.")
    if question.misses:
        answers["404"] = problem(question.misses)
    parameters = [_parameter(question.path, parameter) for parameter in parameters_of(question)]
    return reading(
        endpoint_of(question), question.name, question.summary, answers, parameters, description=question.description
    )


def exporting(export: Export) -> Part:
    """An export in one of its forms."""
    schema = ref("ExportedResult") if export.suffix == "ndjson" else {"type": "string", "format": "binary"}
    answers = {
        "200": answer("The results.", schema, export.media, ("Content-Disposition", "Unreadable-Files")),
        "400": problem("A parameter is invalid, or unknown."),
        "503": problem("It cannot be sent now.", "Retry-After"),
    }
    if export.library:
        answers["501"] = problem(f"{export.library} is not installed.")
    return reading(
        endpoint_of_export(export),
        export.name,
        f"All results as {export.title}",
        answers,
        [_parameter(export.path, parameter) for parameter in parameters_of(export)],
        description=_EXPORTED,
    )


def _parameter(path: str, parameter: Parameter) -> Part:
    kind = parameter.kind
    if f"<{parameter.name}>" in path:
        return {
            "name": parameter.name, "in": "path", "required": True, "description": kind.meaning, "schema": kind.schema
        }  # fmt: skip
    default = {} if parameter.is_needed or parameter.default is None else {"default": parameter.default}
    needed = {"required": True} if parameter.is_needed else {}
    return {**query(parameter.name, kind.meaning, {**kind.schema, **default}), **needed}
