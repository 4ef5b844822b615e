"""Nodes: what each has sent."""

from __future__ import annotations

from outputd.queries.choice import IN_FILES, Choice, complete_until
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table
from outputd.results import timestamps

_RATE_S = 300
NODE_COLUMNS = (
    Column("node"), Column("batches"), Column("results"), Column("rejected"), Column("first_heard", "time"),
    Column("last_heard", "time"), Column("results_per_s"), Column("clock_offset_s"),
)  # fmt: skip


def nodes(session: Session, choice: Choice, now_s: float) -> Table:
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
            {**choice.parameters, "begin": timestamps.at(begin_of_minute)[:16], "seconds": now_s - begin_of_minute},
        )
        return Table(session, "nodes", NODE_COLUMNS, after=complete_until(session))
