"""The routes to one target, as one node traces them.

A route is a text of its hops, parted by `-`: of each its TTL, with 100 added so that it has three digits, and its
address, or nothing where it was silent. What is known are the hops of the routes of a window, TTL by TTL: where two
equal paths part and meet, any mixture of them is explained. A hop that was silent, and a TTL at which none answered,
explain all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from zlib import crc32

import msgspec

from outputd.changes.change import News
from outputd.changes.thresholds import BUCKET, CHANCE_TRACES, MOST_ROUTE, NEW_TRACES, WIDE, WINDOW_TRACES

_TTL = 3
"""Characters of a TTL."""
_CHECKSUM_BYTES = 4
_MOST_KNOWN = 64
"""Hops, of which the bits have room in what is remembered."""
_MOST_SEEN = 8
_MOST_STRANGE = 4
"""Of one traceroute."""


class Routes(msgspec.Struct, array_like=True, gc=False):
    """The hops of a window, and the traceroutes in a row that they do not explain."""

    known: str = ""
    """The hops of the window; a bit for each of them in the next two."""
    fresh: int = 0
    """Those seen in its younger half."""
    usual: int = 0
    """Those of the newest route that was explained."""
    bucket: str = ""
    """Of time, in which the last traceroute was looked at."""
    traces: int = 0
    """In the younger half."""
    is_learnt: bool = False
    """There is an older half."""
    is_full: bool = False
    """There are more hops than are known, so that none is news until the next half."""
    seen: bytes = b""
    """Checksums of routes whose hops are all in the younger half."""
    row: int = 0
    row_since: str = ""
    row_hops: str = ""
    """All hops of the row."""
    strange: bytes = b""
    """The places in it of those that are not explained, once for each traceroute that had them."""

    def wants(self, at: str) -> bool:
        """Whether a traceroute of this time is looked at: one of each bucket is enough while all are explained."""
        return not self.is_learnt or self.row > 0 or at[:BUCKET] != self.bucket

    def see(self, at: str, route: str) -> News | None:
        """Take in a traceroute."""
        if not self.wants(at):
            return None
        if self.is_learnt and not self.row:
            self.bucket = at[:BUCKET]
        if self.traces >= WINDOW_TRACES:
            self._turn()
        self.traces += 1
        if self.is_full:
            return None
        checksum = crc32(route.encode()).to_bytes(_CHECKSUM_BYTES, "big")
        return None if checksum in self.seen and not self.row else self._look(at, _hops(route), checksum)

    def _look(self, at: str, hops: Sequence[str], checksum: bytes) -> News | None:
        known = _split(self.known)
        places, unknown = _places(known, hops)
        strange = _strange(unknown, self.known) if unknown and self.is_learnt else []
        if strange:
            return self._another(at, hops, strange)
        if self.row and self._is_contradicted(hops):
            self._end_row()
            known = _split(self.known)
            places, unknown = _places(known, hops)
        self.usual = self._learn(len(known), places, unknown)
        if len(self.seen) < _MOST_SEEN * _CHECKSUM_BYTES:
            self.seen += checksum
        return None

    def _turn(self) -> None:
        """The younger half becomes the older one, and what was in that alone is forgotten."""
        known = _split(self.known)
        kept = _chosen(known, self.fresh)
        self.usual, _ = _places(kept, _chosen(known, self.usual))
        self.known, self.fresh, self.seen = "-".join(kept), 0, b""
        self.traces, self.is_learnt, self.is_full = 0, True, False

    def _another(self, at: str, hops: Sequence[str], strange: Sequence[str]) -> News | None:
        """One more in a row that is not explained."""
        if not self.row:
            self.row_since = at
        self.row += 1
        both = _union(self.row_hops, hops)
        if len(both) <= MOST_ROUTE:
            self.row_hops = both
        row_hops = _split(self.row_hops)
        self.strange += bytes(row_hops.index(hop) for hop in strange[:_MOST_STRANGE] if hop in row_hops)
        if self.strange and max(Counter(self.strange).values()) >= NEW_TRACES:
            return self._change(hops)
        if self.row >= CHANCE_TRACES:
            self._end_row()
        return None

    def _is_contradicted(self, hops: Sequence[str]) -> bool:
        """Whether an explained route has answered at a TTL of strange hops: silence there says nothing of them."""
        row_hops = _split(self.row_hops)
        ttls = {row_hops[place][:_TTL] for place in self.strange}
        return any(hop[:_TTL] in ttls for hop in hops)

    def _end_row(self) -> None:
        """Its hops are of equal paths."""
        known = _split(self.known)
        self._learn(len(known), *_places(known, _split(self.row_hops)))
        self.row, self.row_hops, self.strange = 0, "", b""

    def _change(self, hops: Sequence[str]) -> News:
        news = News("route_changed", self.row_since, _listed(_chosen(_split(self.known), self.usual)), _listed(hops))
        self.fresh, self.traces, self.seen = 0, 0, b""
        self._end_row()
        self.usual, _ = _places(_split(self.known), hops)
        return news

    def _learn(self, known: int, places: int, unknown: Sequence[str]) -> int:
        """Some of the known hops, and others, are in the younger half from now on; returns the bits of all."""
        if unknown:
            text = "-".join([self.known, *unknown] if known else unknown)
            if len(text) <= MOST_ROUTE and known + len(unknown) <= _MOST_KNOWN:
                self.known = text
                places |= ((1 << len(unknown)) - 1) << known
            else:
                self.is_full = True
        self.fresh |= places
        return places


def is_watched(route: str) -> bool:
    """Whether a route is no longer than what is kept of one."""
    return len(route) <= MOST_ROUTE


def _hops(text: str) -> list[str]:
    """Those that have answered."""
    return [hop for hop in text.split("-") if len(hop) > _TTL]


def _listed(hops: Sequence[str]) -> list[str | None]:
    """The addresses of a route from TTL 1 on; None where none answered."""
    first: dict[int, str] = {}
    for hop in hops:
        first.setdefault(int(hop[:_TTL]) - 100, hop[_TTL:])
    return [first.get(ttl) for ttl in range(1, max(first, default=0) + 1)]


def _strange(unknown: Sequence[str], known: str) -> list[str]:
    """Which of these hops are news: where none was known before, or so many, one more is none."""
    parted = f"-{known}"
    return [hop for hop in unknown if 0 < parted.count(f"-{hop[:_TTL]}") < WIDE]


def _places(known: Sequence[str], hops: Iterable[str]) -> tuple[int, Sequence[str]]:
    """The bits of these hops among the known ones, and those that are not among them, once each."""
    place_of = dict(zip(known, range(len(known)), strict=True))
    places, unknown = 0, []
    for hop in hops:
        place = place_of.get(hop)
        if place is None:
            unknown.append(hop)
        else:
            places |= 1 << place
    return places, unknown if len(unknown) < 2 else list(dict.fromkeys(unknown))


def _chosen(known: Sequence[str], places: int) -> list[str]:
    return [hop for place, hop in enumerate(known) if places >> place & 1]


def _union(text: str, hops: Sequence[str]) -> str:
    """The hops of both."""
    return "-".join(dict.fromkeys([*_split(text), *hops]))


def _split(hops: str) -> list[str]:
    return hops.split("-") if hops else []
