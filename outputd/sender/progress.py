"""What outputd-send shows while it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from outputd.process import screen
from outputd.sender.journal import Totals


class Screen(screen.Screen):
    """How much of a file is sent, and how fast."""

    def __init__(self, out: TextIO, seconds: Callable[[], float]) -> None:
        super().__init__(out)
        self._seconds = seconds
        self._began = (0.0, 0)
        self._name = ""

    def begin(self, name: str, stored: int) -> None:
        """The sending of a file begins."""
        self._name = name
        self._began = (self._seconds(), stored)

    def progress(self, totals: Totals, position: int, size: int, slow: str = "") -> None:
        """How far it has come, in bytes of the file that were read, and what is slow."""
        share = min(1.0, position / size) if size else 1.0
        seconds, at_first = self._seconds() - self._began[0], self._began[1]
        rate = (totals.stored - at_first) / seconds if seconds > 0 else 0.0
        text = f"{totals.stored:>11,} results  {rate:>7,.0f}/s"
        if totals.refused or totals.rejected:
            text += f"  {totals.refused:,} bodies refused, {totals.rejected:,} items rejected"
        if slow:
            text += f"  {slow}"
        self.show(self._name, share, text)
