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
    """How many nodes are asked for."""

    limit: Limit = DEFAULT_ROWS


def nodes(session: Session, asked: Nodes, now_s: float) -> Table:
    """Each node with what it has sent, by name. The rate is that of the last five minutes.

    The clock is right now and was since its newest stretch began; what arrived before that arrived no later than that.
    """
    begin = now_s - _RATE_S
    begin_of_minute = begin // 60 * 60
    now = timestamps.at(now_s)
    with session.summary():
        found = session.execute(_NEWEST, {"soon": timestamps.at(now_s + _SLEWED_S)}).fetchone()
        newest, began = found or (_NONE, now)
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT node, sum(batches) AS batches, sum(results) AS results, sum(rejected) AS rejected,
              min({_as_believed("first_heard")}) AS first_heard, max({_as_believed("last_heard")}) AS last_heard,
              round(coalesce((
                SELECT sum(m.results) FROM s.minute m
                WHERE {IN_FILES} AND m.minute >= :begin AND m.minute <= :now AND m.stretch = :newest AND m.node = n.node
              ), 0) / :seconds, 3) AS results_per_s,
              CAST(substr(max(printf('%020d', clock_id) || clock_offset_s), 21) AS REAL) AS clock_offset_s
            FROM s.node n GROUP BY node ORDER BY node LIMIT :limit
            """,
            {
                "limit": asked.limit,
                "begin": timestamps.at(begin_of_minute)[:16],
                "seconds": now_s - begin_of_minute,
                "newest": newest,
                "began": began,
                "now": now,
            },
        )
        return Table(session, "nodes", COLUMNS, after=complete_until(session))


_NEWEST = "SELECT number, began FROM s.stretch WHERE began <= :soon ORDER BY number DESC LIMIT 1"


def _as_believed(arrival: str) -> str:
    """SQL for an arrival of a node; NULL for one of a stretch that lies in the future."""
    return f"iif(n.stretch > :newest, NULL, min({arrival}, iif(n.stretch < :newest, :began, :now)))"


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
