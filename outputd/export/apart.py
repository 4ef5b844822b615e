"""An encoder in a process of its own: its memory ends with it, and the interpreter of the service stays free.

Arrow takes 100 MiB, half of what the whole service may take, and most of that is never given back.
"""

from __future__ import annotations

import contextlib
import sys
import time

import msgspec

from outputd.export.page import NEVER_STORED, Page
from outputd.export.walk import Lost
from outputd.process.child import Child, Ended, give_way, receive, send

_ANSWER = msgspec.msgpack.Decoder(tuple[bytes, float])
"""What can be sent now, and the seconds of CPU that the child has used so far."""
_REFUSED = 3
"""Exit code of a child that was given what outputd never stores."""


class Apart:
    """A ParquetEncoder in a child, which ends with `close`, or with this process. Blocking. Raises Lost."""

    def __init__(self) -> None:
        self.apart_s = 0.0
        try:
            self._child = Child(__name__)
        except OSError as error:
            raise Lost(f"no process can be started: {error}") from error

    def add(self, page: Page) -> bytes:
        """What is ready to be sent once there is this page, too. Raises NEVER_STORED."""
        return self._ask(msgspec.msgpack.encode(page))

    def end(self) -> bytes:
        """The rest."""
        return self._ask(b"")

    def stop(self) -> None:
        """Kill the child: it may hang, or be given no time by this machine. Not blocking, and from any thread."""
        self._child.stop()

    def close(self) -> None:
        """End the child."""
        self._child.close()

    def _ask(self, message: bytes) -> bytes:
        try:
            made, self.apart_s = _ANSWER.decode(self._child.ask(message))
            return made
        except Ended as ended:
            if ended.code == _REFUSED:
                raise ValueError("it cannot be made Parquet") from None
            raise Lost("the process that makes Parquet of it has ended") from None


def main() -> None:
    """Be the child."""
    from outputd.export.parquet import ParquetEncoder  # noqa: PLC0415  # here alone

    give_way()
    encoder, decoder = ParquetEncoder(), msgspec.msgpack.Decoder(Page)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the service has ended
        while message := receive(sys.stdin.buffer):
            try:
                made = encoder.add(decoder.decode(message))
            except NEVER_STORED:
                sys.exit(_REFUSED)
            _answer(made)
        _answer(encoder.end())


def _answer(made: bytes) -> None:
    send(sys.stdout.buffer, msgspec.msgpack.encode((made, time.process_time())))


if __name__ == "__main__":
    main()
