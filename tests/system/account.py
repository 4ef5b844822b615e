"""What became of each result of a long run: what its sender was told, and how often it is in the files."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.system.addresses import canonical, is_feedable
from tests.system.files import column, faults, is_self_contained, opened, result_files
from tests.system.load import MixedSource, Post

_MOST = 255


class Told:
    """What a sender knows of a result."""

    NOTHING, STORED, REJECTED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last id of a table in a file."""

    first: int
    last: int


@dataclass
class Account:
    """Results by their numbers in `MixedSource`; the files one by one, as soon as they are closed for good."""

    faults: list[str] = field(default_factory=list)
    fed: set[str] = field(default_factory=set)
    """All that input_service must hear of the files that were read."""
    rejected_told: int = 0
    rejected_rows: int = 0
    rejected_kept: int = 0
    others: int = 0
    """Results in the files that no source of ours has made."""
    _told: bytearray = field(default_factory=bytearray)
    _found: bytearray = field(default_factory=bytearray)
    _spans: dict[int, list[Span]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # -- the senders ---------------------------------------------------------------------------------

    def sent(self, post: Post) -> None:
        """It is on its way: each of its results may be in the files, once."""
        self._tell(post.targets, Told.NOTHING)
        self._tell(post.bad, Told.REJECTED)

    def answered(self, post: Post) -> None:
        """It was answered: each of its results must be in the files."""
        self._tell(post.targets, Told.STORED)
        with self._lock:
            self.rejected_told += len(post.bad)

    def _tell(self, targets: Sequence[str], told: int) -> None:
        with self._lock:
            for target in targets:
                number = MixedSource.number_of(target)
                assert number is not None, target
                _put(self._told, number, told)

    # -- the files -----------------------------------------------------------------------------------

    def take_closed(self, directory: Path) -> None:
        """Read the files that are closed for good and were not read before."""
        waiting = {sequence: path for path in result_files(directory) if (sequence := _sequence(path)) is not None}
        for sequence, path in sorted(waiting.items())[:-1]:
            if sequence not in self._spans and is_self_contained(path):
                self.take(path)

    def take_rest(self, directory: Path) -> None:
        """Read all others, when nobody writes any more."""
        for path in result_files(directory):
            if _sequence(path) not in self._spans:
                self.take(path)

    def take(self, path: Path) -> None:
        """Read a file that nobody writes any more."""
        sequence = _sequence(path)
        assert sequence is not None, path
        self.faults += faults(path)
        with opened(path) as db:
            for target in column(db, "SELECT ip FROM ping_results ORDER BY id"):
                self.found(target)
            self.rejected_rows += column(db, "SELECT coalesce(sum(rejected), 0) FROM batches")[0]
            self.rejected_kept += column(db, "SELECT count(*) FROM rejected_results")[0]
            texts = column(db, "SELECT DISTINCT ip FROM traceroute_hops WHERE NOT timeout AND ip IS NOT NULL")
            self.fed |= {text for text in texts if canonical(text) == text and is_feedable(text)}
            self._spans[sequence] = [
                Span(*db.execute(f"SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM {table}").fetchone())
                for table in ("ping_results", "batches", "traceroute_hops")
            ]

    def found(self, target: str) -> None:
        """It is there once more."""
        number = MixedSource.number_of(target)
        if number is None:
            self.others += 1
        else:
            _put(self._found, number, min(_MOST, _get(self._found, number) + 1))

    @property
    def files(self) -> int:
        """How many were read."""
        return len(self._spans)

    def order_faults(self) -> list[str]:
        """Files that are missing, and ids that do not rise from file to file."""
        found = [
            f"file {number} was gone before it was read"
            for number in range(1, max(self._spans, default=0) + 1)
            if number not in self._spans
        ]
        for table, name in enumerate(("results", "batches", "hops")):
            spans = [self._spans[number][table] for number in sorted(self._spans)]
            for before, after in pairwise(span for span in spans if span.last):
                if before.last >= after.first:
                    found.append(f"the {name} {after.first} to {after.last} come after {before.last}")
        return found

    # -- the account ---------------------------------------------------------------------------------

    def counts(self) -> Counter[tuple[int, int]]:
        """How many results there are by what their sender was told and how often they were found (2: or more)."""
        size = max(len(self._told), len(self._found))
        told, found = (data.ljust(size, b"\0") for data in (self._told, self._found))
        return Counter((state, min(times, 2)) for state, times in zip(told, found, strict=True) if state or times)


def _sequence(path: Path) -> int | None:
    try:
        with opened(path) as db:
            return int(column(db, "SELECT sequence FROM result_file")[0])
    except (sqlite3.Error, IndexError):  # it is being made, or pruned
        return None


def _get(data: bytearray, number: int) -> int:
    return data[number] if number < len(data) else 0


def _put(data: bytearray, number: int, value: int) -> None:
    if number >= len(data):
        data.extend(bytes(number + 100_000 - len(data)))
    data[number] = value
