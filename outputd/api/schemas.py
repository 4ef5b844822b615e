"""The schemas of the OpenAPI document: what nodes send, from the types of results.py, and what they are answered. Pure.

What those types cannot say (formats, units, rules between values) is added to them here; answers are spelled here.
"""

from __future__ import annotations

import msgspec

from outputd.api.checks import DECLARED
from outputd.api.shapes import (
    ADDRESS,
    FILE_NAME,
    REFERENCE,
    SENT_AT,
    Schema,
    count,
    instant,
    listed,
    or_null,
    record,
    ref,
    text,
)
from outputd.queries import MOST_RECENT
from outputd.queries.series import QUANTILES
from outputd.results.agreement import MOST_ERRORS
from outputd.results.model import MOST_RESULTS, PingResult

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
        "ip": {"description": "who answered; what is no address is kept as text (255 characters) and never fed on"},
        "rtt": _rtt("round-trip time"),
        "timeout": {"description": "nobody answered; wins over an ip"},
    },
}  # fmt: skip


def schemas() -> dict[str, Schema]:
    """All schemas of the document, by name."""
    _, sent = msgspec.json.schema_components([PingResult], ref_template=REFERENCE)
    for name, fields in _MORE.items():
        for field, more in fields.items():
            sent[name]["properties"][field].update(more)
    sent["PingResult"]["examples"] = [_EXAMPLE]
    return {**sent, **_ANSWERS}


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
    "successful_pings": count("those with a reply"),
    "failed_pings": count("those without any"),
    "hops_discovered": count("addresses that this instance had never seen as a hop"),
    "hops_sent": count("addresses delivered to input_service"),
    "last_result_time": {
        "description": "the latest timestamp of a result between 1970 and tomorrow; null before any",
        "anyOf": [instant("a time"), {"type": "null"}],
    },
    "current_db_file": {**FILE_NAME, "description": "the file that is being written"},
    "current_db_size": count("its size in bytes"),
    "last_rotation": instant("its creation"),
}
_NODES: Schema = {"type": "array", "items": {"type": "string"}, "description": "who measured it"}
_LOSS: Schema = {"type": "number", "minimum": 0, "maximum": 100, "description": "percent of the packets"}
_MEASURED: dict[str, Schema] = {
    "results": count("results", least=1),
    "failed": count("those without any reply"),
    "sent": count("packets sent"),
    "received": count("packets received, duplicates among them"),
    "lost": count("packets lost, result by result: duplicates of one make up for no other"),
    "loss_percent": _LOSS,
}
_COMPLETE_UNTIL = or_null(instant("the arrival up to which all results are counted here; null before any"))
_DIFFERENCE = or_null({
    "type": "integer", "description": "mean of the farther round-trip time less the nearer one, nanoseconds",
})  # fmt: skip
_QUANTILE = or_null({"type": "integer", "minimum": 0, "description": "round-trip time, nanoseconds"})
_QUESTIONS: dict[str, Schema] = {
    "StoredTraceroute": record(
        "A traceroute as it is stored.",
        {
            "method": or_null(text("icmp, tcp or another")),
            "completed": or_null({"type": "boolean", "description": "whether the target was reached"}),
            "error": or_null(text("why it failed")),
            "hops": listed("StoredHop", "in the order in which the node wrote them"),
        },
    ),
    "StoredHop": record(
        "One reply, or silence.",
        {
            "ttl": {"type": "integer", "minimum": 0, "maximum": 255, "description": "time to live of the probe"},
            "ip": or_null(text("who answered; no address where the node gave none")),
            "rtt": or_null(count("round-trip time, nanoseconds")),
            "timeout": {"type": "boolean", "description": "nobody answered"},
        },
    ),
    "WholeResult": record(
        "All that is stored of one result.",
        {
            "id": count("names this result in all files of the instance", least=1),
            "ip": {**ADDRESS, "description": "the target"},
            "sent": count("packets sent"),
            "received": count("packets received"),
            "packet_loss": _LOSS,
            "avg_rtt": or_null(count("mean round-trip time, nanoseconds")),
            "timestamp": instant("when it was measured"),
            "min_rtt": or_null(count("shortest round-trip time, nanoseconds")),
            "max_rtt": or_null(count("longest round-trip time, nanoseconds")),
            "stddev_rtt": or_null(count("standard deviation of the round-trip times, nanoseconds")),
            "node": or_null(text("who measured")),
            "received_at": instant("when it arrived"),
            "traceroute": {"anyOf": [ref("StoredTraceroute"), {"type": "null"}]},
            "batch": record(
                "The POST it came in.",
                {
                    "id": or_null(count("its number", least=1)),
                    "accepted": or_null(count("results of it that were stored")),
                    "rejected": or_null(count("items of it that were not")),
                },
            ),
            "file": {**FILE_NAME, "description": "the file that has it"},
        },
        {"error": text("why it failed, if the node said so")},
    ),
    "Target": record(
        "What was measured of one target.",
        {
            "ip": {**ADDRESS, "description": "the target"},
            **_MEASURED,
            "last_rtt_ns": or_null(count("the newest round-trip time, nanoseconds")),
            "first_seen": instant("when it was measured first"),
            "last_seen": instant("when it was measured last"),
            "nodes": _NODES,
        },
    ),
    "Targets": record(
        "Targets, the busiest first.", {"targets": listed("Target", "the targets"), "complete_until": _COMPLETE_UNTIL}
    ),
    "Node": record(
        "What one node has sent.",
        {
            "node": text("its name, or the address of the sender"),
            "batches": count("POSTs that stored or rejected items", least=1),
            "results": count("results stored"),
            "rejected": count("items that were no results"),
            "first_heard": instant("arrival of the first POST"),
            "last_heard": instant("arrival of the last POST"),
            "results_per_s": {"type": "number", "minimum": 0, "description": "results a second, of five minutes"},
            "clock_offset_s": or_null({
                "type": "number",
                "description": "the latest timestamp of its last POST less its arrival, seconds: above 0 its clock is"
                " ahead, well below 0 it is behind, or the results waited",
            }),
        },
    ),
    "Nodes": record("Nodes by name.", {"nodes": listed("Node", "the nodes"), "complete_until": _COMPLETE_UNTIL}),
    "Arrival": record(
        "What arrived in one bucket of time.",
        {"start": instant("its beginning"), **_MEASURED},
    ),
    "Arrivals": record(
        "Results by time of arrival.",
        {
            "bucket_s": {**count("length of a bucket, seconds", least=60), "multipleOf": 60},
            "since": instant("the beginning"),
            "until": instant("the end, which is not included"),
            "buckets": listed("Arrival", "those that have results, by time"),
            "complete_until": _COMPLETE_UNTIL,
        },
    ),
    "Link": record(
        "Two addresses that answered at consecutive TTLs of a traceroute.",
        {
            "from": text("the nearer one"),
            "to": text("the farther one"),
            "count": count("how often", least=1),
            "rtt_difference_ns": _DIFFERENCE,
            "first_seen": instant("when first"),
            "last_seen": instant("when last"),
            "nodes": _NODES,
        },
    ),
    "Links": record(
        "Links, the most frequent first.",
        {
            "links": listed("Link", "the links"),
            "complete_until": _COMPLETE_UNTIL,
            "complete": {
                "type": "boolean", "description": "false where a file has so many that later ones are not counted"
            },
        },
    ),
    "Neighbour": record(
        "An address before or after a hop.",
        {
            "ip": text("its address"),
            "count": count("how often", least=1),
            "rtt_difference_ns": _DIFFERENCE,
        },
    ),
    "TargetBehind": record(
        "A target that was reached through a hop.",
        {
            "ip": {**ADDRESS, "description": "the target"},
            "count": count("how often", least=1),
            "last_seen": instant("when last"),
        },
    ),
    "HopSeen": record(
        "An address that answered as a hop.",
        {
            "ip": {**ADDRESS, "description": "its address"},
            "seen": count("how often it answered: once for each TTL of a traceroute", least=1),
            "first_seen": instant("when first"),
            "last_seen": instant("when last"),
            "nodes": _NODES,
            "before": listed("Neighbour", "who answered at the TTL before, the most frequent first"),
            "after": listed("Neighbour", "who answered at the TTL after, the most frequent first"),
            "targets": listed("TargetBehind", "the targets behind it, the newest first"),
            "target_count": count("how many targets there are", least=1),
            "complete": {
                "type": "boolean", "description": "false where only the newest of what is not summed up was read"
            },
        },
    ),
    "HopRelation": record(
        "One line about a hop.",
        {
            "relation": {"enum": ["before", "after", "target"]},
            "ip": text("the neighbour or target"),
            "count": count("how often", least=1),
            "rtt_difference_ns": _DIFFERENCE,
            "last_seen": or_null(instant("when last")),
        },
    ),
    "Path": record(
        "A path of one node to a target.",
        {
            "node": text("who measured"),
            "hops": {
                "type": "array", "items": {"type": ["string", "null"]},
                "description": "who answered at each TTL from 1 on, null for silence; of several the least text",
            },
            "count": count("how often", least=1),
            "first_seen": instant("when first"),
            "last_seen": instant("when last"),
            "completed": or_null({"type": "boolean", "description": "whether it ever reached the target"}),
        },
    ),
    "Paths": record(
        "The paths to one target, the one that was seen last first.",
        {
            "ip": {**ADDRESS, "description": "the target"},
            "paths": listed("Path", "the distinct paths"),
            "timeline": {
                "type": "array",
                "description": "the newest traceroutes, the newest first: time, node, place in `paths` from 0",
                "items": {
                    "type": "array", "minItems": 3, "maxItems": 3,
                    "prefixItems": [instant("when"), text("the node"), count("the place")],
                },
            },
            "traceroutes": count("traceroutes that were read, the newest"),
            "complete": {"type": "boolean", "description": "whether these are all"},
        },
    ),
    "Bucket": record(
        "What one node measured in one bucket of time.",
        {
            "start": instant("its beginning"),
            "node": text("who measured"),
            "count": count("results", least=1),
            **{name: schema for name, schema in _MEASURED.items() if name != "results"},
            "rtt_min_ns": _QUANTILE,
            **{f"rtt_p{rank}_ns": _QUANTILE for rank in QUANTILES},
            "rtt_max_ns": _QUANTILE,
        },
    ),
    "Series": record(
        "Round-trip times and losses of one target over time.",
        {
            "ip": {**ADDRESS, "description": "the target"},
            "bucket_s": count("length of a bucket, seconds", least=1),
            "since": instant("the beginning"),
            "until": instant("the end, which is not included"),
            "buckets": listed("Bucket", "those that have results, by time and node"),
        },
    ),
}  # fmt: skip
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
    "Ready": record("Results can be stored.", {"status": {"const": "ready"}}),
    "Stats": record("Counts since the start of the process, and the current file.", _COUNTS),
    "Health": record(
        "How it stands with the service.",
        {
            "status": {"enum": ["healthy", "unhealthy"], "description": "unhealthy: results are not being stored"},
            "version": text("version of outputd"),
            "uptime": {"type": "string", "pattern": r"^(\d+h)?(\d+m)?\d+s$", "examples": ["2h15m30s"]},
            "stats": ref("Stats"),
            "checks": record("Only database and disk can fail.", {check.name: check.schema for check in DECLARED}),
        },
    ),
    "RecentResult": record(
        "A stored result.",
        {
            "id": count("names this result in all files of the instance", least=1),
            "ip": {**ADDRESS, "description": "the target"},
            "sent": count("packets sent"),
            "received": count("packets received"),
            "packet_loss": {"type": "number", "minimum": 0, "maximum": 100, "description": "percent"},
            "avg_rtt": {"type": ["integer", "null"], "minimum": 0, "description": "mean round-trip time, nanoseconds"},
            "timestamp": instant("when it was measured"),
        },
        {
            "error": text("why it failed, if the node said so"),
            "traceroute": {
                "description": "with include=traceroute", "anyOf": [ref("StoredTraceroute"), {"type": "null"}]
            },
        },
    ),
    "RecentResults": {"type": "array", "items": ref("RecentResult"), "maxItems": MOST_RECENT},
    **_QUESTIONS,
}  # fmt: skip
