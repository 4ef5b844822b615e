"""What all parts of a session share: where it writes, how long it takes, whom it tells."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks import limit
from benchmarks.figures import clock
from benchmarks.kinds import Kind, three
from benchmarks.service import Service, apart


@dataclass
class Session:
    """The settings of one run of bench.py."""

    home: Path
    turns: int = 3
    seconds: float = 2.5
    warmup: float = 0.5
    size_mb: int = 100
    hop_rows: int = 10_000_000
    addresses: int = 10_000_000
    waiting: int = 1_000_000
    quiet: bool = False
    feed: bool = True
    only: Sequence[str] = ()
    began: float = field(default_factory=time.monotonic)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @cached_property
    def kinds(self) -> Sequence[Kind]:
        """The three kinds of body."""
        return three()

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"{clock(time.monotonic() - self.began):>6}  {text}", file=sys.stderr, flush=True)

    def directory(self) -> Path:
        """A fresh directory's path."""
        return self.home / f"data-{next(self._numbers)}"

    def service(self, directory: Path | None = None, *flags: str, input_url: str = "", summary: bool = True) -> Service:
        """An instance, not started yet, in a fresh directory if none is given; without what keeps the summary up."""
        size = f"--max-size-mb={self.size_mb}"
        return Service(directory or self.directory(), size, *flags, input_url=input_url, summary=summary)

    def limit(self, kind: Kind, group: int) -> dict[str, float]:
        """What one thread stores of such bodies, `group` in a transaction: figures of limit.py."""
        settings = limit.Settings(self.seconds, self.warmup, group, directory=self.home)
        bodies = kind.bodies  # made before the fork, once
        return apart(lambda: limit.run(bodies, kind.fresh, settings))
