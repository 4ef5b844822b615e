"""The files of an export: checked, never changed, and in order of arrival. Blocking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from outputd.process.log import in_one_line
from outputd.process.trouble import Unusable
from outputd.sqlite.files import Identity, State, sight_of
from outputd.store.file import FileInfo, said_by
from outputd.store.resting import NotAtRest, check_rests, is_merged, reading, understood


class NotExported(Exception):
    """Results cannot be exported; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file at rest that is to be exported."""

    path: Path
    seen: tuple[Identity, State] | None
    """Which file it is, when it was written last, and its size."""
    info: FileInfo | None
    """What it says of itself; None of a merged database, which may have results of any other file."""

    @property
    def size_bytes(self) -> int:
        """How much work it is."""
        return 0 if self.seen is None else self.seen[1][1]

    def check(self) -> None:
        """Raise NotExported when the file is another than it was."""
        if sight_of(self.path) != self.seen:
            raise _refused(self.path, "it has changed meanwhile. Take a copy of it by /dump")


@dataclass(frozen=True, slots=True)
class ResultFile(Source):
    """One that an instance has written."""

    info: FileInfo
    first_id: int
    """Of its first result; 0 without any."""
    last_batch: tuple[Any, ...] | None
    """What it says of it, beginning with the id."""

    @property
    def place(self) -> tuple[int, str]:
        """The same in all copies of a file, and in no other one."""
        return self.info.sequence, self.info.created_at


def look(path: Path) -> Source:
    """Check a file, and see what it is. Raises NotExported."""
    try:
        with understood():
            seen = sight_of(path)
            if is_merged(path):
                return _merged(path, seen)
            check_rests(path)
            with reading(path) as db:
                info = said_by(db, path)
                first_id, results, accepted = db.execute(_LOOK).fetchone()
                last_batch = db.execute(f"{_BATCH} ORDER BY id DESC LIMIT 1").fetchone()
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    except (NotAtRest, Unusable) as error:
        raise _refused(path, str(error)) from None
    if results > accepted:
        raise _refused(path, f"{results - accepted} of its results belong to no batch")
    return ResultFile(path, seen, info, first_id, last_batch)


def _merged(path: Path, seen: tuple[Identity, State] | None) -> Source:
    with reading(path) as db:
        (lost,) = db.execute(_LOST).fetchone()
    if lost:
        raise _refused(path, f"{abs(lost)} of its results belong to no batch, or to no instance in its table merged")
    return Source(path, seen, None)


def in_order(sources: Iterable[Source]) -> Sequence[Sequence[Source]]:
    """The files of each instance in order of arrival; or a merged database. Raises NotExported, see by_instance."""
    found = list(sources)
    for source in found:
        if source.info is None and len(found) > 1:
            raise _refused(source.path, "a merged database is exported alone: it may have the results of other files")
    files = [source for source in found if isinstance(source, ResultFile)]
    return by_instance(files) if files else [found]


def by_instance(sources: Iterable[ResultFile]) -> list[list[ResultFile]]:
    """The files of each instance in order of arrival; the instance whose first file is the oldest comes first.

    A file that names no instance belongs to that of which it has a copy of a file, else it stands alone. Raises
    NotExported where files of one instance have other results under the same ids, as when a directory was copied and
    outputd ran on both.
    """
    found = list(sources)
    named = {source.place: source.info.instance for source in found if source.info.instance is not None}
    instances: dict[object, list[ResultFile]] = {}
    for source in sorted(found, key=lambda source: (source.first_id, source.info.created_at)):
        instances.setdefault(source.info.instance or named.get(source.place, source.place), []).append(source)
    for files in instances.values():
        _check_history(files)
    return sorted(instances.values(), key=lambda files: min(source.info.created_at for source in files))


def _check_history(files: Sequence[ResultFile]) -> None:
    """Arrivals and digests differ from where two histories part, so the last batch in both files tells them apart."""
    holders = [source for source in files if source.last_batch is not None]
    for furthest, source in zip(accumulate(holders, _further), holders[1:], strict=False):
        last, longer = (furthest, source) if _further(furthest, source) is source else (source, furthest)
        assert last.last_batch is not None, "it is a holder"
        with reading(longer.path) as db:
            same = db.execute(f"{_BATCH} WHERE id = ?", last.last_batch[:1]).fetchone()
        if same not in (None, last.last_batch):
            name = in_one_line(str(furthest.path))
            raise _refused(source.path, f"it has other results than {name} under the same ids: export each alone")


def _further(source: ResultFile, other: ResultFile) -> ResultFile:
    return max(source, other, key=lambda source: source.last_batch or ())


def _refused(path: Path, reason: str) -> NotExported:
    return NotExported(f"{in_one_line(str(path))}: {in_one_line(reason)}")


_BATCH = "SELECT id, node, received_at, digest, first_id, last_id FROM batches"
_LOOK = """
SELECT (SELECT coalesce(min(id), 0) FROM ping_results), (SELECT count(*) FROM ping_results),
  (SELECT coalesce(sum(accepted), 0) FROM batches)
"""
_LOST = """
SELECT (SELECT count(*) FROM ping_results) - (SELECT coalesce(sum(held), 0) FROM (
  SELECT (
    SELECT count(*) FROM batches b CROSS JOIN ping_results p ON p.id BETWEEN b.first_id AND b.last_id
    WHERE b.id BETWEEN m.first_batch_id AND m.last_batch_id AND p.id BETWEEN m.first_id AND m.last_id
  ) AS held FROM merged m
))
"""
