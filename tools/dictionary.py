"""What each table and column of the databases means: the words of the data dictionary."""

from __future__ import annotations

TABLES: dict[str, dict[str, str]] = {
    "store": {
        "ping_results": "One row per result.",
        "traceroute_results": "One row per result that has a traceroute.",
        "traceroute_hops": "One row per reply of a traceroute, or per TTL without a reply.",
        "batches": (
            "One row per POST that stored or rejected items. Its results have the ids `first_id` to `last_id`: join by"
            " `ping_results.id BETWEEN first_id AND last_id`."
        ),
        "rejected_results": "One row per invalid item. At most 5 % of a file; beyond that, items are only counted.",
        "raw_bodies": (
            "One row per POST of [another format](formats.md), up to `--raw-percent` of a file; beyond that, bodies are"
            " not kept."
        ),
        "rtt_spread": "One row per result that says how its round-trip times were spread.",
        "result_file": "One row: what this file is.",
    },
    "ledger": {
        "known": "Every address that was discovered.",
        "waiting": "Addresses that have not been delivered to `input_service` yet, in the order of their discovery.",
        "refused": "Addresses that `input_service` answered with 400, 413 or 422. They are not sent again.",
        "keys": "Idempotency-Keys of the last 12 hours.",
        "mark": "One row: how far the ledger has read the result files.",
        "finder": "How many of the known addresses each sender has found.",
    },
}
_HOLDER = "a token's name, or the /24 or /48 of a peer without one; empty for all others"
COLUMNS: dict[str, dict[str, dict[str, str]]] = {
    "store": {
        "ping_results": {
            "id": "number of the result; unique over all files of one instance",
            "ip": "target: IPv4 or IPv6 in canonical text",
            "sent": "packets sent",
            "received": "packets received; may exceed `sent` (duplicates); 0 means failed",
            "packet_loss": "percent, as the node reported it, else computed",
            "avg_rtt": "mean round-trip time, nanoseconds. **Failed pings often carry 0**: filter by `received > 0`",
            "timestamp": "when it was measured, by the node's clock: UTC, `2026-01-07 22:30:00.123456789`",
            "error": "error text of the node",
            "created_at": "when the POST arrived, by outputd's clock: UTC",
        },
        "traceroute_results": {
            "id": "equal to `ping_result_id`",
            "ping_result_id": "the result it belongs to",
            "method": "`icmp`, `tcp`, `udp` or any other text",
            "completed": "1 if the node says that the target was reached",
            "error": "error text of the node",
        },
        "traceroute_hops": {
            "id": "rising, in the order in which the node listed the hops",
            "traceroute_id": "the traceroute it belongs to",
            "ttl": "time to live of the probe, 0 to 255. Several rows may share one TTL",
            "ip": "address that replied; text that is no address (`_gateway`, `*`) is kept as it came",
            "rtt": "round-trip time, nanoseconds",
            "timeout": "1 if nothing replied; `ip` does not count then",
        },
        "batches": {
            "id": "number of the POST; unique over all files of one instance",
            "node": "name of the token, else `X-Ping-Node`, else the peer's address",
            "received_at": "when it arrived: UTC",
            "digest": "SHA-256 of the decoded body",
            "key": "its `Idempotency-Key`",
            "first_id": "id of its first result; NULL if none was stored",
            "last_id": "id of its last result",
            "accepted": "results stored",
            "rejected": "items rejected",
            "format": "of what the body was: `native`, or the name of [another format](formats.md)",
            "time_from": "where times are from that its items did not carry: `header` (`X-Measured-At`, `?at=`),"
            " `arrival`; `native` where none was missing",
        },
        "raw_bodies": {
            "batch_id": "the POST that it was",
            "format": "its format",
            "version": "version of the reader that made its rows",
            "body": "the body as it was sent (without its `Content-Encoding`), compressed by zstd",
        },
        "rejected_results": {
            "id": "number of the row; unique in this file only",
            "batch_id": "the POST it came with",
            "item_index": "its place in the body, from 0",
            "field": "path to the invalid value, such as `traceroute.hops[2].ttl`",
            "reason": "why it was rejected",
            "raw": "the item as it was sent, at most 64 KiB",
        },
        "rtt_spread": {
            "ping_result_id": "the result it belongs to",
            "min_rtt": "shortest round-trip time, nanoseconds",
            "max_rtt": "longest round-trip time, nanoseconds",
            "stddev_rtt": "standard deviation, nanoseconds",
        },
        "result_file": {
            "sequence": "place of this file among the files of the instance, from 1",
            "created_at": "when the file was begun: UTC",
            "first_id": "no result of an older file has this id or a higher one",
            "first_batch_id": "the same for batches",
            "first_hop_id": "the same for hops",
            "probed_at": "when a write was last tried without results (`/ready`)",
            "instance": "random name, the same in all files of one instance; NULL in files closed by 0.0.1",
        },
    },
    "ledger": {
        "known": {"address": "4 or 16 bytes"},
        "waiting": {"id": "order of discovery", "address": "4 or 16 bytes"},
        "refused": {
            "address": "4 or 16 bytes",
            "status": "what `input_service` answered",
            "refused_at": "when: UTC",
        },
        "keys": {
            "name": "hash of sender and key",
            "digest": "SHA-256 of the body",
            "answer": "the first answer, JSON",
            "ran_s": "when: how long the service had run by then, seconds",
        },
        "mark": {
            "batch_id": "batches up to this id have been read",
            "known": "number of known addresses",
            "ran_s": "how long the service has run, over all its starts, seconds",
        },
        "finder": {"sender": _HOLDER, "found": "number of addresses"},
    },
}
EXPORTED: dict[str, tuple[str, bool, str, str]] = {
    "id": ("int64", False, "id", "number of the result; unique over all files of one instance"),
    "instance": ("string", True, "instance", "random name of the instance; null in files closed by 0.0.1"),
    "batch_id": ("int64", False, "batch_id", "number of the POST; unique over all files of one instance"),
    "node": ("string", False, "node", "name of the token, else `X-Ping-Node`, else the peer's address"),
    "received_at": ("timestamp[us, tz=UTC]", False, "received_at", "when it arrived, by outputd's clock"),
    "ip": ("string", False, "ip", "target: IPv4 or IPv6 in canonical text"),
    "sent": ("int64", False, "sent", "packets sent"),
    "received": ("int64", False, "received", "packets received; may exceed `sent` (duplicates); 0 means failed"),
    "packet_loss": ("double", False, "packet_loss", "percent, as the node reported it, else computed"),
    "avg_rtt_ns": ("int64", True, "avg_rtt", "mean round-trip time, nanoseconds. **Failed pings often carry 0**"),
    "min_rtt_ns": ("int64", True, "min_rtt", "shortest round-trip time, nanoseconds"),
    "max_rtt_ns": ("int64", True, "max_rtt", "longest round-trip time, nanoseconds"),
    "stddev_rtt_ns": ("int64", True, "stddev_rtt", "standard deviation, nanoseconds"),
    "timestamp": (
        "timestamp[us, tz=UTC]", False, "timestamp",
        "when it was measured, by the node's clock: years 1 to 9999. Parquet has whole microseconds, rounded down;"
        " NDJSON has all digits",
    ),
    "timestamp_ns": ("int16", False, "", "nanoseconds to add to `timestamp`, 0 to 999"),
    "error": ("string", True, "error", "error text of the node"),
    "traceroute": ("struct", True, "traceroute", "null if the result has none"),
    "traceroute.method": ("string", True, "traceroute.method", "`icmp`, `tcp`, `udp` or any other text"),
    "traceroute.completed": ("bool", True, "traceroute.completed", "whether the node says the target was reached"),
    "traceroute.error": ("string", True, "traceroute.error", "error text of the node"),
    "traceroute.hops": ("list", False, "traceroute.hops", "in the order in which the node listed them"),
    "traceroute.hops[].ttl": ("uint8", False, "traceroute.hops[].ttl", "time to live; several hops may share one"),
    "traceroute.hops[].ip": ("string", True, "traceroute.hops[].ip", "address that replied, or text as it came"),
    "traceroute.hops[].rtt_ns": ("int64", True, "traceroute.hops[].rtt", "round-trip time, nanoseconds"),
    "traceroute.hops[].timeout": (
        "bool", False, "traceroute.hops[].timeout", "whether nothing replied; `ip` does not count then",
    ),
}  # fmt: skip
"""The columns of an export: type in Parquet, whether it may be null, name in NDJSON, meaning."""
REJECTED: dict[str, tuple[str, str]] = {
    "id": ("int64", "number of the item in its result file; not unique in the archive"),
    "instance": ("string", "as in the name of the object"),
    "batch_id": ("int64", "number of the POST; with `instance` and `item_index` it is unique in the archive"),
    "node": ("string", "as for results"),
    "received_at": ("timestamp[us, tz=UTC]", "when it arrived, by outputd's clock"),
    "item_index": ("int64", "place in the body, from 0"),
    "field": ("string", "which field is invalid"),
    "reason": ("string", "why"),
    "raw": ("string", "the item as it was sent, at most 64 KiB"),
}
"""Columns of the archive's rejected items: type and meaning; none is ever null."""
