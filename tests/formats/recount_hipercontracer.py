"""What is in HiPerConTracer results, counted from their text alone, for comparison with what the reader makes."""

from __future__ import annotations

from ipaddress import ip_address

from tests.formats.recount import Counted


def recount(body: bytes) -> list[Counted]:
    """One for each line of a ping and each round of a traceroute."""
    found: list[Counted] = []
    for line in body.decode().splitlines():
        words = line.split()
        if line.startswith("\t"):
            _add_hop(found[-1], words)
        elif line.startswith("#P "):
            found.append(_ping(words[2], int(words[5]), int(words[6]) * 1000))
        elif line.startswith("#P"):
            found.append(_ping(words[3], int(words[12]), int(words[17])))
        elif line.startswith("#T"):
            found.append(Counted(str(ip_address(words[2 if words[0] == "#T" else 3])), 1, 0, 0, is_route=True))
    return found


def _ping(target: str, status: int, rtt_ns: int) -> Counted:
    is_received = status == 255
    return Counted(str(ip_address(target)), 1, int(is_received), rtt_ns if is_received else 0)


def _add_hop(route: Counted, words: list[str]) -> None:
    if len(words) == 4:
        status, rtt_ns = int(words[1], 16), int(words[2]) * 1000
    else:
        status, rtt_ns = int(words[3]), int(words[8])
    route.received, route.rtt_ns = (1, rtt_ns) if status == 255 else (0, 0)
    if status == 200:
        route.timeouts += 1
    else:
        route.replies += 1
        route.hop_rtt_ns += rtt_ns
