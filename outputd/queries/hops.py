"""One address that answered as a hop: when, by whom it was seen, between which others, on the way to which targets.

The summary knows most of it. What came in after its marks is read from the files, by their index on the addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from outputd.queries.choice import IN_FILES, NODES_OF
from outputd.queries.columns import NODES, RTT_DIFFERENCE
from outputd.queries.labels import Labels
from outputd.queries.parameters import address, limit
from outputd.queries.question import Addresses, Question
from outputd.queries.session import NotReady, Session
from outputd.queries.tables import Column, Table, row_of
from outputd.results import timestamps
from outputd.store.file import FileInfo
from outputd.store.fragments import NODES_OF_CHOSEN, SILENCE, believable, believed, is_address
from outputd.web import shapes
from outputd.web.shapes import count, flag, instant, listed, or_null, record, text

MOST_LISTED = 10_000
"""Length of each list."""
DEFAULT_LISTED = 100
MOST_FRESH = 100
"""Rows that are read beyond the summary's marks, the newest."""
_REACH_ROWS = 48
_SCRATCH = """
CREATE TEMP TABLE passage (target, count, first_seen, last_seen);
CREATE TEMP TABLE seen_by (node PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE beside (relation, ip, count, difference, differences, last_seen);
CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE fresh (id INTEGER PRIMARY KEY, trace, ttl, rtt);
CREATE INDEX temp.fresh_trace ON fresh(trace);
"""
COLUMNS = (
    Column("relation", {"enum": ["before", "after", "target"]}),
    Column("ip", text("the neighbour or target")),
    Column("count", count("how often", least=1)),
    RTT_DIFFERENCE,
    Column("last_seen", or_null(instant("when last"))),
)
ADDRESSES = (Addresses("ip"),)


@dataclass(frozen=True, slots=True)
class Hop:
    """Which address is asked for."""

    ip: Annotated[str, address("The address, in any spelling.", wrong="a hop is an IPv4 or IPv6 address")]
    limit: Annotated[int, limit(MOST_LISTED)] = DEFAULT_LISTED


def hop(session: Session, asked: Hop, _: float) -> Table | None:
    """All of one hop, each of its lists at most `limit` long; None when it was never seen."""
    ip = asked.ip
    if ip in SILENCE:
        return None
    session.run(_SCRATCH)
    marks, has_left_out = _summed_up(session, ip)
    is_whole = _read_on(session, ip, marks) and not has_left_out
    seen, first_seen, last_seen = session.execute(
        "SELECT coalesce(sum(count), 0), min(first_seen), max(last_seen) FROM temp.passage"
    ).fetchone()
    if not seen:
        return None
    session.execute(
        """
        CREATE TEMP TABLE answer AS
        SELECT * FROM (
          SELECT relation, ip, sum(count) AS count, max(last_seen) AS last_seen,
            CAST(round(total(difference) / nullif(sum(differences), 0)) AS INTEGER) AS rtt_difference_ns,
            row_number() OVER (PARTITION BY relation ORDER BY sum(count) DESC, ip) AS place
          FROM temp.beside GROUP BY relation, ip
          UNION ALL
          SELECT 'target', target, sum(count), max(last_seen), NULL,
            row_number() OVER (ORDER BY max(last_seen) DESC, target)
          FROM temp.passage GROUP BY target
        ) WHERE place <= :limit ORDER BY relation, place
        """,
        {"limit": asked.limit},
    )
    labels = None if session.naming is None else Labels(session, session.naming, ADDRESSES)
    if labels is not None:
        labels.learn_all(ip)
    also = "" if labels is None else labels.members
    document = {
        "ip": ip,
        **({} if labels is None else labels.of(ip)),
        "seen": seen,
        "first_seen": timestamps.printed(first_seen),
        "last_seen": timestamps.printed(last_seen),
        "nodes": _raw(session, "SELECT node AS line FROM temp.seen_by ORDER BY node"),
        "before": _raw(session, _NEIGHBOURS.format(also=also), {"relation": "before"}),
        "after": _raw(session, _NEIGHBOURS.format(also=also), {"relation": "after"}),
        "targets": _raw(session, _TARGETS.format(also=also)),
        "target_count": session.value("SELECT count(DISTINCT target) FROM temp.passage"),
        "complete": is_whole,
    }
    return Table(session, "hops", COLUMNS, document=msgspec.json.encode(document))


_NEIGHBOURS = """
SELECT json_object('ip', ip, 'count', count, 'rtt_difference_ns', rtt_difference_ns{also}) AS line
FROM temp.answer WHERE relation = :relation ORDER BY rowid
"""
_TARGETS = """
SELECT json_object('ip', ip, 'count', count, 'last_seen', substr(last_seen, 1, 10) || 'T' || substr(last_seen, 12)
  || 'Z'{also}) AS line
FROM temp.answer WHERE relation = 'target' ORDER BY rowid
"""


def _raw(session: Session, rows: str, parameters: dict[str, Any] | None = None) -> msgspec.Raw:
    line = "json(line)" if "json_object" in rows else "line"
    return msgspec.Raw(session.value(f"SELECT json_group_array({line}) FROM ({rows})", parameters).encode())


def _summed_up(session: Session, ip: str) -> tuple[dict[tuple[int, str], int], bool]:
    """Bring in what the summary has; up to which hop of each file it has it, and whether it has left something out."""
    try:
        with session.summary():
            session.execute(
                "INSERT INTO temp.passage SELECT target, count, first_seen, last_seen FROM s.passage"
                f" WHERE {IN_FILES} AND hop = :ip", {"ip": ip},
            )  # fmt: skip
            session.execute(
                "INSERT OR IGNORE INTO temp.seen_by SELECT n.node FROM (SELECT DISTINCT nodes FROM s.passage"
                f" WHERE {IN_FILES} AND hop = :ip) CROSS JOIN {NODES_OF.format(nodes='nodes')}", {"ip": ip},
            )  # fmt: skip
            for relation, column, key, index in (
                ("before", "near", "far", "INDEXED BY link_far"), ("after", "far", "near", ""),
            ):  # fmt: skip
                session.execute(
                    f"INSERT INTO temp.beside SELECT '{relation}', {column}, count, difference_ns, differences,"
                    f" last_seen FROM s.link {index} WHERE {IN_FILES} AND {key} = :ip", {"ip": ip},
                )  # fmt: skip
            files = session.execute("SELECT sequence, created_at, hop_id, left_out FROM s.file").fetchall()
            marks = {(sequence, created_at): hop_id for sequence, created_at, hop_id, _ in files}
            return marks, any(left_out for *_, left_out in files)
    except NotReady:
        return {}, False


def _read_on(session: Session, ip: str, marks: dict[tuple[int, str], int]) -> bool:
    """Bring in what the files have beyond the marks; whether that was all."""
    room = MOST_FRESH

    def gather(info: FileInfo) -> bool:
        nonlocal room
        mark = marks.get((info.sequence, info.created_at), 0)
        session.execute("DELETE FROM temp.fresh")
        session.execute(
            f"INSERT INTO temp.fresh SELECT id, traceroute_id, ttl, {believable('rtt')} FROM f.traceroute_hops"
            " WHERE ip = :ip AND id > :mark AND NOT timeout ORDER BY id DESC LIMIT :room",
            {"ip": ip, "mark": mark, "room": room},
        )
        rows: int = session.value("SELECT count(*) FROM temp.fresh")
        room -= rows
        if rows:
            _take_in(session, ip)
        return room == 0

    session.over_files(gather, session.files[::-1])
    return room > 0


def _take_in(session: Session, ip: str) -> None:
    at = believed("p", "b")
    session.execute("DELETE FROM temp.chosen")
    session.execute("INSERT INTO temp.chosen SELECT DISTINCT trace FROM temp.fresh")
    session.execute(f"""
        INSERT INTO temp.passage
        SELECT p.ip, (SELECT count(DISTINCT ttl) FROM temp.fresh WHERE trace = c.id), {at}, {at}
        FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p WHERE p.id = c.id
        """)  # fmt: skip
    session.execute(f"INSERT OR IGNORE INTO temp.seen_by SELECT DISTINCT b.node FROM {NODES_OF_CHOSEN}")
    for relation, step in (("before", -1), ("after", 1)):
        session.execute(f"""
            INSERT INTO temp.beside
            SELECT '{relation}', ip, count(*), total(difference), count(difference), NULL FROM (
              SELECT o.trace, o.ttl, n.ip, {step} * (min({believable("n.rtt")}) - min(o.rtt)) AS difference
              FROM temp.fresh o CROSS JOIN f.traceroute_hops n
              WHERE n.id BETWEEN o.id - {_REACH_ROWS} AND o.id + {_REACH_ROWS} AND +n.traceroute_id = o.trace
                AND +n.ttl = o.ttl + {step} AND NOT n.timeout AND {is_address("n.ip")} AND n.ip <> :ip
              GROUP BY 1, 2, 3
            ) GROUP BY ip
            """, {"ip": ip})  # fmt: skip


HOP = Question(
    "Hop",
    "/hops/<ip>",
    Hop,
    hop,
    schemas={
        "Neighbour": record(
            "An address before or after a hop.",
            {
                "ip": text("its address"),
                "count": count("how often", least=1),
                RTT_DIFFERENCE.name: RTT_DIFFERENCE.schema,
            },
        ),
        "TargetBehind": record(
            "A target that was reached through a hop.",
            {
                "ip": shapes.address("the target"),
                "count": count("how often", least=1),
                "last_seen": instant("when last"),
            },
        ),
        "HopSeen": record(
            "An address that answered as a hop.",
            {
                "ip": shapes.address("its address"),
                "seen": count("how often it answered: once for each TTL of a traceroute", least=1),
                "first_seen": instant("when first"),
                "last_seen": instant("when last"),
                NODES.name: NODES.schema,
                "before": listed("Neighbour", "addresses that replied at the TTL before, the most frequent first"),
                "after": listed("Neighbour", "addresses that replied at the TTL after, the most frequent first"),
                "targets": listed("TargetBehind", "the targets behind it, the newest first"),
                "target_count": count("how many targets there are", least=1),
                "complete": flag("false where only the newest of what is not summed up was read"),
            },
        ),
        "HopRelation": row_of("One line about a hop.", COLUMNS),
    },
    whole="HopSeen",
    row="HopRelation",
    addresses=ADDRESSES,
    labelled=("Neighbour", "TargetBehind", "HopSeen"),
    summary="One address as a hop",
    description="`limit` is that of each list.",
    misses="It has never answered as a hop.",
    is_from_summary=True,
)
