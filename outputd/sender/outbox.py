"""Takes bodies from a file for the sender, and writes down what became of them. Blocking, for one thread."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from outputd.client.reply import Reply
from outputd.process.log import in_one_line
from outputd.sender.cut import CUT_BYTES, CUT_RESULTS, Body, bodies, items_of
from outputd.sender.journal import Head, Journal, Refused, Settled
from outputd.sender.source import Broken, Source

_SYNC_EVERY_S = 1.0
_ZIP_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Parcel:
    """A body, ready to be sent: its key, and its bytes as they go over the wire."""

    body: Body
    key: str
    content: bytes


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
                key = f"{self._key}-{body.number}"  # its place is part of it: equal bodies are different POSTs
                if not body.fault:
                    return Parcel(body, key, gzip.compress(body.data, _ZIP_LEVEL) if self._compress else body.data)
                self._keep(body, key, {"detail": body.fault})
                self._journal.settle(Settled(body.number, refused=1))
        except Broken as error:
            self.broken = str(error)
        return None

    def settle(self, outcome: Outcome) -> None:
        """Write down what became of a body: first what was refused, so that no kill comes between."""
        body, reply, status = outcome.parcel.body, outcome.reply, outcome.status
        stored = 200 <= status < 300
        if not stored or reply.rejected:
            said = {"status": status, "received": reply.received, "rejected": reply.rejected, "errors": reply.errors}
            self._keep(body, outcome.parcel.key, {**said, "detail": reply.detail} if reply.detail else said, reply)
        duplicate, refused = int(stored and reply.duplicate), int(not stored)
        self._journal.settle(Settled(body.number, reply.received * stored, reply.rejected, duplicate, refused))
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

    def _keep(self, body: Body, key: str, said: dict[str, object], reply: Reply | None = None) -> None:
        record = {"file": in_one_line(self._source.path.name), "where": body.where, **said}
        self._refused.write(key, {**record, **_refused_part(body.data, reply)})


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
