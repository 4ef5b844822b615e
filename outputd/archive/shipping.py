"""A span becomes objects, each put once. Blocking."""

from __future__ import annotations

from outputd.archive import making
from outputd.archive.asks import Shipped, Span, Taken
from outputd.archive.listing import day_before, digest_in, names_of
from outputd.archive.making import Made
from outputd.archive.names import KINDS, REJECTED, RESULTS, Name
from outputd.archive.objects import Objects
from outputd.archive.rows import Rejected, Results


def ship(objects: Objects, span: Span, instance: str) -> Shipped | Taken:
    """Put what these batches have stored, unless it was put before. Raises ArchiveFailed, Unreadable.

    Taken when there are names of this instance at these batches or beyond that are not those of this span and its rows.
    """
    shipment = Shipment(objects, span, instance)
    there = set(names_of(objects, instance, day_before(span.date), span.first_batch_id - 1))
    others = there - set(shipment.names)
    if others:
        return Taken(str(min(others)))
    shipped = Shipped(len(shipment.results), len(shipment.rejected), 0, bool(there))
    for name in shipment.names:
        nbytes = shipment.put(name, name in there)
        if nbytes is None:
            return Taken(str(name))
        if nbytes:
            shipped = Shipped(shipped.results, shipped.rejected, shipped.nbytes + nbytes, False)
    return shipped


class Shipment:
    """What a span has, by the names under which it is put."""

    def __init__(self, objects: Objects, span: Span, instance: str) -> None:
        """Raises Unreadable."""
        self._objects = objects
        self._span = span
        self._instance = instance
        self.results = Results(span)
        self.rejected = Rejected(span)
        has = {RESULTS: len(self.results), REJECTED: len(self.rejected)}
        self.names = [
            Name(span.first_batch_id, span.last_batch_id, span.date, kind, instance) for kind in KINDS if has[kind]
        ]
        """In the order in which they are put."""

    def put(self, name: Name, is_there: bool = False) -> int | None:
        """Put the object of a name, unless there is one; the bytes that were sent, None if it has other rows.

        Raises ArchiveFailed, Unreadable.
        """
        if is_there:
            return 0 if self.is_same(name) else None
        made = self._made(name)
        if self._objects.put(str(name), made.parts):
            return made.nbytes
        return 0 if digest_in(self._objects, str(name)) == made.digest else None

    def is_same(self, name: Name) -> bool:
        """Whether the object that has a name of ours has these rows. Raises ArchiveFailed, Unreadable."""
        return digest_in(self._objects, str(name)) == self._digest(name)

    def _digest(self, name: Name) -> str:
        if name.kind == RESULTS:
            return making.results_digest(self.results)
        return making.rejected_digest(self.rejected)

    def _made(self, name: Name) -> Made:
        if name.kind == RESULTS:
            return making.results_object(self.results, self._span, self._instance)
        return making.rejected_object(self.rejected, self._span, self._instance)
