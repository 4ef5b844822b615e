"""Ports and descriptors: how many connections there may be, and where they come from."""

from __future__ import annotations

import resource
from ipaddress import ip_address

from twisted.internet.interfaces import IListeningPort

from outputd.process.log import Logger

_log = Logger()
HEALTH_CONNECTIONS = 200
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


def is_loopback(port: IListeningPort) -> bool:
    """Whether only this machine can reach a port."""
    host = getattr(port.getHost(), "host", "127.0.0.1")  # a Unix socket has none
    return ip_address(host.partition("%")[0]).is_loopback
