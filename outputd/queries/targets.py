"""Targets: what was measured of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from outputd.queries.choice import IN_FILES, complete_until, where
from outputd.queries.columns import COMPLETE_UNTIL, MEASURED, NODES
from outputd.queries.named import find_named
from outputd.queries.order import PAGES, TOTAL, Cursor, Direction, Total, order_of, sort_by, total_of
from outputd.queries.parameters import DEFAULT_ROWS, LastSeenBefore, Limit, Node, Prefix, Since, address, part, percent
from outputd.queries.question import Addresses, Question
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
    """Which targets are asked for, and in which order."""

    limit: Limit = DEFAULT_ROWS
    ip: Annotated[str | None, address("Only this target, in any spelling.")] = None
    node: Node = None
    since: Since = None
    prefix: Prefix = None
    text: Annotated[str | None, part("Only targets with this in their address, or in a name that is known.")] = None
    loss_over: Annotated[float | None, percent("Only targets with a `loss_percent` above this one.")] = None
    last_seen_before: LastSeenBefore = None
    sort: Annotated[str, sort_by(COLUMNS, "nodes")] = "results"
    order: Direction = None
    cursor: Cursor = None
    total: Total = None


def targets(session: Session, asked: Targets, _: float) -> Table:
    """Each target with its counts, the busiest first unless it is said otherwise."""
    order = order_of(session, asked, "ip")
    counted = where(asked, node="node = :node", ip=f"{IN_FILES} AND ip = :ip")
    chosen = where(
        asked, since="last_seen >= :since", prefix="within(ip)", loss_over="loss_percent > :loss_over",
        last_seen_before="last_seen < :last_seen_before", text="(instr(ip, :text) OR ip IN temp.named)",
    )  # fmt: skip
    if asked.prefix is not None:
        session.choose_within(asked.prefix)
    if asked.text is not None:
        find_named(session, asked.text)
    parameters = {**dataclasses.asdict(asked), **order.parameters}
    rows = f"""
      SELECT * FROM (
        SELECT *, {LOSS} AS loss_percent FROM (
          SELECT ip, {_COUNTS}, CAST(substr(max(last), 21) AS INTEGER) AS last_rtt_ns FROM (
            SELECT ip, {_COUNTS}, max(printf('%020d', last_id) || last_rtt_ns) AS last
            FROM s.target {counted} GROUP BY file, ip
          ) GROUP BY ip
        )
      ) {chosen}
    """
    with session.summary():
        session.execute(
            f"CREATE TEMP TABLE found AS SELECT * FROM ({rows}) WHERE {order.behind} ORDER BY {order.by} LIMIT :limit",
            parameters,
        )
        session.execute(_NAMED)
        after = {**total_of(session, asked, rows, parameters), **complete_until(session)}
        return Table(session, "targets", COLUMNS, after=after, notes=order.notes(session))


_COUNTS = """
sum(results) AS results, sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
CAST(total(received) AS INTEGER) AS received, CAST(total(lost) AS INTEGER) AS lost,
min(first_seen) AS first_seen, max(last_seen) AS last_seen
"""
"""Of a file first, whose rows are in the order of their addresses: to sort those of all nodes takes longer."""
_NAMED = f"""
CREATE TEMP TABLE answer AS
SELECT *, (SELECT json_group_array(node) FROM
  (SELECT DISTINCT node FROM s.target t WHERE {IN_FILES} AND t.ip = found.ip ORDER BY node)) AS nodes
FROM temp.found ORDER BY found.rowid
"""


TARGETS = Question(
    "Targets",
    "/targets",
    Targets,
    targets,
    schemas={
        "Target": row_of("What was measured of one target.", COLUMNS),
        "Targets": record(
            "Targets, as they are sorted.",
            {"targets": listed("Target", "the targets"), "complete_until": COMPLETE_UNTIL},
            TOTAL,
        ),
    },
    whole="Targets",
    row="Target",
    summary="All targets",
    description=f"The busiest first, unless `sort` says otherwise. `since` chooses targets; the counts are those of all"
    f" files. {PAGES}",
    addresses=(Addresses("ip"),),
    is_paged=True,
    is_from_summary=True,
)
