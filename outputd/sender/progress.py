"""What outputd-send shows while it works."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TextIO

from outputd.process.log import in_one_line
from outputd.sender.journal import Totals

_BAR = 24


class Screen:
    """A bar on a terminal, plain lines elsewhere. Lines of their own go above the bar."""

    def __init__(self, out: TextIO, seconds: Callable[[], float]) -> None:
        self._out = out
        self._seconds = seconds
        self.is_terminal = out.isatty()
        self._bar = ""
        self._began = (0.0, 0)
        self._name = ""

    def begin(self, name: str, stored: int) -> None:
        """The sending of a file begins."""
        self._name = in_one_line(name)
        self._began = (self._seconds(), stored)

    def say(self, text: str) -> None:
        """A line, or several."""
        self.clear()
        print(plain(text), file=self._out, flush=True)
        self._draw()

    def progress(self, totals: Totals, position: int, size: int, slow: str = "") -> None:
        """How far it has come, in bytes of the file that were read, and what is slow."""
        share = min(1.0, position / size) if size else 1.0
        seconds, at_first = self._seconds() - self._began[0], self._began[1]
        rate = (totals.stored - at_first) / seconds if seconds > 0 else 0.0
        text = f"{share:4.0%}  {totals.stored:>11,} results  {rate:>7,.0f}/s"
        if totals.refused or totals.rejected:
            text += f"  {totals.refused:,} bodies refused, {totals.rejected:,} items rejected"
        if slow:
            text += f"  {slow}"
        if self.is_terminal:
            filled = round(share * _BAR)
            width = shutil.get_terminal_size().columns - 1
            self._bar = f"{self._name}  {'#' * filled}{'.' * (_BAR - filled)} {text}"[:width]
            self.clear()
            self._draw()
        else:
            self.say(f"{self._name}: {text.strip()}")

    def end(self) -> None:
        """No bar any more."""
        self.clear()
        self._bar = ""

    def clear(self) -> None:
        """Take the bar away for a moment."""
        if self._bar:
            self._out.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._bar:
            self._out.write(self._bar)
            self._out.flush()


def plain(text: str) -> str:
    """Lines in which a terminal finds no order, whatever the names in them are."""
    return "\n".join(in_one_line(line) for line in text.split("\n"))
