"""SQL that several readers of the result files share: where rows stand that no index tells, and what is believed."""

from __future__ import annotations

from collections.abc import Sequence

from outputd.store.times import a_day_after


def first_above(result: str, table: str, column: str, low: str | None = None, last: str | None = None) -> str:
    """SQL for the least id of a table whose rows from there on have a `column` above `result`, by bisection in C.

    `table` has its schema, `column` rises with the id (or is NULL), `low` is an id at or below the one that is sought.
    No row above `last` is looked at. An id beyond the last one says that there is none, NULL that the table is empty.
    """
    middle = "((low + high) / 2)"
    bound = f" AND id <= {last}" if last else ""
    owner = f"(SELECT {column} FROM {table} WHERE id >= {middle}{bound} AND {column} IS NOT NULL ORDER BY id LIMIT 1)"
    is_below = f"coalesce({owner} <= {result}, 0)"
    return (
        f"(WITH RECURSIVE span(low, high) AS (SELECT {low or f'(SELECT min(id) FROM {table})'},"
        f" {f'{last} + 1' if last else f'(SELECT max(id) + 1 FROM {table})'} UNION ALL"
        f" SELECT iif({is_below}, {middle} + 1, low), iif({is_below}, high, {middle}) FROM span WHERE low < high)"
        " SELECT low FROM span WHERE low >= high)"
    )


def first_hop(result: str, schema: str = "f") -> str:
    """SQL for the least id of the hops of this result and later ones."""
    return first_above(f"({result} - 1)", f"{schema}.traceroute_hops", "traceroute_id")


def batch_of(result: str, schema: str = "f") -> str:
    """SQL for the id of the batch that this result came in."""
    return first_above(f"({result} - 1)", f"{schema}.batches", "last_id")


NODES_OF_CHOSEN = f"""
(SELECT * FROM f.batches WHERE id >= {batch_of("(SELECT min(id) FROM temp.chosen)")}
   AND id <= {batch_of("(SELECT max(id) FROM temp.chosen)")}) b
CROSS JOIN temp.chosen c ON c.id BETWEEN b.first_id AND b.last_id
"""
"""SQL of a join: each chosen result of a file (temp.chosen c) with its batch (b)."""


def believed(result: str, batch: str) -> str:
    """SQL for when a result was measured; a time that cannot be (Go's zero time, far future) gives way to arrival."""
    at, arrived = f"{result}.timestamp", f"{batch}.received_at"
    least = "'1970-01-01'"  # whole: beside a DATETIME column '1970' is a number, and less than any text
    return f"iif({at} >= {least} AND ({at} <= {arrived} OR {at} <= {a_day_after(arrived)}), {at}, {arrived})"


def is_address(ip: str) -> str:
    """SQL for whether the text of a hop is an address (which is stored in canonical form), and none that is written
    for silence."""
    return (
        f"CASE WHEN instr({ip}, ':') THEN ({ip} GLOB '*::*' OR {ip} GLOB '*:*:*:*:*:*:*:*') AND {_none(ip, _NO_IPV6)}"
        f" ELSE {ip} GLOB '[0-9]*.[0-9]*.[0-9]*.[0-9]*' AND {_none(ip, _NO_IPV4)} END"
    )


def _none(ip: str, patterns: Sequence[str]) -> str:
    return " AND ".join(f"{ip} NOT GLOB '{pattern}'" for pattern in patterns)


SILENCE = ("0.0.0.0", "::")
"""Addresses that some tools write for a hop that did not answer."""
_NO_BYTE = ("0[0-9]*", "25[6-9]*", "2[6-9][0-9]*", "[3-9][0-9][0-9]*", "[0-9][0-9][0-9][0-9]*")
_NO_IPV4 = (*SILENCE, "*[^0-9.]*", "*.*.*.*.*", *_NO_BYTE, *(f"*.{pattern}" for pattern in _NO_BYTE))
_NO_IPV6 = (
    *SILENCE, "*[^0-9a-f:]*", "*:::*", "*::*::*", ":[^:]*", "*[^:]:", "*:*:*:*:*:*:*:*:*",
    "*[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]*",
)  # fmt: skip


def believable(rtt: str) -> str:
    """SQL for a round-trip time that can be: one of an hour and more would drown all others in a sum."""
    return f"iif({rtt} < 3600000000000, {rtt}, NULL)"


LOST = "CAST(total(max(0, sent - received)) AS INTEGER)"
"""SQL: the packets that results have lost in all. One with duplicates has lost none, and makes up for no other."""

LOSS = "round(iif(sent, min(100.0, 100.0 * lost / sent), 100.0), 3)"
"""SQL: percent of the packets sent, by sums; 100 where none was sent."""
