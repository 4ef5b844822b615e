"""The way to a target as mtr shows it: a row a TTL, for all traceroutes of a node, and for each of its usual routes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from outputd.queries.parameters import Node, Since, Target, Until
from outputd.queries.question import Addresses, Question
from outputd.queries.routes import SAID, WHAT_IS_ONE, define_names, replies_of
from outputd.queries.session import Session
from outputd.queries.tables import ROWS_A_PAGE, Column, Table, row_of
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


_NAMES = ", ".join(column.name for column in COLUMNS)


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
    return Table(session, "hops", COLUMNS, {"ip": asked.ip}, after, bring=partial(_bring, session))


def _bring(session: Session, after: int) -> bool:
    """Put the next rows into the answer: what they say is longer than all that is kept of them."""
    session.execute("DELETE FROM temp.answer")
    return session.execute(_COUNTED, {"after": after}).rowcount > 0


_SCRATCH = """
CREATE TEMP TABLE trace (id INTEGER PRIMARY KEY, node);
CREATE TEMP TABLE reply (number INTEGER PRIMARY KEY, trace INTEGER, ttl, ip, rtt);
"""
_TRACES = f"SELECT c.id, b.node FROM {NODES_OF_CHOSEN}"
_REPLIES = f"""
INSERT INTO temp.reply (trace, ttl, ip, rtt)
SELECT p.id, h.ttl, {SAID}, iif({SAID} IS NULL, NULL, {believable("h.rtt")})
FROM temp.chosen c CROSS JOIN temp.trace p CROSS JOIN {HOPS} AND p.id = c.id
"""
_OF_TRACE = "temp.reply h WHERE h.trace = t.id"
_ANSWER = f"""
CREATE INDEX temp.reply_of ON reply(trace);
CREATE TEMP TABLE route AS
SELECT id, node, {replies_of(_OF_TRACE, "h.ip")} AS replies, (SELECT max(h.ttl) FROM {_OF_TRACE}) AS last_ttl
FROM temp.trace t;
CREATE TEMP TABLE way (number INTEGER PRIMARY KEY, node, route, replies, traceroutes);
INSERT INTO temp.way (node, traceroutes) SELECT node, count(*) FROM temp.route GROUP BY node ORDER BY node;
INSERT INTO temp.way (node, route, replies, traceroutes)
SELECT node, named(node, replies), replies, count(*) FROM temp.route GROUP BY node, replies
ORDER BY count(*) DESC, max(id) DESC LIMIT {MOST_ROUTES};
CREATE INDEX temp.way_of ON way(node, replies);
CREATE TEMP TABLE part (trace INTEGER, way, last_ttl);
INSERT INTO temp.part SELECT t.id, w.number, t.last_ttl FROM temp.route t CROSS JOIN temp.way w
WHERE w.node = t.node AND (w.replies = t.replies OR w.replies IS NULL);
CREATE INDEX temp.part_of ON part(way, last_ttl);
CREATE TEMP TABLE probe (way, ttl, ip, number, trace, rtt, PRIMARY KEY (way, ttl, ip, number)) WITHOUT ROWID;
INSERT INTO temp.probe SELECT p.way, r.ttl, coalesce(r.ip, ''), r.number, r.trace, r.rtt
FROM temp.part p CROSS JOIN temp.reply r WHERE r.trace = p.trace ORDER BY 1, 2, 3, 4;
CREATE TEMP TABLE place (number INTEGER PRIMARY KEY, way, ttl);
INSERT INTO temp.place (way, ttl) SELECT way, ttl FROM temp.probe GROUP BY way, ttl;
CREATE TEMP TABLE answer ({_NAMES});
"""
_HERE = "temp.probe p WHERE p.way = t.way AND p.ttl = t.ttl"
_COUNTED = f"""
INSERT INTO temp.answer (rowid, {_NAMES})
SELECT t.number, w.node, w.route, w.traceroutes, ttl, (
    SELECT json_group_array(json_object('ip', ip, 'count', count, 'share_percent', round(100.0 * count / t.replies, 3)))
    FROM (
      SELECT ip, count(*) AS count FROM {_HERE} AND ip <> '' GROUP BY ip ORDER BY count(*) DESC, ip
      LIMIT {MOST_ADDRESSES}
    )
  ),
  (SELECT count(*) FROM (SELECT 1 FROM {_HERE} AND ip <> '' GROUP BY ip)),
  sent, t.replies, round(100.0 * (sent - t.replies) / sent, 3), least, (
    SELECT rtt FROM (
      SELECT rtt, row_number() OVER (ORDER BY rtt) AS place FROM {_HERE} AND rtt IS NOT NULL
    ) WHERE place = (rtts + 1) / 2
  ), most
FROM (
  SELECT t.number, t.way, t.ttl, sum(ip <> '') AS replies, count(rtt) AS rtts, min(rtt) AS least, max(rtt) AS most,
    count(*) + (SELECT count(*) FROM temp.part p WHERE p.way = t.way AND p.last_ttl >= t.ttl)
    - count(DISTINCT trace) AS sent
  FROM (SELECT * FROM temp.place WHERE number > :after ORDER BY number LIMIT {ROWS_A_PAGE}) t CROSS JOIN {_HERE}
  GROUP BY t.number
) t CROSS JOIN temp.way w WHERE w.number = t.way ORDER BY t.number
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
    addresses=(Addresses("addresses", "address_", are_lists=True, member="ip"),),
    summary="The way to a target, TTL by TTL",
    description=f"Of the newest {MOST_TRACEROUTES} traceroutes, or as many as have {MOST_BYTES >> 20} MiB of hops:"
    f" first the rows of all traceroutes of each node, then those of the {MOST_ROUTES} most usual routes."
    f" {WHAT_IS_ONE}",
)
