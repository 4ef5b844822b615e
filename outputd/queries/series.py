"""The round-trip times and losses of one target over time, a bucket after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from outputd.queries.columns import COUNTS
from outputd.queries.parameters import Node, Target, time, whole
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.spans import DAY_S, MOST_BUCKETS, span_of
from outputd.queries.tables import Column, Notes, Table, row_of
from outputd.store.fragments import LOSS, LOST, NODES_OF_CHOSEN
from outputd.store.times import bucket_of, second_of, within
from outputd.web import shapes
from outputd.web.shapes import Schema, count, instant, listed, or_null, record, text

QUANTILES = (10, 25, 50, 75, 90)
_RTT: Schema = or_null({"type": "integer", "minimum": 0, "description": "round-trip time, nanoseconds"})
COLUMNS = (
    Column("start", instant("its beginning")),
    Column("node", text("the node that measured")),
    Column("count", count("results", least=1)),
    *COUNTS,
    Column("rtt_min_ns", _RTT),
    *(Column(f"rtt_p{rank}_ns", _RTT) for rank in QUANTILES),
    Column("rtt_max_ns", _RTT),
)


@dataclass(frozen=True, slots=True)
class Series:
    """Which target and time is asked for, and how it is cut into buckets."""

    ip: Target
    bucket: Annotated[int | None, whole(f"Seconds; made longer where there would be over {MOST_BUCKETS}.")] = None
    since: Annotated[str | None, time("The beginning; absent: a week before the end.")] = None
    until: Annotated[str | None, time("The end, not included; absent: now.")] = None
    node: Node = None


def series(session: Session, asked: Series, now_s: float) -> Table:
    """Each bucket and node that has results. A quantile is a value that was measured (nearest rank)."""
    span = span_of(asked.since, asked.until, now_s, usual_s=7 * DAY_S)
    bucket_s = span.bucket_s(asked.bucket)
    parameters = {"ip": asked.ip, "bucket": bucket_s, **span._asdict(), "node": asked.node}
    session.execute("CREATE TEMP TABLE sample (id, second, node, sent, received, rtt, least, most)")
    session.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")

    def gather(_: object) -> None:
        session.execute("DELETE FROM temp.chosen")
        session.execute(
            "INSERT INTO temp.chosen SELECT id FROM f.ping_results"
            f" WHERE ip = :ip AND {' AND '.join(within('+timestamp', *span))}",
            parameters,
        )
        session.execute(f"""
            INSERT INTO temp.sample
            SELECT p.id, {second_of("p.timestamp")}, b.node, p.sent, p.received,
              iif(p.received > 0, p.avg_rtt, NULL), iif(p.received > 0, coalesce(s.min_rtt, p.avg_rtt), NULL),
              iif(p.received > 0, coalesce(s.max_rtt, p.avg_rtt), NULL)
            FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p
            LEFT JOIN f.rtt_spread s ON s.ping_result_id = p.id
            WHERE p.id = c.id {"" if asked.node is None else "AND b.node = :node"}
            """, parameters)  # fmt: skip

    session.over_files(gather)
    quantiles = ", ".join(
        f"max(iif(place = (total * {rank} + 99) / 100, rtt, NULL)) AS rtt_p{rank}_ns" for rank in QUANTILES
    )
    session.execute(f"""
        CREATE TEMP TABLE answer AS
        WITH placed AS (
          SELECT *, {bucket_of("second", ":bucket")} AS start FROM temp.sample
        ), ranked AS (
          SELECT *, row_number() OVER (PARTITION BY start, node ORDER BY rtt IS NULL, rtt) AS place,
            count(rtt) OVER (PARTITION BY start, node) AS total
          FROM placed
        ), counted AS (
          SELECT start, node, count(*) AS count, count(iif(received > 0, NULL, 1)) AS failed,
            CAST(total(sent) AS INTEGER) AS sent, CAST(total(received) AS INTEGER) AS received, {LOST} AS lost,
            min(least) AS rtt_min_ns, {quantiles}, max(most) AS rtt_max_ns
          FROM ranked GROUP BY start, node
        )
        SELECT start, node, count, failed, sent, received, lost, {LOSS} AS loss_percent,
          rtt_min_ns, {", ".join(f"rtt_p{rank}_ns" for rank in QUANTILES)}, rtt_max_ns
        FROM counted ORDER BY start, node
        """, parameters)  # fmt: skip
    before = {"ip": asked.ip, "bucket_s": bucket_s, **span.printed}
    return Table(session, "buckets", COLUMNS, before, notes=Notes(bucket_s=bucket_s))


SERIES = Question(
    "Series",
    "/series",
    Series,
    series,
    schemas={
        "Bucket": row_of("What one node measured in one bucket of time.", COLUMNS),
        "Series": record(
            "Round-trip times and losses of one target over time.",
            {
                "ip": shapes.address("the target"),
                "bucket_s": count("length of a bucket, seconds", least=1),
                "since": instant("the beginning"),
                "until": instant("the end, which is not included"),
                "buckets": listed("Bucket", "those that have results, by time and node"),
            },
        ),
    },
    whole="Series",
    row="Bucket",
    summary="A target over time",
    description="A bucket a node. A quantile is a value that was measured (nearest rank). The extremes are those of the"
    " single packets where the node gave them.",
)
