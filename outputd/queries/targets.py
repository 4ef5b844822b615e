"""Targets: what was measured of each."""

from __future__ import annotations

from outputd.queries.choice import IN_FILES, Choice, complete_until
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table
from outputd.store.fragments import LOSS

TARGET_COLUMNS = (
    Column("ip"), Column("results"), Column("failed"), Column("sent"), Column("received"), Column("lost"),
    Column("loss_percent"), Column("last_rtt_ns"), Column("first_seen", "time"), Column("last_seen", "time"),
    Column("nodes", "json"),
)  # fmt: skip


def targets(session: Session, choice: Choice) -> Table:
    """Each target with its counts, the busiest first."""
    where = choice.where(node="node = :node", ip="ip = :ip")
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT *, {LOSS} AS loss_percent,
              (SELECT json_group_array(node) FROM
                (SELECT DISTINCT node FROM s.target t WHERE {IN_FILES} AND t.ip = found.ip ORDER BY node)) AS nodes
            FROM (
              SELECT ip, sum(results) AS results, sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
                CAST(total(received) AS INTEGER) AS received, CAST(total(lost) AS INTEGER) AS lost,
                min(first_seen) AS first_seen, max(last_seen) AS last_seen,
                CAST(substr(max(printf('%020d', last_id) || last_rtt_ns), 21) AS INTEGER) AS last_rtt_ns
              FROM s.target {where} GROUP BY ip HAVING :since IS NULL OR max(last_seen) >= :since
              ORDER BY 2 DESC, ip LIMIT :limit
            ) found
            """,
            choice.parameters,
        )
        return Table(session, "targets", TARGET_COLUMNS, after=complete_until(session))
