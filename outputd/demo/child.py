"""outputd as a child process of the demonstration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IListeningPort, IProcessTransport
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
from twisted.python.failure import Failure

_START_S = 15.0
_OWNER_ONLY = 0o600


class Child(ProcessProtocol):
    """A service of our own; `ended` is called with the last that it said when it ends by itself.

    It says that it is ready to a socket that no other service knows (sd_notify): one that holds its ports would say so
    over HTTP.
    """

    def __init__(self, reactor: Any, directory: Path, ended: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._directory = directory
        self._ended = ended
        self._said = b""
        self._started: Deferred[bool] = Deferred()
        self._gone: Deferred[None] = Deferred()
        self._ear: IListeningPort | None = None

    async def start(self, port: int, health_port: int, input_url: str) -> bool:
        """Start it with these ports; whether it is ready in time."""
        place = str(self._directory / "ready.socket")
        self._ear = self._reactor.listenUNIXDatagram(place, _Ear(self._tell), mode=_OWNER_ONLY)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OUTPUTD_")}
        flags = [
            sys.executable, "-m", "outputd", f"--port={port}", f"--health-port={health_port}",
            f"--input-url={input_url}", f"--db-dir={self._directory}", "--feed=all",
        ]  # fmt: skip
        self._reactor.spawnProcess(self, sys.executable, flags, {**environ, "NOTIFY_SOCKET": place})
        late = self._reactor.callLater(_START_S, self._tell, False)
        is_ready = await self._started
        if late.active():
            late.cancel()
        return is_ready

    async def stop(self) -> None:
        """Return when it has ended."""
        process: IProcessTransport | None = self.transport
        try:
            if process is not None:
                process.signalProcess("TERM")
        except ProcessExitedAlready:
            pass
        await self._gone

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the end of what it says."""
        self._said = (self._said + data)[-2000:]

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        if self._ear is not None:
            self._ear.stopListening()
        lines = self._said.decode(errors="replace").strip().splitlines()
        self._ended(lines[-1] if lines else "outputd has ended")
        self._tell(False)
        self._gone.callback(None)

    def _tell(self, is_ready: bool) -> None:
        if not self._started.called:
            self._started.callback(is_ready)


class _Ear(DatagramProtocol):
    """Hears a service say that it is ready."""

    def __init__(self, tell: Callable[[bool], object]) -> None:
        self._tell = tell

    def datagramReceived(self, data: bytes, addr: object) -> None:
        """See DatagramProtocol."""
        if b"READY=1" in data.split(b"\n"):
            self._tell(True)
