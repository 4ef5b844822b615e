"""An encoder in a process of its own: its memory ends with it, and the interpreter of the service stays free.

Arrow takes 100 MiB, half of what the whole service may take, and most of that is never given back.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import IO

import msgspec

from outputd.export.page import NEVER_STORED, Page
from outputd.export.walk import Lost

_LENGTH_BYTES = 8
_NICENESS = 10
_ANSWER = msgspec.msgpack.Decoder(tuple[bytes, float])
"""What can be sent now, and the seconds of CPU that the child has used so far."""
_REFUSED = 3
"""Exit code of a child that was given what outputd never stores."""


class Apart:
    """A ParquetEncoder in a child, which ends with `close`, or with this process. Blocking. Raises Lost."""

    def __init__(self) -> None:
        self.apart_s = 0.0
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            self._child = subprocess.Popen(
                # -P: what lies in the directory in which the service runs is none of our modules
                [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                start_new_session=True,  # whoever ends the service by a key does not end it before
            )  # fmt: skip
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
        self._child.kill()

    def close(self) -> None:
        """End the child."""
        self._child.kill()
        with contextlib.suppress(OSError), self._child:  # what it has not read any more
            pass

    def _ask(self, message: bytes) -> bytes:
        child = self._child
        assert child.stdin is not None and child.stdout is not None, "both are pipes"
        try:
            _send(child.stdin, message)
            made, self.apart_s = _ANSWER.decode(_receive(child.stdout))
            return made
        except (EOFError, OSError):
            if child.wait() == _REFUSED:
                raise ValueError("it cannot be made Parquet") from None
            raise Lost("the process that makes Parquet of it has ended") from None


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH_BYTES))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """The next message. Raises EOFError."""
    head = pipe.read(_LENGTH_BYTES)
    message = pipe.read(int.from_bytes(head))
    if len(head) < _LENGTH_BYTES or len(message) < int.from_bytes(head):
        raise EOFError
    return message


def main() -> None:
    """Be the child."""
    from outputd.export.parquet import ParquetEncoder  # noqa: PLC0415  # here alone

    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
    encoder, decoder = ParquetEncoder(), msgspec.msgpack.Decoder(Page)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the service has ended
        while message := _receive(sys.stdin.buffer):
            try:
                made = encoder.add(decoder.decode(message))
            except NEVER_STORED:
                sys.exit(_REFUSED)
            _answer(made)
        _answer(encoder.end())


def _answer(made: bytes) -> None:
    _send(sys.stdout.buffer, msgspec.msgpack.encode((made, time.process_time())))


if __name__ == "__main__":
    main()
