"""Ports: where connections come from, and how many descriptors they may take."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from ipaddress import ip_address
from typing import Any, NamedTuple

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from outputd.process.log import Logger
from outputd.process.trouble import Unusable

_log = Logger()
HEALTH_CONNECTIONS = 200
_BACKLOG = 511
_FILES = 100  # databases, their WALs, copies, threads, the feed


def most_connections(wanted: int) -> int:
    """How many connections the port for results may have, so that files and the health port never lack descriptors.

    Raises the process's own limit of open files as far as it is allowed to, and takes fewer connections if that is
    not enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + HEALTH_CONNECTIONS + _FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            fewer = max(1, allowed - HEALTH_CONNECTIONS - _FILES)
            _log.warn(
                "at most {fewer} connections instead of {wanted}: the process may have {allowed} files open, and"
                " {needed} are needed (raise it by ulimit -n, or LimitNOFILE= of systemd)",
                fewer=fewer, wanted=wanted, allowed=allowed, needed=needed,
            )  # fmt: skip
            return fewer
    return wanted


class Handed(NamedTuple):
    """How systemd hands over the socket that it holds for a port: by its FileDescriptorName, else by its place."""

    name: str
    place: int


class Port:
    """A port by the name of its flag, open or not: a number, a Twisted endpoint, or the socket that systemd holds."""

    def __init__(self, flag: str, text: str, handed: Handed, factory: IProtocolFactory, reactor: Any) -> None:
        self._flag = flag
        self._text = text
        self._handed = handed
        self._factory = factory
        self._reactor = reactor
        self._listening: IListeningPort | None = None

    def open(self) -> None:
        """Listen, at once. Raises Unusable."""
        handed = _socket_of_systemd(self._handed, self._reactor)
        tries = [self._text]
        if self._text.isdecimal():  # IPv4 and IPv6, or IPv4 alone where the machine has no IPv6
            tries = [f"tcp:{self._text}:interface=\\:\\::backlog={_BACKLOG}", f"tcp:{self._text}:backlog={_BACKLOG}"]
        for description in tries:
            outcome: list[Any] = []
            try:
                endpoint = handed or serverFromString(self._reactor, description)
                endpoint.listen(self._factory).addBoth(outcome.append)
            except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
                raise Unusable(f"--{self._flag}={self._text}: not a port or endpoint: {error}") from None
            if outcome and not isinstance(outcome[0], Failure):
                self._listening = outcome[0]
                return
        failure = outcome[0].value if outcome else "it does not listen at once"
        reason = failure.socketError.strerror if isinstance(failure, CannotListenError) else failure
        raise Unusable(f"cannot listen on --{self._flag}={self._text}: {reason}")

    def announce(self) -> None:
        """Say in the log where it listens."""
        if self._listening is not None:
            _log.info("--{name} listens on {address}", name=self._flag, address=self._listening.getHost())

    async def close(self) -> None:
        """Take no more connections; those that are there stay."""
        listening, self._listening = self._listening, None
        if listening is not None:
            closed = listening.stopListening()
            if closed is not None:
                await closed

    @property
    def number(self) -> int | None:
        """The number of the port; None while it is closed, or has none."""
        number: int | None = None if self._listening is None else getattr(self._listening.getHost(), "port", None)
        return number

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self._listening is None:
            return True
        host = getattr(self._listening.getHost(), "host", "127.0.0.1")  # a Unix socket has none
        return ip_address(host.partition("%")[0]).is_loopback


def _socket_of_systemd(handed: Handed, reactor: Any) -> AdoptedStreamServerEndpoint | None:
    """The socket that systemd holds for a port, so that no connection is refused while we are restarted."""
    for which in (f"name={handed.name}", f"index={handed.place}"):
        with contextlib.suppress(KeyError, IndexError):
            found: Any = serverFromString(reactor, f"systemd:domain=INET:{which}")
            with socket.socket(fileno=os.dup(found.fileno)) as listening:
                found.addressFamily = listening.family
            endpoint: AdoptedStreamServerEndpoint = found
            return endpoint
    return None
