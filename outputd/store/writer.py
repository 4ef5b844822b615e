"""The writer of one result file: batches in, one transaction a turn."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from outputd.results import timestamps
from outputd.results.rows import Batch, Rejected
from outputd.sqlite.connections import pragma, transaction, write_ahead
from outputd.sqlite.table import Table

_CACHE_KIB = 16 * 1024
_MOST_CHARACTERS_KEPT = 128 * 1024


@dataclass(frozen=True, slots=True)
class Written:
    """What a turn of the writer did: seconds in all and in the commit, the size of the file afterwards."""

    seconds: float
    commit_seconds: float
    size_bytes: int
    next_hop_id: int


class Writer:
    """Writes batches into one file over the one connection that may; used in one thread at a time."""

    def __init__(self, db: sqlite3.Connection, most_rejected_bytes: int, most_raw_bytes: int = 0) -> None:
        variables = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._pings = Table(
            "ping_results", "id,ip,sent,received,packet_loss,avg_rtt,timestamp,error,created_at", variables
        )
        self._traceroutes = Table("traceroute_results", "id,ping_result_id,method,completed,error", variables)
        self._hops = Table("traceroute_hops", "traceroute_id,ttl,ip,rtt,timeout", variables)
        self._first_hop = Table("traceroute_hops", "id,traceroute_id,ttl,ip,rtt,timeout", variables)
        last, first = db.execute(
            "SELECT (SELECT max(id) FROM traceroute_hops), (SELECT first_hop_id FROM result_file)"
        ).fetchone()
        self._next_hop_id = None if last is None or last < first else last + 1
        self._spreads = Table("rtt_spread", "ping_result_id,min_rtt,max_rtt,stddev_rtt", variables)
        self._batches = Table(
            "batches", "id,node,received_at,digest,key,first_id,last_id,accepted,rejected,format,time_from", variables
        )
        self._rejects = Table("rejected_results", "batch_id,item_index,field,reason,raw", variables)
        self._rejected_bytes = db.execute(
            "SELECT coalesce(sum(octets), 0) FROM (SELECT length(CAST(raw AS BLOB)) + length(CAST(reason AS BLOB))"
            " + length(field) AS octets FROM rejected_results)"
        ).fetchone()[0]
        self._most_rejected_bytes = most_rejected_bytes
        self._raw_bytes = db.execute("SELECT coalesce(sum(length(body)), 0) FROM raw_bodies").fetchone()[0]
        self._most_raw_bytes = most_raw_bytes
        self._page_size = pragma(db, "page_size")

    def write(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> Written:
        """Commit the batches in one transaction, on disk when it returns; all of them or none.

        Without a batch it proves that the file can be written, by a value that is new: SQLite writes and fsyncs nothing
        where none is.
        """
        try:
            return self._commit(db, batches)
        finally:
            if sum(batch.text_bytes for batch in batches) > _MOST_CHARACTERS_KEPT < sum(map(_characters, batches)):
                self._let_go(db)

    def _let_go(self, db: sqlite3.Connection) -> None:
        """Keep no long texts in statements: each of a hundred would have those that it has inserted last."""
        with contextlib.suppress(sqlite3.Error):  # that has been said
            for table in (self._pings, self._traceroutes, self._rejects):
                table.let_go(db)

    def _commit(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> Written:
        started = time.perf_counter()
        pings, traceroutes, hops, spreads, rows = (_joined(batches, name) for name in _PARTS)
        rejects, octets = self._keep(batches)
        bodies = self._bodies(batches)
        with transaction(db):
            self._pings.insert(db, pings)
            self._traceroutes.insert(db, traceroutes)
            next_hop_id = self._next_hop_id
            if (
                next_hop_id is None
            ):  # the first from there on is given its id, those of the others follow it by themselves
                next_hop_id = db.execute("SELECT first_hop_id FROM result_file").fetchone()[0]
                self._first_hop.insert(db, [next_hop_id, *hops[: Batch.HOP_COLUMNS]] if hops else [])
                self._hops.insert(db, hops[Batch.HOP_COLUMNS :])
            else:
                self._hops.insert(db, hops)
            self._spreads.insert(db, spreads)
            self._batches.insert(db, rows)
            self._rejects.insert(db, rejects)
            for body in bodies:
                db.execute("INSERT OR ROLLBACK INTO raw_bodies VALUES (?,?,?,?)", body)
            if not batches:
                db.execute("UPDATE result_file SET probed_at = ?", (timestamps.at(time.time()),))
            inserted = time.perf_counter()
        committed = time.perf_counter()
        self._rejected_bytes += octets
        self._raw_bytes += sum(len(body[-1]) for body in bodies)
        next_hop_id += sum(batch.hop_rows for batch in batches)
        if hops:
            self._next_hop_id = next_hop_id
        size = pragma(db, "page_count") * self._page_size
        return Written(committed - started, committed - inserted, size, next_hop_id)

    def _keep(self, batches: Sequence[Batch]) -> tuple[list[Any], int]:
        rows: list[Any] = []
        octets = 0
        for batch in batches:
            for reject in batch.rejected:
                if self._rejected_bytes + octets >= self._most_rejected_bytes:
                    return rows, octets
                size = len(reject.raw) + len(reject.reason.encode()) + len(reject.field)
                if self._rejected_bytes + octets + size <= self._most_rejected_bytes:
                    octets += size
                    rows += (batch.id, reject.index, reject.field, reject.reason, _text(reject))
        return rows, octets

    def _bodies(self, batches: Sequence[Batch]) -> list[tuple[int, str, int, bytes]]:
        """The foreign bodies for which there is room."""
        rows: list[tuple[int, str, int, bytes]] = []
        octets = self._raw_bytes
        for batch in batches:
            raw = batch.raw
            if raw is not None and octets + len(raw.body) <= self._most_raw_bytes:
                octets += len(raw.body)
                rows.append((batch.id, batch.format, raw.version, raw.body))
        return rows


_PARTS = ("pings", "traceroutes", "hops", "spreads", "row")


def _joined(batches: Sequence[Batch], name: str) -> list[Any]:
    parts = [getattr(batch, name) for batch in batches]
    if len(parts) == 1:
        only: list[Any] = parts[0]
        return only
    joined: list[Any] = []
    for part in parts:
        joined += part
    return joined


def _characters(batch: Batch) -> int:
    """Those of the texts that may be long."""
    errors, methods = batch.pings[7 :: Batch.PING_COLUMNS], batch.traceroutes[2 :: Batch.TRACEROUTE_COLUMNS]
    texts = chain(errors, methods, batch.traceroutes[4 :: Batch.TRACEROUTE_COLUMNS])
    return sum(map(len, filter(None, texts))) + sum(len(reject.raw) for reject in batch.rejected)


def _text(reject: Rejected) -> str:
    return reject.raw.decode(errors="replace")  # a cut may have split a character


def prepare(db: sqlite3.Connection, wal_limit_bytes: int) -> None:
    """Make a connection the writer's: WAL, an fsync at each commit, checkpoints at wal_limit_bytes."""
    write_ahead(db, "FULL", _CACHE_KIB, checkpoint_bytes=wal_limit_bytes, keep_bytes=wal_limit_bytes)
