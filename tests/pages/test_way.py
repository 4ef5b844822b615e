"""What `way.js` promises of rows of /trace, by node; without node these tests are skipped and say so."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.pages.test_pages import STATIC

TARGET = "203.0.113.9"
_SCRIPT = """
import(`data:text/javascript,${encodeURIComponent(process.argv[1])}`).then(({ wayOf, whereLossBegins }) => {
  const [rows, names, target] = JSON.parse(process.argv[2]);
  const way = wayOf(rows, names && new Set(names), target);
  console.log(JSON.stringify({ way, begins: whereLossBegins(way) }));
});
"""


def hop(ttl: int, replies: int, ip: str = "", sent: int = 10, route: str | None = "a", rtt: int = 1) -> dict[str, Any]:
    """A row of /trace, at which one address or none replied."""
    return {
        "route": route, "ttl": ttl, "sent": sent, "replies": replies,
        "addresses": [{"ip": ip or f"192.0.2.{ttl}", "count": replies}] if replies else [],
        "rtt_min_ns": rtt if replies else None, "rtt_p50_ns": rtt if replies else None,
        "rtt_max_ns": rtt if replies else None,
    }  # fmt: skip


class WayTests(SynchronousTestCase):
    def way(self, *rows: dict[str, Any], names: tuple[str, ...] | None = ("a",)) -> dict[str, Any]:
        node = shutil.which("node")
        if node is None:
            raise SkipTest("node is not installed (Debian: nodejs)")
        source, asked = (STATIC / "way.js").read_text(), json.dumps([rows, names, TARGET])
        said = subprocess.run([node, "-e", _SCRIPT, source, asked], check=True, capture_output=True, timeout=60).stdout
        found: dict[str, Any] = json.loads(said)
        return found

    def test_loss_begins_at_the_first_hop_from_which_it_goes_on_to_the_target(self) -> None:
        rows = [hop(1, 10), hop(2, 3), hop(3, 10), hop(4, 7), hop(5, 7), hop(6, 7, TARGET)]
        self.assertEqual({"place": 3, "after": 2}, self.way(*rows)["begins"])

    def test_a_hop_that_seldom_replies_is_not_where_loss_begins(self) -> None:
        rows = [hop(1, 10), hop(2, 0), hop(3, 1), hop(4, 7), hop(5, 7, TARGET)]
        self.assertEqual({"place": 3, "after": 0}, self.way(*rows)["begins"])

    def test_a_probe_or_two_that_were_lost_are_chance(self) -> None:
        self.assertIsNone(self.way(hop(1, 10), hop(2, 8), hop(3, 8, TARGET))["begins"])
        self.assertIsNotNone(self.way(hop(1, 3, sent=3), hop(2, 1, TARGET, sent=3))["begins"])

    def test_loss_on_the_way_alone_is_none(self) -> None:
        self.assertIsNone(self.way(hop(1, 4), hop(2, 0), hop(3, 10, TARGET))["begins"])

    def test_where_nothing_replies_any_more_some_silent_hops_are_left_to_be_seen(self) -> None:
        found = self.way(hop(1, 10), hop(2, 10), *[hop(ttl, 0) for ttl in range(3, 30)])
        self.assertEqual([1, 2, 3, 4, 5], [each["ttl"] for each in found["way"]])
        self.assertEqual({"place": 2, "after": 1}, found["begins"])

    def test_a_way_ends_with_the_target(self) -> None:
        found = self.way(hop(1, 10), hop(2, 10, TARGET), hop(3, 0, sent=2))
        self.assertEqual([1, 2], [each["ttl"] for each in found["way"]])

    def test_routes_that_are_one_are_counted_together(self) -> None:
        rows = [
            hop(1, 3, sent=3, rtt=5), hop(1, 8, sent=9, route="b", rtt=7), hop(1, 50, sent=50, route="c"),
            hop(1, 61, sent=62, route=None),
        ]  # fmt: skip
        (both,) = self.way(*rows, names=("a", "b"))["way"]
        self.assertEqual(
            (12, 11, 5, 7, 7), tuple(both[name] for name in ("sent", "replies", "least", "median", "most"))
        )
        (every,) = self.way(*rows, names=None)["way"]
        self.assertEqual((62, 61), (every["sent"], every["replies"]))
