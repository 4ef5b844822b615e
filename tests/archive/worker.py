"""A child of the tests' own that keeps to the protocol of asks.py: an archive in memory, without Parquet or network."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outputd.archive.asks import Cut, Failed, Find, Found, Ship, Shipped, Span, Taken
from outputd.process.trouble import Kind
from outputd.sqlite.connections import reading
from outputd.sqlite.errors import kind_of

Rows = list[tuple[Any, ...]]
_ROWS = """
SELECT b.id, b.received_at, p.id, p.ip FROM batches b LEFT JOIN ping_results p ON p.id BETWEEN b.first_id AND b.last_id
WHERE b.id BETWEEN ? AND ? ORDER BY p.id
"""


class Place:
    """An archive that several services may share: what was put, by instance and batches."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, int, int], Rows] = {}
        self.most_batches = 3
        """A whole object has so many."""
        self.failure: Failed | None = None
        """What is answered to all that asks for the archive itself."""
        self.after_put: Callable[[], object] = lambda: None
        self.asked: list[Any] = []
        self.children = 0
        """Those that live."""

    def worker(self) -> Worker:
        """A new child."""
        self.children += 1
        return Worker(self)

    @property
    def ids(self) -> list[int]:
        """Of all results, in the order of their names."""
        return [row[2] for key in sorted(self.objects) for row in self.objects[key] if row[2] is not None]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First and last batch of each object."""
        return sorted(key[1:] for key in self.objects)

    @property
    def instances(self) -> list[str]:
        """Under which names there is something."""
        return sorted({key[0] for key in self.objects})


class Worker:
    """See asks.Worker."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.is_killed = False

    def ask(self, request: Any, /) -> Any:
        self._place.asked.append(request)
        if self.is_killed:
            return Failed("the archive's process has ended (-9)", is_over=True)
        try:
            if isinstance(request, Cut):
                return self._cut(request)
            if self._place.failure is not None:
                return self._place.failure
            return self._ship(request) if isinstance(request, Ship) else self._find(request)
        except _Unread as error:
            return error.failed

    def stop(self) -> None:
        self.is_killed = True

    def close(self) -> None:
        self._place.children -= 1

    def _cut(self, asked: Cut) -> Span | None:
        for path in asked.paths:
            batches = _read(path, "SELECT id, substr(received_at, 1, 10) FROM batches WHERE id > ?", asked.after)
            if not batches:
                continue
            dates = [date for _, date in batches]
            alike = next((n for n, date in enumerate(dates) if date != dates[0]), len(dates))
            taken = batches[: min(alike, self._place.most_batches)]
            may_grow = len(taken) == len(batches) < self._place.most_batches and path == asked.paths[-1]
            if may_grow and not asked.is_open_taken:
                return None
            return Span(path, dates[0], taken[0][0], taken[-1][0])
        return None

    def _ship(self, asked: Ship) -> Shipped | Taken:
        span, objects = asked.span, self._place.objects
        rows = _read(span.path, _ROWS, span.first_batch_id, span.last_batch_id)
        name = asked.instance, span.first_batch_id, span.last_batch_id
        for instance, first, last in objects:
            if instance == asked.instance and last >= span.first_batch_id and (instance, first, last) != name:
                return Taken(f"{instance}-{first}-{last}")
        if objects.setdefault(name, rows) is not rows:
            return Shipped(len(rows), 0, 0, True) if objects[name] == rows else Taken("-".join(map(str, name)))
        self._place.after_put()
        return Shipped(len(rows), 0, 50 * len(rows), False)

    def _find(self, asked: Find) -> Found:
        mark = asked.after
        for instance, first, last in sorted(self._place.objects):
            if instance != asked.instance or last <= asked.after:
                continue
            theirs = self._place.objects[instance, first, last]
            ours = [row for path in asked.paths for row in _read(path, _ROWS, first, last)]
            if ours != theirs:
                both = [row[0] for row, other in zip(ours, theirs, strict=False) if row == other]
                return Found(max([mark, *both]), True)
            mark = last
        return Found(mark, False)


class _Unread(Exception):
    def __init__(self, failed: Failed) -> None:
        self.failed = failed


def _read(path: Path, query: str, *parameters: object) -> Rows:
    try:
        with reading(path) as db:
            return db.execute(query, parameters).fetchall()
    except sqlite3.DatabaseError as error:
        kind = kind_of(error) if path.exists() else Kind.GONE
        raise _Unread(Failed(f"{path.name}: {error}", kind, path)) from error
