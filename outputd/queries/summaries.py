"""Targets, nodes and links: what the summary counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outputd import timestamps
from outputd.queries.answers import Column, Table
from outputd.queries.session import Session
from outputd.summary import MOST_LINKS, MOST_PASSAGES

LOSS = "round(iif(sent, max(0.0, 100.0 * (sent - received) / sent), 100.0), 3)"
"""SQL: percent of the packets, as rule 2 counts it."""
_RATE_S = 300
_FILES = "file IN (SELECT sequence FROM s.file)"

TARGET_COLUMNS = (
    Column("ip"), Column("results"), Column("failed"), Column("sent"), Column("received"), Column("loss_percent"),
    Column("last_rtt_ns"), Column("first_seen", "time"), Column("last_seen", "time"), Column("nodes", "json"),
)  # fmt: skip
NODE_COLUMNS = (
    Column("node"), Column("batches"), Column("results"), Column("rejected"), Column("first_heard", "time"),
    Column("last_heard", "time"), Column("results_per_s"), Column("clock_offset_s"),
)  # fmt: skip
LINK_COLUMNS = (
    Column("from"), Column("to"), Column("count"), Column("rtt_difference_ns"), Column("first_seen", "time"),
    Column("last_seen", "time"), Column("nodes", "json"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are asked for; times in the stored form."""

    limit: int
    node: str | None = None
    ip: str | None = None
    since: str | None = None
    min_count: int = 1

    def where(self, **columns: str) -> str:
        """SQL for the choices that are made, by the column (or condition) each goes for."""
        chosen = [condition for name, condition in columns.items() if getattr(self, name) is not None]
        return f"WHERE {' AND '.join(chosen)}" if chosen else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """For the statements."""
        return {
            "limit": self.limit, "node": self.node, "ip": self.ip, "since": self.since, "min_count": self.min_count,
        }  # fmt: skip


def complete_until(session: Session) -> dict[str, Any]:
    """The member that says up to which arrival the summary has the results."""
    at = session.value("SELECT received_at FROM s.file ORDER BY sequence DESC LIMIT 1")
    return {"complete_until": None if at is None else timestamps.printed(at)}


def targets(session: Session, choice: Choice) -> Table:
    """Each target with its counts, the busiest first."""
    where = choice.where(node="node = :node", since="last_seen >= :since")
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT *, {LOSS} AS loss_percent,
              (SELECT json_group_array(node) FROM
                (SELECT DISTINCT node FROM s.target t WHERE {_FILES} AND t.ip = found.ip ORDER BY node)) AS nodes
            FROM (
              SELECT ip, sum(results) AS results, sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
                CAST(total(received) AS INTEGER) AS received, min(first_seen) AS first_seen,
                max(last_seen) AS last_seen,
                CAST(substr(max(printf('%020d', last_id) || last_rtt_ns), 21) AS INTEGER) AS last_rtt_ns
              FROM s.target {where} GROUP BY ip ORDER BY results DESC, ip LIMIT :limit
            ) found
            """,
            choice.parameters,
        )
        return Table(session, "targets", TARGET_COLUMNS, after=complete_until(session))


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
                SELECT sum(m.results) FROM s.minute m WHERE {_FILES} AND m.minute >= :begin AND m.node = n.node
              ), 0) / :seconds, 3) AS results_per_s,
              CAST(substr(max(printf('%020d', clock_id) || clock_offset_s), 21) AS REAL) AS clock_offset_s
            FROM s.node n GROUP BY node ORDER BY node LIMIT :limit
            """,
            {**choice.parameters, "begin": timestamps.at(begin_of_minute)[:16], "seconds": now_s - begin_of_minute},
        )
        return Table(session, "nodes", NODE_COLUMNS, after=complete_until(session))


def links(session: Session, choice: Choice) -> Table:
    """Pairs of addresses that answered at consecutive TTLs, the most frequent first."""
    where = choice.where(node="node = :node", since="last_seen >= :since", ip="(near = :ip OR far = :ip)")
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT near AS "from", far AS "to", count, first_seen, last_seen,
              CAST(round(difference_ns / nullif(differences, 0)) AS INTEGER) AS rtt_difference_ns,
              (SELECT json_group_array(node) FROM
                (SELECT DISTINCT node FROM s.link l
                 WHERE {_FILES} AND l.near = found.near AND l.far = found.far ORDER BY node)) AS nodes
            FROM (
              SELECT near, far, sum(count) AS count, total(difference_ns) AS difference_ns,
                sum(differences) AS differences, min(first_seen) AS first_seen, max(last_seen) AS last_seen
              FROM s.link {where} GROUP BY near, far HAVING sum(count) >= :min_count
              ORDER BY 3 DESC, near, far LIMIT :limit
            ) found
            """,
            choice.parameters,
        )
        return Table(session, "links", LINK_COLUMNS, after={**complete_until(session), "complete": not _full(session)})


def _full(session: Session) -> bool:
    """Whether a file has more links than are kept."""
    return bool(
        session.value(
            "SELECT count(*) FROM s.file WHERE links >= :links OR passages >= :passages",
            {"links": MOST_LINKS, "passages": MOST_PASSAGES},
        )
    )
