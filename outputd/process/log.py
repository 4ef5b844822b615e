"""Our lines of the log: whatever a value says, it stays within its line, and a terminal takes it for text."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger as TwistedLogger
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

_MOST = 2000
"""Characters of a value that are logged."""


class Logger(TwistedLogger):
    """A Logger whose lines nobody forges: in every value, an exception's message included, what is no printable
    character is escaped.
    """

    def emit(self, level: LogLevel, format: str | None = None, **values: object) -> None:
        """See twisted.logger."""
        super().emit(level, format, **{name: _harmless(value) for name, value in values.items()})


def in_one_line(text: str, most: int = _MOST) -> str:
    """The text with newlines, control characters and the like as Python would write them, cut when it is long."""
    if len(text) > most:
        text = f"{text[:most]}..."
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _harmless(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _Told(value) if isinstance(value, Failure) else in_one_line(str(value))


class _Told(Failure):
    """A failure as it is told: the lines of its traceback are Python's, and its message is one of them."""

    def __init__(self, failure: Failure) -> None:
        self.__dict__.update(failure.__dict__)

    def getTraceback(self, *how: Any, **more: Any) -> str:
        """See Failure."""
        text, message = super().getTraceback(*how, **more), safe_str(self.value)
        lines = text.replace(message, in_one_line(message)).split("\n")
        return "\n".join(in_one_line(line) for line in lines)
