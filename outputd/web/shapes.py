"""The words in which the API describes what it answers: counts, texts, times, records. JSON Schema; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/{name}"
SENT_AT = (
    r"^(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$"
)
"""The pattern of a time as it may be sent."""
_PRINTED_AT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$"
ADDRESS: Schema = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
"""An IPv4 or IPv6 address, without a zone."""
FILE_NAME: Schema = {
    "type": "string", "pattern": r"^results_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.db$",
    "examples": ["results_2026-01-07_22-30-45.db"],
}  # fmt: skip
"""The name of a result file."""


def ref(name: str) -> Schema:
    """A reference to a schema."""
    return {"$ref": REFERENCE.format(name=name)}


def record(what: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these members."""
    return {
        "type": "object", "description": what, "properties": {**required, **(optional or {})},
        "required": list(required),
    }  # fmt: skip


def address(what: str) -> Schema:
    """An address, in canonical text."""
    return {**ADDRESS, "description": what}


def count(what: str, least: int = 0) -> Schema:
    """A whole number."""
    return {"type": "integer", "minimum": least, "description": what}


def text(what: str) -> Schema:
    """Any text."""
    return {"type": "string", "description": what}


def instant(what: str) -> Schema:
    """A time as it is printed."""
    return {"type": "string", "format": "date-time", "pattern": _PRINTED_AT, "description": what}


def flag(what: str) -> Schema:
    """true or false."""
    return {"type": "boolean", "description": what}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"description": schema["description"], "anyOf": [schema, {"type": "null"}]}


def listed(name: str, what: str) -> Schema:
    """A list of what a schema describes."""
    return {"type": "array", "items": ref(name), "description": what}
