"""The SQL of a page of an export. Each statement gives one row; a list in it is JSON.

`:above` is the id up to which all was read, `:low` and `:high` the ids to look at, `:rows` the most to choose. What is
looked up by bisection is sought among the batches and hops of a Stretch, whose fields are parameters, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outputd.store.fragments import first_above

_MOST_BATCHES = 2048
"""A page looks at no more of them."""
_INTS, _INTS_OR_NONE, _TEXTS, _TEXTS_OR_NONE = list[int], list[int | None], list[str], list[str | None]
Columns = Sequence[tuple[str, Any]]
"""SQL of columns, with the type of the list of each."""


def _columns(columns: Columns) -> str:
    """SQL of each column as one list in JSON."""
    return ", ".join(f"CAST(json_group_array({value}) AS BLOB)" for value, _ in columns)


def octets(text: str) -> str:
    """SQL for the bytes of a text, 0 of NULL."""
    return f"coalesce(length(CAST({text} AS BLOB)), 0)"


def _batch_of(result: str) -> str:
    return first_above(f"({result} - 1)", "main.batches", "last_id", ":first_batch_id", ":last_batch_id")


def _first_hop(result: str) -> str:
    return first_above(f"({result} - 1)", "main.traceroute_hops", "traceroute_id", ":first_hop_id", ":last_hop_id")


SPAN = f"""
SELECT min(first_id), max(last_id), min(id), max(id) FROM (
  SELECT id, first_id, last_id FROM batches
  WHERE id >= {_batch_of("(:above + 1)")} AND id <= :last_batch_id AND first_id IS NOT NULL
  ORDER BY id LIMIT {_MOST_BATCHES}
)
"""
SPAN_OF_TARGET = """
SELECT max(id) FROM (
  SELECT id FROM ping_results INDEXED BY ping_results_ip WHERE ip = :ip AND id > :above AND id <= :last ORDER BY id
  LIMIT :rows
)
"""
_PLACES = f"""
SELECT CAST(json_group_array(json_array(id, batch_id, text_bytes)) AS BLOB) FROM (
  SELECT p.id, b.id AS batch_id, {" + ".join(map(octets, ("p.error", "t.error", "t.method")))} AS text_bytes
  FROM {{source}} LEFT JOIN traceroute_results t ON t.id = p.id WHERE {{range}}{{where}} ORDER BY {{order}} LIMIT :rows
)
"""
CHOOSE = _PLACES.format(
    source="batches b CROSS JOIN ping_results p ON p.id BETWEEN max(b.first_id, :low) AND min(b.last_id, :high)",
    range="b.id BETWEEN :first_batch AND :last_batch",
    where="{where}",
    order="b.id, p.id",
)
CHOOSE_OF_TARGET = _PLACES.format(
    source=f"ping_results p INDEXED BY ping_results_ip CROSS JOIN batches b ON b.id = {_batch_of('p.id')}",
    range="p.id BETWEEN :low AND :high",
    where="{where}",
    order="p.id",
)
# quote() has all digits of a float, as JSON in SQLite has not.
RESULT: Columns = (
    ("p.id", _INTS), ("b.id", _INTS), ("b.node", _TEXTS), ("b.received_at", _TEXTS), ("p.ip", _TEXTS),
    ("p.sent", _INTS), ("p.received", _INTS), ("quote(p.packet_loss)", _TEXTS), ("p.avg_rtt", _INTS_OR_NONE),
    ("p.timestamp", _TEXTS), ("p.error", _TEXTS_OR_NONE), ("s.min_rtt", _INTS_OR_NONE), ("s.max_rtt", _INTS_OR_NONE),
    ("s.stddev_rtt", _INTS_OR_NONE), ("t.id IS NOT NULL", _INTS), ("t.method", _TEXTS_OR_NONE),
    ("t.completed", _INTS_OR_NONE), ("t.error", _TEXTS_OR_NONE),
)  # fmt: skip
HOP: Columns = (
    ("h.traceroute_id", _INTS), ("h.ttl", _INTS), ("h.ip", _TEXTS_OR_NONE), ("h.rtt", _INTS_OR_NONE),
    ("h.timeout", _INTS),
)  # fmt: skip
ROWS = f"""
SELECT {_columns(RESULT)}
FROM json_each(:places) c CROSS JOIN ping_results p ON p.id = c.value ->> 0
CROSS JOIN batches b ON b.id = c.value ->> 1
LEFT JOIN traceroute_results t ON t.id = p.id LEFT JOIN rtt_spread s ON s.ping_result_id = p.id
"""
HOP_SPANS = f"""
SELECT CAST(json_group_array(json_array(begin, "end")) AS BLOB) FROM (
  SELECT {_first_hop("(value ->> 0)")} AS begin, {_first_hop("(value ->> 1)")} AS "end"
  FROM json_each(:runs)
) WHERE begin IS NOT NULL
"""
OWNER = "SELECT traceroute_id FROM traceroute_hops WHERE id >= :hop ORDER BY id LIMIT 1"
HOPS = f"""
SELECT {_columns(HOP)}
FROM json_each(:spans) c CROSS JOIN traceroute_hops h ON h.id >= c.value ->> 0 AND h.id < c.value ->> 1
"""
