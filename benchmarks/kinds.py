"""The kinds of POST body that are measured."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import load

CHECKOUT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("OUTPUTD_TEST_DATA") or CHECKOUT.parent / "shared" / "data") / "results"
"""Bodies of real nodes, where they are."""
_GENERATED_BYTES = 16 << 20
_MIX_BODIES = 256


@dataclass(slots=True)
class Kind:
    """Bodies of one kind, made when first asked for; `connections` is where it is usually quoted."""

    title: str
    connections: int
    make: Callable[[], list[load.Body]]
    fresh: bool = True  # generated bodies get new timestamps and new addresses each time they go round
    _bodies: list[load.Body] = field(default_factory=list)

    @property
    def bodies(self) -> list[load.Body]:
        """The bodies themselves."""
        if not self._bodies:
            self._bodies = self.make()
        return self._bodies

    @property
    def results_a_body(self) -> float:
        """On average."""
        return sum(body.results for body in self.bodies) / len(self.bodies)


def generated(title: str, connections: int, shape: load.Shape) -> Kind:
    """Bodies of one shape, without end."""
    return Kind(title, connections, lambda: load.generate(shape, _GENERATED_BYTES))


def usual() -> Kind:
    """100 results of 12 hops."""
    return generated("100 results x 12 hops", 16, load.Shape())


def all_new() -> Kind:
    """The same, but each hop is an address that was never sent before (the last is the target)."""
    return generated("100 results x 12 hops, all new", 16, load.Shape(timeout_share=0.0, new_share=1.0))


def single() -> Kind:
    """One result."""
    return generated("1 result x 12 hops", 64, load.Shape(results=1))


def real() -> Kind:
    """Bodies of real nodes where the test data is, over and over; else a mix made here, and the title says which."""
    path = DATA / "medium.jsonl.gz"
    if path.exists():
        return Kind("real bodies (medium)", 16, lambda: load.read_file(path), fresh=False)
    return Kind("mixed bodies (generated: no test data here)", 16, mixed, fresh=False)


def one_by_one(kind: Kind) -> Kind:
    """The same results, one a body."""

    def make() -> list[load.Body]:
        items = (item for body in kind.bodies for item in json.loads(body.data))
        return [load.counted(json.dumps([item]).encode()) for item in items]

    return Kind(f"one of {kind.title}", 16, make, kind.fresh)


def three() -> Sequence[Kind]:
    """The three kinds of the tables."""
    return usual(), real(), single()


def mixed(bodies: int = _MIX_BODIES) -> list[load.Body]:
    """Bodies as unlike each other as real ones: 1 to 200 results, two thirds with a traceroute, of 2 to 30 hops."""
    rng = random.Random(5)
    shapes = [
        load.Shape(results, hops, traceroute_share=0.7, timeout_share=0.33, new_share=0.05, seed=seed)
        for seed, (results, hops) in enumerate(
            [(1, 12), (2, 8), (3, 20), (10, 6), (20, 13), (49, 10), (100, 14), (200, 30)], start=11
        )
    ]
    made = [body for shape in shapes for body in load.generate(shape, most=max(1, bodies // len(shapes)))]
    rng.shuffle(made)
    return made
