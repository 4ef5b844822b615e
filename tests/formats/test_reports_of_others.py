"""Each report of mtr, fping, Globalping, perfSONAR and trippy that is at hand is read as another count of it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.formats import BY_NAME
from outputd.formats.reader import NotOfThisFormat, Reader, Unread
from outputd.results.model import PingResult
from tests.formats.recount_reports import RECOUNTS, Counted, Expected
from tests.system.shared import needed

NOT_OF_THE_FORMAT = {"mtr": (".csv", ".txt", ".xml"), "fping": ("old-hosts.json",), "globalping": (".txt",)}
"""Files of the tools that are of other formats, by the ends of their names."""


def counted(result: PingResult) -> Counted:
    """What the recount says of a result."""
    hops = (result.traceroute and result.traceroute.hops) or []
    silences = sum(hop.timeout is True for hop in hops)
    times = sum(hop.rtt or 0 for hop in hops)
    return Counted(result.ip, result.sent, result.received, result.avg_rtt, len(hops), silences, times)


def read(reader: Reader, body: bytes) -> Expected:
    try:
        found = list(reader.read(body))
    except NotOfThisFormat:
        return Expected([], 0)
    results = [counted(item) for item in found if isinstance(item, PingResult)]
    return Expected(results, sum(isinstance(item, Unread) for item in found))


class ReportsOfOthersTest(SynchronousTestCase):
    def files(self, name: str) -> list[Path]:
        """The files of a format, without those of other formats."""
        others = NOT_OF_THE_FORMAT.get(name, ())
        return [path for path in sorted(needed(f"raw/{name}").iterdir()) if not path.name.endswith(others)]

    def check(self, name: str) -> None:
        for path in self.files(name):
            body = path.read_bytes()
            self.assertEqual(read(BY_NAME[name], body), RECOUNTS[name](body.decode()), path.name)

    def test_mtr(self) -> None:
        self.check("mtr")

    def test_fping(self) -> None:
        self.check("fping")

    def test_globalping(self) -> None:
        self.check("globalping")

    def test_perfsonar(self) -> None:
        self.check("perfsonar")

    def test_trippy(self) -> None:
        self.check("trippy")

    def test_results_of_perfsonar_with_the_test_that_they_are_of(self) -> None:
        for path in self.files("perfsonar"):
            found = json.loads(path.read_bytes())
            body = json.dumps(a_run(found.get("result", found))).encode()
            self.assertEqual(read(BY_NAME["perfsonar"], body), RECOUNTS["perfsonar"](body.decode()), path.name)

    def test_files_of_other_formats_give_no_result(self) -> None:
        for name, ends in NOT_OF_THE_FORMAT.items():
            for path in sorted(needed(f"raw/{name}").iterdir()):
                if path.name.endswith(ends):
                    self.assertEqual(read(BY_NAME[name], path.read_bytes()).results, [], path.name)

    def test_each_file_is_claimed_by_its_own_reader_or_by_none(self) -> None:
        for name in RECOUNTS:
            for path in sorted(needed("raw").rglob("*.*")):
                body = path.read_bytes()
                if BY_NAME[name].claims(body):
                    self.assertEqual(path.parent.name, name, path.name)

    def test_files_of_mtr_fping_and_globalping_are_claimed(self) -> None:
        fragments = ("mtr-success-raw-helper-progress.json",)
        for name in ("mtr", "fping", "globalping"):
            for path in self.files(name):
                self.assertEqual(BY_NAME[name].claims(path.read_bytes()), path.name not in fragments, path.name)


def a_run(result: dict[str, Any]) -> dict[str, Any]:
    """The archiver's form of a result: the last hop of its first path is the target, or who answered its ping."""
    kind, dest = "latency", "192.0.2.1"
    if "paths" in result:
        kind, dest = "trace", result["paths"][0][-1]["ip"]
    elif "roundtrips" in result:
        kind, dest = "rtt", result["roundtrips"][0]["ip"]
    return {
        "schedule": {"start": "2026-01-07T22:30:00Z"},
        "test": {"type": kind, "spec": {"dest": dest}},
        "result": result,
    }
