"""The routes to one target, as one node traces them.

A route is a text of its hops that answered, `TTL/ADDRESS` each, parted by spaces. What is known are the hops of the
routes of a window, TTL by TTL: where two equal paths part and meet, any mixture of them is explained. A hop that was
silent, and a TTL at which none answered, explain all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from zlib import crc32

import msgspec

from outputd.changes.change import News
from outputd.changes.thresholds import (
    CHANCE_TRACES,
    MOST_ROUTE,
    NEW_TRACES,
    WIDE,
    WINDOW_TRACES,
)

_MOST_SEEN = 8
_MOST_STRANGE = 8
"""Of one traceroute."""


class Routes(msgspec.Struct, array_like=True, gc=False):
    """The hops of a window, in its younger and its older half, and the traceroutes in a row that neither explains."""

    usual: str = ""
    """The newest route that was explained."""
    traces: int = 0
    """In the younger half."""
    younger: str = ""
    older: str = ""
    seen: list[int] = []
    """Checksums of routes whose hops are all in the younger half."""
    row: int = 0
    row_since: str = ""
    row_hops: str = ""
    """All hops of the row."""
    strange: list[str] = []
    """The hops of the row that are not explained, once for each traceroute that had them."""

    def see(self, at: str, route: str) -> News | None:
        """Take in a traceroute in which some hop answered."""
        if self.traces >= WINDOW_TRACES:
            self.older, self.younger, self.traces, self.seen = self.younger, "", 0, []
        self.traces += 1
        checksum = crc32(route.encode())
        if checksum in self.seen and not self.row:
            return None
        return self._look(at, route, checksum)

    def _look(self, at: str, route: str, checksum: int) -> News | None:
        hops = route.split(" ")
        new = set(hops).difference(self.younger.split(" "))
        strange = self._strange(hops, new) if new and self.older else []
        if not strange:
            if self.row and _contradicts(hops, self.strange):
                self._end_row()
            if new:
                self._learn(route)
            self.usual = route
            if len(self.seen) < _MOST_SEEN:
                self.seen = [*self.seen, checksum]
            return None
        if not self.row:
            self.row_since = at
        self.row += 1
        self.row_hops = _union(self.row_hops, route)
        self.strange = self.strange + strange[:_MOST_STRANGE]
        if max(Counter(self.strange).values()) >= NEW_TRACES:
            return self._change(route)
        if self.row >= CHANCE_TRACES:
            self._end_row()
        return None

    def _strange(self, hops: Sequence[str], new: set[str]) -> list[str]:
        """Which of these hops the window does not explain; `new` are those that its younger half lacks."""
        unknown = new.difference(self.older.split(" "))
        if not unknown:
            return []
        known = _by_ttl(self.younger, self.older)
        return [hop for hop in hops if hop in unknown and not _is_explained(hop, known)]

    def _end_row(self) -> None:
        """Its hops are of equal paths."""
        self._learn(self.row_hops)
        self.row, self.row_hops, self.strange = 0, "", []

    def _change(self, route: str) -> News:
        news = News("route_changed", self.row_since, listed(self.usual), listed(route))
        self.older, self.younger = _union(self.older, self.younger), self.row_hops
        self.usual, self.traces, self.seen = route, 0, []
        self.row, self.row_hops, self.strange = 0, "", []
        return news

    def _learn(self, hops: str) -> None:
        if hops:
            self.younger = _union(self.younger, hops)


def listed(route: str) -> list[str | None]:
    """The hops of a route from TTL 1 on; None where none answered."""
    first: dict[int, str] = {}
    for hop in route.split(" "):
        ttl, _, address = hop.partition("/")
        first.setdefault(int(ttl), address)
    return [first.get(ttl) for ttl in range(1, max(first) + 1)]


def is_watched(route: str) -> bool:
    """Whether a route is no longer than what is kept of one."""
    return len(route) <= MOST_ROUTE


def _by_ttl(*texts: str) -> dict[str, set[str]]:
    """The known hops by the text of their TTL."""
    known: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        for hop in text.split(" ") if text else ():
            known[hop.partition("/")[0]].add(hop)
    return known


def _is_explained(hop: str, known: dict[str, set[str]]) -> bool:
    """Whether an unknown hop is no news where it is."""
    at_ttl = known.get(hop.partition("/")[0], ())
    return not at_ttl or len(at_ttl) >= WIDE


def _contradicts(hops: Sequence[str], strange: Sequence[str]) -> bool:
    """Whether an explained route has answered at a TTL of strange hops: silence there says nothing of them."""
    ttls = {hop.partition("/")[0] for hop in strange}
    return any(hop.partition("/")[0] in ttls for hop in hops)


def _union(one: str, other: str) -> str:
    """The hops of both, as far as there is room: what is left out may be news once more."""
    if not one or one == other:
        return other
    union = " ".join(dict.fromkeys([*one.split(" "), *other.split(" ")]))
    return union if len(union) <= MOST_ROUTE else one
