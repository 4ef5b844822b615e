"""Targets: what was measured of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from outputd.queries.choice import IN_FILES, complete_until, where
from outputd.queries.columns import COMPLETE_UNTIL, MEASURED, NODES
from outputd.queries.parameters import DEFAULT_ROWS, Limit, Node, Since, address
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.store.fragments import LOSS
from outputd.web import shapes
from outputd.web.shapes import count, instant, listed, or_null, record

COLUMNS = (
    Column("ip", shapes.address("the target")),
    *MEASURED,
    Column("last_rtt_ns", or_null(count("the newest round-trip time, nanoseconds"))),
    Column("first_seen", instant("when it was measured first")),
    Column("last_seen", instant("when it was measured last")),
    NODES,
)


@dataclass(frozen=True, slots=True)
class Targets:
    """Which targets are asked for."""

    limit: Limit = DEFAULT_ROWS
    ip: Annotated[str | None, address("Only this target, in any spelling.")] = None
    node: Node = None
    since: Since = None


def targets(session: Session, asked: Targets, _: float) -> Table:
    """Each target with its counts, the busiest first."""
    chosen = where(asked, node="node = :node", ip="ip = :ip")
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
              FROM s.target {chosen} GROUP BY ip HAVING :since IS NULL OR max(last_seen) >= :since
              ORDER BY 2 DESC, ip LIMIT :limit
            ) found
            """,
            dataclasses.asdict(asked),
        )
        return Table(session, "targets", COLUMNS, after=complete_until(session))


TARGETS = Question(
    "Targets",
    "/targets",
    Targets,
    targets,
    schemas={
        "Target": row_of("What was measured of one target.", COLUMNS),
        "Targets": record(
            "Targets, the busiest first.",
            {"targets": listed("Target", "the targets"), "complete_until": COMPLETE_UNTIL},
        ),
    },
    whole="Targets",
    row="Target",
    summary="All targets",
    description="The busiest first. `since` chooses targets; the counts are those of all files.",
    is_from_summary=True,
)
