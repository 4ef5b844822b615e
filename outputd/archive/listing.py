"""What the archive has under the name of an instance. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from outputd.archive.names import KINDS, Name, date_of, folder_of, is_instance, name_of
from outputd.archive.objects import ArchiveFailed, Objects

_MOST_BATCHES = 1 << 20
"""In one object: each has an item of 64 bytes at least, and all have 64 MiB at most."""
_FOOTER_BYTES = 64 * 1024
"""That of an object of 64 MiB has a sixth of it."""


def names_of(objects: Objects, instance: str, since: str | None, after: int) -> list[Name]:
    """The names of an instance with batches above a mark, in order of batches, of a day and later ones, all if None.

    Those that end far below are not listed: there may be thousands a day. Raises ArchiveFailed.
    """
    if not is_instance(instance):  # its objects would not be found again
        raise ArchiveFailed("no instance can ship under this name")
    low = max(0, after - _MOST_BATCHES)
    return sorted(name for name in _all(objects, instance, since, low) if name.last_batch_id > after)


def _all(objects: Objects, instance: str, since: str | None, low: int) -> Iterator[Name]:
    for kind in KINDS:
        for folder in objects.folders(kind):
            day = date_of(folder)
            if day is not None and (since is None or day >= since):
                for path in objects.paths(folder_of(kind, day), f"{instance}-", f"{instance}-{low:019}"):
                    name = name_of(path)
                    if name is not None:
                        yield name


def day_before(day: str) -> str:
    """The day before: the clock of another directory that has our name may be behind."""
    try:
        return str(date.fromisoformat(day) - timedelta(days=1))
    except (ValueError, OverflowError):
        return day


def digest_in(objects: Objects, path: str) -> str | None:
    """The digest that an object says of its rows; None where it is none of ours. Raises ArchiveFailed."""
    end = objects.end_of(path, _FOOTER_BYTES)
    footer_bytes = int.from_bytes(end[-8:-4], "little") + 8
    if footer_bytes > len(end):
        end = objects.end_of(path, footer_bytes)
    try:
        said = pq.read_metadata(pa.BufferReader(end)).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return None
    digest = said.get(b"outputd.rows")
    return digest and digest.decode(errors="replace")
