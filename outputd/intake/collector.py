"""The collector: takes a body from a node, and answers once its results are on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
from twisted.internet.defer import DeferredLock

from outputd.formats.packing import is_packed
from outputd.formats.reader import Reader
from outputd.intake.admission import Admission
from outputd.intake.counters import Stats
from outputd.intake.foreign import (
    MOST_ROWS_BYTES,
    NOTHING_ASKED,
    Asked,
    Foreign,
    TooHeavy,
    claimant,
    unpack,
    weight_of,
)
from outputd.intake.gunzip import BadCoding, Gunzip
from outputd.ledger.keys import UsedKey, key_name
from outputd.ledger.ledger import Ledger
from outputd.ledger.lessons import Lesson
from outputd.process.threads import InThread, P, T
from outputd.process.tuning import give_back
from outputd.results import timestamps
from outputd.results.agreement import MOST_BODY_BYTES, MOST_ERRORS, answer_of, duplicate_of, item_error
from outputd.results.model import Mixed, NotResults, Origin, TooManyResults
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from outputd.results.weight import items_bytes, most_bytes
from outputd.store.store import Store, StoreFailed
from outputd.web.answers import JSON, Answer, problem
from outputd.web.request import Memory

_HEAVY_BYTES = 2 << 20
_LARGE_BYTES = 256 * 1024
_MOST_BYTES_DECODED_HERE = 64 * 1024
_TOO_LONG = problem(413, f"a body may have {MOST_BODY_BYTES >> 20} MiB at most when decoded")


class Sender(msgspec.Struct, frozen=True):
    """Who sent a body: the node's name for the files, and the scope and text of its Idempotency-Key.

    `account` is whose hops it brings: the name of a token, else the network of the peer, since a name is free text.
    """

    node: str
    scope: str = ""
    key: str | None = None
    account: str = ""


@dataclass(slots=True)
class Posted:
    """A body on its way to the disk, who sent it, and the memory that it holds."""

    body: bytes
    sender: Sender
    memory: Memory
    is_gzip: bool = False
    asked: Asked = NOTHING_ASKED


class Collector:
    """Brings a body to the store, the ledger and the counters, and makes the answer."""

    def __init__(
        self, store: Store, ledger: Ledger, parser: Parser, stats: Stats, admission: Admission, in_thread: InThread,
        now: Callable[[], float], tell: Callable[[str], object] | None = None,
        note_sender: Callable[[int, str], object] = lambda batch_id, account: None, keeps_raw: bool = True,
    ) -> None:  # fmt: skip
        self._store = store
        self._ledger = ledger
        self._parser = parser
        self._stats = stats
        self._admission = admission
        self._in_thread = in_thread
        self._now = now
        self._tell = tell
        self._note_sender = note_sender
        self._keeps_raw = keeps_raw
        self._locks: dict[bytes, tuple[DeferredLock, int]] = {}

    def refusal(self) -> Answer | None:
        """What every body is refused for now, if anything."""
        failure = self._ledger.failure
        return None if failure is None else self._admission.turn_away(failure.reason)

    async def collect(self, posted: Posted) -> Answer:
        """Store a body's results; one with a used key is answered as the first time. The caller lets the memory go."""
        refusal = self.refusal()
        if refusal is not None:
            return refusal
        if posted.is_gzip:
            refusal = await self._decode(posted)
            if refusal is not None:
                return refusal
        sender = posted.sender
        if sender.key is None:
            return await self._store_body(posted, None)
        name = key_name(sender.scope, sender.key)
        lock, users = self._locks.get(name, (DeferredLock(), 0))
        self._locks[name] = lock, users + 1
        try:
            async with lock:  # a twin waits for the first
                return await self._store_once(posted, name)
        finally:
            lock, users = self._locks.pop(name)
            if users > 1:
                self._locks[name] = lock, users - 1

    async def _decode(self, posted: Posted) -> Answer | None:
        """Put the decoded body in the place of the other, or say why not. The memory of each step is held before it."""
        gunzip, is_small = Gunzip(posted.body), len(posted.body) < _MOST_BYTES_DECODED_HERE
        posted.body, most_bytes = b"", 0
        while most_bytes < MOST_BODY_BYTES:
            more_bytes = min(max(_LARGE_BYTES, 3 * most_bytes), MOST_BODY_BYTES - most_bytes)
            if not posted.memory.grow(more_bytes):
                return self._admission.turn_away()
            most_bytes += more_bytes
            if is_small and most_bytes <= _LARGE_BYTES:
                body = gunzip.up_to(most_bytes)
            elif most_bytes < _HEAVY_BYTES:
                body = await self._in_thread(gunzip.up_to, most_bytes)
            else:
                body = await self._in_thread(_cleared_after, partial(gunzip.up_to, most_bytes))
            if isinstance(body, BadCoding):
                return problem(400, body.reason)
            if body is not None:
                posted.body = body
                posted.memory.shrink(len(body))
                return None
        return _TOO_LONG

    async def _store_once(self, posted: Posted, name: bytes) -> Answer:
        used = await self._ledger.used(name)
        if used is None:
            return await self._store_body(posted, name)
        if used.digest != await self._in_thread(_digest, posted.body):
            return problem(422, "this Idempotency-Key was used with another body")
        self._stats.duplicate_posts += 1
        return 200, duplicate_of(used.answer), JSON

    async def _store_body(self, posted: Posted, key: bytes | None) -> Answer:
        now, sender = self._now(), posted.sender
        origin = Origin(sender.node, timestamps.at(now), timestamps.horizon(now), sender.key)
        batch = await self._read(posted, origin)
        if not isinstance(batch, Batch):
            return batch
        if not batch.accepted and not batch.rejected:
            return 200, answer_of(0, 0, ()), JSON
        if not posted.memory.become(batch.memory_bytes):
            self._stats.offered += batch.accepted + len(batch.rejected)
            self._stats.refused += batch.accepted + len(batch.rejected)
            return self._admission.turn_away()
        return await self._record(batch, posted, key)

    async def _read(self, posted: Posted, origin: Origin) -> Batch | Answer:
        """Have the batch take the place of the body, or say why not. The memory of each step is held before it."""
        if posted.asked.reader is not None:
            return await self._read_foreign(posted, origin, posted.asked.reader)
        weight_bytes = most_bytes(posted.body)
        if not posted.memory.grow(weight_bytes):
            return self._admission.turn_away()
        batch = await self._worked_out(weight_bytes, self._parser.parse, posted.body, origin)
        if isinstance(batch, Mixed | NotResults) and not posted.asked.is_ours:
            items = batch.items if isinstance(batch, Mixed) else ()
            reader = await self._worked_out(weight_bytes, claimant, posted.body, items)
            if reader is not None:
                return await self._read_foreign(posted, origin, reader)
        if isinstance(batch, Mixed):
            more_bytes = items_bytes(len(batch.items))
            if not posted.memory.grow(more_bytes):
                return self._admission.turn_away()
            batch = await self._worked_out(weight_bytes + more_bytes, self._parser.sift, batch, posted.body, origin)
        posted.body = b""
        return batch if isinstance(batch, Batch) else _refused(batch)

    async def _read_foreign(self, posted: Posted, origin: Origin, reader: Reader) -> Batch | Answer:
        """See _read, for the body of another format. One whose rows are more than is usual is read again."""
        text: bytes | NotResults | None = posted.body
        posted.memory.shrink(len(posted.body))
        if is_packed(posted.body):
            if not posted.memory.grow(2 * MOST_BODY_BYTES):  # the text, and as much for what unpacks it
                return self._admission.turn_away()
            text = await self._in_thread(_cleared_after, partial(unpack, posted.body))
            posted.memory.shrink(len(posted.body) + (len(text) if isinstance(text, bytes) else 0))
        if text is None:
            return _TOO_LONG
        if not isinstance(text, bytes):
            return _refused(text)
        foreign = Foreign(reader, text, posted.body, posted.asked.measured_at)
        batch: Batch | NotResults | TooManyResults | TooHeavy = TooHeavy()
        rows_bytes, more_bytes = 0, weight_of(text)
        while isinstance(batch, TooHeavy) and rows_bytes < MOST_ROWS_BYTES:
            if not posted.memory.grow(more_bytes):
                return self._admission.turn_away()
            rows_bytes += more_bytes
            batch = await self._worked_out(rows_bytes, foreign.parse, self._parser, origin, rows_bytes, self._keeps_raw)
            more_bytes = min(3 * rows_bytes, MOST_ROWS_BYTES - rows_bytes)
        posted.body = b""
        return batch if isinstance(batch, Batch) else _refused(batch)

    async def _worked_out(self, weight_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work here, or in a thread when it is so much that others would wait for it."""
        if weight_bytes < _HEAVY_BYTES:
            return work(*args, **kwargs)
        return await self._in_thread(_cleared_after, partial(work, *args, **kwargs))

    async def _record(self, batch: Batch, posted: Posted, key: bytes | None) -> Answer:
        items = batch.accepted + len(batch.rejected)
        self._stats.offered += items
        try:
            await self._store.record(batch)
        except StoreFailed as error:
            self._stats.refused += items
            return self._admission.turn_away(f"the results cannot be stored now: {error}")
        self._admission.drained(posted.memory.size_bytes)
        self._stats.count(batch)
        if batch.hops:
            self._note_sender(batch.id, posted.sender.account)
        batch.forget_rows()
        errors = [item_error(bad.index, bad.field, bad.reason) for bad in batch.rejected[:MOST_ERRORS]]
        json = answer_of(batch.accepted, len(batch.rejected), errors)
        used = None if key is None or not batch.accepted else UsedKey(key, batch.digest, json, self._ledger.ran_s)
        self._ledger.learn(Lesson(batch.id, list(batch.new_hops.values()), used, posted.sender.account))
        if batch.new_hops:
            self._parser.now_known(batch.new_hops)
        if self._ledger.is_behind:
            await self._ledger.caught_up()
        if self._tell is not None:
            self._tell(f"{batch.accepted} results of {batch.node} stored, {len(batch.rejected)} items rejected")
        if not batch.accepted:
            return problem(422, "every item of the body is invalid", received=0, rejected=items, errors=errors)
        return 200, json, JSON


def _refused(body: NotResults | TooManyResults | TooHeavy) -> Answer:
    if isinstance(body, NotResults):
        return problem(400, body.reason)
    what = "items" if isinstance(body, TooManyResults) else "rows"
    return problem(413, f"too many {what} in one body")


def _cleared_after(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        give_back()  # what the heavy ones before this have left in the heap


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
