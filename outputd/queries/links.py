"""Links: pairs of addresses that answered one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from outputd.queries.choice import IN_FILES, complete_until, where
from outputd.queries.columns import COMPLETE_UNTIL, NODES, RTT_DIFFERENCE
from outputd.queries.numbers import named
from outputd.queries.order import PAGES, Cursor, Direction, Order, order_of, sort_by
from outputd.queries.parameters import DEFAULT_ROWS, LastSeenBefore, Limit, Node, Since, address, prefix, whole
from outputd.queries.question import Addresses, Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Notes, Table, row_of
from outputd.web.shapes import count, flag, instant, listed, record, text

COLUMNS = (
    Column("from", text("the nearer one")),
    Column("to", text("the farther one")),
    Column("count", count("how often", least=1)),
    RTT_DIFFERENCE,
    Column("first_seen", instant("when first")),
    Column("last_seen", instant("when last")),
    NODES,
)


@dataclass(frozen=True, slots=True)
class Links:
    """Which links are asked for, and in which order."""

    limit: Limit = DEFAULT_ROWS
    ip: Annotated[str | None, address("Only links of this address.")] = None
    min_count: Annotated[int, whole("Only links that were seen so often.", most=2**62)] = 1
    node: Node = None
    since: Since = None
    prefix: Annotated[str | None, prefix("Only links with an address of this network at either end.")] = None
    last_seen_before: LastSeenBefore = None
    sort: Annotated[str, sort_by(COLUMNS, "nodes")] = "count"
    order: Direction = None
    cursor: Cursor = None

    @property
    def wants_frequent(self) -> bool:
        """Whether the most frequent of all are asked for."""
        return (self.sort, self.order or "desc") == ("count", "desc") and not any((
            self.ip, self.since, self.prefix, self.last_seen_before, self.cursor,
        ))  # fmt: skip


@dataclass(slots=True)
class _Search:
    """What is sought, and how far it is found."""

    session: Session
    asked: Links
    order: Order
    gathers_numbers: bool = False
    """Whether the numbers of nodes are found with all else; if not, they are looked up page by page."""
    keep: Callable[[], None] | None = None
    """Keeps which rows were sent, once all are found; None when they are."""


def links(session: Session, asked: Links, _: float) -> Table:
    """Pairs of addresses that answered at consecutive TTLs, the most frequent first unless it is said otherwise."""
    search = _Search(session, asked, order_of(session, asked, "from", "to"))
    if asked.prefix is not None:
        session.choose_within(asked.prefix)
    with session.summary():
        session.run(_SCRATCH)
        notes = _begin(search) or _find(search)
        return Table(
            session, "links", COLUMNS, after={**complete_until(session), "complete": not _full(session)}, notes=notes,
            bring=partial(_bring, search), held_bytes=0 if search.keep is None else asked.limit * LONG_ROW_BYTES,
        )  # fmt: skip


def _begin(search: _Search) -> Notes | None:
    """Find only the first rows of many; None where others may come before them, or they are all."""
    session, asked = search.session, search.asked
    if asked.limit < LONG_ROWS or not asked.wants_frequent:
        return None
    first = replace(search, asked=replace(asked, limit=FIRST_ROWS))
    if not _gather_frequent(first) or session.value("SELECT count(*) FROM temp.found") < FIRST_ROWS:
        session.run(_EMPTY)
        return None
    is_all = session.value("SELECT count(*) FROM s.link") < asked.limit
    notes, search.keep = (Notes(), lambda: None) if is_all else search.order.promise(session)
    return notes


def _find(search: _Search) -> Notes:
    """Find all rows."""
    session, asked = search.session, search.asked
    search.gathers_numbers = _gathers_numbers(search)
    if asked.ip is not None or asked.since is not None:
        chosen = where(asked, since="last_seen >= :since", node=_OF_NODE)
        candidates = f"{_CANDIDATES} {chosen}" if asked.ip is None else _CANDIDATES_OF_IP
        session.execute(candidates, dataclasses.asdict(asked))
        _gather_totals(search)
    elif not (asked.wants_frequent and _gather_frequent(search)):
        _gather(search, "s.link")
    return search.order.notes(session)


def _find_rest(search: _Search) -> None:
    """Find the rows that follow the first ones, whatever has changed since those were found."""
    session, keep = search.session, search.keep
    assert keep is not None
    search.keep = None
    with session.summary():
        session.run(_FOUND_BEFORE)
        search.gathers_numbers = _gathers_numbers(search)
        asked = replace(search.asked, limit=search.asked.limit - FIRST_ROWS)
        order = replace(search.order, behind=_IS_NOT_FOUND)
        _gather(replace(search, asked=asked, order=order), "s.link")
    keep()


def _gathers_numbers(search: _Search) -> bool:
    """Whether so many rows are asked for, of so few nodes each, that all their numbers had better be gathered."""
    if search.asked.limit < LONG_ROWS or search.session.value(_NUMBERS_BYTES) > MOST_GATHERED_BYTES:
        return False
    search.session.run(_NODES)
    return True


def _bring(search: _Search, after: int) -> bool:
    """Put the next rows into the answer, with their nodes: names take more than all else, so they wait for a page."""
    search.session.execute("DELETE FROM temp.answer")
    if _bring_found(search, after):
        return True
    if search.keep is None:
        return False
    _find_rest(search)
    return _bring_found(search, after)


def _bring_found(search: _Search, after: int) -> bool:
    if search.gathers_numbers:
        return _bring_named(search.session, "numbers", "temp.node", {"after": after})
    node = search.asked.node
    numbers = _LOOKED_UP.format(of_node="" if node is None else f"AND {_OF_NODE}")
    with search.session.summary():
        return _bring_named(search.session, numbers, "s.name", {"after": after, "node": node})


def _bring_named(session: Session, numbers: str, nodes: str, parameters: Mapping[str, Any]) -> bool:
    lists = session.value(_LISTS.format(numbers=numbers), {**parameters, "rows": ROWS_NAMED})
    return session.execute(_NAMED, {**parameters, "lists": named(session, lists, nodes)}).rowcount > 0


_SCRATCH = """
CREATE TEMP TABLE candidate (near, far);
CREATE TEMP TABLE found ("from", "to", count, rtt_difference_ns, first_seen, last_seen, numbers);
CREATE TEMP TABLE answer ("from", "to", count, first_seen, last_seen, rtt_difference_ns, nodes);
"""
_NODES = "CREATE TEMP TABLE node (id INTEGER PRIMARY KEY, node); INSERT INTO temp.node SELECT id, node FROM s.name;"
_NUMBERS_BYTES = "SELECT total(length(nodes)) FROM s.link"
_EMPTY = "DELETE FROM temp.found; DELETE FROM temp.candidate; DROP TABLE temp.often;"
_FOUND_BEFORE = """
CREATE TEMP TABLE found_before (near, far, PRIMARY KEY (near, far)) WITHOUT ROWID;
INSERT INTO temp.found_before SELECT "from", "to" FROM temp.found;
"""
_IS_NOT_FOUND = 'NOT EXISTS (SELECT 1 FROM temp.found_before f WHERE f.near = "from" AND f.far = "to")'
LONG_ROWS = 10_000
"""An answer of so many rows is long."""
FIRST_ROWS = 1000
"""Of a long answer, found before all others so that it can begin: as a rule some file has the most frequent often."""
LONG_ROW_BYTES = 300
"""In scratch tables, about."""
MOST_GATHERED_BYTES = 32 << 20
"""Numbers that a sender makes up are too many to be kept for as long as an answer is read."""
ROWS_NAMED = 250
"""Rows that are named at once, at most, and characters of their numbers after which no further one is."""
_CHARACTERS_NAMED = 64 * 1024
_NUMBERS = "group_concat(trim(nodes, ','))"
_LOOKED_UP = f"""(
  SELECT {_NUMBERS} FROM s.link l WHERE {IN_FILES} AND l.near = f."from" AND l.far = f."to" {{of_node}}
)"""
_LISTS = f"""
SELECT '[' || coalesce(group_concat('[' || numbers || ']'), '') || ']' FROM (
  SELECT numbers, sum(length(numbers)) OVER (ORDER BY number) - length(numbers) AS before FROM (
    SELECT rowid AS number, coalesce({{numbers}}, '') AS numbers FROM temp.found f
    WHERE rowid > :after ORDER BY rowid LIMIT :rows
  ) ORDER BY number
) WHERE before < {_CHARACTERS_NAMED}
"""
_NAMED = """
INSERT INTO temp.answer (rowid, "from", "to", count, first_seen, last_seen, rtt_difference_ns, nodes)
SELECT f.rowid, f."from", f."to", f.count, f.first_seen, f.last_seen, f.rtt_difference_ns, j.value
FROM json_each(:lists) j CROSS JOIN temp.found f WHERE f.rowid = :after + 1 + j.key
"""
_OF_NODE = "instr(nodes, (SELECT ',' || id || ',' FROM s.name WHERE name.node = :node))"
INDEXED = 32
"""Links of a file that were seen so often have an index, see link_often in the summary's schema."""
OFTEN = (INDEXED, 8, 3)
MANY_ROWS = 100_000
_CANDIDATES = "INSERT INTO temp.candidate SELECT DISTINCT near, far FROM s.link"
_CANDIDATES_OF_IP = f"""
INSERT INTO temp.candidate SELECT near, far FROM s.link WHERE {IN_FILES} AND near = :ip
UNION SELECT near, far FROM s.link INDEXED BY link_far WHERE {IN_FILES} AND far = :ip
"""
_TOTALS = """
INSERT INTO temp.found
SELECT * FROM (
  SELECT near AS "from", far AS "to", sum(count) AS count,
    CAST(round(total(difference_ns) / nullif(sum(differences), 0)) AS INTEGER) AS rtt_difference_ns,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen, {numbers} AS numbers
  FROM {links} GROUP BY near, far
) WHERE count >= :min_count {chosen} AND {behind} ORDER BY {by} LIMIT :limit
"""
_CHOSEN = {
    "since": "AND last_seen >= :since",
    "last_seen_before": "AND last_seen < :last_seen_before",
    "prefix": """AND (within("from") OR within("to"))""",
}


def _gather(search: _Search, rows: str) -> None:
    """Find the links in these rows of the summary."""
    asked, order = search.asked, search.order
    chosen = " ".join(condition for name, condition in _CHOSEN.items() if getattr(asked, name) is not None)
    statement = _TOTALS.format(
        links=f"{rows} {where(asked, node=_OF_NODE)}", chosen=chosen, behind=order.behind, by=order.by,
        numbers=_NUMBERS if search.gathers_numbers else "NULL",
    )  # fmt: skip
    search.session.execute(statement, {**dataclasses.asdict(asked), **order.parameters})


def _gather_totals(search: _Search) -> None:
    """Find the links among the candidates."""
    rows = (
        f"(SELECT l.* FROM temp.candidate c CROSS JOIN s.link l WHERE {IN_FILES} AND l.near = c.near AND l.far = c.far)"
    )
    _gather(search, rows)


def _gather_frequent(search: _Search) -> bool:
    """Find the links by those that some file has often, which are few; whether no other can be among them."""
    session, asked = search.session, search.asked
    rows, files = session.execute("SELECT total(links), count(*) FROM s.file").fetchone()
    are_many = 2 * asked.limit * files > rows  # half of what a file has: some of them no file has often
    session.execute("CREATE TEMP TABLE often (near, far, count, files)")
    for often in OFTEN:
        if often < INDEXED and rows < MANY_ROWS:
            break
        seldom = often - 1
        if are_many and asked.min_count <= seldom * files:
            continue
        session.execute("DELETE FROM temp.often")
        session.execute(
            f"INSERT INTO temp.often SELECT near, far, sum(count), count(*) FROM s.link WHERE count >= {often}"
            f" {'' if asked.node is None else f'AND {_OF_NODE}'} GROUP BY near, far", {"node": asked.node},
        )  # fmt: skip
        last = session.value(
            "SELECT count FROM temp.often ORDER BY count DESC LIMIT 1 OFFSET :limit - 1", {"limit": asked.limit}
        )
        least = max(last or 0, asked.min_count)
        if least > seldom * files:
            session.execute(
                "INSERT INTO temp.candidate SELECT near, far FROM temp.often"
                " WHERE count + :seldom * (:files - files) >= :least",
                {"seldom": seldom, "files": files, "least": least},
            )
            _gather_totals(search)
            return True
    return False


def _full(session: Session) -> bool:
    """Whether some links of a file found no room."""
    return bool(session.value("SELECT max(left_out) FROM s.file"))


LINKS = Question(
    "Links",
    "/links",
    Links,
    links,
    schemas={
        "Link": row_of("Two addresses that answered at consecutive TTLs of a traceroute.", COLUMNS),
        "Links": record(
            "Links, as they are sorted.",
            {
                "links": listed("Link", "the links"),
                "complete_until": COMPLETE_UNTIL,
                "complete": flag("false where a file has so many that some are not kept"),
            },
        ),
    },
    whole="Links",
    row="Link",
    summary="The links between addresses",
    description="The most frequent first, unless `sort` says otherwise. A TTL without an answer is no link. `since`"
    f" chooses links; the counts are those of all files. {PAGES}",
    addresses=(Addresses("from", "from_"), Addresses("to", "to_")),
    is_paged=True,
    is_from_summary=True,
)
