"""Targets over time: for each target a row of cells, of which each is a bucket of time, the worst target first."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from outputd.queries.columns import LOSS_PERCENT
from outputd.queries.named import find_named
from outputd.queries.order import PAGES, Cursor, Direction, order_of, sort_by
from outputd.queries.parameters import DEFAULT_ROWS, Limit, Node, Prefix, part, time, whole
from outputd.queries.question import Addresses, Question
from outputd.queries.session import Session
from outputd.queries.spans import DAY_S, Span, span_of
from outputd.queries.tables import Column, Table, row_of
from outputd.results import timestamps
from outputd.store.fragments import LOSS, LOST
from outputd.store.times import bucket_of, second_of, within
from outputd.web import shapes
from outputd.web.shapes import count, instant, listed, or_null, record

USUAL_BUCKETS = 96
MOST_BUCKETS = 1000
MOST_CELLS = 1_000_000
"""Rows times buckets of an answer, both of which a client chooses."""
_CELLS_AT_ONCE = 20_000
"""Cells that are written as text at a time."""
_WIDTH = 4096
"""More than the buckets of a target: its cells have this many keys."""
_RTT = or_null(count("round-trip time, nanoseconds"))
COLUMNS = (
    Column("ip", shapes.address("the target")),
    Column("results", count("results", least=1)),
    Column("sent", count("packets sent")),
    Column("lost", count("packets lost, result by result")),
    Column("loss_percent", LOSS_PERCENT),
    Column("last_loss_percent", {**LOSS_PERCENT, "description": "percent of the packets of its last cell"}),
    Column("rtt_ns", or_null(count("median of the round-trip times of its cells, nanoseconds"))),
    Column("rtt_rise_percent", or_null({
        "type": "number", "minimum": 0, "description": "how far its highest cell is above that median, percent",
    })),
    Column("cells", {
        "type": "array", "description": "those that have results: place from 0, packets sent, packets lost, mean"
        " round-trip time in nanoseconds, null where nothing replied",
        "items": {
            "type": "array", "minItems": 4, "maxItems": 4,
            "prefixItems": [count("the place"), count("packets sent"), count("packets lost"), _RTT],
        },
    }),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cells:
    """Which targets and time are asked for, and how it is cut into cells."""

    limit: Annotated[
        int, dataclasses.replace(Limit.__metadata__[0], meaning="The most targets; fewer where rows times buckets"
                                 f" would be over {MOST_CELLS}.")
    ] = DEFAULT_ROWS  # fmt: skip
    bucket: Annotated[int | None, whole(f"Seconds; made longer where there would be over {MOST_BUCKETS}.")] = None
    since: Annotated[str | None, time("The beginning; absent: a day before the end.")] = None
    until: Annotated[str | None, time("The end, not included; absent: now.")] = None
    node: Node = None
    prefix: Prefix = None
    text: Annotated[str | None, part("Only targets with this in their address, or in a name that is known.")] = None
    sort: Annotated[str, sort_by(COLUMNS, "cells")] = "loss_percent"
    order: Direction = None
    cursor: Cursor = None


@dataclass(frozen=True, slots=True)
class _Grid:
    """The time that is asked for, in cells."""

    span: Span
    bucket_s: int
    first_s: int
    """Where the first cell begins, in seconds since 1970."""

    @property
    def buckets(self) -> int:
        """How many cells a row has at most."""
        return max(1, math.ceil((timestamps.seconds(self.span.until) - self.first_s) / self.bucket_s))


def cells(session: Session, asked: Cells, now_s: float) -> Table:
    """The cells of each target that has any, those that lost most first unless it is said otherwise."""
    span = span_of(asked.since, asked.until, now_s, usual_s=DAY_S)
    bucket_s = span.bucket_s(asked.bucket, usual=USUAL_BUCKETS, most=MOST_BUCKETS)
    grid = _Grid(span, bucket_s, math.floor(timestamps.seconds(span.since) / bucket_s) * bucket_s)
    asked = dataclasses.replace(asked, limit=min(asked.limit, max(1, MOST_CELLS // grid.buckets)))
    order = order_of(session, asked, "ip")
    _gather(session, asked, grid)
    needs_rtt = asked.sort in ("rtt_ns", "rtt_rise_percent")
    rows = f"SELECT *, {_RISE} AS rtt_rise_percent FROM ({_TOTALS.format(rtt=_MEDIAN if needs_rtt else 'NULL')})"
    session.execute(
        f"CREATE TEMP TABLE found AS SELECT * FROM ({rows}) WHERE {order.behind} ORDER BY {order.by} LIMIT :limit",
        {"limit": asked.limit, **order.parameters},
    )
    session.run(f"CREATE TEMP TABLE answer ({', '.join(column.name for column in COLUMNS)})")
    start = session.value(f"SELECT {bucket_of(':second', ':bucket')}", {"second": grid.first_s, "bucket": bucket_s})
    before = {"bucket_s": bucket_s, **span.printed, "start": timestamps.printed(start), "buckets": grid.buckets}
    notes = dataclasses.replace(order.notes(session), bucket_s=bucket_s)
    bring = partial(_bring, session, max(1, _CELLS_AT_ONCE // grid.buckets))
    return Table(session, "targets", COLUMNS, before, notes=notes, bring=bring)


def _gather(session: Session, asked: Cells, grid: _Grid) -> None:
    """Bring the results of all files into temp.cell."""
    if asked.prefix is not None:
        session.choose_within(asked.prefix)
    if asked.text is not None:
        find_named(session, asked.text)
    session.run(_SCRATCH)
    chosen = " AND ".join([
        "true", *(["within(ip)"] if asked.prefix is not None else []),
        *(["(instr(ip, :text) OR ip IN temp.named)"] if asked.text is not None else []),
    ])  # fmt: skip
    results = "f.ping_results p" if asked.node is None else _OF_NODE
    of_node = "" if asked.node is None else "AND p.id BETWEEN b.first_id AND b.last_id"
    parameters = {**dataclasses.asdict(asked), **grid.span._asdict(), "bucket": grid.bucket_s, "first": grid.first_s}

    def gather(_: object) -> None:
        low, high = session.row(_IDS.format(within=" AND ".join(within("timestamp", *grid.span))), parameters)
        if low is None:
            return
        session.execute(_TARGETS.format(chosen=chosen), parameters)
        session.execute(
            _TAKE_IN.format(results=results, within=" AND ".join(within("+p.timestamp", *grid.span)), of_node=of_node),
            {**parameters, "low": low, "high": high},
        )

    session.over_files(gather)


def _bring(session: Session, rows: int, after: int) -> bool:
    """Put the next rows into the answer, with their cells."""
    session.execute("DELETE FROM temp.answer")
    return session.execute(_ROWS, {"after": after, "rows": rows}).rowcount > 0


_SCRATCH = """
CREATE TEMP TABLE target (number INTEGER PRIMARY KEY, ip TEXT NOT NULL UNIQUE);
CREATE TEMP TABLE cell (key INTEGER PRIMARY KEY, results, sent, lost, rtt, rtts);
"""
_IDS = "SELECT min(id), max(id) FROM f.ping_results WHERE {within}"
"""Between them the results are read in their order, which takes a third of what it takes to find each by its time."""
_TARGETS = (
    "INSERT OR IGNORE INTO temp.target (ip) SELECT ip FROM (SELECT DISTINCT ip FROM f.ping_results) WHERE {chosen}"
)
_OF_NODE = """
(SELECT first_id, last_id FROM f.batches WHERE node = :node AND last_id >= :low AND first_id <= :high) b
CROSS JOIN f.ping_results p
"""
_TAKE_IN = f"""
INSERT INTO temp.cell
SELECT t.number * {_WIDTH} + ({second_of("p.timestamp")} - :first) / :bucket, count(*),
  CAST(total(sent) AS INTEGER), {LOST}, total(iif(received > 0, avg_rtt, NULL)), count(iif(received > 0, avg_rtt, NULL))
FROM {{results}} CROSS JOIN temp.target t
WHERE p.id BETWEEN :low AND :high AND {{within}} AND t.ip = p.ip {{of_node}}
GROUP BY 1
ON CONFLICT DO UPDATE SET results = results + excluded.results,
  sent = CAST(0.0 + sent + excluded.sent AS INTEGER), lost = CAST(0.0 + lost + excluded.lost AS INTEGER),
  rtt = rtt + excluded.rtt, rtts = rtts + excluded.rtts
"""
_OF_TARGET = f"c.key >= number * {_WIDTH} AND c.key < (number + 1) * {_WIDTH}"
_MEDIAN = f"""(
  SELECT CAST(round(rtt) AS INTEGER) FROM (
    SELECT c.rtt / c.rtts AS rtt, row_number() OVER (ORDER BY c.rtt / c.rtts) AS place
    FROM temp.cell c WHERE {_OF_TARGET} AND c.rtts
  ) WHERE place = (answered + 1) / 2
)"""
"""SQL for the median of the cells' round-trip times (nearest rank)."""
_RISE = "round(100.0 * max(0, most / rtt_ns - 1), 1)"
_TOTALS = f"""
SELECT *, {LOSS} AS loss_percent, {{rtt}} AS rtt_ns,
  (SELECT {LOSS} FROM temp.cell c WHERE {_OF_TARGET} ORDER BY c.key DESC LIMIT 1) AS last_loss_percent
FROM (
  SELECT number, ip, sum(results) AS results, CAST(total(sent) AS INTEGER) AS sent,
    CAST(total(lost) AS INTEGER) AS lost, max(iif(rtts, rtt / rtts, NULL)) AS most, sum(rtts > 0) AS answered
  FROM temp.target CROSS JOIN temp.cell c WHERE {_OF_TARGET} GROUP BY number
)
"""
_ROWS = f"""
INSERT INTO temp.answer
  (rowid, ip, results, sent, lost, loss_percent, last_loss_percent, rtt_ns, rtt_rise_percent, cells)
SELECT place, ip, results, sent, lost, loss_percent, last_loss_percent, rtt_ns, {_RISE}, cells FROM (
  SELECT rowid AS place, ip, results, sent, lost, loss_percent, last_loss_percent, most,
    coalesce(rtt_ns, {_MEDIAN}) AS rtt_ns,
    (SELECT json_group_array(json_array(key - number * {_WIDTH}, sent, lost, rtt)) FROM (
      SELECT key, sent, lost, CAST(round(rtt / nullif(rtts, 0)) AS INTEGER) AS rtt
      FROM temp.cell c WHERE {_OF_TARGET} ORDER BY key
    )) AS cells
  FROM temp.found WHERE rowid > :after ORDER BY rowid LIMIT :rows
)
"""

CELLS = Question(
    "Cells",
    "/cells",
    Cells,
    cells,
    schemas={
        "TargetCells": row_of("What was measured of one target, and its cells.", COLUMNS),
        "Cells": record(
            "Targets over time, as they are sorted.",
            {
                "bucket_s": count("length of a cell, seconds", least=1),
                "since": instant("the beginning"),
                "until": instant("the end, which is not included"),
                "start": instant("where the first cell begins, at or before `since`"),
                "buckets": count("cells that a row has at most", least=1),
                "targets": listed("TargetCells", "the targets"),
            },
        ),
    },
    whole="Cells",
    row="TargetCells",
    summary="All targets over time",
    description="A row of cells a target, as a heat map shows them; those that lost most come first, unless `sort` says"
    f" otherwise. A target without results in this time is left out. {PAGES}",
    addresses=(Addresses("ip"),),
    is_paged=True,
)
