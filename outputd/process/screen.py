"""What a command shows while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from outputd.process.log import in_one_line

_BAR = 24


class Screen:
    """Lines, and below them on a terminal a bar."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.is_terminal = out.isatty()
        self._bar = ""

    def say(self, text: str) -> None:
        """A line, or several."""
        self.clear()
        print(plain(text), file=self._out, flush=True)
        self._draw()

    def show(self, name: str, share: float, text: str) -> None:
        """How far something has come, from 0 to 1, and what is to be said of it."""
        name = in_one_line(name)
        if not self.is_terminal:
            self.say(f"{name}: {share:.0%}  {text}")
            return
        filled = round(share * _BAR)
        width = shutil.get_terminal_size().columns - 1
        self._bar = f"{name}  {'#' * filled}{'.' * (_BAR - filled)} {share:4.0%}  {text}"[:width]
        self.clear()
        self._draw()

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
