"""Changes: what became different for a node, or for a target as a node measures it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from outputd.changes.change import KINDS
from outputd.queries.choice import where
from outputd.queries.columns import COMPLETE_UNTIL
from outputd.queries.order import TOTAL, Total, total_of
from outputd.queries.parameters import DEFAULT_ROWS, Limit, Node, address, flag, time, word
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.results import timestamps
from outputd.web import shapes
from outputd.web.shapes import Schema, instant, listed, or_null, record, text


def _value(when: str) -> Schema:
    """What was or is: percent, nanoseconds, or a route."""
    hops: Schema = {
        "type": "array", "items": {"type": ["string", "null"]}, "description": "hops from TTL 1 on; null is no reply"
    }  # fmt: skip
    return {
        "description": f"{when}: the hops of a route, the percent of packets lost, or the median round-trip time in"
        " nanoseconds; null for a change of the node",
        "anyOf": [hops, {"type": "number"}, {"type": "null"}],
    }


COLUMNS = (
    Column("kind", {"enum": list(KINDS), "description": "what changed"}),
    Column("node", text("the node that measured it, or fell silent")),
    Column("target", or_null(shapes.address("the target; null for a change of the node"))),
    Column(
        "since", instant("when it began: measured, or for a change of the node the arrival of its last or first POST")
    ),
    Column("until", or_null(instant("when the next change of the same thing began; null while none is known"))),
    Column("before", _value("what was")),
    Column("after", _value("what came")),
)


@dataclass(frozen=True, slots=True)
class Changes:
    """Which changes are asked for."""

    limit: Limit = DEFAULT_ROWS
    kind: Annotated[str | None, word("Only changes of this kind.", *KINDS)] = None
    node: Node = None
    ip: Annotated[str | None, address("Only changes of this target, in any spelling.")] = None
    since: Annotated[str | None, time("Only what began at this time or later; an RFC 3339 time with a zone.")] = None
    until: Annotated[str | None, time("Only what began before this time.")] = None
    lasting: Annotated[bool | None, flag("true: only what lasts; false: only what has an end.")] = None
    total: Total = None


def changes(session: Session, asked: Changes, _: float) -> Table:
    """Changes, those that were found last first."""
    chosen = where(
        asked, kind="kind = :kind", node="node = :node", ip="target = :ip", since="since >= :since",
        until="since < :until", lasting="(until IS NULL) = :lasting",
    )  # fmt: skip
    with session.changes():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT kind, node, nullif(target, '') AS target, since, until, before, after FROM c.change {chosen}
            ORDER BY id DESC LIMIT :limit
            """,
            dataclasses.asdict(asked),
        )
        at = session.value("SELECT received_at FROM c.mark")
        total = total_of(session, asked, f"SELECT 1 FROM c.change {chosen}", dataclasses.asdict(asked))
    after = {**total, "complete_until": None if at is None else timestamps.printed(at)}
    return Table(session, "changes", COLUMNS, after=after)


CHANGES = Question(
    "Changes",
    "/changes",
    Changes,
    changes,
    schemas={
        "Change": row_of("One change.", COLUMNS),
        "Changes": record(
            "Changes, the newest first.",
            {"changes": listed("Change", "the changes"), "complete_until": COMPLETE_UNTIL},
            TOTAL,
        ),
    },
    whole="Changes",
    row="Change",
    summary="What changed: routes, loss, round-trip times, nodes",
    description="The newest first. Found about 20 s after the results have arrived; the newest 20,000 are kept.",
)
