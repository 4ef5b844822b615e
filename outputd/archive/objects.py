"""Where objects are kept: put once, listed and read, never overwritten and never deleted. Blocking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from outputd.archive.place import Place
from outputd.process.trouble import Kind


class ArchiveFailed(Exception):
    """The archive cannot be reached, or does not let us in; the text says why, without secrets."""

    def __init__(self, reason: str, kind: Kind = Kind.OTHER) -> None:
        super().__init__(reason)
        self.kind = kind


class Objects(Protocol):
    """An archive's objects, by their paths in it. Each method raises ArchiveFailed."""

    def put(self, path: str, parts: Sequence[bytes]) -> bool:
        """Put an object, durably and whole, unless there is one of this path; False if there is one.

        When it raises, the object may have been put.
        """

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder."""

    def paths(self, folder: str, beginning: str, above: str = "") -> Iterator[str]:
        """The paths of the objects in a folder whose names begin so, and sort above another one."""

    def read(self, path: str) -> bytes:
        """An object."""

    def end_of(self, path: str, most_bytes: int) -> bytes:
        """The last bytes of an object."""


def objects_at(place: Place) -> Objects:
    """The archive of a place. Raises ArchiveFailed."""
    if place.scheme == "file":
        from outputd.archive.directory import Directory  # noqa: PLC0415  # one of the two

        return Directory(Path(place.prefix))
    from outputd.archive.cloud import Cloud, store_of  # noqa: PLC0415  # obstore takes 20 MiB

    return Cloud(store_of(place))
