"""Nodes: what each has sent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from outputd.queries.choice import IN_FILES, complete_until, where
from outputd.queries.columns import COMPLETE_UNTIL
from outputd.queries.order import PAGES, TOTAL, Cursor, Direction, Total, order_of, sort_by, total_of
from outputd.queries.parameters import DEFAULT_ROWS, Limit, part, time
from outputd.queries.parameters import text as any_text
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.results import timestamps
from outputd.web.shapes import count, instant, listed, or_null, record, text

_RATE_S = 300
_SLEWED_S = 60  # a clock that goes back by less begins no stretch
_NONE = -1
COLUMNS = (
    Column("node", text("its name, or the address of the sender")),
    Column("batches", count("POSTs that stored or rejected items", least=1)),
    Column("results", count("results stored")),
    Column("rejected", count("items that were no results")),
    Column("first_heard", or_null(instant("arrival of the first POST"))),
    Column("last_heard", or_null(instant(
        "arrival of the last POST, as far as the clock was right; null when all arrivals lie in the future"
    ))),
    Column(
        "results_per_s", {"type": "number", "minimum": 0, "description": "results a second, of five minutes"}
    ),
    Column("clock_offset_s", or_null({
        "type": "number",
        "description": "the latest timestamp of its last POST less its arrival, seconds: above 0 its clock is"
        " ahead, well below 0 it is behind, or the results waited",
    })),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Nodes:
    """Which nodes are asked for, and in which order."""

    limit: Limit = DEFAULT_ROWS
    node: Annotated[str | None, any_text("Only this node.")] = None
    text: Annotated[str | None, part("Only nodes with this in their name.")] = None
    last_heard_before: Annotated[str | None, time("Only nodes that were heard last before this time.")] = None
    sort: Annotated[str, sort_by(COLUMNS)] = "node"
    order: Direction = None
    cursor: Cursor = None
    total: Total = None


def nodes(session: Session, asked: Nodes, now_s: float) -> Table:
    """Each node with what it has sent, by name unless it is said otherwise. The rate is that of the last five minutes.

    The clock is right now and was since its newest stretch began; what arrived before that arrived no later than that.
    """
    order = order_of(session, asked, "node")
    counted = where(asked, node="node = :node", text="instr(lower(node), :text)")
    chosen = where(asked, last_heard_before="last_heard < :last_heard_before")
    begin = now_s - _RATE_S
    begin_of_minute = begin // 60 * 60
    now = timestamps.at(now_s)
    with session.summary():
        found = session.execute(_NEWEST, {"soon": timestamps.at(now_s + _SLEWED_S)}).fetchone()
        newest, began = found or (_NONE, now)
        parameters = {
            **dataclasses.asdict(asked),
            **order.parameters,
            "begin": timestamps.at(begin_of_minute)[:16],
            "seconds": now_s - begin_of_minute,
            "newest": newest,
            "began": began,
            "now": now,
        }
        rows = f"SELECT * FROM ({_COUNTED} {counted} GROUP BY node) {chosen}"
        session.execute(
            f"CREATE TEMP TABLE found AS SELECT * FROM ({rows}) WHERE {order.behind} ORDER BY {order.by} LIMIT :limit",
            parameters,
        )
        session.execute("CREATE TEMP TABLE answer AS SELECT * FROM temp.found ORDER BY rowid")
        after = {**total_of(session, asked, rows, parameters), **complete_until(session)}
        return Table(session, "nodes", COLUMNS, after=after, notes=order.notes(session))


_NEWEST = "SELECT number, began FROM s.stretch WHERE began <= :soon ORDER BY number DESC LIMIT 1"


def _as_believed(arrival: str) -> str:
    """SQL for an arrival of a node; NULL for one of a stretch that lies in the future."""
    return f"iif(n.stretch > :newest, NULL, min({arrival}, iif(n.stretch < :newest, :began, :now)))"


_COUNTED = f"""
SELECT node, sum(batches) AS batches, sum(results) AS results, sum(rejected) AS rejected,
  min({_as_believed("first_heard")}) AS first_heard, max({_as_believed("last_heard")}) AS last_heard,
  round(coalesce((
    SELECT sum(m.results) FROM s.minute m WHERE {IN_FILES} AND m.minute >= :begin AND m.minute <= :now
      AND m.stretch = :newest AND m.node = n.node
  ), 0) / :seconds, 3) AS results_per_s,
  CAST(substr(max(printf('%020d', clock_id) || clock_offset_s), 21) AS REAL) AS clock_offset_s
FROM s.node n
"""

NODES = Question(
    "Nodes",
    "/nodes",
    Nodes,
    nodes,
    schemas={
        "Node": row_of("What one node has sent.", COLUMNS),
        "Nodes": record(
            "Nodes, as they are sorted.",
            {"nodes": listed("Node", "the nodes"), "complete_until": COMPLETE_UNTIL},
            TOTAL,
        ),
    },
    whole="Nodes",
    row="Node",
    summary="All nodes",
    description=f"By name, unless `sort` says otherwise. {PAGES}",
    is_paged=True,
    is_from_summary=True,
)
