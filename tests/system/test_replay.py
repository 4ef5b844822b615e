"""Real results come in over HTTP, and the tables and input_service get exactly what was in them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system import counts
from tests.system.addresses import canonical, feedable_hops
from tests.system.files import all_faults, merged
from tests.system.harness import SystemTest
from tests.system.load import Result, Source
from tests.system.shared import replay
from tests.system.waiting import wait_until


class ReplayTests(SystemTest):
    def test_generated(self) -> None:
        """Rules 2, 3, 4, 7, 17: of bodies that need no shared data, every count is met."""
        source = Source(1)
        self._replay([source.post(size).body for size in (1, 7, 100, 250, 3, 40)])

    def test_small(self) -> None:
        """Rules 2, 3, 4, 7, 17: as above, 500 real results."""
        self._replay_set("small")

    def test_medium(self) -> None:
        """Rules 2, 3, 4, 7, 17: as above, 10,000 real results."""
        self._replay_set("medium")

    @long(
        "tests.system.test_replay.ReplayTests.test_medium",
        "tests.results.test_parse.Fields.test_hops_keep_their_order_gaps_and_repetitions",
    )
    def test_multi_entries_per_ttl(self) -> None:
        """Rule 2: several hop rows may have one ttl."""
        self._replay_set("multi_entries_per_ttl")

    @long(
        "tests.system.test_replay.ReplayTests.test_medium",
        "tests.results.test_parse.Fields.test_an_rtt_of_0_is_an_rtt",
    )
    def test_paths_no_rtt(self) -> None:
        """Rule 2: an rtt of 0 is an rtt."""
        self._replay_set("paths_no_rtt")

    def test_large(self) -> None:
        """Rules 2, 3, 4, 7, 17: 130,473 real results."""
        if not os.environ.get("OUTPUTD_LARGE"):
            raise SkipTest("large takes a while: OUTPUTD_LARGE=1 asks for it")
        self._replay_set("large")

    def _replay_set(self, name: str) -> None:
        data = replay(name)
        bodies = [json.loads(body) for body in data.bodies]
        ipv6 = {result["ip"] for body in bodies for result in body if ":" in result["ip"]}
        hops = {hop["ip"] for body in bodies for hop in _hops(body) if hop.get("ip")}
        expected = data.expected  # counts these two as they were sent; ::ffff:192.0.2.1 is stored as 192.0.2.1
        self.assertEqual((expected["distinct_ipv6_targets"], expected["distinct_hop_ips"]), (len(ipv6), len(hops)))
        answered = self._replay(data.bodies)
        for key in (expected.keys() & answered.keys()) - {"distinct_ipv6_targets"}:
            self.assertEqual(expected[key], answered[key], key)
        nothing = expected["hops_null"] + expected["hops_empty"]
        self.assertEqual(nothing, answered["traceroutes_without_hops"])
        self.assertEqual({canonical(hop) for hop in hops}, answered["hops"])

    def _replay(self, sent: Sequence[bytes]) -> dict[str, Any]:
        """Post the bodies from four connections; returns what the tables say, once it was found to be right."""
        bodies: list[list[Result]] = [json.loads(body) for body in sent]
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url).start()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(outputd.post, sent))
        wanted = [(200, {"status": "ok", "received": len(body)}) for body in bodies]
        self.assertEqual(wanted, [(answer.status, answer.json) for answer in answers])

        fed = feedable_hops(result for body in bodies for result in body)
        self.assertGreater(len(fed), 0)
        wait_until(lambda: outputd.stats["hops_sent"] >= len(fed), f"{len(fed)} hops sent", 60)
        self.assertEqual(dict.fromkeys(fed, 1), dict(input_service.taken))
        stats = outputd.stats
        self.assertEqual((len(fed), len(fed)), (stats["hops_discovered"], stats["hops_sent"]))
        self.assertStopped(outputd.stop())

        self.assertEqual([], all_faults(self.directory))
        with merged(self.directory) as db:
            answered = counts.of_tables(db)
        self.assertEqual(counts.of_results(bodies), answered)
        self.assertEqual(
            [answered[name] for name in ("results", "successful", "failed")],
            [stats[name] for name in ("total_results", "successful_pings", "failed_pings")],
        )
        return answered


def _hops(results: Sequence[Result]) -> list[Result]:
    return [hop for result in results for hop in (result.get("traceroute") or {}).get("hops") or ()]
