"""The schemas of the OpenAPI document: what nodes send, from the types of results.py, and what they are answered. Pure.

What those types cannot say (formats, units, rules between values) is added to them here. What questions are answered
stands with each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outputd.api.checks import DECLARED, NAMES, Declared
from outputd.queries import QUESTIONS
from outputd.queries.exports import EXPORTED
from outputd.queries.labels import schemas_with
from outputd.results.agreement import MOST_ERRORS
from outputd.results.model import MOST_RESULTS, PingResult
from outputd.web.shapes import (
    ADDRESS,
    FILE_NAME,
    REFERENCE,
    SENT_AT,
    Schema,
    count,
    flag,
    instant,
    listed,
    or_null,
    record,
    ref,
    text,
)

_EXAMPLE = {
    "ip": "8.8.8.8", "sent": 4, "received": 4, "packet_loss": 0, "avg_rtt": 15_000_000,
    "timestamp": "2026-01-07T22:30:00Z",
}  # fmt: skip
_EXAMPLE_TRACE = {
    "method": "icmp",
    "completed": True,
    "hops": [
        {"ttl": 1, "ip": "192.168.1.1", "rtt": 2_000_000},
        {"ttl": 2, "timeout": True},
        {"ttl": 3, "ip": "8.8.8.8", "rtt": 15_000_000},
    ],
}


def _rtt(what: str) -> Schema:
    return {"description": f"{what} in nanoseconds; -1 is absent, as RIPE Atlas writes it"}


_MORE: dict[str, dict[str, Schema]] = {
    "PingResult": {
        "ip": {"description": "the target; kept in its canonical spelling, IPv4-mapped ones as IPv4", **ADDRESS},
        "sent": {"description": "packets sent"},
        "received": {"description": "packets received; duplicates may make it more than were sent"},
        "timestamp": {
            "description": "when it was measured: RFC 3339 with a zone, no leap second, years 0001-9999 also in UTC",
            "format": "date-time", "pattern": SENT_AT,
        },
        "packet_loss": {
            "description": "percent; absent: computed; a negative one is 0 where received exceeds sent, else wrong",
            "minimum": 0,
        },
        "avg_rtt": _rtt("mean round-trip time"),
        "min_rtt": _rtt("shortest round-trip time"),
        "max_rtt": _rtt("longest round-trip time"),
        "stddev_rtt": _rtt("standard deviation of the round-trip times"),
        "error": {"description": "why it failed"},
        "traceroute": {"description": "the path to the target, where it was traced"},
    },
    "Traceroute": {
        "method": {"description": "icmp, tcp or another"},
        "completed": {"description": "whether the target was reached"},
        "error": {"description": "why it failed"},
        "hops": {"description": "in any order, with gaps, several to a TTL"},
    },
    "Hop": {
        "ttl": {"description": "time to live of the probe"},
        "ip": {"description": "address that replied; text that is no address is kept (255 characters) and never fed"},
        "rtt": _rtt("round-trip time"),
        "timeout": {"description": "no reply; takes precedence over an ip"},
    },
}  # fmt: skip


def schemas(labels: Sequence[str]) -> dict[str, Schema]:
    """All schemas of the document, by name; `labels` are what the service knows of addresses."""
    _, sent = msgspec.json.schema_components([PingResult], ref_template=REFERENCE)
    for name, fields in _MORE.items():
        for field, more in fields.items():
            sent[name]["properties"][field].update(more)
    sent["PingResult"]["examples"] = [_EXAMPLE]
    schemas = {**sent, **_ANSWERS, **EXPORTED, "Health": _health(DECLARED if not labels else (*DECLARED, NAMES))}
    for question in QUESTIONS:
        schemas.update(schemas_with(labels, question))
    return schemas


def _health(checks: Sequence[Declared]) -> Schema:
    return record(
        "The state of the service.",
        {
            "status": {"enum": ["healthy", "unhealthy"], "description": "unhealthy: results are not being stored"},
            "version": text("version of outputd"),
            "uptime": {"type": "string", "pattern": r"^(\d+h)?(\d+m)?\d+s$", "examples": ["2h15m30s"]},
            "stats": ref("Stats"),
            "checks": record("Only database and disk can fail.", {check.name: check.schema for check in checks}),
        },
    )


_ERRORS: Schema = {
    "type": "array", "minItems": 1, "maxItems": MOST_ERRORS, "items": ref("ItemError"),
    "description": f"the first {MOST_ERRORS} of them",
}  # fmt: skip
_DUPLICATE: Schema = {
    "const": True, "description": "the Idempotency-Key was used before: the first answer again, nothing was stored now"
}  # fmt: skip
_PROBLEM: dict[str, Schema] = {
    "title": text("the name of the status"),
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "detail": text("what is wrong, for a person"),
}
_COUNTS: dict[str, Schema] = {
    "total_results": count("results stored"),
    "successful_pings": count("results with a reply"),
    "failed_pings": count("results without any reply"),
    "hops_discovered": count("addresses that this instance had never seen as a hop"),
    "hops_sent": count("addresses delivered to input_service"),
    "last_result_time": {
        "description": "the latest timestamp of a result between 1970 and tomorrow, by today's clock; null before any",
        "anyOf": [instant("a time"), {"type": "null"}],
    },
    "current_db_file": {**FILE_NAME, "description": "the file that is being written"},
    "current_db_size": count("its size in bytes"),
    "last_rotation": instant("its creation"),
}
_ANSWERS: dict[str, Schema] = {
    "Results": {
        "type": "array", "items": ref("PingResult"), "maxItems": MOST_RESULTS,
        "examples": [[{**_EXAMPLE, "traceroute": _EXAMPLE_TRACE}]],
        "description": "Unknown members are ignored, and null means absent, at every level. 4.0 is no integer.",
    },
    "Stored": record(
        "All items are results, and on disk.",
        {"status": {"const": "ok"}, "received": count("results stored")},
        {"duplicate": _DUPLICATE},
    ),
    "PartlyStored": record(
        "The good items are on disk; the others are kept in `rejected_results`.",
        {
            "status": {"const": "partial"},
            "received": count("results stored", least=1),
            "rejected": count("items that are no results", least=1),
            "errors": _ERRORS,
        },
        {"duplicate": _DUPLICATE},
    ),
    "ItemError": record(
        "What is wrong with one item.",
        {
            "index": {**count("its place in the body, from 0"), "maximum": MOST_RESULTS - 1},
            "field": text("the path to the wrong value, such as traceroute.hops[2].ttl; empty for the item itself"),
            "error": {**text("what is wrong"), "maxLength": 500},
        },
    ),
    "Problem": record("A problem of RFC 9457, of the type about:blank.", _PROBLEM),
    "NothingStored": record(
        "A problem: no item is a result. The items are kept in `rejected_results`.",
        {
            **_PROBLEM,
            "received": {"const": 0},
            "rejected": count("items of the body", least=1),
            "errors": _ERRORS,
        },
    ),
    "Rotated": record(
        "A new file is being written.",
        {"status": {"const": "rotated"}, "file": {**FILE_NAME, "description": "its name"}},
    ),
    "Files": record("The result files.", {"files": listed("File", "oldest first, the current one last")}),
    "File": record(
        "A result file. What its manifest says is null while it has none: of the current one, and until it is made.",
        {
            "file": {**FILE_NAME, "description": "its name"},
            "current": flag("whether it is being written"),
            "created": instant("its creation"),
            "size_bytes": count("its size"),
            "sha256": or_null({**text("SHA-256 of the file"), "pattern": "^[0-9a-f]{64}$"}),
            "results": or_null(count("results in it; null, as are the other counts, where it is damaged")),
            "rejected": or_null(count("rejected items kept in it")),
            "traceroutes": or_null(count("traceroutes in it")),
            "hops": or_null(count("hops in it")),
            "first_measured": or_null(instant("least timestamp of a result, as the node gave it; null without any")),
            "last_measured": or_null(instant("greatest timestamp of a result")),
            "first_arrived": or_null(instant("arrival of its first POST; null without any")),
            "last_arrived": or_null(instant("arrival of its last POST, by the clock")),
        },
    ),
    "Ready": record("Results can be stored.", {"status": {"const": "ready"}}),
    "Stats": record("Counts since the start of the process, and the current file.", _COUNTS),
}  # fmt: skip
