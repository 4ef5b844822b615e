"""The paths to one target: which there were, how usual they are, and how they followed each other."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from outputd.queries.parameters import Node, Since, Target
from outputd.queries.question import Addresses, Question
from outputd.queries.routes import REPLIES, WHAT_IS_ONE, define_names
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.queries.traceroutes import MOST_BYTES, MOST_TRACEROUTES, over_newest
from outputd.store.fragments import NODES_OF_CHOSEN, believed
from outputd.web import shapes
from outputd.web.shapes import count, flag, instant, listed, or_null, record, text

MOST_IN_TIMELINE = 2000
_MOST_GAP = 30
"""Silent TTLs in a row that are listed: the last hop of RIPE Atlas has TTL 255."""
COLUMNS = (
    Column("node", text("the node that measured")),
    Column("hops", {
        "type": "array", "items": {"type": ["string", "null"]},
        "description": "address that replied at each TTL from 1 to the last that did, null for silence; of several the"
        f" smallest text. Of more than {_MOST_GAP} silent TTLs in a row the first {_MOST_GAP} are listed: see `ttls`",
    }),
    Column("count", count("how often", least=1)),
    Column("first_seen", instant("when first")),
    Column("last_seen", instant("when last")),
    Column("completed", or_null(flag("whether it ever reached the target"))),
    Column("route", text("the name of the route, as in `/trace`")),
    Column("ttls", {
        "type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255},
        "description": "the TTL of each of `hops`",
    }),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Paths:
    """Which paths are asked for."""

    ip: Target
    node: Node = None
    since: Since = None


def paths(session: Session, asked: Paths, _: float) -> Table:
    """The distinct paths of each node, the most usual first; of equally usual ones the one that was seen last."""
    define_names(session)
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
_TRACES = f"""
SELECT p.id, b.node, {believed("p", "b")}, t.completed, {REPLIES}
FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p CROSS JOIN f.traceroute_results t
WHERE p.id = c.id AND t.id = c.id
"""


def _each_ttl(silent: str, replied: str) -> str:
    """SQL of a list in JSON with a value for each TTL of temp.path's replies, and one for each silent TTL before it."""
    return f"""(
  SELECT '[' || coalesce(group_concat(iif(number < silent, {silent}, {replied})), '') || ']' FROM (
    SELECT ttl, ip, last, number, silent FROM (
      SELECT ttl, ip, last, max(0, min({_MOST_GAP}, ttl - last - 1)) AS silent FROM (
        SELECT value ->> 0 AS ttl, value -> 1 AS ip, lag(value ->> 0, 1, 0) OVER (ORDER BY value ->> 0) AS last
        FROM json_each(replies)
      )
    ) CROSS JOIN temp.step WHERE number <= silent ORDER BY ttl, number
  )
)"""


_ANSWER = f"""
CREATE TEMP TABLE path AS
SELECT node, replies, count(*) AS count, min(at) AS first_seen, max(at) AS last_seen, max(completed) AS completed
FROM temp.trace GROUP BY node, replies ORDER BY count(*) DESC, max(id) DESC;
CREATE INDEX temp.path_of ON path(node, replies);
CREATE TEMP TABLE step (number INTEGER PRIMARY KEY);
INSERT INTO temp.step
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {_MOST_GAP}) SELECT i FROM n;
CREATE TEMP TABLE answer AS
SELECT node, {_each_ttl("'null'", "ip")} AS hops, count, first_seen, last_seen, completed,
  named(node, replies) AS route, {_each_ttl("last + 1 + number", "ttl")} AS ttls
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
            "The paths to one target, the most usual first.",
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
    addresses=(Addresses("hops", "hop_", are_lists=True),),
    summary="The paths to a target",
    description=f"Of the newest {MOST_TRACEROUTES} traceroutes, or as many as have {MOST_BYTES >> 20} MiB of hops;"
    f" the timeline has the newest {MOST_IN_TIMELINE}. {WHAT_IS_ONE}",
)
