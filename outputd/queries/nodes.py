"""Nodes: what each has sent."""

from __future__ import annotations

from dataclasses import dataclass

from outputd.queries.choice import IN_FILES, complete_until
from outputd.queries.columns import COMPLETE_UNTIL
from outputd.queries.parameters import DEFAULT_ROWS, Limit
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.results import timestamps
from outputd.web.shapes import count, instant, listed, or_null, record, text

_RATE_S = 300
COLUMNS = (
    Column("node", text("its name, or the address of the sender")),
    Column("batches", count("POSTs that stored or rejected items", least=1)),
    Column("results", count("results stored")),
    Column("rejected", count("items that were no results")),
    Column("first_heard", instant("arrival of the first POST")),
    Column("last_heard", instant("arrival of the last POST")),
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
    """How many nodes are asked for."""

    limit: Limit = DEFAULT_ROWS


def nodes(session: Session, asked: Nodes, now_s: float) -> Table:
    """Each node with what it has sent, by name. The rate is that of the last five minutes."""
    begin = now_s - _RATE_S
    begin_of_minute = begin // 60 * 60
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT node, sum(batches) AS batches, sum(results) AS results, sum(rejected) AS rejected,
              min(first_heard) AS first_heard, max(last_heard) AS last_heard,
              round(coalesce((
                SELECT sum(m.results) FROM s.minute m WHERE {IN_FILES} AND m.minute >= :begin AND m.node = n.node
              ), 0) / :seconds, 3) AS results_per_s,
              CAST(substr(max(printf('%020d', clock_id) || clock_offset_s), 21) AS REAL) AS clock_offset_s
            FROM s.node n GROUP BY node ORDER BY node LIMIT :limit
            """,
            {"limit": asked.limit, "begin": timestamps.at(begin_of_minute)[:16], "seconds": now_s - begin_of_minute},
        )
        return Table(session, "nodes", COLUMNS, after=complete_until(session))


NODES = Question(
    "Nodes",
    "/nodes",
    Nodes,
    nodes,
    schemas={
        "Node": row_of("What one node has sent.", COLUMNS),
        "Nodes": record("Nodes by name.", {"nodes": listed("Node", "the nodes"), "complete_until": COMPLETE_UNTIL}),
    },
    whole="Nodes",
    row="Node",
    summary="All nodes",
    description="By name.",
    is_from_summary=True,
)
