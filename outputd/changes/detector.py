"""The detector: what was observed, in order of arrival, in; changes out. Pure.

What it finds depends on nothing but what it was given, so that it finds the same once more when it is given the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import msgspec

from outputd.changes.change import Change, News
from outputd.changes.loss import Loss
from outputd.changes.routes import Routes, is_watched
from outputd.changes.rtt import Rtt
from outputd.changes.silence import Silence
from outputd.changes.thresholds import KEPT_S, MOST_PAIRS

Seen: TypeAlias = tuple[str, str, int, int, int | None, str | None]
"""A result: target, when (in the stored form), packets sent, received, round-trip time in microseconds, route (see
routes; None without one)."""


class Post(NamedTuple):
    """A batch: what is known of a POST beside its results."""

    batch_id: int
    node: str
    arrived: str
    first_id: int | None = None
    last_id: int | None = None

    @property
    def results(self) -> int:
        """How many results it has."""
        return 0 if self.first_id is None or self.last_id is None else self.last_id - self.first_id + 1


class Pair(msgspec.Struct, array_like=True, gc=False):
    """A target, as one node measures it."""

    seen_s: float
    loss: Loss
    rtt: Rtt
    routes: Routes


class Detector:
    """Watches nodes, and targets as nodes measure them, in bounded memory."""

    def __init__(self) -> None:
        self._silence = Silence()
        self._pairs: dict[tuple[str, str], Pair] = {}

    def take(self, post: Post, seen: Iterable[Seen]) -> Iterator[Change]:
        """Take in a POST, with its results."""
        yield from self._silence.hear(post.node, post.arrived)
        node = post.node
        for target, at, sent, received, rtt_us, route in seen:
            pair = self._pair((node, target))
            if pair is None:
                continue
            if sent and (news := pair.loss.see(at, sent, received)):
                yield _change(news, node, target)
            if rtt_us is not None and (news := pair.rtt.see(at, rtt_us)):
                yield _change(news, node, target)
            if route is not None and is_watched(route) and (news := pair.routes.see(at, route)):
                yield _change(news, node, target)

    def _pair(self, key: tuple[str, str]) -> Pair | None:
        """The pair, as the one that was seen last; None when there is no room for it."""
        clock_s = self._silence.clock_s
        pair = self._pairs.pop(key, None)
        if pair is None:
            if len(self._pairs) >= MOST_PAIRS:
                oldest = next(iter(self._pairs))
                if clock_s - self._pairs[oldest].seen_s < KEPT_S:
                    return None
                del self._pairs[oldest]
            pair = Pair(clock_s, Loss(), Rtt(), Routes())
        pair.seen_s = clock_s
        self._pairs[key] = pair
        return pair

    # -- what it remembers, to go on from there ------------------------------------------------------

    def parts(self) -> Iterator[bytes]:
        """All that it remembers, in parts that are encoded at once."""
        yield msgspec.msgpack.encode(self._silence)
        pairs = list(self._pairs.items())
        for begin in range(0, len(pairs), _PAIRS_A_PART):
            yield msgspec.msgpack.encode(pairs[begin : begin + _PAIRS_A_PART])

    @classmethod
    def of(cls, parts: Iterable[bytes]) -> Detector:
        """One that remembers this. Raises msgspec.MsgspecError."""
        detector = cls()
        for number, part in enumerate(parts):
            if not number:
                detector._silence = msgspec.msgpack.decode(part, type=Silence)
            else:
                detector._pairs.update(msgspec.msgpack.decode(part, type=list[tuple[tuple[str, str], Pair]]))
        return detector


def _change(news: News, node: str, target: str) -> Change:
    return Change(news.kind, node, target, news.since, news.before, news.after)


_PAIRS_A_PART = 250
