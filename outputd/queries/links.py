"""Links: pairs of addresses that answered one after the other."""

from __future__ import annotations

from outputd.queries.choice import IN_FILES, Choice, complete_until
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table
from outputd.summary.summary import MOST_LINKS, MOST_PASSAGES

LINK_COLUMNS = (
    Column("from"), Column("to"), Column("count"), Column("rtt_difference_ns"), Column("first_seen", "time"),
    Column("last_seen", "time"), Column("nodes", "json"),
)  # fmt: skip


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
INSERT INTO temp.candidate SELECT near, far FROM s.link WHERE {IN_FILES} AND near = :ip
UNION SELECT near, far FROM s.link INDEXED BY link_far WHERE {IN_FILES} AND far = :ip
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
        f"(SELECT l.* FROM temp.candidate c CROSS JOIN s.link l WHERE {IN_FILES} AND l.near = c.near AND l.far = c.far)"
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
