"""Targets, nodes and links: what the summary counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outputd import timestamps
from outputd.queries.answers import Column, Table
from outputd.queries.session import Session
from outputd.summary import MOST_LINKS, MOST_PASSAGES

LOSS = "round(iif(sent, max(0.0, 100.0 * (sent - received) / sent), 100.0), 3)"
"""SQL: percent of the packets, as rule 2 counts it."""
_RATE_S = 300
_FILES = "file IN (SELECT sequence FROM s.file)"

TARGET_COLUMNS = (
    Column("ip"), Column("results"), Column("failed"), Column("sent"), Column("received"), Column("loss_percent"),
    Column("last_rtt_ns"), Column("first_seen", "time"), Column("last_seen", "time"), Column("nodes", "json"),
)  # fmt: skip
NODE_COLUMNS = (
    Column("node"), Column("batches"), Column("results"), Column("rejected"), Column("first_heard", "time"),
    Column("last_heard", "time"), Column("results_per_s"), Column("clock_offset_s"),
)  # fmt: skip
ARRIVAL_COLUMNS = (
    Column("start", "time"), Column("results"), Column("failed"), Column("sent"), Column("received"),
    Column("loss_percent"),
)  # fmt: skip
LINK_COLUMNS = (
    Column("from"), Column("to"), Column("count"), Column("rtt_difference_ns"), Column("first_seen", "time"),
    Column("last_seen", "time"), Column("nodes", "json"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A time of arrival (in the stored form, its end not included), and how many minutes are taken together."""

    minutes: int
    since: str
    until: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are asked for; times in the stored form."""

    limit: int
    node: str | None = None
    ip: str | None = None
    since: str | None = None
    min_count: int = 1

    def where(self, **columns: str) -> str:
        """SQL for the choices that are made, by the column (or condition) each goes for."""
        chosen = [condition for name, condition in columns.items() if getattr(self, name) is not None]
        return f"WHERE {' AND '.join(chosen)}" if chosen else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """For the statements."""
        return {
            "limit": self.limit, "node": self.node, "ip": self.ip, "since": self.since, "min_count": self.min_count,
        }  # fmt: skip


def complete_until(session: Session) -> dict[str, Any]:
    """The member that says up to which arrival the summary has the results."""
    at = session.value("SELECT received_at FROM s.file ORDER BY sequence DESC LIMIT 1")
    return {"complete_until": None if at is None else timestamps.printed(at)}


def targets(session: Session, choice: Choice) -> Table:
    """Each target with its counts, the busiest first."""
    where = choice.where(node="node = :node", ip="ip = :ip")
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT *, {LOSS} AS loss_percent,
              (SELECT json_group_array(node) FROM
                (SELECT DISTINCT node FROM s.target t WHERE {_FILES} AND t.ip = found.ip ORDER BY node)) AS nodes
            FROM (
              SELECT ip, sum(results) AS results, sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
                CAST(total(received) AS INTEGER) AS received, min(first_seen) AS first_seen,
                max(last_seen) AS last_seen,
                CAST(substr(max(printf('%020d', last_id) || last_rtt_ns), 21) AS INTEGER) AS last_rtt_ns
              FROM s.target {where} GROUP BY ip HAVING :since IS NULL OR max(last_seen) >= :since
              ORDER BY 2 DESC, ip LIMIT :limit
            ) found
            """,
            choice.parameters,
        )
        return Table(session, "targets", TARGET_COLUMNS, after=complete_until(session))


def nodes(session: Session, choice: Choice, now_s: float) -> Table:
    """Each node with what it has sent, by name. The rate is that of the last five minutes."""
    begin = now_s - _RATE_S
    begin_of_minute = begin // 60 * 60
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT node, sum(batches) AS batches, sum(results) AS results, sum(rejected) AS rejected,
              min(first_heard) AS first_heard, max(last_heard) AS last_heard,
              round(coalesce((
                SELECT sum(m.results) FROM s.minute m WHERE {_FILES} AND m.minute >= :begin AND m.node = n.node
              ), 0) / :seconds, 3) AS results_per_s,
              CAST(substr(max(printf('%020d', clock_id) || clock_offset_s), 21) AS REAL) AS clock_offset_s
            FROM s.node n GROUP BY node ORDER BY node LIMIT :limit
            """,
            {**choice.parameters, "begin": timestamps.at(begin_of_minute)[:16], "seconds": now_s - begin_of_minute},
        )
        return Table(session, "nodes", NODE_COLUMNS, after=complete_until(session))


def arrivals(session: Session, asked: Arrivals) -> Table:
    """What arrived, a bucket of whole minutes after the other; one without results has no row."""
    bucket_s = 60 * asked.minutes
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT datetime(bucket, 'unixepoch') AS start, results, failed, sent, received, {LOSS} AS loss_percent
            FROM (
              SELECT CAST(strftime('%s', minute || ':00') AS INTEGER) / :bucket * :bucket AS bucket,
                sum(results) AS results, sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
                CAST(total(received) AS INTEGER) AS received
              FROM s.file f CROSS JOIN s.minute m
              WHERE m.file = f.sequence AND m.minute >= :since AND m.minute < :until
                AND (:node IS NULL OR m.node = :node)
              GROUP BY 1 ORDER BY 1
            )
            """,
            {"bucket": bucket_s, "since": asked.since[:16], "until": asked.until, "node": asked.node},
        )
        before = {
            "bucket_s": bucket_s, "since": timestamps.printed(asked.since), "until": timestamps.printed(asked.until)
        }  # fmt: skip
        return Table(session, "buckets", ARRIVAL_COLUMNS, before, complete_until(session))


def links(session: Session, choice: Choice) -> Table:
    """Pairs of addresses that answered at consecutive TTLs, the most frequent first."""
    with session.summary():
        session.execute("CREATE TEMP TABLE candidate (near, far)")
        session.execute(
            "CREATE TEMP TABLE found (near, far, nodes, count, difference, differences, first_seen, last_seen)"
        )
        if choice.ip is not None or choice.since is not None:
            _gather_links(session, choice, _CANDIDATES.format(
                condition=choice.where(since="last_seen >= :since", node=_OF_NODE)
            ) if choice.ip is None else _CANDIDATES_OF_IP)  # fmt: skip
        elif not _gather_frequent(session, choice):
            session.execute("DELETE FROM temp.found")
            session.execute(_TOTALS.format(links=f"s.link {choice.where(node=_OF_NODE)}"), choice.parameters)
        session.execute("""
            CREATE TEMP TABLE answer AS
            SELECT near AS "from", far AS "to", count, first_seen, last_seen,
              CAST(round(difference / nullif(differences, 0)) AS INTEGER) AS rtt_difference_ns,
              (SELECT json_group_array(node) FROM
                (SELECT node FROM s.name WHERE instr(f.nodes, ',' || id || ',') ORDER BY node)) AS nodes
            FROM temp.found f ORDER BY f.rowid
            """)  # fmt: skip
        return Table(session, "links", LINK_COLUMNS, after={**complete_until(session), "complete": not _full(session)})


_FOUND = "near, far, nodes, count, difference, differences, first_seen, last_seen"
_OF_NODE = "instr(nodes, (SELECT ',' || id || ',' FROM s.name WHERE name.node = :node))"
_OFTEN = (8, 3)
_MANY_ROWS = 100_000
_CANDIDATES = "INSERT INTO temp.candidate SELECT DISTINCT near, far FROM s.link {condition}"
_CANDIDATES_OF_IP = f"""
INSERT INTO temp.candidate SELECT near, far FROM s.link WHERE {_FILES} AND near = :ip
UNION SELECT near, far FROM s.link INDEXED BY link_far WHERE {_FILES} AND far = :ip
"""
_TOTALS = """
INSERT INTO temp.found
SELECT near, far, group_concat(nodes, ''), sum(count) AS total, total(difference_ns), sum(differences),
  min(first_seen), max(last_seen)
FROM {links}
GROUP BY near, far HAVING sum(count) >= :min_count AND (:since IS NULL OR max(last_seen) >= :since)
ORDER BY total DESC, near, far LIMIT :limit
"""


def _gather_links(session: Session, choice: Choice, candidates: str) -> None:
    session.execute(candidates, choice.parameters)
    links = (
        f"(SELECT l.* FROM temp.candidate c CROSS JOIN s.link l WHERE {_FILES} AND l.near = c.near AND l.far = c.far)"
    )
    session.execute(_TOTALS.format(links=f"{links} {choice.where(node=_OF_NODE)}"), choice.parameters)


def _gather_frequent(session: Session, choice: Choice) -> bool:
    """Find the links by those that some file has often, which are few; whether no other can be among them."""
    rows, files = session.execute("SELECT total(links), count(*) FROM s.file").fetchone()
    if rows < _MANY_ROWS:
        return False
    for often in _OFTEN:
        session.execute("DELETE FROM temp.candidate")
        session.execute("DELETE FROM temp.found")
        _gather_links(session, choice, _CANDIDATES.format(
            condition=f"WHERE count >= {often} {'' if choice.node is None else f'AND {_OF_NODE}'}"
        ))  # fmt: skip
        least, found = session.execute("SELECT min(count), count(*) FROM temp.found").fetchone()
        others = (often - 1) * files
        if (found == choice.limit and least > others) or choice.min_count > others:
            return True
    return False


def _full(session: Session) -> bool:
    """Whether a file has more links than are kept."""
    return bool(
        session.value(
            "SELECT count(*) FROM s.file WHERE links >= :links OR passages >= :passages",
            {"links": MOST_LINKS, "passages": MOST_PASSAGES},
        )
    )
