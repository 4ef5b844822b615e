"""Another count of what reports of mtr, fping, Globalping, perfSONAR and trippy hold: from their text alone.

It shares no code with the readers, and is made otherwise: by patterns and fractions, of whole texts at once.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple


class Counted(NamedTuple):
    """A result: its counts and its mean; of its path the rows, those of silence, and the sum of their times."""

    target: str
    sent: int
    received: int
    average_ns: int | None
    rows: int = 0
    silences: int = 0
    sum_ns: int = 0


class Expected(NamedTuple):
    """What a text holds, and how many of its items are none."""

    results: list[Counted]
    refused: int


def _ns(milliseconds: object) -> int:
    return round(Fraction(str(milliseconds)) * 10**6)


def _is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def mtr(text: str) -> Expected:
    """By the words between a count and the next."""
    if '"report"' not in text:
        return Expected([], 0)
    (dst,), tests = re.findall(r'"dst": "([^"]*)"', text), re.findall(r'"tests": "?(\d+)', text)
    hubs = [dict(re.findall(r'"([^"]+)": "?([^",}\n]+)', part)) for part in text.split('"count"')[1:]]
    hosts = [re.sub(r"^.* \((.*)\)$", r"\1", hub["host"]) for hub in hubs]
    if not _is_address(dst) or (hubs and hosts[-1] != "???" and not _is_address(hosts[-1])):
        return Expected([], 1)
    silent = [host == "???" for host in hosts]
    times = [0 if quiet else _ns(hub["Avg"]) for hub, quiet in zip(hubs, silent, strict=True)]
    if not hubs:
        return Expected([Counted(dst, int(tests[0]), 0, None)], 0)
    sent = int(hubs[-1]["Snt"])
    received = round(sent * (1 - Fraction(hubs[-1]["Loss%"]) / 100)) if hosts[-1] == dst else 0
    average = times[-1] if received else None
    return Expected([Counted(dst, sent, received, average, len(hubs), sum(silent), sum(times))], 0)


def fping(text: str) -> Expected:
    """By the words of the lines that sum a target up."""
    results, refused = [], 0
    for line in text.splitlines():
        if line.startswith(('{"summary"', '{"vSum"')):
            found = next(iter(json.loads(line, parse_float=str).values()))
            times = found.get("values", [])
            answered = [_ns(time) for time in times if time is not None]
            if times:
                counts = (len(times), len(answered), round(Fraction(sum(answered), len(answered))))
            else:
                counts = (found["xmt"], found["rcv"], _ns(found["rttAvg"]))
            results.append(Counted(found["host"], *counts))
            continue
        words = line.split()
        if len(words) < 3 or words[1] != ":" or words[2].startswith("["):
            continue
        if not _is_address(words[0]):
            refused += 1
        elif words[2] == "xmt/rcv/%loss":
            sent, received, _ = words[4].split("/")
            results.append(Counted(words[0], int(sent), int(received), _ns(words[7].split("/")[1])))
        else:
            answered = [_ns(word) for word in words[2:] if word != "-"]
            mean = round(Fraction(sum(answered), len(answered)))
            results.append(Counted(words[0], len(words) - 2, len(answered), mean))
    return Expected(results, refused)


def globalping(text: str) -> Expected:
    """By a walk over the whole of it."""
    found = json.loads(text, parse_float=str)
    if isinstance(found, list):
        return Expected([], len(found))
    results, refused = [], 0
    for entry in found.get("results", [found]):
        result = entry["result"]
        target = result.get("resolvedAddress") or result.get("destination")
        if target is None or result.get("status") == "failed":
            refused += 1
        elif "hops" not in result:
            stats = result["stats"]
            average = None if stats["avg"] is None else _ns(stats["avg"])
            results.append(Counted(target, stats["total"], stats["rcv"], average))
        else:
            results.append(_globalping_path(target, result["hops"]))
    return Expected(results, refused)


def _globalping_path(target: str, hops: list[Any]) -> Counted:
    times = [[_ns(each["rtt"]) for each in hop.get("timings", [])] or [*map(_ns, hop.get("rtt", []))] for hop in hops]
    last = hops[-1]
    sent = last["stats"]["total"] if "stats" in last else max(map(len, times))
    replies = times[-1] if last.get("resolvedAddress") == target else []
    average = round(Fraction(sum(replies), len(replies))) if replies else None
    silences = times.count([])
    rows = sum(map(len, times)) + silences
    return Counted(target, sent, len(replies), average, rows, silences, sum(map(sum, times)))


def perfsonar(text: str) -> Expected:
    """Of a run as archivers get it; results alone say no target."""
    run = json.loads(text, parse_float=str)
    if "test" not in run or run["test"]["type"].startswith("latency"):
        return Expected([], 1)
    dest, result = run["test"]["spec"]["dest"], run["result"]
    if run["test"]["type"] == "rtt":
        return Expected([Counted(dest, result["sent"], result["received"], _seconds(result["mean"]))], 0)
    return Expected([_perfsonar_path(dest, path) for path in result["paths"]], 0)


def _perfsonar_path(dest: str, path: list[Any]) -> Counted:
    times = [_seconds(hop["rtt"]) for hop in path if hop]
    reached = path[-1].get("ip") == dest and "error" not in path[-1]
    return Counted(dest, 1, int(reached), times[-1] if reached else None, len(path), path.count({}), sum(times))


def _seconds(duration: str) -> int:
    return round(Fraction(duration.removeprefix("PT").removesuffix("S")) * 10**9)


def trippy(text: str) -> Expected:
    """No whole report is at hand: what there is are hops."""
    assert "info" not in json.loads(text)
    return Expected([], 1)


RECOUNTS: Mapping[str, Callable[[str], Expected]] = {
    "fping": fping, "globalping": globalping, "mtr": mtr, "perfsonar": perfsonar, "trippy": trippy,
}  # fmt: skip
"""By the name of the format."""
