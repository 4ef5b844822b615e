"""Results as NDJSON: one object a line, with the names that the API uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

from outputd.export.page import Page
from outputd.results import timestamps


class Hop(Struct, gc=False):
    """One reply, or silence."""

    ttl: int
    ip: str | None
    rtt: int | None
    timeout: bool


class Traceroute(Struct, gc=False):
    """The path to the target, its hops in the order in which the node wrote them."""

    method: str | None
    completed: bool | None
    error: str | None
    hops: Sequence[Hop]


class Record(Struct, gc=False):
    """A result as a line; null where nothing is stored."""

    id: int
    instance: str | None
    batch_id: int
    node: str
    received_at: str
    ip: str
    sent: int
    received: int
    packet_loss: float
    avg_rtt: int | None
    min_rtt: int | None
    max_rtt: int | None
    stddev_rtt: int | None
    timestamp: str
    error: str | None
    traceroute: Traceroute | None


_END = b"]}}\n"
"""What stands behind the hops of a line."""


class NdjsonEncoder:
    """Results as lines of JSON."""

    def __init__(self) -> None:
        self.apart_s = 0.0
        self._encoder = msgspec.json.Encoder()

    def add(self, page: Page) -> bytes:
        """The lines of these results, of which the last one may go on in the next page."""
        if page.continues:
            hops = self._encoder.encode(_hops(page))[1:-1]
            return b"," * bool(hops) + hops + (b"" if page.is_open else _END)
        lines = self._encoder.encode_lines(_records(page))
        return lines.removesuffix(_END) if page.is_open else lines

    def end(self) -> bytes:
        """Nothing: each line is whole."""
        return b""

    def stop(self) -> None:
        """Nobody waits for it."""

    def close(self) -> None:
        """It holds nothing."""


def _records(page: Page) -> list[Record]:
    return list(
        map(
            Record, page.id, [page.instance] * len(page), page.batch_id, page.node, _printed(page.received_at), page.ip,
            page.sent, page.received, page.packet_loss, page.avg_rtt, page.min_rtt, page.max_rtt, page.stddev_rtt,
            _printed(page.timestamp), page.error, _traceroutes(page),
        )
    )  # fmt: skip


def _hops(page: Page) -> list[Hop]:
    return list(map(Hop, page.hop_ttl, page.hop_ip, page.hop_rtt, map(bool, page.hop_timeout)))


def _traceroutes(page: Page) -> Iterator[Traceroute | None]:
    hops = _hops(page)
    spans = pairwise((0, *page.hop_ends))
    for (begin, end), is_traced, method, completed, error in zip(
        spans, page.is_traced, page.method, page.completed, page.traceroute_error, strict=True
    ):
        if not is_traced:
            yield None
        else:
            yield Traceroute(method, None if completed is None else bool(completed), error, hops[begin:end])


def _printed(times: Iterable[str]) -> Iterator[str]:
    return map(timestamps.printed, times)
