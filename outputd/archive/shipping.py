"""A span becomes objects, each put once. Blocking."""

from __future__ import annotations

import errno

from outputd.archive import making
from outputd.archive.asks import Shipped, Span, Taken
from outputd.archive.files import page_of
from outputd.archive.listing import day_before, digest_in, names_of
from outputd.archive.making import Made
from outputd.archive.names import KINDS, REJECTED, RESULTS, Name
from outputd.archive.objects import ArchiveFailed, Objects
from outputd.archive.rows import Rejected, Results


def ship(objects: Objects, span: Span, instance: str, since: str = "") -> Shipped | Taken:
    """Put what these batches have stored, unless it was put before. Raises ArchiveFailed, Unreadable.

    Taken when there are names of this instance at these batches or beyond that are not those of this span and its rows.
    """
    objects.folders(RESULTS)  # one that is away is noticed before the work
    _check_ends(span)
    shipment = Shipment(objects, span, instance)
    made = {name: shipment.made(name) for name in shipment.names}
    # only now: the sooner it is put after the look, the less can another directory put between the two
    day = day_before(min(span.date, since[:10] or span.date))
    there = set(names_of(objects, instance, day, span.first_batch_id - 1))
    if others := there - made.keys():
        return Taken(str(min(others)))
    nbytes = 0
    for name, it in made.items():
        is_new = name not in there and objects.put(str(name), it.parts)
        if digest_in(objects, str(name)) != it.digest:
            if is_new:  # something between, as a proxy, has answered with a page of its own
                raise ArchiveFailed(f"{name} was put and cannot be read: what answers is no object storage")
            return Taken(str(name))
        nbytes += it.nbytes if is_new else 0
    return Shipped(len(shipment.results), len(shipment.rejected), nbytes, bool(made) and not nbytes)


def _check_ends(span: Span) -> None:
    """Raise Unreadable unless the file has the batches that the name will say."""
    with page_of(span.path) as db:
        ends = {span.first_batch_id, span.last_batch_id}
        found = db.execute("SELECT count(*) FROM batches WHERE id IN (?, ?)", (min(ends), max(ends))).fetchone()[0]
        if found < len(ends):
            raise FileNotFoundError(errno.ENOENT, "it does not have the batches that were to be shipped")


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

    def put(self, name: Name) -> bool:
        """Put the object of a name, unless there is one; False if what is there then has other rows.

        Raises ArchiveFailed, Unreadable.
        """
        made = self.made(name)
        self._objects.put(str(name), made.parts)
        return digest_in(self._objects, str(name)) == made.digest

    def made(self, name: Name) -> Made:
        """The object of a name. Raises Unreadable."""
        if name.kind == RESULTS:
            return making.results_object(self.results, self._span, self._instance)
        return making.rejected_object(self.rejected, self._span, self._instance)

    def is_same(self, name: Name) -> bool:
        """Whether the object that has a name of ours has these rows. Raises ArchiveFailed, Unreadable."""
        return digest_in(self._objects, str(name)) == self._digest(name)

    def _digest(self, name: Name) -> str:
        if name.kind == RESULTS:
            return making.results_digest(self.results)
        return making.rejected_digest(self.rejected)
