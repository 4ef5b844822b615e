"""What we give operators of Prometheus and Grafana: checked by promtool, and run by a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import urllib.parse
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.harness import CHECKOUT, HOST, Outputd, SystemTest, free_port
from tests.system.load import Source
from tests.system.waiting import DEADLINE_S, wait_until

MONITORING = CHECKOUT / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
UNIT_TESTS = yaml.safe_load((MONITORING / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
BAD = {"ip": "no address", "sent": 1, "received": 1, "timestamp": "2026-01-07T22:30:00Z"}
METRIC = re.compile(r"\b(output_service_\w+|process_\w+)")


def tool(name: str) -> str:
    """A program of Prometheus; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"{name} is not here; on Debian it is in the package prometheus")
    return found


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions(range_: str = "5m") -> dict[str, str]:
    """Every expression of the dashboard with its variables filled in, by panel and letter."""
    found = {
        f"{panel['title']}, {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]
    }
    found |= {note["name"]: note["expr"] for note in DASHBOARD["annotations"]["list"]}
    return {
        name: expression.replace("$__rate_interval", range_).replace("$job", "outputd").replace("$instance", ".+")
        for name, expression in found.items()
    }


def with_figures(outputd: Outputd) -> None:
    """Let every kind of figure have a value."""
    posted = outputd.post(Source(10).post(200).body)
    assert posted.status == 200, posted
    assert outputd.post([BAD]).status == 422


class FileTests(SystemTest):
    def promtool(self, *arguments: str | Path) -> str:
        """What promtool says when all is right."""
        done = subprocess.run(
            [tool("promtool"), *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=600, check=False
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def test_the_rules_and_the_scrape_config_are_sound(self) -> None:
        self.assertIn(f"{len(RULES)} rules found", self.promtool("check", "rules", "alerts.yml"))
        self.promtool("check", "config", "prometheus.yml")

    def test_compose_is_sound_and_has_what_prometheus_and_grafana_need(self) -> None:
        compose = shutil.which("docker-compose")
        if compose is None:
            raise SkipTest("docker-compose is not here; on Debian it is in the package of that name")
        done = subprocess.run(
            [compose, "config"], cwd=CHECKOUT, capture_output=True, text=True, timeout=600, check=False
        )
        self.assertEqual(0, done.returncode, done.stderr)
        services = yaml.safe_load(done.stdout)["services"]
        self.assertEqual({"outputd", "prometheus", "grafana"}, set(services))
        mounted = {
            inside.removesuffix(":ro"): CHECKOUT / here
            for volume in yaml.safe_load((CHECKOUT / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
            for here, inside in (mount.split(":", 1) for mount in volume["volumes"])
            if here.startswith("./")
        }
        self.assertEqual([], [str(path) for path in mounted.values() if not path.is_file()])
        self.assertIn("/var/lib/grafana/dashboards/outputd.json", mounted)
        provider = yaml.safe_load(mounted["/etc/grafana/provisioning/dashboards/outputd.yml"].read_text("utf-8"))
        self.assertEqual("/var/lib/grafana/dashboards", provider["providers"][0]["options"]["path"])
        source = yaml.safe_load(mounted["/etc/grafana/provisioning/datasources/outputd.yml"].read_text("utf-8"))
        self.assertEqual("http://prometheus:9090", source["datasources"][0]["url"])

    def test_the_prometheus_of_compose_has_the_rules(self) -> None:
        made = Path(self.mktemp()).absolute()
        made.mkdir()
        shutil.copy(MONITORING / "compose" / "prometheus.yml", made)
        shutil.copy(MONITORING / "alerts.yml", made)
        self.promtool("check", "config", made / "prometheus.yml")

    def test_the_alerts_fire_when_they_must_and_not_before(self) -> None:
        self.promtool("test", "rules", "alerts.test.yml")

    def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(self) -> None:
        cases = [case for test in UNIT_TESTS for case in test["alert_rule_test"]]
        alerts = [rule["alert"] for rule in RULES]
        self.assertEqual(len(alerts), len(set(alerts)))
        self.assertEqual(set(alerts), {case["alertname"] for case in cases if case["exp_alerts"]})
        self.assertEqual(set(alerts), {case["alertname"] for case in cases if not case["exp_alerts"]})

    def test_each_alert_says_how_urgent_it_is_and_what_to_do(self) -> None:
        for rule in RULES:
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"), rule["alert"])
            self.assertEqual({"summary", "description"}, set(rule["annotations"]), rule["alert"])

    def test_the_expressions_of_the_dashboard_are_sound(self) -> None:
        """As recording rules, which promtool can check."""
        expressions = dashboard_expressions()
        self.assertGreater(len(expressions), 30)
        rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions.values())]
        made = Path(self.mktemp()).absolute()
        made.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
        self.assertIn(f"{len(rules)} rules found", self.promtool("check", "rules", made))

    def test_the_dashboard_is_laid_out_without_gap_of_sense(self) -> None:
        """Each panel has its id, its unit and room of its own; its source is the reader's choice."""
        ids = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken: dict[tuple[int, int], str] = {}
        for panel in DASHBOARD["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertNotIn((x, y), taken, f"{panel['title']} lies on {taken.get((x, y))}")
                    taken[x, y] = panel["title"]
        for panel in panels():
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertEqual("${datasource}", panel["datasource"]["uid"])
        used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(DASHBOARD)))
        self.assertEqual({variable["name"] for variable in DASHBOARD["templating"]["list"]}, used)

    def test_every_metric_that_is_named_exists(self) -> None:
        """In the /metrics of a running service."""
        outputd = self.outputd().start()
        with_figures(outputd)
        there = set(re.findall(r"(?m)^(\w+)[{ ]", outputd.get("/metrics").body.decode()))
        texts = [rule["expr"] for rule in RULES] + list(dashboard_expressions().values())
        texts += [series["series"] for test in UNIT_TESTS for series in test["input_series"]]
        texts += [variable["query"] for variable in DASHBOARD["templating"]["list"]]
        named = {name for text in texts for name in METRIC.findall(text)}
        self.assertGreater(len(named), 30)
        self.assertEqual(set(), named - there)


@long(
    "tests.api.test_health.Checks.test_a_ledger_that_fails_is_the_database_s",
    "tests.system.test_monitoring.FileTests.test_the_alerts_fire_when_they_must_and_not_before",
)
class LedgerTests(SystemTest):
    def test_storing_is_0_too_while_the_ledger_cannot_be_written(self) -> None:
        """POSTs are answered 503 then, so the alert must come."""
        outputd = self.outputd().start()
        with_figures(outputd)
        self.assertIn("\noutput_service_storing 1.0\n", outputd.get("/metrics").body.decode())
        with closing(sqlite3.connect(self.directory / "hops.sqlite3", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            self.assertEqual(200, outputd.post(Source(10).post(200).body).status)
            wait_until(lambda: b"\noutput_service_storing 0.0\n" in outputd.get("/metrics").body, "storing is 0")
            self.assertEqual(503, outputd.post(Source(10).post(1).body).status)
        wait_until(lambda: b"\noutput_service_storing 1.0\n" in outputd.get("/metrics").body, "storing is 1 again")
        self.assertIn("\noutput_service_refused_posts_total 1.0\n", outputd.get("/metrics").body.decode())


class PrometheusTests(SystemTest):
    """A real Prometheus that scrapes a real service, with our configuration on a faster clock."""

    def setUp(self) -> None:
        super().setUp()
        program = tool("prometheus")
        self.input_service_ = self.input_service().open()
        self.served = self.outputd(input_url=self.input_service_.url).start()
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True)
        text = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
        for ours, theirs in (
            ("localhost:8091", f"{HOST}:{self.served.health_port}"),
            ("_interval: 15s", "_interval: 1s"),
            ("alerts.yml", str(MONITORING / "alerts.yml")),
        ):
            self.assertIn(ours, text)
            text = text.replace(ours, theirs)
        (place / "prometheus.yml").write_text(text, encoding="utf-8")
        self.port = free_port()
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
                 f"--web.listen-address={HOST}:{self.port}"],
                cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://{HOST}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        try:
            return [float(sample["value"][1]) for sample in self.ask("query", query=expression)["result"]]
        except OSError:
            return []

    def evaluated(self) -> list[Any] | None:
        """The rules, once Prometheus knows of each how it is."""
        rules: list[Any] = self.ask("rules")["groups"][0]["rules"]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    def has_grown(self, expression: str, before: list[float]) -> bool:
        return self.values(expression) > before

    def test_every_panel_shows_something_and_no_alert_fires_while_all_is_well(self) -> None:
        source = Source(5)
        for _ in range(4):  # so that rates have something to tell
            done = self.values("output_service_total_results")
            self.assertEqual(200, self.served.post(source.post(20).body).status)
            wait_until(partial(self.has_grown, "output_service_total_results", done), "scraped")
        self.assertEqual(422, self.served.post([BAD]).status)
        wait_until(lambda: self.values("output_service_rejected_items_total"), "the reject scraped")
        unseen = dashboard_expressions("30s")
        unseen.pop("Starts")  # it has not started again
        wait_until(lambda: self._see(unseen), "data for every panel")
        self.assertEqual([1.0], self.values("output_service_feed_enabled"))
        rules = wait_until(self.evaluated, "each rule is evaluated")
        self.assertEqual(len(RULES), len(rules))
        self.assertEqual({"ok"}, {rule["health"] for rule in rules}, rules)
        self.assertEqual([], [rule["name"] for rule in rules if rule["state"] == "firing"])

    @long("tests.system.test_monitoring.FileTests.test_the_alerts_fire_when_they_must_and_not_before")
    def test_a_service_that_has_gone_is_down(self) -> None:
        wait_until(lambda: self.values('up{job="outputd"}') == [1.0], "scraped")
        self.served.kill()
        told = wait_until(lambda: [alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"]], "an alert")
        self.assertEqual(["OutputdDown"], told)

    def _see(self, unseen: dict[str, str]) -> bool:
        for name, expression in list(unseen.items()):
            if self.values(expression):
                del unseen[name]
        return not unseen
