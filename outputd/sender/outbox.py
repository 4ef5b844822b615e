"""Takes bodies from a file for the sender, and writes down what became of them. Blocking, for one thread."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from outputd.client.reply import Reply
from outputd.process.log import in_one_line
from outputd.sender.body import CUT_BYTES, CUT_RESULTS, Body
from outputd.sender.cut import bodies, items_of
from outputd.sender.journal import Head, Journal, Refused, Settled
from outputd.sender.source import MOST_BODY_BYTES, Broken, Source

_SYNC_EVERY_S = 1.0
_ZIP_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Parcel:
    """A body, or a piece of one, ready to be sent: its key, and its bytes as they go over the wire."""

    body: Body
    key: str
    content: bytes
    is_new: bool = True
    """Whether no earlier run can have sent it."""
    piece: Piece | None = None
    """None is the whole body."""

    @property
    def data(self) -> bytes:
        """What is sent, before it is compressed."""
        return self.body.data if self.piece is None else self.piece.data

    @property
    def items(self) -> int:
        """Results in it; see `Body.items`."""
        return self.body.items if self.piece is None else self.piece.until - self.piece.first

    @property
    def is_last(self) -> bool:
        """Whether the body is settled with it."""
        return self.piece is None or self.piece.until == self.body.items


@dataclass(frozen=True, slots=True)
class Piece:
    """Some items of a body, from `first` to the one before `until`."""

    first: int
    until: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last answer to a parcel."""

    parcel: Parcel
    status: int
    reply: Reply


def head_of(source: Source, url: str, node: str) -> Head:
    """The head of a journal that begins with this file."""
    way = f"{source.digest} {source.layout} {CUT_RESULTS} {CUT_BYTES}"
    digest = hashlib.sha256(way.encode()).hexdigest()
    return Head(
        file=in_one_line(source.path.name), digest=digest, url=url, node=node, size=source.size_bytes,
        content=source.digest, layout=source.layout,
    )  # fmt: skip


class Delivery:
    """One file on its way: which bodies remain, and what the others came to."""

    def __init__(self, source: Source, journal: Journal, refused: Refused, compress: bool = False) -> None:
        self.position = 0
        self.broken = ""
        self._source = source
        self._journal = journal
        self._refused = refused
        self._compress = compress
        self._bodies: Iterator[Body] = bodies(source)
        self._key = hashlib.sha256(f"{journal.head.digest} {journal.head.salt}".encode()).hexdigest()[:32]
        self._synced = time.monotonic()

    def turn(self, outcome: Outcome | None) -> Parcel | None:
        """Write down an outcome, then take the next body that was not answered yet; None at the end of the file."""
        if outcome is not None:
            self.settle(outcome)
        try:
            for body in self._bodies:
                self.position = body.position
                if body.number in self._journal:
                    continue
                key = self._key_of(body)
                if not body.fault:
                    return self._next_piece(body) or self._whole(body)
                self._keep(Parcel(body, key, b""), {"detail": body.fault})
                self._journal.settle(Settled(body.number, refused=1))
        except Broken as error:
            self.broken = str(error)
        return None

    def cut(self, parcel: Parcel, most_bytes: int) -> Parcel:
        """The beginning of a parcel, of so many bytes at most but of one item at least; the same one if it has no two.

        The service must not have the parcel, nor get it later: what is cut has another key.
        """
        first, until = (0, parcel.body.items) if parcel.piece is None else (parcel.piece.first, parcel.piece.until)
        return parcel if until - first < 2 else self._begun(parcel.body, first, until, most_bytes) or parcel

    def rest(self, outcome: Outcome, most_bytes: int) -> Parcel:
        """Write down what became of a piece, then take the next one of its body."""
        self.settle(outcome)
        body, piece = outcome.parcel.body, outcome.parcel.piece
        assert piece is not None and not outcome.parcel.is_last, "something is left"
        parcel = self._begun(body, piece.until, body.items, most_bytes)
        assert parcel is not None, "it was cut"
        return parcel

    def settle(self, outcome: Outcome) -> None:
        """Write down what became of a parcel: first what was refused, so that no kill comes between."""
        body, reply, status = outcome.parcel.body, outcome.reply, outcome.status
        stored = 200 <= status < 300
        if not stored or reply.rejected:
            said = {"status": status, "received": reply.received, "rejected": reply.rejected, "errors": reply.errors}
            self._keep(outcome.parcel, {**said, "detail": reply.detail} if reply.detail else said, reply)
        duplicate, refused = int(stored and reply.duplicate), int(not stored)
        piece = outcome.parcel.piece
        until = 0 if piece is None or outcome.parcel.is_last else piece.until
        self._journal.settle(Settled(body.number, reply.received * stored, reply.rejected, duplicate, refused, until))
        if time.monotonic() - self._synced >= _SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Make durable what was written down."""
        self._refused.sync()
        self._journal.sync()
        self._synced = time.monotonic()

    def close(self, in_doubt: bool, whole: bool) -> None:
        """The end of this run."""
        self._refused.close()
        self._journal.close(in_doubt, whole and not self.broken)

    def _key_of(self, body: Body) -> str:
        return f"{self._key}-{body.number}"  # its place is part of it: equal bodies are different POSTs

    def _whole(self, body: Body) -> Parcel:
        return Parcel(body, self._key_of(body), self._zipped(body.data), self._journal.was_in_doubt_since is None)

    def _next_piece(self, body: Body) -> Parcel | None:
        """The piece of a body with which an earlier run would have gone on; None when it was not cut."""
        cut = self._journal.cut(body.number)
        if cut.begun:
            return self._piece(body, cut.until, (items_of(body.data) or [])[cut.until : cut.begun], is_new=False)
        return self._begun(body, cut.until, body.items, MOST_BODY_BYTES) if cut.until else None

    def _begun(self, body: Body, first: int, until: int, most_bytes: int) -> Parcel | None:
        """A new piece, from `first` on and not beyond `until`, that is written down; None where nothing can be cut."""
        items = items_of(body.data)
        if items is None:
            return None
        chosen, size = items[first : first + 1], len(bytes(items[first]))
        for item in items[first + 1 : until]:
            size += len(bytes(item)) + 1
            if size + 2 > most_bytes:
                break
            chosen.append(item)
        self._journal.begin_piece(body.number, first + len(chosen))
        return self._piece(body, first, chosen, is_new=True)

    def _piece(self, body: Body, first: int, items: Sequence[msgspec.Raw], is_new: bool) -> Parcel:
        data, until = b"[" + b",".join(map(bytes, items)) + b"]", first + len(items)
        key = f"{self._key_of(body)}.{first}-{until}"
        return Parcel(body, key, self._zipped(data), is_new, Piece(first, until, data))

    def _zipped(self, data: bytes) -> bytes:
        return gzip.compress(data, _ZIP_LEVEL) if self._compress else data

    def _keep(self, parcel: Parcel, said: dict[str, object], reply: Reply | None = None) -> None:
        where, piece = parcel.body.where, parcel.piece
        if piece is not None:
            where += f", its results {piece.first} to {piece.until - 1}"
        record = {"file": in_one_line(self._source.path.name), "where": where, **said}
        self._refused.write(parcel.key, {**record, **_refused_part(parcel.data, reply)})


def _refused_part(data: bytes, reply: Reply | None) -> dict[str, object]:
    """The items that were named, when all were; else the body. As text where it is no JSON."""
    if not data:
        return {}
    items = items_of(data)
    if items is None:
        return {"text": data.decode(errors="backslashreplace")}
    named = [error.get("index") for error in reply.errors] if reply is not None else []
    if reply is not None and 0 < reply.rejected == len(named):
        items = [items[index] for index in named if type(index) is int and 0 <= index < len(items)]
    return {"results": items}
