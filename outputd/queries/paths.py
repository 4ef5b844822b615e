"""The paths to one target: which there were, when, and how they followed each other."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from outputd.queries.parameters import Node, Since, Target
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.queries.traceroutes import HOPS, MOST_BYTES, MOST_TRACEROUTES, over_newest
from outputd.store.fragments import NODES_OF_CHOSEN, SILENCE, believed
from outputd.web import shapes
from outputd.web.shapes import count, flag, instant, listed, or_null, record, text

MOST_IN_TIMELINE = 2000
_MOST_GAP = 30
COLUMNS = (
    Column("node", text("the node that measured")),
    Column("hops", {
        "type": "array", "items": {"type": ["string", "null"]},
        "description": "address that replied at each TTL from 1 on, null for silence; of several the smallest text",
    }),
    Column("count", count("how often", least=1)),
    Column("first_seen", instant("when first")),
    Column("last_seen", instant("when last")),
    Column("completed", or_null(flag("whether it ever reached the target"))),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Paths:
    """Which paths are asked for."""

    ip: Target
    node: Node = None
    since: Since = None


def paths(session: Session, asked: Paths, _: float) -> Table:
    """The distinct paths of each node, the one that was seen last first."""
    session.run(_SCRATCH)
    of_node = "" if asked.node is None else "AND b.node = :node"

    def take_in() -> None:
        session.execute(f"INSERT INTO temp.trace {_TRACES} {of_node}", {"node": asked.node})

    complete = over_newest(session, asked.ip, asked.since, None, take_in)
    session.run(_ANSWER)
    after = {
        "timeline": msgspec.Raw(session.value(_TIMELINE)),
        "traceroutes": session.value("SELECT count(*) FROM temp.trace"),
        "complete": complete,
    }
    return Table(session, "paths", COLUMNS, {"ip": asked.ip}, after)


_SCRATCH = """
CREATE TEMP TABLE trace (id INTEGER PRIMARY KEY, node, at, completed, replies);
"""
# `replies` is a list in JSON of [TTL, who answered].
_TRACES = f"""
SELECT p.id, b.node, {believed("p", "b")}, t.completed, (
  SELECT json_group_array(json_array(ttl, ip)) FROM (
    SELECT h.ttl, min(iif(h.timeout OR h.ip IN {SILENCE}, NULL, h.ip)) AS ip FROM {HOPS} GROUP BY h.ttl
  )
)
FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p CROSS JOIN f.traceroute_results t
WHERE p.id = c.id AND t.id = c.id
"""
# A list has who answered at each TTL from 1 on; a long silence (to RIPE Atlas's TTL 255) is cut short.
_ANSWER = f"""
CREATE TEMP TABLE path AS
SELECT node, replies, count(*) AS count, min(at) AS first_seen, max(at) AS last_seen, max(completed) AS completed
FROM temp.trace GROUP BY node, replies ORDER BY max(id) DESC;
CREATE INDEX temp.path_of ON path(node, replies);
CREATE TEMP TABLE step (number INTEGER PRIMARY KEY);
INSERT INTO temp.step
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {_MOST_GAP}) SELECT i FROM n;
CREATE TEMP TABLE answer AS
SELECT node, (
  SELECT '[' || coalesce(group_concat(hop), '') || ']' FROM (
    SELECT iif(number < silent, 'null', ip) AS hop FROM (
      SELECT value ->> 0 AS ttl, value -> 1 AS ip,
        max(0, min({_MOST_GAP}, (value ->> 0) - lag(value ->> 0, 1, 0) OVER (ORDER BY value ->> 0) - 1)) AS silent
      FROM json_each(replies)
    ) CROSS JOIN temp.step WHERE number <= silent ORDER BY ttl, number
  )
) AS hops, count, first_seen, last_seen, completed
FROM temp.path ORDER BY path.rowid;
"""
_TIMELINE = f"""
SELECT CAST(json_group_array(json_array(substr(at, 1, 10) || 'T' || substr(at, 12) || 'Z', node, place)) AS BLOB) FROM (
  SELECT at, t.node AS node, p.rowid - 1 AS place FROM temp.trace t CROSS JOIN temp.path p
  WHERE p.node = t.node AND p.replies = t.replies ORDER BY id DESC LIMIT {MOST_IN_TIMELINE}
)
"""


PATHS = Question(
    "Paths",
    "/paths",
    Paths,
    paths,
    schemas={
        "Path": row_of("A path of one node to a target.", COLUMNS),
        "Paths": record(
            "The paths to one target, the one that was seen last first.",
            {
                "ip": shapes.address("the target"),
                "paths": listed("Path", "the distinct paths"),
                "timeline": {
                    "type": "array",
                    "description": "the newest traceroutes, the newest first: time, node, place in `paths` from 0",
                    "items": {
                        "type": "array",
                        "minItems": 3,
                        "maxItems": 3,
                        "prefixItems": [instant("when"), text("the node"), count("the place")],
                    },
                },
                "traceroutes": count("traceroutes that were read, the newest"),
                "complete": flag("whether these are all"),
            },
        ),
    },
    whole="Paths",
    row="Path",
    summary="The paths to a target",
    description=f"Of the newest {MOST_TRACEROUTES} traceroutes, or as many as have {MOST_BYTES >> 20} MiB of hops;"
    f" the timeline has the newest {MOST_IN_TIMELINE}.",
)
