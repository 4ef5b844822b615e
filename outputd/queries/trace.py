"""The way to a target as mtr shows it: a row a TTL, for all traceroutes of a node, and for each of its usual routes."""

from __future__ import annotations

from dataclasses import dataclass

from outputd.queries.parameters import Node, Since, Target, Until
from outputd.queries.question import Question
from outputd.queries.routes import REPLIES, SAID, WHAT_IS_ONE, define_names
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table, row_of
from outputd.queries.traceroutes import HOPS, MOST_BYTES, MOST_TRACEROUTES, over_newest
from outputd.store.fragments import NODES_OF_CHOSEN, believable
from outputd.web import shapes
from outputd.web.shapes import Schema, count, flag, listed, or_null, record, text

MOST_ROUTES = 100
"""Routes that have rows of their own, the most usual."""
MOST_ADDRESSES = 20
"""Addresses that are listed of a TTL, the most frequent."""
_PERCENT: Schema = {"type": "number", "minimum": 0, "maximum": 100}
_ADDRESS = record(
    "An address that replied at a TTL.",
    {
        "ip": text("the address; what is none is kept as the node wrote it"),
        "count": count("its replies", least=1),
        "share_percent": {**_PERCENT, "description": "percent of the replies at this TTL"},
    },
)
COLUMNS = (
    Column("node", text("the node that measured")),
    Column("route", or_null(text("the name of the route, as in `/paths`; null for all traceroutes of the node"))),
    Column("traceroutes", count("traceroutes of the node, or of the route", least=1)),
    Column("ttl", count("the TTL")),
    Column("addresses", {
        "type": "array", "items": _ADDRESS, "maxItems": MOST_ADDRESSES,
        "description": "the addresses that replied, the most frequent first",
    }),
    Column("address_count", count("how many addresses there are")),
    Column("sent", count("probes: a traceroute that goes further without this TTL counts as one", least=1)),
    Column("replies", count("replies")),
    Column("loss_percent", {**_PERCENT, "description": "percent of the probes without a reply"}),
    Column("rtt_min_ns", or_null(count("shortest round-trip time"))),
    Column("rtt_p50_ns", or_null(count("median round-trip time, nearest rank"))),
    Column("rtt_max_ns", or_null(count("longest round-trip time"))),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trace:
    """Which traceroutes are asked for."""

    ip: Target
    node: Node = None
    since: Since = None
    until: Until = None


def trace(session: Session, asked: Trace, _: float) -> Table:
    """Each TTL on the way to a target: first of all traceroutes of a node, then of its routes, the most usual first."""
    define_names(session)
    session.run(_SCRATCH)
    of_node = "" if asked.node is None else "AND b.node = :node"

    def take_in() -> None:
        session.execute(f"INSERT INTO temp.trace {_TRACES} {of_node}", {"node": asked.node})
        session.execute(_REPLIES)

    complete = over_newest(session, asked.ip, asked.since, asked.until, take_in)
    session.run(_ANSWER)
    after = {"traceroutes": session.value("SELECT count(*) FROM temp.trace"), "complete": complete}
    return Table(session, "hops", COLUMNS, {"ip": asked.ip}, after)


_SCRATCH = """
CREATE TEMP TABLE trace (id INTEGER PRIMARY KEY, node, replies, last_ttl);
CREATE TEMP TABLE reply (trace, ttl, ip, rtt);
"""
_TRACES = f"""
SELECT p.id, b.node, {REPLIES}, (SELECT max(h.ttl) FROM {HOPS})
FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p WHERE p.id = c.id
"""
_REPLIES = f"""
INSERT INTO temp.reply
SELECT p.id, h.ttl, {SAID}, iif({SAID} IS NULL, NULL, {believable("h.rtt")})
FROM temp.chosen c CROSS JOIN temp.trace p CROSS JOIN {HOPS} AND p.id = c.id
"""
_ANSWER = f"""
CREATE TEMP TABLE way (number INTEGER PRIMARY KEY, node, route, replies, traceroutes);
INSERT INTO temp.way (node, traceroutes) SELECT node, count(*) FROM temp.trace GROUP BY node ORDER BY node;
INSERT INTO temp.way (node, route, replies, traceroutes)
SELECT node, named(node, replies), replies, count(*) FROM temp.trace GROUP BY node, replies
ORDER BY count(*) DESC, max(id) DESC LIMIT {MOST_ROUTES};
CREATE INDEX temp.way_of ON way(node, replies);
CREATE TEMP TABLE part (trace, way, last_ttl);
INSERT INTO temp.part SELECT t.id, w.number, t.last_ttl FROM temp.trace t CROSS JOIN temp.way w
WHERE w.node = t.node AND (w.replies = t.replies OR w.replies IS NULL);
CREATE INDEX temp.part_of ON part(way, last_ttl);
CREATE INDEX temp.reply_of ON reply(trace);
CREATE TEMP TABLE probe (way, ttl, trace, ip, rtt);
INSERT INTO temp.probe SELECT p.way, r.ttl, r.trace, r.ip, r.rtt FROM temp.part p CROSS JOIN temp.reply r
WHERE r.trace = p.trace ORDER BY p.way, r.ttl;
CREATE TEMP TABLE said (way, ttl, ip, count, share, place, addresses);
INSERT INTO temp.said
SELECT way, ttl, ip, n, round(100.0 * n / sum(n) OVER here, 3), row_number() OVER (here ORDER BY n DESC, ip),
  count(*) OVER here
FROM (SELECT way, ttl, ip, count(*) AS n FROM temp.probe WHERE ip IS NOT NULL GROUP BY way, ttl, ip)
WINDOW here AS (PARTITION BY way, ttl);
CREATE INDEX temp.said_at ON said(way, ttl, place);
CREATE TEMP TABLE middle (way, ttl, rtt, PRIMARY KEY (way, ttl)) WITHOUT ROWID;
INSERT INTO temp.middle SELECT way, ttl, rtt FROM (
  SELECT way, ttl, rtt, row_number() OVER (PARTITION BY way, ttl ORDER BY rtt) AS place,
    count(*) OVER (PARTITION BY way, ttl) AS n
  FROM temp.probe WHERE rtt IS NOT NULL
) WHERE place = (n + 1) / 2;
CREATE TEMP TABLE answer AS
SELECT w.node, w.route, w.traceroutes, ttl, (
    SELECT json_group_array(json_object('ip', ip, 'count', count, 'share_percent', share))
    FROM (SELECT * FROM temp.said s WHERE s.way = t.way AND s.ttl = t.ttl AND place <= {MOST_ADDRESSES} ORDER BY place)
  ) AS addresses,
  coalesce((SELECT addresses FROM temp.said s WHERE s.way = t.way AND s.ttl = t.ttl AND place = 1), 0) AS address_count,
  sent, t.replies, round(100.0 * (sent - t.replies) / sent, 3) AS loss_percent, rtt_min_ns,
  (SELECT rtt FROM temp.middle m WHERE m.way = t.way AND m.ttl = t.ttl) AS rtt_p50_ns, rtt_max_ns
FROM (
  SELECT way, ttl, count(ip) AS replies, min(rtt) AS rtt_min_ns, max(rtt) AS rtt_max_ns,
    count(*) + (SELECT count(*) FROM temp.part p WHERE p.way = probe.way AND p.last_ttl >= probe.ttl)
    - count(DISTINCT trace) AS sent
  FROM temp.probe GROUP BY way, ttl
) t CROSS JOIN temp.way w WHERE w.number = t.way ORDER BY t.way, ttl;
"""


TRACE = Question(
    "Trace",
    "/trace",
    Trace,
    trace,
    schemas={
        "TraceHop": row_of("What was seen at one TTL.", COLUMNS),
        "TraceHops": record(
            "The way to a target.",
            {
                "ip": shapes.address("the target"),
                "hops": listed("TraceHop", "each TTL, of all traceroutes of a node and of each of its usual routes"),
                "traceroutes": count("traceroutes that were read, the newest"),
                "complete": flag("whether these are all"),
            },
        ),
    },
    whole="TraceHops",
    row="TraceHop",
    summary="The way to a target, TTL by TTL",
    description=f"Of the newest {MOST_TRACEROUTES} traceroutes, or as many as have {MOST_BYTES >> 20} MiB of hops:"
    f" first the rows of all traceroutes of each node, then those of the {MOST_ROUTES} most usual routes."
    f" {WHAT_IS_ONE}",
)
