"""The files of an export: checked, never changed, and in order of arrival. Blocking."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from outputd.process.log import in_one_line
from outputd.process.trouble import Unusable
from outputd.store.file import FileInfo, said_by
from outputd.store.resting import NotAtRest, check_rests, reading


class NotExported(Exception):
    """Results cannot be exported; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file at rest that is to be exported."""

    info: FileInfo
    first_id: int
    """Of its first result; 0 without any."""
    size_bytes: int
    """How much work it is."""

    @property
    def place(self) -> tuple[int, str]:
        """The same in all copies of a file, and in no other one."""
        return self.info.sequence, self.info.created_at


def look(path: Path) -> Source:
    """Check a file, and see what it is. Raises NotExported."""
    try:
        check_rests(path)
        with reading(path) as db:
            info = said_by(db, path)
            first_id, results, accepted = db.execute(_LOOK).fetchone()
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    except (TypeError, ValueError):  # None is no row; a text that is not UTF-8
        raise _refused(path, "it does not say what it is") from None
    except sqlite3.DatabaseError as error:
        raise _refused(path, f"it cannot be read: {error}") from None
    except (NotAtRest, Unusable) as error:
        raise _refused(path, str(error)) from None
    if results > accepted:
        raise _refused(path, f"{results - accepted} of its results belong to no batch")
    return Source(info, first_id, path.stat().st_size)


def by_instance(sources: Iterable[Source]) -> list[list[Source]]:
    """The files of each instance in order of arrival; the instance whose first file is the oldest comes first.

    A file that names no instance belongs to that of which it has a copy of a file, else it stands alone.
    """
    found = list(sources)
    named = {source.place: source.info.instance for source in found if source.info.instance is not None}
    instances: dict[object, list[Source]] = {}
    for source in sorted(found, key=lambda source: (source.first_id, source.info.created_at)):
        instances.setdefault(source.info.instance or named.get(source.place, source.place), []).append(source)
    return sorted(instances.values(), key=lambda files: min(source.info.created_at for source in files))


def _refused(path: Path, reason: str) -> NotExported:
    return NotExported(f"{in_one_line(str(path))}: {in_one_line(reason)}")


_LOOK = """
SELECT (SELECT coalesce(min(id), 0) FROM ping_results), (SELECT count(*) FROM ping_results),
  (SELECT coalesce(sum(accepted), 0) FROM batches)
"""
