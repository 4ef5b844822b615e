"""The paths to one target: which there were, when, and how they followed each other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec

from outputd.queries.parameters import Node, Since, Target
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.results import timestamps
from outputd.store.fragments import NODES_OF_CHOSEN, SILENCE, believed, first_hop
from outputd.store.times import within
from outputd.web import shapes
from outputd.web.shapes import count, flag, instant, listed, or_null, record, text

MOST_TRACEROUTES = 5000
"""Traceroutes that are read for one answer, the newest."""
MOST_IN_TIMELINE = 2000
_MOST_GAP = 30
COLUMNS = (
    Column("node", text("who measured")),
    Column("hops", {
        "type": "array", "items": {"type": ["string", "null"]},
        "description": "who answered at each TTL from 1 on, null for silence; of several the least text",
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
    parameters = dataclasses.asdict(asked)
    session.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")
    session.execute("CREATE TEMP TABLE trace (id INTEGER PRIMARY KEY, node, at, completed, replies)")

    complete = True

    def gather(_: object) -> bool:
        nonlocal complete
        room = MOST_TRACEROUTES - session.value("SELECT count(*) FROM temp.trace")
        session.execute("DELETE FROM temp.chosen")
        session.execute(
            "INSERT INTO temp.chosen SELECT p.id FROM f.ping_results p CROSS JOIN f.traceroute_results t"
            f" WHERE {' AND '.join(['p.ip = :ip', 't.id = p.id', *within('+p.timestamp', asked.since, None)])}"
            " ORDER BY p.id DESC LIMIT :room",
            {**parameters, "room": room},
        )
        complete = session.value("SELECT count(*) FROM temp.chosen") < room
        session.execute(f"""
            INSERT INTO temp.trace
            SELECT p.id, b.node, {believed("p", "b")}, t.completed, (
              SELECT json_group_array(json_array(ttl, ip)) FROM (
                SELECT h.ttl, min(iif(h.timeout OR h.ip IN {SILENCE}, NULL, h.ip)) AS ip FROM f.traceroute_hops h
                WHERE h.id >= {first_hop("p.id")} AND h.id < {first_hop("(p.id + 1)")} GROUP BY h.ttl
              )
            )
            FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p CROSS JOIN f.traceroute_results t
            WHERE p.id = c.id AND t.id = c.id {"" if asked.node is None else "AND b.node = :node"}
            """, parameters)  # fmt: skip
        return not complete

    session.over_files(gather, session.files[::-1])
    session.execute("""
        CREATE TEMP TABLE path AS
        SELECT node, replies, count(*) AS count, min(at) AS first_seen, max(at) AS last_seen,
          max(completed) AS completed
        FROM temp.trace GROUP BY node, replies ORDER BY max(id) DESC
        """)
    session.execute("CREATE INDEX temp.path_of ON path(node, replies)")
    rows = session.value("""
        SELECT json_group_array(json_array(node, replies, count, first_seen, last_seen, completed)) FROM (
          SELECT * FROM temp.path ORDER BY rowid
        )""")
    found = [_Path(*row) for row in msgspec.json.decode(rows)]
    timeline = session.value(f"""
        SELECT json_group_array(json_array(substr(at, 1, 10) || 'T' || substr(at, 12) || 'Z', node, place)) FROM (
          SELECT at, t.node AS node, p.rowid - 1 AS place FROM temp.trace t CROSS JOIN temp.path p
          WHERE p.node = t.node AND p.replies = t.replies ORDER BY id DESC LIMIT {MOST_IN_TIMELINE}
        )""")  # fmt: skip
    session.execute("CREATE TEMP TABLE answer (node, hops, count, first_seen, last_seen, completed)")
    session.execute(
        "INSERT INTO temp.answer SELECT value ->> 0, value -> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5"
        " FROM json_each(:paths)",
        {"paths": msgspec.json.encode([
            (path.node, path.hops, path.count, path.first_seen, path.last_seen, path.completed) for path in found
        ]).decode()},
    )  # fmt: skip
    traceroutes = session.value("SELECT count(*) FROM temp.trace")
    document = {
        "ip": asked.ip,
        "paths": [path.printed() for path in found],
        "timeline": msgspec.Raw(timeline.encode()),
        "traceroutes": traceroutes,
        "complete": complete,
    }
    return Table(session, "paths", COLUMNS, document=msgspec.json.encode(document))


class _Path(msgspec.Struct, frozen=True):
    node: str
    replies: str
    """A list in JSON of [TTL, who answered]."""
    count: int
    first_seen: str
    last_seen: str
    completed: int | None

    @property
    def hops(self) -> list[str | None]:
        """Who answered at each TTL from 1 on; a long silence (to RIPE Atlas's TTL 255) is cut short."""
        hops: list[str | None] = []
        at = 0
        for ttl, ip in msgspec.json.decode(self.replies):
            hops += [None] * min(_MOST_GAP, ttl - at - 1)
            hops.append(ip)
            at = ttl
        return hops

    def printed(self) -> dict[str, Any]:
        """As the API prints it."""
        return {
            "node": self.node, "hops": self.hops, "count": self.count,
            "first_seen": timestamps.printed(self.first_seen), "last_seen": timestamps.printed(self.last_seen),
            "completed": None if self.completed is None else bool(self.completed),
        }  # fmt: skip


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
    description=f"Of the newest {MOST_TRACEROUTES} traceroutes; the timeline has the newest {MOST_IN_TIMELINE}.",
)
