"""A process of our own for work whose memory ends with it; it ends with the one that started it. Blocking."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import IO

_LENGTH_BYTES = 8
_NICENESS = 19


class Ended(Exception):
    """The process has ended; `code` is its exit code, or the signal below 0."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the process has ended ({code})")
        self.code = code


class Child:
    """One that runs a module of ours, and answers messages. It ends with `close`, or with this process."""

    def __init__(self, module: str) -> None:
        """Raises OSError when no process can be started."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            # -P: what lies in the directory in which the service runs is none of our modules
            [sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            start_new_session=True,  # whoever ends the service by a key does not end it before
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def ask(self, message: bytes) -> bytes:
        """The answer to a message. Raises Ended."""
        self.tell(message)
        assert self._process.stdout is not None, "it is a pipe"
        try:
            return receive(self._process.stdout)
        except (EOFError, OSError):
            raise Ended(self._process.wait()) from None

    def tell(self, message: bytes) -> None:
        """Send a message that is not answered. Raises Ended."""
        assert self._process.stdin is not None, "it is a pipe"
        try:
            send(self._process.stdin, message)
        except OSError:
            raise Ended(self._process.wait()) from None

    def stop(self) -> None:
        """Kill it: it may hang, or be given no time by this machine. Not blocking, and from any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        with contextlib.suppress(OSError), self._process:  # what it has not read any more
            pass


def send(pipe: IO[bytes], message: bytes) -> None:
    """Send a message. Raises OSError."""
    pipe.write(len(message).to_bytes(_LENGTH_BYTES))
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    """The next message. Raises EOFError, OSError."""
    head = pipe.read(_LENGTH_BYTES)
    message = pipe.read(int.from_bytes(head))
    if len(head) < _LENGTH_BYTES or len(message) < int.from_bytes(head):
        raise EOFError
    return message


def give_way() -> None:
    """In the child: work only when nothing else wants the processor."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
