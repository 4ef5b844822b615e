"""Of reports that were cut, doubled, shuffled or recoded, a reader invents nothing: it says what it cannot read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.formats import BY_NAME
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Unread
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.model import PingResult
from tests.formats.test_fping import PER_PROBE, STATISTICS, SUMMARY
from tests.formats.test_globalping import a_measurement, a_ping
from tests.formats.test_globalping import a_trace as a_globalping_trace
from tests.formats.test_mtr import a_hub
from tests.formats.test_mtr import a_report as a_report_of_mtr
from tests.formats.test_perfsonar import RTT, a_run, a_trace
from tests.formats.test_trippy import a_hop
from tests.formats.test_trippy import a_report as a_report_of_trippy
from tests.kit.properties import given, settings
from tests.system.shared import DATA


def text(*documents: object) -> bytes:
    return "\n".join(json.dumps(document, indent=1) for document in documents).encode()


BODIES = {
    "mtr": text(a_report_of_mtr(a_hub(1, "10.0.0.1"), a_hub(2, "???"), a_hub(3, "192.0.2.9")), a_report_of_mtr()),
    "fping": PER_PROBE + SUMMARY + STATISTICS + b"192.0.2.7 : 0.1 - 0.2\n"
    b'{"vSum": {"host": "192.0.2.8", "values": [0.1, null]}}\n{"summary": {"host": "::1", "xmt": 2, "rcv": 1}}\n',
    "globalping": text(
        a_measurement(a_ping(), a_globalping_trace({"resolvedAddress": "192.0.2.9", "timings": [{"rtt": 1.5}]}))
    ),
    "perfsonar": text([a_run(RTT, "rtt"), a_run(a_trace([{}, {"ip": "192.0.2.9", "rtt": "PT0.001S"}]))]),
    "trippy": text(a_report_of_trippy(a_hop(1, "10.0.0.1"), a_hop(2), a_hop(3, "192.0.2.9"))),
}
ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp037")
HOSTILE = (
    b"[", b"{", b"}", b"]", b'"', b",", b":", b"\\", b"\0", b"\xff", b"\n", b" ", b"null", b"true", b"-1",
    b"1e999999999", b"0.5", b"NaN", b"99999999999999999999", b'"x"', b"[]", b"{}", b"[" * 3000, b"9" * 5000,
    b"192.0.2.1",
)  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn, body: bytes) -> bytes:
    """A body to which a few things were done."""
    for _ in range(draw(st.integers(1, 4))):
        body = draw(st.sampled_from(CHANGES))(draw, body)
    return body


def _cut(draw: st.DrawFn, body: bytes) -> bytes:
    start, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
    return body[:start] + body[end:]


def _doubled(draw: st.DrawFn, body: bytes) -> bytes:
    start, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
    return body[:end] + body[start:]


def _shuffled(draw: st.DrawFn, body: bytes) -> bytes:
    return b"\n".join(draw(st.permutations(body.split(b"\n"))))


def _recoded(draw: st.DrawFn, body: bytes) -> bytes:
    return body.decode("utf-8", "replace").encode(draw(st.sampled_from(ENCODINGS)), "replace")


def _put_in(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.sampled_from(HOSTILE)) + body[at + draw(st.integers(0, 8)) :]


def _with_another_value(draw: st.DrawFn, body: bytes) -> bytes:
    values = list(re.finditer(rb'(?<=: )("[^"]*"|[\d.]+)', body))
    if not values:
        return body
    value = draw(st.sampled_from(values))
    return body[: value.start()] + draw(st.sampled_from(HOSTILE)) + body[value.end() :]


CHANGES: tuple[Callable[[st.DrawFn, bytes], bytes], ...] = (
    _cut, _doubled, _shuffled, _recoded, _put_in, _with_another_value,
)  # fmt: skip


def mangled_of(name: str) -> st.SearchStrategy[bytes]:
    """Bodies of a format, and those of others where they are at hand, once something was done to them."""
    files = [path.read_bytes() for path in sorted(DATA.glob(f"raw/{name}/*"))]
    return st.sampled_from([BODIES[name]] * max(1, len(files)) + files).flatmap(mangled)


class MangledTest(SynchronousTestCase):
    def check(self, name: str, body: bytes) -> None:
        try:
            found = list(BY_NAME[name].read(body))
        except NotOfThisFormat:
            return
        for item in found:
            if isinstance(item, Unread):
                self.assertTrue(item.reason)
                continue
            self.check_result(item, body)

    def check_result(self, result: PingResult, body: bytes) -> None:
        """A result is one that the native parser would take, and its addresses stand in the body, however spelled."""
        self.assertIn(result.ip, {canonical(spelled.decode()) for spelled in re.findall(rb"[\dA-Fa-f:.]+", body)})
        self.assertTrue(result.timestamp == NO_TIME or timestamps.stored(result.timestamp) is not None)
        numbers = [result.sent, result.received, result.avg_rtt, result.min_rtt, result.max_rtt, result.stddev_rtt]
        for hop in (result.traceroute and result.traceroute.hops) or ():
            numbers.append(hop.rtt)
            self.assertIn(hop.ttl, range(256))
            self.assertIn(json.dumps(hop.ip or "").strip('"').encode(), body)
        for number in numbers:
            self.assertTrue(number is None or 0 <= number <= 2**63 - 1)
        self.assertTrue(result.packet_loss is None or 0 <= result.packet_loss <= 100)

    @given(mangled_of("mtr"))
    @settings(max_examples=100)
    def test_mtr(self, body: bytes) -> None:
        self.check("mtr", body)

    @given(mangled_of("fping"))
    @settings(max_examples=100)
    def test_fping(self, body: bytes) -> None:
        self.check("fping", body)

    @given(mangled_of("globalping"))
    @settings(max_examples=100)
    def test_globalping(self, body: bytes) -> None:
        self.check("globalping", body)

    @given(mangled_of("perfsonar"))
    @settings(max_examples=100)
    def test_perfsonar(self, body: bytes) -> None:
        self.check("perfsonar", body)

    @given(mangled_of("trippy"))
    @settings(max_examples=100)
    def test_trippy(self, body: bytes) -> None:
        self.check("trippy", body)
