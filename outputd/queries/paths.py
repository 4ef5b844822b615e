"""The paths to one target: which there were, how usual they are, and how they followed each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import msgspec

from outputd.queries.parameters import Node, Since, Target, Until
from outputd.queries.question import Addresses, Question
from outputd.queries.routes import MOST_GAP, REPLIES, WHAT_IS_ONE, define_hops, define_names
from outputd.queries.session import Session
from outputd.queries.tables import ROWS_A_PAGE, Column, Table, row_of
from outputd.queries.traceroutes import MOST_BYTES, MOST_TRACEROUTES, over_newest
from outputd.store.fragments import NODES_OF_CHOSEN, believed
from outputd.web import shapes
from outputd.web.shapes import count, flag, instant, listed, or_null, record, text

MOST_IN_TIMELINE = 2000
COLUMNS = (
    Column("node", text("the node that measured")),
    Column("hops", {
        "type": "array", "items": {"type": ["string", "null"]},
        "description": "address that replied at each TTL from 1 to the last that did, null for silence; of several the"
        f" smallest text. Of more than {MOST_GAP} silent TTLs in a row the first {MOST_GAP} are listed: see `ttls`",
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
    until: Until = None


def paths(session: Session, asked: Paths, _: float) -> Table:
    """The distinct paths of each node, the most usual first; of equally usual ones the one that was seen last."""
    define_names(session)
    define_hops(session)
    session.run(_SCRATCH)
    of_node = "" if asked.node is None else "AND b.node = :node"

    def take_in() -> None:
        session.execute(f"INSERT INTO temp.trace {_TRACES} {of_node}", {"node": asked.node})

    complete = over_newest(session, asked.ip, asked.since, asked.until, take_in)
    session.run(_ANSWER)
    after = {
        "timeline": msgspec.Raw(session.value(_TIMELINE)),
        "traceroutes": session.value("SELECT count(*) FROM temp.trace"),
        "complete": complete,
    }
    return Table(session, "paths", COLUMNS, {"ip": asked.ip}, after, bring=partial(_bring, session))


def _bring(session: Session, after: int) -> bool:
    """Put the next paths into the answer: their lists are longer than all that is kept of them."""
    session.execute("DELETE FROM temp.answer")
    return session.execute(_LISTED, {"after": after}).rowcount > 0


_SCRATCH = """
CREATE TEMP TABLE trace (id INTEGER PRIMARY KEY, node, at, completed, replies);
"""
_TRACES = f"""
SELECT p.id, b.node, {believed("p", "b")}, t.completed, {REPLIES}
FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p CROSS JOIN f.traceroute_results t
WHERE p.id = c.id AND t.id = c.id
"""
_ANSWER = """
CREATE TEMP TABLE path AS
SELECT node, replies, count(*) AS count, min(at) AS first_seen, max(at) AS last_seen, max(completed) AS completed
FROM temp.trace GROUP BY node, replies ORDER BY count(*) DESC, max(id) DESC;
CREATE INDEX temp.path_of ON path(node, replies);
CREATE TEMP TABLE answer (node, hops, count, first_seen, last_seen, completed, route, ttls);
"""
_LISTED = f"""
INSERT INTO temp.answer (rowid, node, hops, count, first_seen, last_seen, completed, route, ttls)
SELECT rowid, node, hops_of(replies), count, first_seen, last_seen, completed, named(node, replies), ttls_of(replies)
FROM temp.path WHERE rowid > :after ORDER BY rowid LIMIT {ROWS_A_PAGE}
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
