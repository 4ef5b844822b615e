"""The reader of scamper's JSON, against a recount of what scamper has really written."""

from __future__ import annotations

import subprocess
from functools import cache
from shutil import which

from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.formats.reader import NotOfThisFormat, Unread
from outputd.formats.scamper import SCAMPER
from outputd.results.model import PingResult
from tests.formats.data import foreign
from tests.formats.mutations import mutated
from tests.formats.recount import counted
from tests.formats.recount_scamper import recount
from tests.kit.properties import given, settings

NO_TRACE = 3
"""Files of M-Lab that are made of a tracelb, and no longer scamper's."""


@cache
def written() -> dict[str, bytes]:
    """The files that are JSON."""
    return {name: body for name, body in foreign("scamper").items() if name.endswith((".json", ".jsonl"))}


@cache
def from_warts() -> dict[str, bytes]:
    """The warts files as scamper's own program prints them in JSON; without it the test is skipped."""
    program = which("sc_warts2json")
    if program is None:
        raise SkipTest("sc_warts2json is not installed (Debian: scamper)")
    printed = {}
    for name, body in foreign("scamper").items():
        if name.endswith(".warts"):
            printed[name] = subprocess.run([program], input=body, capture_output=True, check=True).stdout
    return printed


class DataTests(SynchronousTestCase):
    """Every file of ../shared/data/raw/scamper."""

    def test_each_file_is_what_a_recount_finds(self) -> None:
        for name, body in written().items():
            self.assertEqual(counted(SCAMPER.read(body)), recount(body), name)

    def test_each_warts_file_is_what_a_recount_finds(self) -> None:
        found = []
        for name, body in from_warts().items():
            found += list(SCAMPER.read(body))
            self.assertEqual(counted(SCAMPER.read(body)), recount(body), name)
        traces = [item for item in found if isinstance(item, PingResult) and item.traceroute is not None]
        self.assertEqual(len(traces), 1000 + 5)
        completed = [item.ip for item in traces if item.traceroute is not None and item.traceroute.completed]
        self.assertEqual(completed, ["127.0.0.1", "127.0.0.1", "8.8.8.8", "2001:4860:4860::8888"])

    def test_a_trace_without_a_start_has_the_time_of_its_first_hop(self) -> None:
        for item in SCAMPER.read(from_warts()["pantrace-trace.warts"]):
            assert isinstance(item, PingResult)
            self.assertNotIn("::ffff:", item.ip)
            self.assertGreater(item.timestamp, "2021")

    def test_what_is_neither_a_trace_nor_a_ping_is_told(self) -> None:
        reasons = [
            item.reason for body in written().values() for item in SCAMPER.read(body) if isinstance(item, Unread)
        ]
        self.assertEqual(sum("tracelb is not supported" in reason for reason in reasons), 11)
        self.assertEqual(sum("no type" in reason for reason in reasons), NO_TRACE)
        self.assertEqual(sum("JSON is malformed" in reason for reason in reasons), 2)

    def test_each_file_is_claimed(self) -> None:
        unclaimed = {name for name, body in written().items() if not SCAMPER.claims(body)}
        parsed = {name for name in unclaimed if name.endswith(".json")}
        self.assertEqual(len(parsed), NO_TRACE)
        self.assertEqual(unclaimed - parsed, {"mlab-etl-scamper1-badformat.jsonl"})

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_a_damaged_one_is_read_or_refused(self, data: st.DataObject) -> None:
        body = data.draw(mutated(list(written().values())))
        SCAMPER.claims(body)
        try:
            found = list(SCAMPER.read(body))
        except NotOfThisFormat:
            return
        self.assertLessEqual(sum(count.replies for count in counted(found)), body.count(b'"rtt"'))
