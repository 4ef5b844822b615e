"""The archive's child process: it cuts, makes, puts and finds what it is asked for, and ends with the service."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from outputd.archive.asks import Answer, Cut, Failed, Find, Open, Request, Ship, decode_request, encode
from outputd.archive.cutting import cut
from outputd.archive.files import Unreadable
from outputd.archive.objects import ArchiveFailed, Objects, objects_at
from outputd.archive.place import place_of
from outputd.archive.reasons import reason_of
from outputd.process.child import give_way, receive, send
from outputd.process.log import in_one_line
from outputd.process.trouble import Unusable
from outputd.process.tuning import give_back, settle, share_one_heap
from outputd.sqlite.errors import kind_of


class Archivist:
    """Answers what it is asked of one archive, which it opens when it is first needed. Blocking."""

    def __init__(self, open_objects: Callable[[], Objects]) -> None:
        self._open = open_objects
        self._objects: Objects | None = None

    def answer(self, request: Request) -> Answer:
        """The answer; Failed instead of any exception."""
        try:
            return self._answer(request)
        except Unreadable as error:
            return Failed(in_one_line(str(error)), error.kind, error.path)
        except ArchiveFailed as error:
            return Failed(in_one_line(str(error)), error.kind)
        except Unusable as error:
            return Failed(in_one_line(str(error)))
        except Exception as error:  # the next one may be answered
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"
            return Failed(reason_of(reason, os.environ), kind_of(error))

    def _answer(self, request: Request) -> Answer:
        if isinstance(request, Cut):
            return cut(request.paths, request.after, request.is_open_taken)
        if self._objects is None:
            self._objects = self._open()
        if isinstance(request, Ship):
            from outputd.archive.shipping import ship  # noqa: PLC0415  # pyarrow takes a second and 60 MiB

            return ship(self._objects, request.span, request.instance, request.since)
        assert isinstance(request, Find), "Open is the first message"
        from outputd.archive.finding import find  # noqa: PLC0415  # likewise

        return find(self._objects, request.instance, request.after, request.paths, request.since)


def main() -> None:
    """Be the child."""
    give_way()
    share_one_heap()
    settle()
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(sys.stdin.buffer, asked), daemon=True).start()
    opening = decode_request(asked.get())
    assert isinstance(opening, Open), "it is the first message"
    os.environ.update(opening.credentials)  # as everyone's tools take them; /proc does not show what is added here
    archivist = Archivist(lambda: objects_at(place_of(opening.url)))
    with contextlib.suppress(BrokenPipeError):  # the service has ended
        while True:
            answer = archivist.answer(decode_request(asked.get()))
            give_back()
            send(sys.stdout.buffer, encode(answer))


def _hear(pipe: BinaryIO, asked: queue.SimpleQueue[bytes]) -> None:
    """Take what is asked. Without a service that waits for the answer, nothing more is done."""
    try:
        while True:
            asked.put(receive(pipe))
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main()
