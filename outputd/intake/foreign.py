"""A body of a foreign format: whether it is one, and how it becomes a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from outputd.formats.formats import claimed
from outputd.formats.packing import TooLong, unpacked
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Reader, Unread
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.agreement import MOST_BODY_BYTES
from outputd.results.model import (
    MOST_RAW_BYTES,
    MOST_REASON_CHARACTERS,
    MOST_RESULTS,
    NotResults,
    Origin,
    PingResult,
    TooManyResults,
)
from outputd.results.parse import Parser
from outputd.results.rows import Batch, RawBody, Rejected
from outputd.results.weight import most_bytes, text_bytes

MOST_ROWS_BYTES = 128 << 20
"""What the rows of one body may take; those of a native body take no more."""

FROM_HEADER = "header"
"""Where a time is from that the sender has told beside the body."""
FROM_ARRIVAL = "arrival"
"""Where a time is from that nobody has told: that of the POST."""

_BYTES_A_LINE = 256
_BYTES_A_RESULT = 512
_BYTES_A_HOP = 160
_BYTES_A_REJECT = 512
_MOST_NUMBER = 2**63 - 1


class Asked(Struct, frozen=True):
    """What a sender says of a body: the reader of its format, that it is ours, when it was measured (RFC 3339)."""

    reader: Reader | None = None
    is_ours: bool = False
    measured_at: str | None = None


NOTHING_ASKED = Asked()
"""What most say."""


class TooHeavy(Struct, frozen=True):
    """A body whose rows take more memory than is held for them."""


class _First(Struct):
    ip: msgspec.Raw | UnsetType = UNSET


_decode_first = msgspec.json.Decoder(_First).decode


def weight_of(body: bytes) -> int:
    """What the rows of an unpacked body usually take, and seldom more, told from its bytes."""
    return most_bytes(body) + _BYTES_A_LINE * (body.count(b"\n") + 1)


def claimant(body: bytes, items: Sequence[bytes | msgspec.Raw] = ()) -> Reader | None:
    """The reader of a body that nobody named and that is none of ours; `items` are those of an array."""
    return None if items and _is_ours(bytes(items[0])) else claimed(body)


def _is_ours(item: bytes) -> bool:
    try:
        return _decode_first(item).ip is not UNSET
    except (ValueError, RecursionError):
        return True  # no format has anything but objects


def unpack(body: bytes) -> bytes | NotResults | None:
    """A body as its reader has it; None where that is longer than a body may be."""
    try:
        return unpacked(body, MOST_BODY_BYTES)
    except TooLong:
        return None
    except NotOfThisFormat as error:
        return NotResults(str(error))


class Foreign:
    """A body of one format, unpacked, and the body as it was sent; the time is that of items which have none."""

    def __init__(self, reader: Reader, text: bytes, body: bytes, measured_at: str | None) -> None:
        self._reader = reader
        self._text = text
        self._body = body
        self._measured_at = measured_at
        self._lacks_time = False

    def parse(
        self, parser: Parser, origin: Origin, held_bytes: int, keeps_raw: bool
    ) -> Batch | NotResults | TooManyResults | TooHeavy:
        """Read it into rows that take no more memory than this. One that takes more can be parsed again.

        What ends it is a value: an exception would carry the body to another thread.
        """
        try:
            batch = parser.gather(self._items(origin, held_bytes), self._body, origin)
        except NotOfThisFormat as error:
            return NotResults(f"the body is not of the format {self._reader.name}: {error}"[:MOST_REASON_CHARACTERS])
        except _Beyond as beyond:
            return beyond.answer
        batch.format = self._reader.name
        batch.text_bytes = text_bytes(self._text)  # the body may be packed
        if keeps_raw:
            batch.raw = RawBody(self._reader.version, _zstd(self._body))
        if self._lacks_time:
            batch.time_from = FROM_ARRIVAL if self._measured_at is None else FROM_HEADER
        return batch

    def _items(self, origin: Origin, held_bytes: int) -> Iterator[PingResult | Rejected]:
        time = self._measured_at or timestamps.printed(origin.received_at)
        rows_bytes = 0
        for index, item in enumerate(self._reader.read(self._text)):
            if index == MOST_RESULTS:
                raise _Beyond(TooManyResults())
            if isinstance(item, Unread):
                raw = item.raw[:MOST_RAW_BYTES]
                rows_bytes += _BYTES_A_REJECT + len(raw)
                yield Rejected(index, item.field, item.reason[:MOST_REASON_CHARACTERS], raw)
            elif fault := _fault_of(item):
                rows_bytes += _BYTES_A_REJECT
                yield Rejected(index, fault, "nothing that can be stored", b"")
            else:
                route = item.traceroute
                rows_bytes += _BYTES_A_RESULT + (_BYTES_A_HOP * len(route.hops) if route and route.hops else 0)
                yield item if item.timestamp != NO_TIME else self._timed(item, time)
            if rows_bytes > held_bytes:
                raise _Beyond(TooHeavy())

    def _timed(self, result: PingResult, time: str) -> PingResult:
        self._lacks_time = True
        return msgspec.structs.replace(result, timestamp=time)


def _zstd(body: bytes) -> bytes:
    from zstandard import ZstdCompressor  # noqa: PLC0415  # two MiB that a service without foreign bodies never needs

    return ZstdCompressor().compress(body)


class _Beyond(Exception):
    """The body has more than it may; `answer` tells of what."""

    def __init__(self, answer: TooManyResults | TooHeavy) -> None:
        super().__init__(answer)
        self.answer = answer


def _fault_of(result: PingResult) -> str:
    """The field of a result that a reader should not have made, empty for a good one: a bug there is no error here."""
    if canonical(result.ip) is None:
        return "ip"
    if result.timestamp != NO_TIME and timestamps.stored(result.timestamp) is None:
        return "timestamp"
    loss = result.packet_loss
    if loss is not None and not 0 <= loss <= 100:
        return "packet_loss"
    for field in ("sent", "received", "avg_rtt", "min_rtt", "max_rtt", "stddev_rtt"):
        number = getattr(result, field)
        if number is not None and not -1 <= number <= _MOST_NUMBER:
            return field
    return ""
