"""What a merge takes from each file, and under which ids: decided by what the files hold, never by their order."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from outputd.merge.source import BATCH_COLUMNS, Source
from outputd.store.ids import furthest
from outputd.store.resting import attach, reading

_SAME = " AND ".join(f"a.{column} IS b.{column}" for column in BATCH_COLUMNS.split(", ")[1:])


class Span(NamedTuple):
    """Ids of one table in one file, from the first to the last, and what the first becomes."""

    first: int = 1
    last: int = 0
    becomes: int = 1

    @property
    def offset(self) -> int:
        """What is added to each id."""
        return self.becomes - self.first


class Run(NamedTuple):
    """Batches of a file that follow one another, with all that belongs to them."""

    batches: Span
    results: Span
    hops: Span


@dataclass(frozen=True, slots=True)
class Step:
    """What is taken from one file."""

    source: Source
    runs: tuple[Run, ...]


class Numbers:
    """The ids of one table in the merged file: those taken, and those that nobody has."""

    def __init__(self, unused: int) -> None:
        self._taken: list[tuple[int, int]] = []
        """Last and first of each span, in rising order."""
        self._unused = unused

    def are_free(self, first: int, last: int) -> bool:
        """Whether nothing has an id from the first to the last."""
        place = bisect_left(self._taken, first, key=itemgetter(0))
        return place == len(self._taken) or self._taken[place][1] > last

    def take(self, first: int, last: int, keeps: bool) -> Span:
        """Give ids to what has these: the same ones, or new ones that no file has."""
        becomes = first
        if not keeps:
            becomes, self._unused = self._unused, self._unused + last - first + 1
        insort(self._taken, (becomes + last - first, becomes))
        return Span(first, last, becomes)


class Spaces(NamedTuple):
    """The ids of the merged file."""

    batches: Numbers
    results: Numbers
    hops: Numbers


def plan(sources: Sequence[Source]) -> list[Step]:
    """What is taken from each file: each batch once. Raises sqlite3.Error.

    Files say of which instance they are. Of files that do not, a batch is the same as that of another file when both
    say the same of it.
    """
    ordered = in_order(sources)
    unused = furthest(source.info.next_ids for source in ordered)
    spaces = Spaces(Numbers(unused.batch), Numbers(unused.result), Numbers(unused.hop))
    steps = []
    for place, source in enumerate(ordered):
        with reading(source.info.path) as db:
            _find_known(db, [earlier for earlier in ordered[:place] if source.may_share_with(earlier)])
            steps.append(Step(source, tuple(_runs(db, spaces))))
    return steps


def in_order(sources: Sequence[Source]) -> list[Source]:
    """The order in which files are taken; the first to have an id keeps it.

    Those that say their instance come first: one that does not may be an older copy. The instance whose first file is
    the oldest keeps all its ids.
    """
    begun: dict[str, str] = {}
    for source in sources:
        begun[source.instance] = min(begun.get(source.instance, source.info.created_at), source.info.created_at)
    return sorted(
        sources,
        key=lambda source: (
            not source.is_named, begun[source.instance], source.instance, source.batches.start, -source.count,
            source.digest,
        ),
    )  # fmt: skip


def _find_known(db: sqlite3.Connection, others: Iterable[Source]) -> None:
    """Note in `known` which batches of a file others have."""
    db.execute("CREATE TEMP TABLE known (id INTEGER PRIMARY KEY)")
    for other in others:
        attach(db, other.info.path, "other")
        db.execute(
            "INSERT OR IGNORE INTO known"
            f" SELECT a.id FROM main.batches a JOIN other.batches b ON a.id = b.id AND {_SAME}"
        )
        db.execute("DETACH other")


class _Batch(NamedTuple):
    id: int
    first_id: int | None
    last_id: int | None


class _Growing:
    """A run of which the end is not known yet."""

    def __init__(self, batch: _Batch, spaces: Spaces) -> None:
        self._spaces = spaces
        self._begin = batch.id
        self._end = batch.id
        self._first_id, self._last_id = batch.first_id, batch.last_id
        self._keeps = self._may_keep(batch, batch.id, batch.first_id)

    def add(self, batch: _Batch) -> bool:
        """Take a batch in; False when it does not follow, or cannot have ids in the same way."""
        if batch.first_id is not None and self._last_id is not None and batch.first_id <= self._last_id:
            return False
        begin_id = batch.first_id if self._last_id is None else self._last_id + 1
        # with its own ids a run has all between them, too
        if self._keeps != self._may_keep(batch, batch.id, batch.first_id) or (
            self._keeps and not self._may_keep(batch, self._end + 1, begin_id)
        ):
            return False
        self._end = batch.id
        if batch.last_id is not None:
            self._first_id = batch.first_id if self._first_id is None else self._first_id
            self._last_id = batch.last_id
        return True

    def _may_keep(self, batch: _Batch, first_batch: int, first_id: int | None) -> bool:
        batches, results, _ = self._spaces
        if not batches.are_free(first_batch, batch.id):
            return False
        return first_id is None or batch.last_id is None or results.are_free(first_id, batch.last_id)

    def end(self, db: sqlite3.Connection) -> Run:
        """The run, with its ids taken."""
        batches = self._spaces.batches.take(self._begin, self._end, self._keeps)
        if self._first_id is None or self._last_id is None:
            return Run(batches, Span(), Span())
        results = self._spaces.results.take(self._first_id, self._last_id, self._keeps)
        first, last = db.execute(
            "SELECT min(id), max(id) FROM traceroute_hops WHERE traceroute_id BETWEEN ? AND ?", results[:2]
        ).fetchone()
        if first is None:
            return Run(batches, results, Span())
        hops = self._spaces.hops
        return Run(batches, results, hops.take(first, last, hops.are_free(first, last)))


def _runs(db: sqlite3.Connection, spaces: Spaces) -> Iterator[Run]:
    """The runs of batches that no earlier file has."""
    growing = None
    for *ids, is_known in db.execute("SELECT id, first_id, last_id, id IN known FROM main.batches ORDER BY id"):
        batch = _Batch(*ids)
        if growing is not None and (is_known or not growing.add(batch)):
            yield growing.end(db)
            growing = None
        if growing is None and not is_known:
            growing = _Growing(batch, spaces)
    if growing is not None:
        yield growing.end(db)
