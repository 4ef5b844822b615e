"""A long answer by places: where its rows stand is known at once, and they are read as they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from outputd.queries.results import HOP_BYTES, MOST_HOPS
from outputd.queries.session import Session
from outputd.queries.tables import PAGE_BYTES
from outputd.store.file import FileInfo

Page = list[dict[str, Any]]


class Place(NamedTuple):
    """Where a result stands, and how long it is without its hops."""

    id: int
    size_bytes: int
    first_hop: int | None = None
    end_of_hops: int | None = None


class Pages:
    """The rows at these places, a page at a time; `look` reads those of the file that is attached."""

    def __init__(self, session: Session, look: Callable[[Sequence[Place]], Page]) -> None:
        self._session = session
        self._look = look
        self._first: list[Page] = []
        self._others: list[tuple[FileInfo, list[Place]]] = []

    def add(self, info: FileInfo, places: Sequence[Place]) -> None:
        """Those of the file that is attached come behind those before."""
        for page in _parted(places):
            if self._first:
                self._others.append((info, page))
            else:  # now, while the file is open
                self._first.append(self._look(page))

    def read(self) -> Iterator[Page]:
        """Each page, once."""
        while self._first:
            yield self._first.pop()
        for info, page in self._others:
            yield self._session.in_file(info, partial(self._look, page)) or []


def _parted(places: Sequence[Place]) -> Iterator[list[Place]]:
    """These places, parted where a page is full."""
    page: list[Place] = []
    room_bytes = PAGE_BYTES
    for place in places:
        page.append(place)
        room_bytes -= place.size_bytes
        if place.first_hop is not None and place.end_of_hops is not None:
            room_bytes -= HOP_BYTES * min(MOST_HOPS, place.end_of_hops - place.first_hop)
        if room_bytes <= 0:
            yield page
            page, room_bytes = [], PAGE_BYTES
    if page:
        yield page
