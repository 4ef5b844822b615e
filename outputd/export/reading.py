"""A result file, read a page at a time in order of arrival. Blocking; for one thread at a time.

A page is a few statements that give one row each: beside a busy reactor every row costs a wait for the interpreter.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from outputd.export import statements
from outputd.export.asked import Asked
from outputd.export.page import Page
from outputd.export.stretch import Stretch, stretches_of
from outputd.sqlite.connections import transaction
from outputd.sqlite.errors import corrupt
from outputd.store.file import FileInfo

_MOST_ROWS = 2048
_MOST_HOPS = 16_384
_MOST_TEXT_BYTES = 2 << 20
"""Of a page; the texts of its last result go beyond."""
_MOST_LOOKED_AT = 65_536
"""Results that a page looks at, of which a filter may choose none."""


class _Span(NamedTuple):
    """Ids to look at, and the batches that may have them (both 0 where that is looked up for each)."""

    low: int
    high: int
    first_batch: int = 0
    last_batch: int = 0


HopSpan = tuple[int, int]
"""The id of the first hop, and the least one behind the last."""


class _Place(NamedTuple):
    """Where a chosen result stands, and how long its texts are."""

    id: int
    batch_id: int
    text_bytes: int


class Reading:
    """What is asked for of one file that is open; results that arrive after its first page are not in it.

    Between two pages it has no transaction open, so that a slow reader holds back no checkpoint; then another
    connection may take the place of `db`.
    """

    def __init__(
        self, db: sqlite3.Connection, info: FileInfo | None, asked: Asked, above_id: int = 0, last_id: int | None = None
    ) -> None:
        """Only results with ids above the first, up to the last one, which is that of the first page if it is None.

        `info` is what the file says of itself; None for a merged one.
        """
        self.db = db
        self._info = info
        self._asked = asked
        self._stretches: Sequence[Stretch] | None = None
        self._reached = 0
        self._last_id = last_id
        self._rows = _MOST_ROWS
        self._hops_left: HopSpan | None = None
        self.above_id = above_id
        """All results up to this id were read or passed over."""

    @property
    def last_id(self) -> int:
        """The id at which it ends; 0 before the first page."""
        return self._last_id or 0

    @property
    def share(self) -> float:
        """How much of the file was read or passed over, from 0 to 1."""
        before = self._stretches[0].first_id - 1 if self._stretches else 0
        return max(0, self.above_id - before) / max(1, self.last_id - before)

    def page(self) -> Page | None:
        """The next results, perhaps none of those that were looked at; None when there are no more.

        Raises sqlite3.Error; the same page can then be asked for again.
        """
        with transaction(self.db, "BEGIN"):
            try:
                if self._stretches is None:
                    self._begin()
                return self._page()
            except (TypeError, ValueError) as error:  # None is no row; a value is of another type than we store
                raise corrupt(f"a value that outputd never stores: {error}") from error

    def _page(self) -> Page | None:
        if self._hops_left is not None:
            page = Page(self._stretch.instance, continues=True)
            self._read_hops(page, [self._hops_left])
            return page
        while (span := self._span()) is None:
            if not self._goes_on():
                return None
        chosen = self._choose(span)
        places, hops = self._fit(chosen)
        page = self._read(places, hops)
        self._advance(span, chosen, places)
        return page

    def _begin(self) -> None:
        self._stretches = stretches_of(self.db, self._info)
        if self._last_id is None:
            self._last_id = self._stretches[-1].last_id if self._stretches else 0

    @property
    def _stretch(self) -> Stretch:
        assert self._stretches, "it has begun, and there are results"
        return self._stretches[self._reached]

    def _goes_on(self) -> bool:
        """Whether there is a next stretch, which is then reached."""
        assert self._stretches is not None, "it has begun"
        if self._reached + 1 >= len(self._stretches):
            return False
        self.above_id = max(self.above_id, self._stretch.last_id)
        self._reached += 1
        return True

    def _advance(self, span: _Span, chosen: Sequence[_Place], places: Sequence[_Place]) -> None:
        if len(places) < len(chosen):
            self.above_id = places[-1].id
            self._rows = max(1, 2 * len(places))  # those that come next may be as long: measure no more of them
        else:
            self.above_id = chosen[-1].id if len(chosen) == self._rows else span.high
            self._rows = min(_MOST_ROWS, 2 * self._rows)

    def _span(self) -> _Span | None:
        """What to look at next in this stretch; None where nothing is left."""
        if not self._stretches:
            return None
        last_id = min(self.last_id, self._stretch.last_id)
        if self._asked.ip is not None:
            (high,) = self._row(statements.SPAN_OF_TARGET, ip=self._asked.ip, last=last_id, rows=_MOST_ROWS)
            return None if high is None else _Span(self.above_id + 1, high)
        first, last, first_batch, last_batch = self._row(statements.SPAN)
        low = max(self.above_id + 1, first or 0)
        if first is None or low > last_id:
            return None
        return _Span(low, min(last, low + _MOST_LOOKED_AT - 1, last_id), first_batch, last_batch)

    def _choose(self, span: _Span) -> list[_Place]:
        """The results that are asked for among the first of a span."""
        statement = statements.CHOOSE if self._asked.ip is None else statements.CHOOSE_OF_TARGET
        where = "".join(f" AND {condition}" for condition in self._asked.conditions)
        (text,) = self._row(
            statement.replace("{where}", where), **self._asked.parameters, **span._asdict(), rows=self._rows
        )
        return msgspec.json.decode(text, type=list[_Place])

    def _fit(self, chosen: Sequence[_Place]) -> tuple[Sequence[_Place], list[HopSpan]]:
        """As many of them as a page has room for, at least one where there is one, and where their hops are."""
        places = chosen[: _within(chosen, _MOST_TEXT_BYTES)]
        runs = _runs(places)
        spans = self._hop_spans(runs)
        room = _MOST_HOPS
        for begin, end in spans:
            if end - begin > room:
                (owner,) = self._row(statements.OWNER, hop=begin + room)
                places = [place for place in places if place.id < owner] or places[:1]
                return places, self._hop_spans(_runs(places))
            room -= end - begin
        return places, spans

    def _hop_spans(self, runs: list[list[int]]) -> list[HopSpan]:
        (text,) = self._row(statements.HOP_SPANS, runs=_json(runs))
        return msgspec.json.decode(text, type=list[HopSpan])

    def _read(self, places: Sequence[_Place], hops: list[HopSpan]) -> Page:
        """What is stored of these results."""
        page = Page(self._stretch.instance)
        if not places:
            return page
        read_results(self.db, page, places)
        self._read_hops(page, hops)
        return page

    def _read_hops(self, page: Page, spans: list[HopSpan]) -> None:
        """The hops of its results; of a result that has more of them than a page, those that come next."""
        left = None
        if len(spans) == 1 and (parted := spans[0][0] + _MOST_HOPS) < spans[0][1]:
            spans, left = [(spans[0][0], parted)], (parted, spans[0][1])
        owners = read_hops(self.db, page, spans)
        page.hop_ends = [bisect_right(owners, number) for number in page.id]
        page.is_open = left is not None
        self._hops_left = left

    def _row(self, statement: str, **parameters: Any) -> Any:
        return self.db.execute(statement, {**self._stretch._asdict(), "above": self.above_id, **parameters}).fetchone()


def read_results(db: sqlite3.Connection, page: Page, places: Sequence[tuple[int, ...]]) -> None:
    """Have a page say all of these results (id, batch and whatever else) but their hops, in this order.

    Raises sqlite3.Error, ValueError, as `read_hops` does.
    """
    (
        page.id, page.batch_id, page.node, page.received_at, page.ip, page.sent, page.received, losses,
        page.avg_rtt, page.timestamp, page.error, page.min_rtt, page.max_rtt, page.stddev_rtt, page.is_traced,
        page.method, page.completed, page.traceroute_error,
    ) = _decoded(statements.RESULT, db.execute(statements.ROWS, {"places": _json(places)}).fetchone())  # fmt: skip
    page.packet_loss = list(map(float, losses))


def read_hops(db: sqlite3.Connection, page: Page, spans: Sequence[HopSpan]) -> list[int]:
    """Have a page say these hops, in this order; the id of the result of each."""
    owners: list[int]
    owners, page.hop_ttl, page.hop_ip, page.hop_rtt, page.hop_timeout = _decoded(
        statements.HOP, db.execute(statements.HOPS, {"spans": _json(spans)}).fetchone()
    )
    return owners


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _within(places: Sequence[_Place], room_bytes: int) -> int:
    """How many of them have no more text than this, but for the last."""
    for number, place in enumerate(places, 1):
        room_bytes -= place.text_bytes
        if room_bytes <= 0:
            return number
    return len(places)


def _runs(places: Sequence[_Place]) -> list[list[int]]:
    """Their ids as runs: the first, and that behind the last."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][1] == place.id:
            runs[-1][1] += 1
        else:
            runs.append([place.id, place.id + 1])
    return runs


def _decoded(columns: statements.Columns, texts: Sequence[bytes]) -> Iterator[Any]:
    """The lists. Raises ValueError for a value of another type."""
    return (msgspec.json.decode(text, type=kind) for (_, kind), text in zip(columns, texts, strict=True))
