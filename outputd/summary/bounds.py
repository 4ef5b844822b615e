"""What a traceroute, a step and a sender may take of the summary at most: no product of sizes that a client chooses is
worked out, and no sender takes what others need."""

from __future__ import annotations

import sqlite3

MOST_LINKS = 100_000
"""Links that are kept for a result file."""
MOST_PASSAGES = 200_000
_LINKS_PER_MB, _PASSAGES_PER_MB = 900, 1800
"""Of what a result file may have: rows of the longest addresses then take as much, and usual ones a third."""
MOST_PAIRS = 4096
"""Pairs of addresses at consecutive TTLs of one traceroute, and replies of it."""
MOST_PAIRS_A_STEP = 32 * MOST_PAIRS
MOST_NODES = 2048
"""Characters of the list of a link's nodes, some hundreds: without tokens a sender has as many names as it likes."""
_FEW_REPLIES = 128
"""However they stand, they make no more than MOST_PAIRS."""
_WIDTHS = (64, 32, 16, 8, 4, 2)
SCRATCH = "CREATE TEMP TABLE crowd (trace INTEGER PRIMARY KEY, width INTEGER);"

_ESTIMATE = """
SELECT coalesce(max(n), 0), total(n * n / 4) FROM (SELECT count(*) AS n FROM temp.reply GROUP BY trace)
"""
_NARROWER = " ".join(
    f"WHEN total(min(a.n, {width}) * min(b.n, {width})) <= {MOST_PAIRS} AND sum(min(a.n, {width})) <= {MOST_PAIRS}"
    f" THEN {width}"
    for width in _WIDTHS
)
_CROWD = f"""
INSERT INTO temp.crowd
WITH size AS MATERIALIZED (
  SELECT trace, ttl, count(*) AS n FROM temp.reply GROUP BY trace, ttl
), whole AS (
  SELECT a.trace AS trace, total(a.n * b.n) AS pairs, sum(a.n) AS replies, CASE {_NARROWER} ELSE 1 END AS narrower
  FROM size a LEFT JOIN size b ON b.trace = a.trace AND b.ttl = a.ttl + 1 GROUP BY a.trace
), placed AS (
  SELECT *, sum(min(pairs, {MOST_PAIRS})) OVER (ORDER BY pairs, trace ROWS UNBOUNDED PRECEDING) AS before FROM whole
)
SELECT trace, iif(before > :most, 1, narrower) FROM placed
WHERE before > :most OR pairs > {MOST_PAIRS} OR replies > {MOST_PAIRS}
"""
_NARROW = """
DELETE FROM temp.reply WHERE (trace, ttl, ip) IN (
  SELECT trace, ttl, ip FROM (
    SELECT r.trace, r.ttl, r.ip, c.width, row_number() OVER (PARTITION BY r.trace, r.ttl ORDER BY r.ip) AS place
    FROM temp.crowd c CROSS JOIN temp.reply r WHERE r.trace = c.trace
  ) WHERE place > width
)
"""
_ROOM = """
DELETE FROM {table} WHERE file = :file AND ({key}) IN (
  SELECT {key} FROM (
    SELECT {key}, row_number() OVER (PARTITION BY sender ORDER BY count DESC, last_seen DESC) AS place
    FROM {table} WHERE file = :file
  ) ORDER BY place DESC LIMIT :rows
)
"""
_TURN_AWAY = """
DELETE FROM temp.found_{table} WHERE rowid IN (
  SELECT row FROM (
    SELECT rowid AS row, row_number() OVER (PARTITION BY sender ORDER BY count DESC, last_seen DESC) AS place
    FROM temp.found_{table} f
    WHERE NOT EXISTS (
      SELECT 1 FROM {table} t WHERE t.file = :file AND t.{first} = f.{first} AND t.{second} = f.{second}
    )
  ) ORDER BY place LIMIT -1 OFFSET :most
)
"""
_KEYS = {"link": ("near", "far"), "passage": ("hop", "target")}


def most_rows(max_size_bytes: int) -> tuple[int, int]:
    """Links and passages that are kept for a result file of at most this size; they take no more than it."""
    size_mb = max_size_bytes / 2**20
    return min(MOST_LINKS, int(_LINKS_PER_MB * size_mb)), min(MOST_PASSAGES, int(_PASSAGES_PER_MB * size_mb))


def narrow(db: sqlite3.Connection, most_pairs: int = MOST_PAIRS_A_STEP) -> int:
    """Leave only so many addresses at each TTL of wide traceroutes that temp.reply makes no more pairs than it may.

    The widest ones give way first, down to one address. Returns how many replies were taken out.
    """
    replies, pairs = db.execute(_ESTIMATE).fetchone()
    if replies <= _FEW_REPLIES and pairs <= most_pairs:
        return 0
    db.execute("DELETE FROM temp.crowd")
    if not db.execute(_CROWD, {"most": most_pairs}).rowcount:
        return 0
    return db.execute(_NARROW).rowcount


def turn_away(db: sqlite3.Connection, table: str, file: int, at_most: int, most_rows: int) -> tuple[int, int]:
    """Leave only some of what is new in temp.found_<table> when its file is nearly full; how many rows it has at most,
    and how many were turned away.

    Of each sender equally many come in, the frequent ones first. Else all that a flood makes up would be written, and
    taken out again after it.
    """
    if at_most < most_rows * 7 // 8:
        return at_most, 0
    rows = _rows(db, table, file)
    if rows < most_rows * 7 // 8:
        return rows, 0
    first, second = _KEYS[table]
    statement = _TURN_AWAY.format(table=table, first=first, second=second)
    return rows, db.execute(statement, {"file": file, "most": most_rows // 32}).rowcount


def make_room(db: sqlite3.Connection, table: str, file: int, at_most: int, most_rows: int) -> tuple[int, int]:
    """Take out some rows of a file when it has more than it may; how many it has then at most, and how many were taken.

    They are those of the sender that holds most, its seldom ones first, until another one holds as many. `at_most`
    says how many rows there may be: only when these are too many they are counted.
    """
    if at_most <= most_rows:
        return at_most, 0
    rows = _rows(db, table, file)
    if rows <= most_rows:
        return rows, 0
    surplus = rows - most_rows * 7 // 8  # some more, since it takes as long for one row as for many
    taken = db.execute(_ROOM.format(table=table, key=", ".join(_KEYS[table])), {"file": file, "rows": surplus}).rowcount
    return rows - taken, taken


def _rows(db: sqlite3.Connection, table: str, file: int) -> int:
    return int(db.execute(f"SELECT count(*) FROM {table} WHERE file = ?", (file,)).fetchone()[0])
