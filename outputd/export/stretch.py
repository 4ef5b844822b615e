"""Ids of a file that rise together: with the id of a result that of its batch rises, and those of its hops. Blocking.

All of a result file is one stretch. A database made by outputd-merge has one for each row of its table `merged`: from
one to the next the ids of batches or of hops may fall while those of results rise.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from outputd.store.file import FileInfo


class Stretch(NamedTuple):
    """Ids from the first to the last one, all of one instance; None where there are none."""

    instance: str | None
    first_id: int
    last_id: int
    first_batch_id: int | None
    last_batch_id: int | None
    first_hop_id: int | None
    last_hop_id: int | None


def stretches_of(db: sqlite3.Connection, info: FileInfo | None) -> Sequence[Stretch]:
    """Those of a file that hold results, in rising order; a merged one says itself which instances it has.

    Raises ValueError where it is damaged.
    """
    rows = db.execute(_OF_MERGED if info is None else _OF_FILE, {"instance": info and info.instance}).fetchall()
    return msgspec.convert(rows, list[Stretch])


_OF_FILE = """
SELECT :instance, first_id, last_id, (SELECT min(id) FROM batches), (SELECT max(id) FROM batches),
  (SELECT min(id) FROM traceroute_hops), (SELECT max(id) FROM traceroute_hops)
FROM (SELECT (SELECT min(id) FROM ping_results) AS first_id, (SELECT max(id) FROM ping_results) AS last_id)
WHERE first_id IS NOT NULL
"""
_OF_MERGED = """
SELECT instance, first_id, last_id, first_batch_id, last_batch_id, first_hop_id, last_hop_id
FROM merged WHERE first_id IS NOT NULL ORDER BY first_id
"""
