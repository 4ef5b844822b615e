"""What `outputd.metrics` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.api.metrics import Metrics
from outputd.intake.counters import Stats
from outputd.results.rows import Batch
from outputd.store.writer import Written
from outputd.web.doors import REASONS, Doors

THE_SPEC = """\
# HELP output_service_total_results Total number of results processed
# TYPE output_service_total_results counter
output_service_total_results 15420

# HELP output_service_successful_pings Total successful pings
# TYPE output_service_successful_pings counter
output_service_successful_pings 14890

# HELP output_service_failed_pings Total failed pings
# TYPE output_service_failed_pings counter
output_service_failed_pings 530
"""


class MetricsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.stats = Stats(results=15_420, successful=14_890, hops_discovered=2341, hops_sent=2340)
        self.metrics = Metrics(self.stats)
        self.metrics.show({"queue_posts": ("POSTs that no commit has taken yet", lambda: 7.0)})

    def text(self) -> str:
        return self.metrics.text().decode()

    def value(self, line: str) -> float:
        (found,) = re.findall(f"(?m)^{re.escape(line)} (.*)$", self.text())
        return float(found)

    def test_it_begins_with_the_spec_s_lines_to_the_letter(self) -> None:
        """Rule 22."""
        self.assertTrue(self.text().startswith(THE_SPEC), self.text()[:600])

    def test_the_five_counters_have_no_further_total(self) -> None:
        """Rule 22."""
        for name, value in {
            "total_results": 15420, "successful_pings": 14890, "failed_pings": 530, "hops_discovered": 2341,
            "hops_sent": 2340,
        }.items():  # fmt: skip
            full = f"output_service_{name}"
            self.assertEqual(re.findall(f"(?m)^{full} .*$", self.text()), [f"{full} {value}"])
            self.assertEqual(re.findall(f"(?m)^# TYPE {full} .*$", self.text()), [f"# TYPE {full} counter"])
            self.assertEqual(len(re.findall(f"(?m)^# HELP {full} .+$", self.text())), 1)
            self.assertNotIn(f"{full}_total", self.text())
            self.assertNotIn(f"{full}_created", self.text())

    def test_no_name_is_told_twice(self) -> None:
        """Rule 22: a scrape with a name twice is refused whole."""
        names = re.findall(r"(?m)^# TYPE (\S+)", self.text())
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_it_ends_with_a_line_feed_and_has_no_other_ends_of_lines(self) -> None:
        """Rule 22: the text format."""
        self.assertTrue(self.text().endswith("\n"))
        self.assertNotIn("\r", self.text())

    def test_what_is_measured(self) -> None:
        """Rule 22: histograms of request and commit time and of batch size."""
        self.metrics.observe_request(0.02)
        self.metrics.observe_commit(Written(0.03, 0.01, 8192, 0), 5)
        self.metrics.observe_commit(Written(0.03, 0.01, 8192, 0), 0)
        self.assertEqual(self.value("output_service_request_duration_seconds_count"), 1)
        self.assertEqual(self.value("output_service_request_duration_seconds_sum"), 0.02)
        self.assertEqual(self.value("output_service_commit_duration_seconds_count"), 2)
        self.assertEqual(self.value("output_service_commit_posts_sum"), 5)
        self.assertEqual(self.value("output_service_commit_posts_count"), 1)

    def test_gauges_are_read_when_asked_for(self) -> None:
        """Rule 22."""
        self.assertEqual(self.value("output_service_queue_posts"), 7)

    def test_room_on_the_disk_is_not_a_number_until_it_is_known(self) -> None:
        self.assertNotEqual(self.value("output_service_disk_free_bytes"), self.value("output_service_disk_free_bytes"))
        self.metrics.observe_disk(5e9)
        self.assertEqual(self.value("output_service_disk_free_bytes"), 5e9)

    def test_who_was_turned_away_by_port_and_reason(self) -> None:
        """Rule 22: closed sets of our own."""
        doors: Doors[Any] = Doors("the health port", lambda: 0.0)
        self.metrics.show_doors({"health": doors})
        doors.make_room([], 1000, "")
        name = "output_service_turned_away_connections_total"
        told = {reason: self.value(f'{name}{{port="health",reason="{reason}"}}') for reason in REASONS}
        self.assertEqual({**dict.fromkeys(REASONS, 0), "full": 1}, told)

    def test_rejects_by_reason(self) -> None:
        """Rule 22."""
        batch = Batch("2026-01-07 22:30:45", accepted=1, successful=1)
        batch.rejected_by_field = {"traceroute.hops.ttl": 3, "item": 1}
        self.stats.count(batch)
        self.assertEqual(self.value('output_service_rejected_items_total{reason="traceroute.hops.ttl"}'), 3)
        self.assertEqual(self.value('output_service_rejected_items_total{reason="item"}'), 1)

    def test_the_build_and_its_sqlite_are_named(self) -> None:
        """Rule 22."""
        self.assertRegex(self.text(), r'output_service_build_info\{[^}]*sqlite="3\.[0-9.]+"[^}]*\} 1')

    def test_the_process_is_measured(self) -> None:
        """Rule 22."""
        self.assertGreater(self.value("process_resident_memory_bytes"), 1e6)

    def test_only_closed_sets_of_our_own_are_labels(self) -> None:
        """Rule 22: nothing that a client sends."""
        self.test_rejects_by_reason()
        labels = set(re.findall(r'(\w+)="', self.text()))
        self.assertEqual(labels - {"le", "version", "sqlite", "python", "twisted"}, {"reason", "kind", "format"})

    def test_promtool_has_nothing_against_what_is_not_the_spec_s(self) -> None:
        """Rule 22: the spec's five names lack `_total`, all else is conventional. The program may be missing."""
        if shutil.which("promtool") is None:
            self.skipTest("promtool is not installed")
        self.metrics.observe_request(0.02)
        self.test_rejects_by_reason()
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=self.metrics.text(), capture_output=True, check=False
        )  # fmt: skip
        ours = [
            line
            for line in (done.stdout + done.stderr).decode().splitlines()
            if not re.match(
                r"output_service_(total_results|successful_pings|failed_pings|hops_discovered|hops_sent)\b.*_total",
                line,
            )
        ]
        self.assertEqual(ours, [])
