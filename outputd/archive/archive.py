"""The archive of one instance, as its other parts know it."""

from __future__ import annotations

import contextlib
import socket
from importlib.util import find_spec
from typing import Any

import msgspec

from outputd.archive import mark as marks
from outputd.archive.asking import Asking
from outputd.archive.asks import Worker
from outputd.archive.choice import Choice
from outputd.archive.credentials import credentials_of
from outputd.archive.instance import name_of_host
from outputd.archive.keeping_up import Counts, KeepingUp
from outputd.archive.retention import Retention
from outputd.archive.standing import Standing
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Unusable
from outputd.store.directory import DataDir
from outputd.store.store import Store

_LIBRARIES = ("pyarrow", "obstore")
_LATE_S = 600.0
_FILLED = 0.5


class Archive:
    """Ships what the store has, and says how long the store must keep it."""

    def __init__(
        self, choice: Choice, store: Store, directory: DataDir, in_thread: InThread, reactor: Any
    ) -> None:  # fmt: skip
        """Raises Unusable without the libraries that it needs."""
        if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
            raise Unusable(f"--archive needs {' and '.join(missing)}: pip install 'outputd[archive]'")
        self._choice = choice
        self._directory = directory
        self._reactor = reactor
        self._now = store.now
        self._credentials: dict[str, str] = {}
        self._place = choice.place.shown
        self._asking = Asking(lambda: Worker(self._place, self._credentials), in_thread, reactor)
        self._standing = Standing(
            store, directory, self._place, choice.name, name_of_host(socket.gethostname()), in_thread, reactor
        )
        self._keeping_up = KeepingUp(store, self._standing, choice.every_s, self._asking, reactor)
        self._retention = Retention(lambda: store.files, lambda: self._standing.through, choice.max_backlog_bytes)
        self.start = self._keeping_up.start
        self.stop = self._keeping_up.stop

    # -- credentials ---------------------------------------------------------------------------------

    def read_credentials(self) -> dict[str, str]:
        """What their file says now. Blocking. Raises Unusable."""
        return {} if self._choice.credentials is None else credentials_of(self._choice.credentials)

    def take_credentials(self, credentials: dict[str, str]) -> None:
        """Use these from now on."""
        self._credentials = credentials
        self._asking.renew()

    # -- what others may know ------------------------------------------------------------------------

    @property
    def let_go(self) -> int:
        """The last batch for which the store need keep no file."""
        return self._retention.let_go

    def let_go_at_start(self) -> int:
        """The same before the store is open, by what is written down alone. Blocking."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            mark = marks.read(self._directory.archive)
            return mark.batch_id if mark is not None and mark.place == self._place else 0
        return 0

    @property
    def counts(self) -> Counts:
        """What was shipped since the start."""
        return self._keeping_up.counts

    @property
    def lost_batches(self) -> int:
        """How many will never be in it, of those that this process has seen."""
        return self._keeping_up.losses.batches

    @property
    def lag_s(self) -> float:
        """For how long there has been something that is not in the archive."""
        return self._keeping_up.lag_s

    @property
    def backlog_bytes(self) -> int:
        """What the closed files weigh that wait to be shipped."""
        return self._retention.backlog_bytes

    @property
    def max_backlog_bytes(self) -> int:
        """What they may."""
        return self._choice.max_backlog_bytes

    @property
    def is_up(self) -> bool:
        """Whether the last try went well."""
        return self._keeping_up.trouble.failure is None

    @property
    def failure(self) -> Failure | None:
        """What is not well, None when all is."""
        keeping_up = self._keeping_up
        lasting = self._standing.unwritten.failure or keeping_up.losses.failure or keeping_up.shared
        return keeping_up.trouble.failure or self._lateness() or lasting

    def _lateness(self) -> Failure | None:
        lag_s, backlog_bytes = self.lag_s, self.backlog_bytes
        if backlog_bytes > _FILLED * self.max_backlog_bytes:
            waiting = f"{backlog_bytes >> 20} of {self.max_backlog_bytes >> 20} MiB wait to be shipped"
            return Failure(f"{waiting}; above that, the oldest file is given up", self._now() - lag_s)
        if lag_s > self._choice.every_s + _LATE_S:
            return Failure(f"shipping is {lag_s:.0f} s behind", self._now() - lag_s)
        return None
