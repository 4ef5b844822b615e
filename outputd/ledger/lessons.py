"""What stored batches tell the ledger: addresses, and the keys that were used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from outputd.ledger.keys import KEYS_LIVE_S, UsedKey, key_name
from outputd.process.log import Logger
from outputd.process.trouble import Kind
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.agreement import MOST_ERRORS, answer_of, item_error, key_scopes
from outputd.sqlite.connections import reading
from outputd.sqlite.errors import kind_of
from outputd.store.file import FileInfo

_log = Logger()
_MOST_QUIET_S = 60.0  # a longer time between two POSTs may be one without the service, or a clock that was set
_BOTH_WAYS = (" ORDER BY id", " ORDER BY id DESC")
_BATCHES = ["SELECT id, first_id FROM batches WHERE id > ?" + order for order in _BOTH_WAYS]
_USES = [
    "SELECT id, node, received_at, digest, key, accepted, rejected FROM batches WHERE id > ?" + order
    for order in reversed(_BOTH_WAYS)
]
_ERRORS = ["SELECT item_index, field, reason FROM rejected_results WHERE batch_id = ?" + order for order in _BOTH_WAYS]
_HOPS = [
    f"SELECT {ips} FROM traceroute_hops NOT INDEXED WHERE traceroute_id >= ? AND NOT timeout AND ip IS NOT NULL{order}"
    for ips, order in (("DISTINCT ip", ""), *(("ip", order) for order in _BOTH_WAYS))
]


class Lesson(msgspec.Struct, frozen=True):
    """What one stored batch tells the ledger, and to whose account its addresses go."""

    batch_id: int
    addresses: Sequence[str] = ()
    key: UsedKey | None = None
    sender: str = ""


class Learnt(msgspec.Struct, frozen=True):
    """What a turn of the ledger found: addresses never seen before, kept or beyond --max-hops."""

    new: int
    over_limit: int


def keys_of(files: Sequence[FileInfo], mark: int, ran_s: float) -> Iterator[UsedKey]:
    """The keys used by batches above the mark, the newest first, as far back as they are remembered.

    `ran_s` is how long the service has run. A damaged file costs only those of its rows that cannot be read.
    """
    age_s, next_at_s = 0.0, 0.0
    for info in reversed(files):
        if info.last_batch_id <= mark:
            continue
        with reading(info.path) as db:
            file = _Readable(db)
            for batch_id, node, received_at, digest, key, accepted, rejected in file.rows(_USES, mark):
                at_s = timestamps.seconds(received_at)
                age_s += min(max(0.0, next_at_s - at_s), _MOST_QUIET_S)
                next_at_s = at_s
                if age_s >= KEYS_LIVE_S:
                    return
                if key is None:
                    continue
                errors = [item_error(*row) for row in islice(file.rows(_ERRORS, batch_id), rejected and MOST_ERRORS)]
                answer = answer_of(accepted, rejected, errors)
                for scope in key_scopes(node):
                    yield UsedKey(key_name(scope, key), digest, answer, ran_s - age_s)


def lesson_of(info: FileInfo, mark: int, feedable: Callable[[str], bool]) -> Lesson:
    """The addresses that the batches of a result file above the mark have to tell, with the last of these batches.

    A damaged file costs only those of its rows that cannot be read; the log names it.
    """
    with reading(info.path) as db:
        file = _Readable(db)
        first_result_ids = []
        last_batch_id = max(mark, info.last_batch_id)
        for batch_id, first_id in file.rows(_BATCHES, mark):
            last_batch_id = max(last_batch_id, batch_id)
            if first_id is not None:
                first_result_ids.append(first_id)
        addresses: set[str] = set()
        if first_result_ids or file.damage:
            first_result_id = 0 if file.damage else min(first_result_ids)  # the first batch may be what cannot be read
            addresses = {text for (text,) in file.rows(_HOPS, first_result_id) if canonical(text) and feedable(text)}
    if file.damage:
        _log.error(
            "{file} is damaged: hops and keys of its batches above {mark} that cannot be read are lost ({reason})",
            file=info.path.name, mark=mark, reason=file.damage,
        )  # fmt: skip
    return Lesson(last_batch_id, sorted(addresses))


class _Readable:
    """A result file that is read as far as it can be."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.damage = ""
        """What SQLite says of it, if it is damaged."""

    def rows(self, queries: Sequence[str], parameter: int) -> Iterator[Any]:
        """What the first of the queries finds; where it meets damage, the next ones, each as far as it can read."""
        for query in queries:
            try:
                yield from self._db.execute(query, (parameter,))
                return
            except sqlite3.DatabaseError as error:
                if not _is_of_the_file(error):
                    raise
                self.damage = str(error)


def _is_of_the_file(error: sqlite3.DatabaseError) -> bool:
    """Whether it is a page of this file that cannot be read, for SQLite or for the disk."""
    unread = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
    return kind_of(error) is Kind.DAMAGED or getattr(error, "sqlite_errorcode", None) in unread
