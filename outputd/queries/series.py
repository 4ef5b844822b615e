"""The round-trip times and losses of one target over time, a bucket after the other."""

from __future__ import annotations

from dataclasses import dataclass

from outputd.queries.session import Session
from outputd.queries.tables import Column, Table
from outputd.results import timestamps
from outputd.store.fragments import LOSS, LOST, NODES_OF_CHOSEN
from outputd.store.times import bucket_of, second_of, within

QUANTILES = (10, 25, 50, 75, 90)
COLUMNS = (
    Column("start", "time"), Column("node"), Column("count"), Column("failed"), Column("sent"), Column("received"),
    Column("lost"), Column("loss_percent"), Column("rtt_min_ns"), *(Column(f"rtt_p{rank}_ns") for rank in QUANTILES),
    Column("rtt_max_ns"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """A target, a span of time (in the stored form) and how it is cut into buckets."""

    ip: str
    bucket_s: int
    since: str
    until: str
    node: str | None = None


def series(session: Session, span: Span) -> Table:
    """Each bucket and node that has results. A quantile is a value that was measured (nearest rank)."""
    parameters = {
        "ip": span.ip, "bucket": span.bucket_s, "since": span.since, "until": span.until, "node": span.node,
    }  # fmt: skip
    session.execute("CREATE TEMP TABLE sample (id, second, node, sent, received, rtt, least, most)")
    session.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")

    def gather(_: object) -> None:
        session.execute("DELETE FROM temp.chosen")
        session.execute(
            "INSERT INTO temp.chosen SELECT id FROM f.ping_results"
            f" WHERE ip = :ip AND {' AND '.join(within('+timestamp', span.since, span.until))}",
            parameters,
        )
        session.execute(f"""
            INSERT INTO temp.sample
            SELECT p.id, {second_of("p.timestamp")}, b.node, p.sent, p.received,
              iif(p.received > 0, p.avg_rtt, NULL), iif(p.received > 0, coalesce(s.min_rtt, p.avg_rtt), NULL),
              iif(p.received > 0, coalesce(s.max_rtt, p.avg_rtt), NULL)
            FROM {NODES_OF_CHOSEN} CROSS JOIN f.ping_results p
            LEFT JOIN f.rtt_spread s ON s.ping_result_id = p.id
            WHERE p.id = c.id {"" if span.node is None else "AND b.node = :node"}
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
    before = {
        "ip": span.ip, "bucket_s": span.bucket_s, "since": timestamps.printed(span.since),
        "until": timestamps.printed(span.until),
    }  # fmt: skip
    return Table(session, "buckets", COLUMNS, before)
