"""Results that no two are alike, and connections that post them and keep account of every answer."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from tests.system.waiting import DEADLINE_S, wait_until

Result = dict[str, Any]

_TARGETS = int(IPv6Address("2001:db8::"))
_ODD_HOPS = ("_gateway", "*", "???", "", "fe80::1%eth0", "127.0.0.1", "169.254.169.254", "0.0.0.0", "ff02::1", "::")


@dataclass(frozen=True, slots=True)
class Post:
    """One body, and the targets in it, each of which is in no other."""

    body: bytes
    targets: tuple[str, ...]
    key: str
    bad: tuple[str, ...] = ()
    """Targets of items that are no results."""

    @property
    def results(self) -> list[Result]:
        """What is in the body."""
        results: list[Result] = json.loads(self.body)
        return results

    @property
    def answer(self) -> Result:
        """What it must be answered, without the errors."""
        if not self.bad:
            return {"status": "ok", "received": len(self.targets)}
        return {"status": "partial", "received": len(self.targets), "rejected": len(self.bad)}

    @property
    def headers(self) -> dict[str, str]:
        """With its Idempotency-Key."""
        return {"Idempotency-Key": self.key}


class Source:
    """Makes results like real ones from a seed; the target is a result's identity, so all can be found again."""

    def __init__(self, seed: int, made: int = 0) -> None:
        """`made` results were made before: their targets are not made again."""
        self._random = random.Random(seed)
        self._made = made
        self._lock = threading.Lock()

    def post(self, size: int = 10, bad: int = 0) -> Post:
        """A body of so many items, some of which are no results."""
        with self._lock:
            items = [self._result() for _ in range(size)]
            key = f"key {self._made}"
            spoilt = set(self._random.sample(range(size), bad)) if bad else set()
        names = [item["ip"] for item in items]
        for index in spoilt:
            items[index]["sent"] = -1
        good = tuple(name for index, name in enumerate(names) if index not in spoilt)
        return Post(json.dumps(items).encode(), good, key, tuple(names[index] for index in spoilt))

    def _target(self) -> str:
        self._made += 1
        return str(IPv6Address(_TARGETS + self._made))

    def _result(self) -> Result:
        rng = self._random
        target = self._target()
        sent = rng.randint(1, 10)
        received = rng.choice((0, sent, sent, rng.randint(0, sent)))
        result: Result = {
            "ip": target,
            "sent": sent,
            "received": received,
            "packet_loss": 100 * (sent - received) / sent,
            "timestamp": self._timestamp(),
        }
        if received:
            result["avg_rtt"] = rng.randint(100_000, 300_000_000)
        else:
            result["error"] = "no answer"
        if rng.random() < 0.7:
            result["traceroute"] = self._traceroute(bool(received))
        return result

    def _timestamp(self) -> str:
        rng = self._random
        fraction = rng.choice(("", f".{rng.randint(1, 10**9 - 1):09d}"))
        zone = rng.choice(("Z", "+02:00", "-11:30"))
        return f"2026-0{rng.randint(1, 9)}-{rng.randint(10, 28)}T12:{rng.randint(10, 59)}:07{fraction}{zone}"

    def _traceroute(self, completed: bool) -> Result:
        rng = self._random
        hops: list[Result] = [{"ttl": 1, "ip": "192.168.1.1", "rtt": 900_000}]
        for ttl in range(2, rng.randint(4, 9)):
            hops.append({"ttl": ttl, "ip": self._hop(), "rtt": rng.randint(10**6, 10**8)})
            if rng.random() < 0.2:
                hops[-1] = {"ttl": ttl, "timeout": True}
        hops.append({"ttl": 255, "ip": f"198.51.100.{rng.randint(1, 9)}", "timeout": True})  # timeout wins over ip
        trace: Result = {"method": rng.choice(("icmp", "tcp", "udp")), "completed": completed, "hops": hops}
        if not completed:
            trace["error"] = "destination unreachable: !H"
        return trace

    def _hop(self) -> str:
        rng = self._random
        kind = rng.random()
        if kind < 0.1:
            return rng.choice(_ODD_HOPS)
        if kind < 0.2:
            return f"2001:DB8:0:0:0:0:0:{rng.randint(0, 4000):X}"
        address = str(IPv4Address(rng.choice((0x0A000000, 0x64400000, 0x08080000)) + rng.randint(1, 5000)))
        return f"::ffff:{address}" if kind < 0.3 else address


class MixedSource(Source):
    """Made results and measured ones in turns; the latter get a target of their own in the place of the real one."""

    FIRST = 1 << 20
    """The number of the first one: nobody else's documentation addresses are that large."""

    def __init__(self, seed: int, measured: Sequence[Result]) -> None:
        super().__init__(seed)
        self._made = self.FIRST
        self._measured = measured

    def _result(self) -> Result:
        result = super()._result()
        if self._measured and self._made % 2:
            return {**self._measured[self._made // 2 % len(self._measured)], "ip": result["ip"]}
        return result

    @classmethod
    def number_of(cls, target: str) -> int | None:
        """The how manieth result it is; None for one from elsewhere."""
        number = int(ip_address(target)) - _TARGETS - cls.FIRST
        return number if 0 < number < 2**32 else None


@dataclass
class Load:
    """So many connections, each of which posts one body after the other until it is stopped or cut off."""

    host: str
    port: int
    source: Source
    connections: int
    keyed: bool = False
    bad: int = 0
    """Items of each body that are no results."""
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    comes_anew: bool = False
    """Whether each body has a connection of its own."""
    answered: list[Post] = field(default_factory=list)
    """Those with the answer 200 and the right count."""
    unanswered: list[Post] = field(default_factory=list)
    """Those that were sent, or not even wholly, when the connection ended."""
    refused: list[tuple[int, bytes]] = field(default_factory=list)
    """Any other answer."""
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> Load:
        """Begin."""
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.connections)]
        for thread in self._threads:
            thread.start()
        return self

    def go_on(self, posts: int = 1) -> None:
        """Return when so many more were answered."""
        enough = len(self.answered) + posts
        wait_until(lambda: len(self.answered) >= enough, f"{posts} more posts are answered, of {self.refused}")

    def cut_off(self) -> Load:
        """Return when every connection was cut off; none ends otherwise."""
        self._join()
        return self

    def stop(self) -> Load:
        """Return when every connection has had its last answer, or was cut off."""
        self._stopping.set()
        self._join()
        return self

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a connection of the load hangs"

    def _work(self) -> None:
        connection = self._connection()
        while not self._stopping.is_set():
            post = self.source.post(bad=self.bad)
            try:
                keys = post.headers if self.keyed else {}
                connection.request("POST", "/results", post.body, {**self.headers, **keys})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self.unanswered.append(post)
                break
            if response.status == 200 and {**json.loads(content), "errors": None} == {**post.answer, "errors": None}:
                self.answered.append(post)
            else:
                self.refused.append((response.status, content))
            if self.comes_anew:
                connection.close()  # the next request opens it again
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        return http.client.HTTPSConnection(self.host, self.port, timeout=DEADLINE_S, context=self.tls)


def targets(posts: Iterable[Post]) -> Counter[str]:
    """How often each target is in these posts."""
    return Counter(target for post in list(posts) for target in post.targets)
