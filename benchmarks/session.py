"""What all parts of a session share: where it writes, how long it takes, whom it tells, what it has found."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks import go, limit
from benchmarks.figures import Row, clock
from benchmarks.kinds import CHECKOUT, Kind, three
from benchmarks.service import Service, apart


@dataclass
class Session:
    """The settings of one run of bench.py, and the rows of its first table."""

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
    fleet: bool = False
    beside: str = ""
    only: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @cached_property
    def kinds(self) -> Sequence[Kind]:
        """The three kinds of body."""
        return three()

    @cached_property
    def peer(self) -> Path | None:
        """The program in Go, if it can be built here."""
        program = go.built(self.home)
        if program is None:
            self.say("no peer: it needs golang-go and golang-github-mattn-go-sqlite3-dev")
        return program

    @cached_property
    def checkouts(self) -> dict[str, Path]:
        """Where the code is that is measured, by name: this checkout, and the commit that it is compared with."""
        checkouts = {"outputd": CHECKOUT}
        if self.beside:
            other = self.home / "beside"
            other.mkdir()
            archive = subprocess.run(["git", "archive", self.beside], cwd=CHECKOUT, check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", other], input=archive.stdout, check=True)
            checkouts[self.beside] = other
        return checkouts

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"{clock(time.monotonic() - self.began):>6}  {text}", file=sys.stderr, flush=True)

    def directory(self) -> Path:
        """A fresh directory's path."""
        return self.home / f"data-{next(self._numbers)}"

    def service(
        self, directory: Path | None = None, *flags: str, input_url: str = "", summary: bool = True,
        checkout: Path = CHECKOUT,
    ) -> Service:  # fmt: skip
        """An instance, not started yet, in a fresh directory if none is given; without what keeps the summary up."""
        flags = (f"--max-size-mb={self.size_mb}", *flags)
        directory = directory or self.directory()
        return Service(directory, *flags, input_url=input_url, summary=summary, checkout=checkout)

    def limit(self, kind: Kind, group: int) -> dict[str, float]:
        """What one thread stores of such bodies, `group` in a transaction: figures of limit.py."""
        settings = limit.Settings(self.seconds, self.warmup, group, directory=self.home)
        bodies = kind.bodies  # made before the fork, once
        return apart(lambda: limit.run(bodies, kind.fresh, settings))
