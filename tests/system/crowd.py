"""What crowds that mean harm cost: memory, the time to refuse them, and what others wait meanwhile.

`python -m tests.system.crowd` lets each come to an instance of its own, in plain and open to all, then over TLS and
with tokens, and prints a line for each. `--checkout DIR` measures the outputd of another checkout.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trustme

from outputd.security.access import NODE, OPERATOR, Holder, line_of, new_token
from tests.kit.certificates import write_certificate
from tests.system.crowds import KINDS, Door, Kind, Size, apart, ask
from tests.system.harness import CHECKOUT, Outputd
from tests.system.waiting import wait_until

_MIB = 1 << 20
_ABOVE_PENDING_MIB = 150  # rule 9
_LEFT_MIB = 64
_SETTLED_S = 60.0
_NEIGHBOUR = "127.0.0.9"  # in the crowd's own /24
_G = b'[{"ip":"192.0.2.77","sent":4,"received":4,"avg_rtt":15000000,"timestamp":"2026-03-01T12:00:00Z"}]'
_TRIES = 3
_EVERY_S = {"node": 0.05, "health": 0.1, "targets": 0.5}


@dataclass
class Waits:
    """How long the requests of a neighbour took until their 200; how many were put off by a 503, or failed."""

    took_s: list[float] = field(default_factory=list)
    put_off: int = 0
    failed: int = 0

    def add(self, status: int, seconds: float) -> None:
        """One more."""
        if status == 200:
            self.took_s.append(seconds)
        elif status == 503:
            self.put_off += 1
        else:
            self.failed += 1

    @property
    def figures(self) -> dict[str, float]:
        """In milliseconds."""
        took = {"p50_ms": _ms(self.took_s, 0.5), "p99_ms": _ms(self.took_s, 0.99)}
        return {**took, "put_off": self.put_off, "failed": self.failed}


def _ms(seconds: Sequence[float], share: float) -> float:
    ranked = sorted(seconds) or [0.0]
    return round(ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1e3, 1)


class Service:
    """An instance that is measured, open and in plain, or with tokens and over TLS."""

    def __init__(self, place: Path, is_secured: bool, pending_mib: int, checkout: Path) -> None:
        self.tokens = {"": "", "node": new_token(), "operator": new_token()}
        self._ca, flags = "", [f"--max-pending-mb={pending_mib}", "--input-url="]
        if is_secured:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(place / "ca.pem"))
            chain, key = write_certificate(place, "tls", authority.issue_cert("localhost"))
            lines = [line_of(Holder(role, role), self.tokens[role]) for role in (NODE, OPERATOR)]
            (place / "tokens").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            flags += [f"--tls-cert={chain}", f"--tls-key={key}", f"--tokens-file={place / 'tokens'}"]
            self._ca = str(place / "ca.pem")
        else:
            self.tokens = dict.fromkeys(self.tokens, "")
        self.outputd = Outputd(place / "data", *flags, cwd=checkout, environment={"PYTHONPATH": str(checkout)})
        self.outputd.is_ready = self._is_ready  # type: ignore[method-assign]  # it asks in plain HTTP

    def _is_ready(self) -> bool:
        if self.outputd.process.poll() is not None:
            raise AssertionError(f"outputd did not start:\n{self.outputd.log}")
        door = self.door("health")
        return ask(door, door.head("GET", "/ready"), 5.0)[0] == 200

    def door(self, port: str, role: str = "", source: str = _NEIGHBOUR) -> Door:
        """The way in for such a client."""
        number = {"results": self.outputd.port, "health": self.outputd.health_port}[port]
        return Door(number, source, self._ca, self.tokens[role])

    @property
    def rss_mib(self) -> float:
        """Memory that is resident now."""
        status = Path(f"/proc/{self.outputd.pid}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None, status
        return int(found[1]) / 1024

    @property
    def peak_mib(self) -> float:
        """The most memory that was resident since `forget_peak`."""
        return self.outputd.peak_rss_bytes / _MIB

    def forget_peak(self) -> None:
        """What was resident until now does not count."""
        Path(f"/proc/{self.outputd.pid}/clear_refs").write_text("5", encoding="ascii")


class Neighbours:
    """A node that posts, and two who look at /health and /targets, on new connections; cut off, they come again."""

    def __init__(self, service: Service) -> None:
        results, health = service.door("results", "node"), service.door("health", "operator")
        requests = {
            "node": (results, results.post(_G)), "health": (health, health.head("GET", "/health")),
            "targets": (health, health.head("GET", "/targets")),
        }  # fmt: skip
        self.waits = {name: Waits() for name in requests}
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(name, *requests[name])) for name in requests]

    def __enter__(self) -> Neighbours:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _go(self, name: str, door: Door, request: bytes) -> None:
        while not self._leaving.wait(_EVERY_S[name]):
            begun_s, status = time.monotonic(), 0
            for _ in range(_TRIES):
                status = status or ask(door, request, 30.0)[0]
            self.waits[name].add(status, time.monotonic() - begun_s)


def _answers(door: Door, path: str) -> bool:
    return ask(door, door.head("GET", path))[0] == 200


def measure(
    kind: Kind, size: Size, is_secured: bool, pending_mib: int = 64, checkout: Path = CHECKOUT
) -> dict[str, Any]:
    """What one crowd costs an instance of its own: the figures by their names, and the bounds that were broken."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place, ExitStack() as ending:
        service = Service(Path(place), is_secured, pending_mib, checkout)
        ending.callback(service.outputd.kill)
        service.outputd.start()
        kind.before(service.door("results", "node"))
        for path in ("/targets", "/health"):
            door = service.door("health", "operator")
            wait_until(partial(_answers, door, path), path)
        before_mib = service.rss_mib
        service.forget_peak()
        with Neighbours(service) as neighbours:
            begun_s = time.monotonic()
            met = apart(kind.crowd, service.door(kind.port, kind.role, "127.0.0.1"), size, partial(time.sleep, 0.1))
            seconds = time.monotonic() - begun_s
        peak_mib = service.peak_mib
        with suppress(AssertionError):  # then the line says by how much
            wait_until(lambda: service.rss_mib < before_mib + _LEFT_MIB, "it is small again", _SETTLED_S)
        left_mib = service.rss_mib - before_mib
        code = service.outputd.stop().code
    figures = {
        "crowd": f"{kind.group}: {kind.name}", "secured": is_secured, "seconds": round(seconds, 1),
        "answers": {str(status): len(took) for status, took in sorted(met.seconds.items())},
        "refused": {"p50_ms": _ms(met.refused_s, 0.5), "p99_ms": _ms(met.refused_s, 0.99)},
        "before_mib": round(before_mib), "peak_mib": round(peak_mib), "left_mib": round(left_mib),
        **{name: waits.figures for name, waits in neighbours.waits.items()},
    }  # fmt: skip
    kept = {
        "peak": peak_mib < pending_mib + _ABOVE_PENDING_MIB,
        "left": left_mib < _LEFT_MIB,
        "node": kind.fills_memory or neighbours.waits["node"].put_off == 0,
        **{f"{name} failed": waits.failed == 0 for name, waits in neighbours.waits.items()},
        "500": 500 not in met.seconds,
        "end": code == 0,
    }
    return {**figures, "over": [name for name, is_kept in kept.items() if not is_kept]}


_LINE = "{:<26} {:<4} {:>5} {:<28} {:>15} {:>5} {:>5} {:>20} {:>20} {:>20}  {}"
_HEAD = _LINE.format(
    "crowd", "as", "s", "answers", "refused ms", "peak", "left", "node ms", "/health ms", "/targets ms", "over"
)
_EXPLAINED = """
Times are p50/p99; neighbours' then tell how many were put off by a 503, and failed. Memory is in MiB: the most that was
resident, and how much more than before is 5 s after. A dash among the answers is none."""


def line_of_figures(figures: dict[str, Any]) -> str:
    """One line of the table."""
    answers = " ".join(f"{count}x{status if status != '0' else '-'}" for status, count in figures["answers"].items())
    refused = f"{figures['refused']['p50_ms']:g}/{figures['refused']['p99_ms']:g}"
    waits = [
        f"{each['p50_ms']:g}/{each['p99_ms']:g} {each['put_off']} {each['failed']}"
        for each in (figures[name] for name in ("node", "health", "targets"))
    ]
    way, over = "tls" if figures["secured"] else "open", ", ".join(figures["over"]) or "-"
    return _LINE.format(
        figures["crowd"], way, f"{figures['seconds']:.0f}", answers, refused, figures["peak_mib"], figures["left_mib"],
        *waits, over,
    )  # fmt: skip


def main() -> int:
    """Let those come that were asked for and print what they cost; 1 when a bound was broken."""
    groups = ", ".join(dict.fromkeys(kind.group for kind in KINDS))
    usual = Size()
    parser = argparse.ArgumentParser("make crowd ARGS=...", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[""], help=f"groups ({groups}), or parts of names")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of those that stay (%(default)s)")
    parser.add_argument("--requests", type=int, default=usual.requests, help="of those that come again (%(default)s)")
    parser.add_argument("--clients", type=int, default=usual.clients, help="that these have (%(default)s)")
    parser.add_argument("--as", dest="ways", choices=("open", "tls"), nargs="+", default=["open", "tls"],
                        help="open and in plain, or with tokens over TLS (both)")  # fmt: skip
    parser.add_argument("--pending-mb", type=int, default=64)
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, metavar="DIR", help="whose outputd is measured")
    parser.add_argument("--json", action="store_true", help="a JSON object for each crowd instead of the table")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    size = Size(asked.requests, asked.clients, asked.seconds)
    chosen = [kind for kind in KINDS if any(word in f"{kind.group}: {kind.name}" for word in asked.only)]
    if not asked.json:
        print(_HEAD)
    is_over = False
    for kind in chosen:
        for way in asked.ways:
            figures = measure(kind, size, way == "tls", asked.pending_mb, asked.checkout.resolve())
            is_over = is_over or bool(figures["over"])
            print(json.dumps(figures) if asked.json else line_of_figures(figures), flush=True)
    if not asked.json:
        print(_EXPLAINED)
    return int(is_over or not chosen)


if __name__ == "__main__":
    sys.exit(main())
