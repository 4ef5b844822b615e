"""The detector: what was observed, in order of arrival, in; changes out. Pure.

What it finds depends on nothing but what it was given, so that it finds the same once more when it is given the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias
from zlib import crc32

import msgspec

from outputd.changes.change import Change, News
from outputd.changes.loss import Loss
from outputd.changes.routes import Routes, is_watched
from outputd.changes.rtt import Rtt
from outputd.changes.silence import Silence
from outputd.changes.thresholds import KEPT_PAIR_S, MOST_PAIRS, MOST_WATCHED_NODES, SWEEP_EVERY_S

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


class Watch(msgspec.Struct, array_like=True):
    """The pairs of one node that are watched: all of its targets, or those whose checksum is a multiple of a number."""

    one_in: int = 1
    pairs: dict[str, Pair] = {}

    def is_chosen(self, node: str, target: str) -> bool:
        """Whether this pair is to be watched. It is for the same number whenever it is asked."""
        return crc32(f"{node} {target}".encode()) % self.one_in == 0


class _Memory(msgspec.Struct, array_like=True):
    """What there is beside the watches."""

    silence: Silence
    swept_s: float = 0.0


class Detector:
    """Watches nodes, and targets as nodes measure them, in bounded memory.

    Where there are more pairs than room, the node with the most of them gives up half of its own: nobody who makes up
    targets pushes out those of others.
    """

    def __init__(self) -> None:
        self._memory = _Memory(Silence())
        self._watches: dict[str, Watch] = {}
        self.pairs = 0
        """Those that are watched."""

    @property
    def unwatched(self) -> int:
        """About how many pairs are not."""
        return sum((watch.one_in - 1) * len(watch.pairs) for watch in list(self._watches.values()))

    def take(self, post: Post, seen: Iterable[Seen]) -> Iterator[Change]:
        """Take in a POST, with its results."""
        node = post.node
        yield from self._memory.silence.hear(node, post.arrived)
        clock_s = self._memory.silence.clock_s
        if clock_s - self._memory.swept_s >= SWEEP_EVERY_S:
            self._sweep(clock_s)
        watch = self._watch(node)
        if watch is None:
            return
        pairs = watch.pairs
        for target, at, sent, received, rtt_us, route in seen:
            pair = pairs.get(target) or self._another(node, watch, target)
            if pair is None:
                continue
            pair.seen_s = clock_s
            if sent and (news := pair.loss.see(at, sent, received)):
                yield _change(news, node, target)
            if rtt_us is not None and (news := pair.rtt.see(at, rtt_us)):
                yield _change(news, node, target)
            if route is not None and is_watched(route) and (news := pair.routes.see(at, route)):
                yield _change(news, node, target)

    def wants(self, page: Iterable[tuple[str, str, str]]) -> Iterator[bool]:
        """Whether the route is looked at of each of these results (target, when, node), which are taken in next.

        Without those of others it finds the same, but for pairs that it begins to watch meanwhile.
        """
        looked_at = set()
        for target, at, node in page:
            watch = self._watches.get(node)
            pair = None if watch is None else watch.pairs.get(target)
            if pair is None:
                yield watch is None or watch.one_in == 1 or watch.is_chosen(node, target)
            elif id(pair) in looked_at or pair.routes.wants(at):
                looked_at.add(id(pair))
                yield True
            else:
                yield False

    def _watch(self, node: str) -> Watch | None:
        """That of a node; None when there is no room for another."""
        watch = self._watches.get(node)
        if watch is None and len(self._watches) < MOST_WATCHED_NODES:
            watch = self._watches[node] = Watch()
        return watch

    def _another(self, node: str, watch: Watch, target: str) -> Pair | None:
        """A pair that is seen for the first time; None when it is not watched."""
        if not watch.is_chosen(node, target):
            return None
        if self.pairs >= MOST_PAIRS:
            self._halve()
            if self.pairs >= MOST_PAIRS or not watch.is_chosen(node, target):
                return None
        self.pairs += 1
        pair = watch.pairs[sys.intern(target)] = Pair(0.0, Loss(), Rtt(), Routes())
        return pair

    def _halve(self) -> None:
        """The node with the most pairs gives up about half of them."""
        node, watch = max(self._watches.items(), key=lambda one: len(one[1].pairs))
        watch.one_in *= 2
        self._forget(watch, [target for target in watch.pairs if not watch.is_chosen(node, target)])

    def _sweep(self, clock_s: float) -> None:
        """Where some are not watched, forget what was not seen for long; where there is much, watch more."""
        self._memory.swept_s = clock_s
        since_s = clock_s - KEPT_PAIR_S
        if self.unwatched or 2 * len(self._watches) > MOST_WATCHED_NODES:
            for node, watch in list(self._watches.items()):
                self._forget(watch, [name for name, pair in watch.pairs.items() if pair.seen_s <= since_s])
                if not watch.pairs:
                    del self._watches[node]
        if 2 * self.pairs < MOST_PAIRS:
            for watch in self._watches.values():
                watch.one_in = max(1, watch.one_in // 2)

    def _forget(self, watch: Watch, targets: Iterable[str]) -> None:
        for target in targets:
            del watch.pairs[target]
            self.pairs -= 1

    # -- what it remembers, to go on from there ------------------------------------------------------

    def parts(self) -> Iterator[bytes]:
        """All that it remembers, in parts that are encoded at once."""
        yield msgspec.msgpack.encode(self._memory)
        for node, watch in self._watches.items():
            pairs = list(watch.pairs.items())
            for begin in range(0, len(pairs), _PAIRS_A_PART):
                yield msgspec.msgpack.encode((node, watch.one_in, pairs[begin : begin + _PAIRS_A_PART]))

    @classmethod
    def of(cls, parts: Iterable[bytes]) -> Detector:
        """One that remembers this. Raises msgspec.MsgspecError."""
        detector = cls()
        for number, part in enumerate(parts):
            if not number:
                detector._memory = msgspec.msgpack.decode(part, type=_Memory)
                continue
            node, one_in, pairs = _PART_OF(part)
            watch = detector._watches.setdefault(node, Watch(one_in))
            watch.pairs.update((sys.intern(target), pair) for target, pair in pairs)
            detector.pairs += len(pairs)
        return detector


def _change(news: News, node: str, target: str) -> Change:
    return Change(news.kind, node, target, news.since, news.before, news.after)


_PAIRS_A_PART = 250
_PART_OF = msgspec.msgpack.Decoder(tuple[str, int, list[tuple[str, Pair]]]).decode
