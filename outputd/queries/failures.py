"""The newest failures, target by target: what broke, how often, and who saw it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from outputd.queries.columns import NODES
from outputd.queries.parameters import Node, Since, Until, limit
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.store.fragments import believed
from outputd.store.times import within
from outputd.web import shapes
from outputd.web.shapes import count, flag, instant, listed, or_null, record, text

MOST_TARGETS = 1000
DEFAULT_TARGETS = 100
MOST_FAILURES = 10_000
"""Failures that are read for one answer, the newest."""
MOST_ERROR = 255
"""Characters of an error; the result has it whole."""
COLUMNS = (
    Column("ip", shapes.address("the target")),
    Column("count", count("how many of its failures were read", least=1)),
    Column("first_failed", instant("when the first of them was measured")),
    Column("last_failed", instant("when the last of them was measured")),
    Column("id", count("the result of its newest failure", least=1)),
    Column("error", or_null(text(f"the beginning of its error, {MOST_ERROR} characters, if the node gave one"))),
    NODES,
)


@dataclass(frozen=True, slots=True)
class Failures:
    """Which failures are asked for."""

    limit: Annotated[int, limit(MOST_TARGETS)] = DEFAULT_TARGETS
    node: Node = None
    since: Since = None
    until: Until = None


def failures(session: Session, asked: Failures, _: float) -> Table:
    """The targets of the newest failures, the one that failed last by arrival first."""
    of_node = [] if asked.node is None else ["b.node = :node"]
    where = " AND ".join(["p.id BETWEEN b.first_id AND b.last_id", "p.received = 0", *of_node,
                          *within("+p.timestamp", asked.since, asked.until)])  # fmt: skip
    room = MOST_FAILURES
    session.execute("CREATE TEMP TABLE failure (id INTEGER PRIMARY KEY, ip, at, error, node)")

    def gather(_: object) -> bool:
        nonlocal room
        room -= session.execute(
            f"{_TAKE_IN} WHERE {where} ORDER BY b.id DESC, p.id DESC LIMIT :room",
            {**dataclasses.asdict(asked), "room": room},
        ).rowcount
        return not room

    session.over_files(gather, session.files[::-1])
    session.execute(_ANSWER, {"limit": asked.limit})
    return Table(session, "failures", COLUMNS, after={"complete": room > 0})


_TAKE_IN = f"""
INSERT INTO temp.failure
SELECT p.id, p.ip, {believed("p", "b")}, substr(p.error, 1, {MOST_ERROR}), b.node
FROM f.batches b CROSS JOIN f.ping_results p
"""
_ANSWER = """
CREATE TEMP TABLE answer AS
SELECT *, (SELECT error FROM temp.failure WHERE id = found.id) AS error FROM (
  SELECT ip, count(*) AS count, min(at) AS first_failed, max(at) AS last_failed, max(id) AS id,
    json_group_array(DISTINCT node) AS nodes
  FROM (SELECT * FROM temp.failure ORDER BY node) GROUP BY ip
) found ORDER BY id DESC LIMIT :limit
"""

FAILURES = Question(
    "Failures",
    "/failures",
    Failures,
    failures,
    schemas={
        "Failing": row_of("A target that failed.", COLUMNS),
        "Failures": record(
            "The newest failures by target, the newest first.",
            {
                "failures": listed("Failing", "the targets"),
                "complete": flag(f"false where only the newest {MOST_FAILURES} failures were read"),
            },
        ),
    },
    whole="Failures",
    row="Failing",
    summary="The newest failures by target",
    description=f"Of the newest {MOST_FAILURES} results without any reply, of all files.",
)
