"""Collectors that ship into one archive, as the service has the child do it, and what is in the archive."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from outputd.archive.asks import Shipped, Taken
from outputd.archive.cutting import cut
from outputd.archive.finding import find
from outputd.archive.names import KINDS, REJECTED, RESULTS
from outputd.archive.objects import Objects
from outputd.archive.shipping import ship
from tests.kit.bench import Bench
from tests.kit.makers import a_result

_numbers = count(1)


class Collector:
    """A directory with its mark and the name under which it ships. Each result has a target of its own."""

    def __init__(self, bench: Bench, objects: Objects, name: str = "tokyo", mark: int = 0) -> None:
        self.bench = bench
        self.objects = objects
        self.name = name
        self.mark = mark
        self.arrived = ""
        """The day of the batch at the mark."""
        self.posted: Counter[str] = Counter()
        """Targets of what was posted here."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(info.path for info in self.bench.store.files)

    def post(self, batches: int = 1, wrong: int = 0, right: int = 2) -> None:
        """Post batches of results of which some items are wrong."""
        for _ in range(batches):
            numbers = [next(_numbers) for _ in range(right)]
            targets = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in numbers]
            self.posted.update(targets)
            items = [*(a_result(ip=target) for target in targets), *({"ip": f"wrong {n}"} for n in range(wrong))]
            self.bench.post(*items, node="node")

    def rotate(self) -> None:
        self.bench.outcome(self.bench.rotation.rotate("told to"))

    def ship(self, most: int = 1000) -> list[Shipped | Taken]:
        """Ship spans until nothing is left, or so many."""
        answers: list[Shipped | Taken] = []
        while len(answers) < most and (span := cut(self.paths, self.mark, True)) is not None:
            answers.append(ship(self.objects, span, self.name, self.arrived))
            if isinstance(answers[-1], Taken):
                before = self.mark, self.name
                self.find()
                assert before != (self.mark, self.name), "it would be asked forever"
            else:
                self.mark, self.arrived = span.last_batch_id, span.date
        return answers

    def find(self) -> bool:
        """Look where the mark is; whether the name is shared."""
        found = find(self.objects, self.name, self.mark, self.paths, self.arrived)
        assert found.mark >= self.mark
        self.mark = found.mark
        if found.is_shared:
            self.name = f"{self.name}.2"
        return found.is_shared

    def cloned(self, into: Path) -> Collector:
        """A copy of its directory, which goes on by itself."""
        clone = Collector(self.bench.crashed(into), self.objects, self.name, self.mark)
        clone.arrived = self.arrived
        return clone


def paths_in(objects: Objects) -> list[str]:
    """All objects."""
    return [
        path for kind in KINDS for folder in objects.folders(kind) for path in objects.paths(f"{kind}/{folder}", "")
    ]


def rows_in(objects: Objects, kind: str = RESULTS) -> list[dict[str, Any]]:
    """All rows of a kind, in the order of the names of their objects."""
    paths = [path for path in paths_in(objects) if path.startswith(f"{kind}/")]
    return [
        row for path in paths for row in pq.read_table(io.BytesIO(objects.read(path)), partitioning=None).to_pylist()
    ]


def targets_in(objects: Objects) -> Counter[str]:
    """How often each target is there."""
    return Counter(row["ip"] for row in rows_in(objects))


def rejected_in(objects: Objects) -> list[tuple[Any, ...]]:
    """Which items were rejected."""
    return sorted((row["instance"], row["batch_id"], row["item_index"]) for row in rows_in(objects, REJECTED))


def posted_to(collectors: Iterable[Collector]) -> Counter[str]:
    """Targets of all that was posted."""
    return sum((collector.posted for collector in collectors), Counter())
