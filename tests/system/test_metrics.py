"""/metrics says what the spec says, to the letter, and the rest as Prometheus wants it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess

from twisted.trial.unittest import SkipTest

from tests.system.addresses import feedable_hops
from tests.system.harness import Outputd, SystemTest
from tests.system.load import Source
from tests.system.waiting import wait_until

SPEC_NAMES = ("total_results", "successful_pings", "failed_pings", "hops_discovered", "hops_sent")
SPEC_LINES = """\
# HELP output_service_total_results Total number of results processed
# TYPE output_service_total_results counter
output_service_total_results {total_results}

# HELP output_service_successful_pings Total successful pings
# TYPE output_service_successful_pings counter
output_service_successful_pings {successful_pings}
"""
BAD = {"ip": "secret-target", "sent": 1, "received": 1, "timestamp": "2026-01-07T22:30:00Z"}
TRACED = {**BAD, "ip": "192.0.2.1", "traceroute": {"method": "secret-method", "hops": [{"ttl": 1, "ip": "secret-hop"}]}}


class MetricsTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.post = Source(10).post(200)

    def test_spec_lines(self) -> None:
        """Rule 22: the spec's five counters with their HELP and TYPE lines, and the values of /stats."""
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url).start()
        self.assertIn("\noutput_service_total_results 0\n", _text(outputd))
        self.assertEqual(200, outputd.post(self.post.body).status)
        hops = len(feedable_hops(self.post.results))
        wait_until(lambda: outputd.stats["hops_sent"] == hops, "all hops sent")
        text, stats = _text(outputd), outputd.stats
        received = [result["received"] > 0 for result in self.post.results]
        values = (200, received.count(True), received.count(False), hops, hops)
        self.assertEqual(dict(zip(SPEC_NAMES, values, strict=True)), {name: stats[name] for name in SPEC_NAMES})
        self.assertTrue(text.startswith(SPEC_LINES.format(**stats)), text[:500])
        for name, value in zip(SPEC_NAMES, values, strict=True):
            full = f"output_service_{name}"
            self.assertRegex(text, rf"(?m)^# HELP {full} \S.*\n# TYPE {full} counter\n{full} {value}$")
            self.assertNotIn(f"{full}_", text)

    def test_the_rest(self) -> None:
        """Rule 22: promtool finds nothing to say about all lines but the spec's five."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not here; on Debian it is in the package prometheus")
        outputd = self.outputd().start()
        self._make_figures(outputd)
        ours = re.compile(rf"^(# (HELP|TYPE) )?output_service_({'|'.join(SPEC_NAMES)}) ")
        rest = "\n".join(line for line in _text(outputd).splitlines() if line and not ours.match(line)) + "\n"
        self.assertGreater(rest.count("# TYPE"), 10)
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=rest, capture_output=True, text=True, timeout=600, check=False
        )
        self.assertEqual((0, "", ""), (checked.returncode, checked.stdout, checked.stderr))

    def test_what_there_is(self) -> None:
        """Rule 22: histograms, gauges, rejects by reason, versions, the process; nothing a client sent is a label."""
        outputd = self.outputd().start()
        self._make_figures(outputd)
        text = _text(outputd)
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        for kind, words in {"histogram": ("request", "commit", "post|batch"),
                            "gauge": ("queue", "backlog", "size", "wal", "age", "build_info")}.items():  # fmt: skip
            for word in words:
                named = [
                    name for name in kinds if kinds[name] == kind and re.search(f"output_service_.*({word})", name)
                ]
                self.assertTrue(named, f"no {kind} of {word} in {kinds}")
        self.assertRegex(text, r'(?m)^output_service_\w+\{.*reason="[^"]+".*\} 1(\.0)?$')
        self.assertIn(f'sqlite="{sqlite3.sqlite_version}"', text)
        self.assertIn("\nprocess_resident_memory_bytes ", text)
        self.assertNotIn("secret", text)

    def test_text_for_everybody(self) -> None:
        """Rule 22: it stays text/plain when OpenMetrics is asked for, where a counter needs its `_total`."""
        outputd = self.outputd().start()
        for accept in ("*/*", "application/openmetrics-text; version=1.0.0"):
            answer = outputd.get("/metrics", Accept=accept)
            self.assertEqual((200, "text/plain"), (answer.status, answer.headers["Content-Type"].split(";")[0]))

    def _make_figures(self, outputd: Outputd) -> None:
        """Let every kind of figure have a value; what is a client's bears the word secret."""
        self.assertEqual(200, outputd.post(self.post.body).status)
        self.assertEqual(422, outputd.post([BAD], x_ping_node="secret-node").status)
        self.assertEqual(200, outputd.post([TRACED], idempotency_key="secret-key").status)
        self.assertEqual(404, outputd.get("/secret-path").status)


def _text(outputd: Outputd) -> str:
    return outputd.get("/metrics").body.decode()
