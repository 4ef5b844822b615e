"""The pages in a headless Chromium: they draw, live, survive a restart, take strings for text, obey the keyboard."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import subprocess
import tempfile
import time
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from outputd.demo.internet import VANTAGE_POINTS, World
from outputd.results import timestamps
from outputd.security.access import Holder, line_of, new_token
from tests.kit.depth import long, short
from tests.system.browser import ENTER, ESCAPE, LIVE, PHONE, RIGHT, TAB, WIDE, Browser, axe
from tests.system.harness import HOST, Outputd, SystemTest
from tests.system.shared import replay
from tests.system.waiting import DEADLINE_S, wait_until

DAY_S = 86_400
PAGES = ("/", "/targets/{}", "/nodes/fra", "/heat", "/topology")
HOSTILE = "<img src=x onerror=document.body.dataset.hit=1>"


def result(ip: str, ago_s: float = 0, **more: Any) -> dict[str, Any]:
    """A result that was measured a while ago."""
    at = timestamps.printed(timestamps.at(time.time() - ago_s))
    return {"ip": ip, "sent": 4, "received": 4, "avg_rtt": 20_000_000, "timestamp": at, **more}


def traced(ip: str, path: list[str | None], ago_s: float = 0, **more: Any) -> dict[str, Any]:
    """A result with a traceroute over these hops, None a silent one."""
    hops = [
        {"ttl": ttl, "timeout": True} if hop is None else {"ttl": ttl, "ip": hop, "rtt": 1_000_000 * ttl}
        for ttl, hop in enumerate(path, 1)
    ]
    return result(ip, ago_s, traceroute={"method": "icmp", "completed": True, "hops": hops}, **more)


@cache
def two_days() -> tuple[str, dict[str, bytes]]:
    """The target and the bodies of each node: two days of the demonstration's world."""
    world = World(1)
    targets = world.first_targets(8)
    hours = [time.time() - 3600 * hour for hour in range(48, -1, -4)]
    bodies = {
        node: json.dumps([world.measure(node, target, at) for at in hours for target in targets]).encode()
        for node in VANTAGE_POINTS
    }
    return targets[0], bodies


class Spare:
    """An empty service that starts while the test before it runs: a start takes a second, and most tests want one."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="outputd-pages-"))
        self._count = 0
        self._next = self._launched()
        atexit.register(self._close)

    @classmethod
    @cache
    def shared(cls) -> Spare:
        """The one of this process."""
        return cls()

    def take(self) -> Outputd:
        """A service of one's own."""
        taken, self._next = self._next, self._launched()
        return taken

    def _launched(self) -> Outputd:
        self._count += 1
        return Outputd(self._directory / str(self._count), "--input-url=").launch()

    def _close(self) -> None:
        self._next.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


class PagesTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.browser = Browser.shared()
        self.addCleanup(self.browser.driver.get, "about:blank")
        self.service = self.watched(Spare.shared().take()).ready()

    def open(self, path: str = "/") -> Browser:
        """A page of the service, once it hears the news."""
        self.browser.open(f"http://{HOST}:{self.service.health_port}{path}")
        self.browser.wait(LIVE)
        return self.browser

    def post(self, *results: dict[str, Any], node: str = "ams") -> None:
        self.assertEqual(200, self.service.post(list(results), x_ping_node=node).status)

    def fill(self) -> str:
        """Two days of the demonstration's world; one of its targets."""
        target, bodies = two_days()
        for node, body in bodies.items():
            self.assertEqual(200, self.service.post(body, x_ping_node=node).status)
        return target

    def assertNoComplaints(self) -> None:  # in unittest's spelling
        """Neither an error nor a broken policy."""
        self.assertEqual([], self.browser.complaints())


class OverviewTests(PagesTest):
    def test_empty_it_tells_how_to_send_the_first_result_and_the_command_works(self) -> None:
        browser = self.open()
        browser.wait("return document.querySelector('#welcome').getClientRects().length > 0")
        browser.run("document.body.dataset.same = 'yes'")
        command = browser.text("#first-command")
        answer = subprocess.run(["sh", "-c", command], capture_output=True, timeout=DEADLINE_S, check=True).stdout
        self.assertEqual({"status": "ok", "received": 1}, json.loads(answer))
        browser.wait("return document.querySelector('#welcome').hidden")
        browser.wait_text("#nodes", "my-node")
        browser.wait_text("#targets", "192.0.2.1")
        self.assertEqual("yes", browser.run("return document.body.dataset.same"), "it was loaded again")
        self.assertNoComplaints()

    def test_it_shows_what_is_stored_and_goes_on_by_itself(self) -> None:
        self.fill()
        browser = self.open()
        browser.wait_text("#verdict-words", "The collector is well")
        browser.wait("return document.querySelectorAll('#arrivals svg path').length >= 2")
        total = self.service.stats["total_results"]
        browser.wait_text("#tiles", f"{total:,} since the start")
        for node in VANTAGE_POINTS:
            browser.wait_text("#nodes", node)
        self.post(result("203.0.113.9", sent=3, received=0, error="host unreachable"), {"ip": 4})
        browser.wait_text("#tiles", f"{total + 1:,} since the start")
        browser.wait_text("#failures", "host unreachable")
        browser.wait_text("#rejected", "1")
        self.assertNoComplaints()

    def test_files_can_be_had(self) -> None:
        self.post(result("203.0.113.9"))
        self.service.rotate()
        browser = self.open()
        browser.wait("return document.querySelectorAll('#files a').length === 2")
        for address in browser.run("return [...document.querySelectorAll('#files a')].map(a => a.href)"):
            with urlopen(address, timeout=DEADLINE_S) as answer:
                self.assertEqual(b"SQLite format 3\0", answer.read(16), address)

    @long("tests.pages.test_pages.Heads.test_pages_are_for_readers")
    def test_a_reader_is_offered_what_a_reader_may(self) -> None:
        """Rule 25: its token opens every page, and nothing on one leads to a 403."""
        token = new_token()
        tokens = Path(self.mktemp())
        tokens.write_text(line_of(Holder("reader", "otto"), token))
        target = self.fill()
        self.service.stop()
        self.service.start(f"--tokens-file={tokens.absolute()}")
        with self.browser.sending({"Authorization": f"Bearer {token}"}):
            for path in ("/topology", f"/targets/{target}", "/nodes/fra", "/"):
                browser = self.open(path)
                for address in browser.run("return [...document.querySelectorAll('a[href]')].map(a => a.href)"):
                    request = Request(address, headers={"Authorization": f"Bearer {token}"})
                    with urlopen(request, timeout=DEADLINE_S) as answer:
                        self.assertEqual(200, answer.status, address)
                self.assertNoComplaints()
            browser.wait_text("#files", "current")
            browser.wait_text("#targets", target)
            self.assertNotIn("Download", browser.text("#files"))
            self.assertTrue(browser.run("return document.querySelector('#first-steps').hidden"))
            self.assertNoComplaints()

    def test_it_says_what_is_wrong(self) -> None:
        self.service.stop()
        self.service.start("--input-url=http://127.0.0.1:9/hops")
        self.post(traced("203.0.113.9", ["198.51.100.1"]))
        browser = self.open()
        browser.wait_text("#verdict-words", "with a warning")
        browser.wait_text("#checks [data-state=warn]", "refused")

    def test_it_survives_a_restart_of_the_service(self) -> None:
        self.post(result("203.0.113.9"))
        browser = self.open()
        browser.run("document.body.dataset.same = 'yes'")
        self.assertStopped(self.service.stop())
        browser.wait("return document.getElementById('live').dataset.state === 'away'")
        self.service.start()
        browser.wait(LIVE)
        self.post(result("203.0.113.77"))
        browser.wait_text("#targets", "203.0.113.77")
        self.assertEqual("yes", browser.run("return document.body.dataset.same"))

    def test_it_survives_a_kill(self) -> None:
        browser = self.open()
        self.service.kill()
        browser.wait("return document.getElementById('live').dataset.state === 'away'")
        self.service.start()
        browser.wait(LIVE)

    def test_the_filter_and_the_search_find_targets(self) -> None:
        self.post(result("203.0.113.9"), result("203.0.113.77"), result("2001:db8::77"))
        browser = self.open()
        browser.wait_text("#targets", "203.0.113.9")
        browser.run("document.getElementById('target-filter').focus()")
        browser.press("7", "7")
        browser.wait("return document.querySelectorAll('#targets tbody tr').length === 2")
        browser.run("document.querySelector('#search input').focus()")
        browser.press(*"2001:db8::77", ENTER)
        browser.wait("return location.pathname.endsWith('77')")
        browser.wait_text("#ip", "2001:db8::77")

    def test_only_the_targets_that_are_shown_are_asked_for(self) -> None:
        self.post(*(result(f"203.0.113.{number}") for number in range(20)))
        browser = self.open()
        browser.wait_text("#targets", "1 to 15 of 20")
        self.post(result("198.51.100.7", received=0))
        browser.wait_text("#targets", "1 to 15 of 21")
        self.assertIn("198.51.100.7", browser.text("#targets tbody tr"), "the worst is the first")
        limits = browser.run("""return performance.getEntriesByType("resource").map((each) => new URL(each.name))
            .filter((url) => url.pathname === "/targets").map((url) => url.searchParams.get("limit"))""")
        self.assertEqual({"1", "15"}, {*limits})
        self.assertNoComplaints()


@long(
    "tests.system.test_pages.TargetTests.test_it_draws_smoke_and_routes_of_each_node",
)
class TargetTests(PagesTest):
    def open_filled(self) -> tuple[str, Browser]:
        """A target that all nodes have measured, and its page once all are drawn."""
        ip = self.fill()
        browser = self.open(f"/targets/{ip}")
        browser.wait(
            f"return document.querySelectorAll('#smoke path.line[class*=line-]').length === {len(VANTAGE_POINTS)}"
        )
        return ip, browser

    @short
    def test_it_draws_smoke_and_routes_of_each_node(self) -> None:
        ip, browser = self.open_filled()
        browser.wait("return document.querySelectorAll('#smoke .legend button').length >= 5")
        browser.wait("return document.querySelectorAll('#strips svg rect').length >= 5")
        browser.wait("return document.querySelectorAll('#paths tbody tr').length > 3")
        self.assertEqual(f"{ip} · outputd", browser.driver.title)
        self.assertNoComplaints()

    def test_a_route_change_is_an_edge_and_what_differs_is_marked(self) -> None:
        ip, first, second = "203.0.113.9", "198.51.100.2", "198.51.100.66"
        way = ["10.0.0.1", first, "198.51.100.3", ip]
        silent: list[str | None] = ["10.0.0.1", None, "198.51.100.3", ip]
        other = ["10.0.0.1", second, "198.51.100.3", ip]
        paths: list[list[str | None]] = [[*way], silent, [*way], [*other], [*other], [*way]]
        self.post(*[traced(ip, path, 600 * (9 - place)) for place, path in enumerate(paths)])
        browser = self.open(f"/targets/{ip}")
        browser.wait_text("#routes-words", "2 changes")
        browser.wait_text("#strips", "2 routes")  # a hop that was silent once makes no other route
        browser.wait("return document.querySelectorAll('#paths tr.differs').length")
        marked = browser.run("return [...document.querySelectorAll('#paths tr.differs')].map(row => row.textContent)")
        self.assertEqual(1, len(marked))
        self.assertIn(first, marked[0])
        self.assertIn(second, marked[0])

    def test_the_usual_route_is_the_first_and_its_ttls_are_true(self) -> None:
        ip = "203.0.113.9"
        hops = [{"ttl": 1, "ip": "10.0.0.1", "rtt": 1}, {"ttl": 40, "ip": ip, "rtt": 2}]
        usual = {"method": "icmp", "completed": True, "hops": hops}
        self.post(*[result(ip, 600 + ago, traceroute=usual) for ago in range(3)], traced(ip, ["10.0.0.2", ip]))
        self.open(f"/targets/{ip}").wait_text("#strips", "2 routes")
        heads, ttls = (
            self.browser.run(f"return [...document.querySelectorAll('#paths {cells}')].map(cell => cell.textContent)")
            for cells in ("thead th", "tbody th")
        )
        self.assertEqual([" 3 ", " 1 "], [head[1:4] for head in heads[1:]])
        self.assertTrue(ttls[-1].endswith("40 / 2"), ttls)

    @short
    def test_a_ping_without_reply_has_no_round_trip_time(self) -> None:
        ip = "203.0.113.9"
        self.post(result(ip, 600), node="fra")
        self.post(result(ip, 60, received=0, avg_rtt=0), node="ams")
        browser = self.open(f"/targets/{ip}")
        browser.wait_text("#recent", "fra")
        script = "return [...document.querySelectorAll('#recent tbody td:nth-child(-n+3)')].map(e => e.textContent)"
        self.assertEqual(["ams", "none", "fra", "20\u00a0ms"], browser.run(script))
        browser.wait_text("#tiles .tile", "none")
        self.assertIn("by ams", browser.text("#tiles .tile"))
        self.assertNoComplaints()

    def test_a_question_that_fails_empties_no_part_but_its_own(self) -> None:
        ip = "203.0.113.9"
        self.post(*[traced(ip, ["10.0.0.1", ip], 60 * ago) for ago in range(3)])
        pictures = {
            "/series": "#smoke svg",
            "/paths": "#strips svg",
            "/recent": "#recent tbody",
            "/targets": "#tiles .tile",
        }
        for path, own in pictures.items():
            with self.browser.failing(path):
                self.open(f"/targets/{ip}")
                for other in {*pictures.values()} - {own}:
                    self.browser.wait("return document.querySelector(arguments[0])", other)
                self.browser.wait_text(".failed", "a test has broken it")
                self.assertEqual(1, self.browser.count(".failed"))
                self.assertEqual(0, self.browser.count(own))
        pictures = {"/arrivals": "#arrivals svg", "/nodes": "#nodes tbody", "/targets": "#targets tbody"}
        failing = {
            "/arrivals": 1,
            "/nodes": 2,
            "/targets": 2,
        }  # the verdict on the network counts nodes and targets, too
        for path, own in pictures.items():
            with self.browser.failing(path):
                self.open()
                for other in {*pictures.values()} - {own}:
                    self.browser.wait("return document.querySelector(arguments[0])", other)
                self.browser.wait("return document.querySelectorAll('.failed').length === arguments[0]", failing[path])
                self.assertEqual(0, self.browser.count(own))

    def test_a_part_that_answers_again_says_nothing_more(self) -> None:
        self.post(result("203.0.113.9"))
        with self.browser.failing("/recent"):
            browser = self.open("/targets/203.0.113.9")
            browser.wait_text(".failed", "a test has broken it")
            browser.run("window.mended = true")
            browser.wait("return !document.querySelector('.failed')")
            browser.wait("return document.querySelector('#recent tbody')")

    def test_a_week_with_a_change_of_summer_time_names_each_day_once(self) -> None:
        ip = "203.0.113.9"
        times = [f"2026-{day}T10:00:00Z" for day in ("03-26", "04-01")]  # before and after 29 March in Berlin
        self.post(*({**result(ip), "timestamp": at} for at in times))
        browser = self.open(f"/targets/{ip}")
        browser.wait("return document.querySelector('#smoke svg')")
        labels = browser.run(
            "return [...document.querySelectorAll('#smoke .axis text')].map(e => e.lastChild.textContent)"
        )
        days = [label for label in labels if " " in label and not label.endswith("s")]
        self.assertEqual(["27 Mar", "28 Mar", "29 Mar", "30 Mar", "31 Mar", "1 Apr"], [*dict.fromkeys(days)])
        self.assertEqual(len({*days}), len(days))

    def test_it_grows_when_a_result_about_it_comes(self) -> None:
        self.post(result("203.0.113.9", 60))
        browser = self.open("/targets/203.0.113.9")
        browser.wait_text("#tiles", "1")
        self.post(result("203.0.113.9", received=0, error="gone"))
        browser.wait_text("#recent", "gone")
        browser.wait_text("#tiles", "1 without any reply")

    def test_one_that_nobody_has_measured_says_so_until_somebody_does(self) -> None:
        browser = self.open("/targets/203.0.113.9")
        browser.wait_text("#nothing", "has not been measured yet")
        self.post(result("203.0.113.9"))
        browser.wait("return document.getElementById('nothing').hidden")
        browser.wait("return document.querySelectorAll('#smoke svg').length === 1")
        self.assertNoComplaints()

    def test_nodes_and_spans_are_chosen(self) -> None:
        _, browser = self.open_filled()
        one = "return document.querySelector('figure:has(path.median) .text')?.textContent"
        legend = "[...document.querySelectorAll('#smoke .legend button')]"
        browser.run(f"{legend}.find(b => b.textContent.startsWith('fra')).click()")
        browser.wait(f"{one} === 'fra'")
        browser.run("const node = document.getElementById('node'); node.focus(); node.select()")
        browser.press(*"nyc")
        browser.wait(f"{one} === 'nyc'")
        browser.wait_text("#ways-node", "nyc")
        browser.run("document.getElementById('all-nodes').click()")
        browser.wait(f"return {legend}.length === {len(VANTAGE_POINTS)}")
        browser.run("document.querySelector('#range button[data-span=\"3600\"]').click()")
        browser.wait_text("#smoke", "buckets of 30\u00a0s")

    def test_times_are_the_readers_and_utc_is_at_hand(self) -> None:
        self.post({**result("203.0.113.9"), "timestamp": "2026-01-07T22:30:00.123456789Z"})
        browser = self.open("/targets/203.0.113.9")
        browser.wait_text(
            "#tiles time[datetime='2026-01-07T22:30:00.123456789Z']:not([data-since])",
            "7 Jan 2026, 23:30",
        )
        title = browser.run("return document.querySelector('#tiles time[title]').title")
        self.assertIn("2026-01-07 22:30:00.123456789 UTC", title)
        browser.wait_text("#zone", "Europe/Berlin")


@long(
    "tests.system.test_pages.TopologyTests.test_it_grows_while_somebody_looks",
)
class TopologyTests(PagesTest):
    @short
    def test_it_grows_while_somebody_looks(self) -> None:
        self.post(traced("203.0.113.9", ["10.0.0.1", "198.51.100.2", "203.0.113.9"]))
        browser = self.open("/topology")
        browser.wait_text("#graph-words", "3 addresses, 2 links")
        self.post(traced("203.0.113.10", ["10.0.0.1", "198.51.100.2", "203.0.113.10"]))
        browser.wait_text("#graph-words", "4 addresses, 3 links")
        self.assertTrue(self._is_drawn(browser))
        self.assertNoComplaints()

    def test_an_address_is_chosen_by_keyboard_by_name_and_by_pointer(self) -> None:
        hops = ["198.51.100.1", "198.51.100.2"]
        self.post(*[traced(f"203.0.113.{n}", [*hops, f"203.0.113.{n}"]) for n in range(9)])
        browser = self.open("/topology")
        browser.wait("return document.getElementById('graph').dataset.resting === 'true'")
        browser.run("document.getElementById('graph').focus()")
        browser.press(RIGHT)
        browser.wait_text("#details-title", "198.51.100.2")
        browser.wait_text("#about", "Targets behind it (9)")
        browser.press(ESCAPE)
        browser.wait_text("#details-title", "An address")
        browser.run("document.getElementById('find').focus()")
        browser.press(*"198.51.100.1", ENTER)
        browser.wait_text("#details-title", "198.51.100.1")
        browser.wait_text("#about", "9 times as a hop")
        self.assertEqual("#198.51.100.1", browser.run("return location.hash"))
        browser.run("document.querySelector('#about button').click()")
        browser.wait_text("#details-title", "198.51.100.2")

    def test_how_far_an_address_is_goes_by_the_usual_way(self) -> None:
        """And not by a link that was seen once."""
        for hops in 3 * [["10.0.0.1", "198.51.100.2", "203.0.113.9"]] + [["10.0.0.1", "203.0.113.9"]]:
            self.post(traced("203.0.113.9", [*hops]))
        browser = self.open("/topology")
        browser.wait_text("#graph-words", "3 addresses, 3 links")
        browser.run("document.getElementById('find').focus()")
        browser.press(*"203.0.113.9", ENTER)
        browser.wait_text("#about", "about 2\N{NO-BREAK SPACE}ms from the first hop")

    def test_all_is_in_a_table_too(self) -> None:
        self.post(traced("203.0.113.9", ["10.0.0.1", "198.51.100.2", "203.0.113.9"]))
        browser = self.open("/topology")
        browser.wait_text("#graph-words", "3 addresses")
        browser.run("document.querySelector('#all summary').click()")
        browser.wait("return document.querySelectorAll('#table tbody tr').length === 3")

    def test_it_holds_five_thousand_addresses(self) -> None:
        def address(number: int) -> str:
            return f"10.{number >> 14 & 63}.{number >> 7 & 127}.{number & 127}"

        paths = [[address(n // 64), address(100 + n // 6), address(1100 + n)] for n in range(4200)]
        for begin in range(0, len(paths), 700):
            self.post(*[traced(path[-1], [*path]) for path in paths[begin : begin + 700]])
        browser = self.open("/topology")
        browser.wait("return Number(document.getElementById('graph').dataset.addresses) > 4900", deadline_s=60)
        browser.wait("return document.getElementById('graph').dataset.resting")
        self.assertTrue(self._is_drawn(browser))
        browser.wait_text("#graph-words", "networks")
        browser.run("document.getElementById('graph').focus()")
        browser.press(RIGHT)
        browser.wait_text("#about", "of this network answered")
        browser.press(ENTER)
        browser.wait_text("#about", "Close it")
        browser.wait("return !document.getElementById('close-all').hidden")
        self._find(browser, address(5100))  # hidden in a network
        browser.wait_text("#about", "each node has its own machine")
        self.assertTrue(self._is_in_the_middle(browser))
        self.assertNoComplaints()

    def test_one_beyond_the_links_that_are_drawn_is_found_with_its_neighbours(self) -> None:
        self.post(*[traced("203.0.113.9", ["198.51.100.1", "203.0.113.9"])] * 2)
        self.post(traced("203.0.113.202", ["198.51.100.1", "203.0.113.201", "203.0.113.202"]))
        browser = self.open("/topology")
        browser.wait_text("#graph-words", "4 addresses")
        browser.run("""
            const least = document.getElementById("least");
            least.value = "2";
            least.dispatchEvent(new Event("change"));
        """)
        browser.wait_text("#graph-words", "2 addresses")
        self._find(browser, "203.0.113.201")
        browser.wait_text("#about", "1 times as a hop")
        browser.wait_text("#about", "Before it")
        browser.wait_text("#graph-words", "4 addresses")
        self.assertTrue(self._is_in_the_middle(browser))
        self.assertNoComplaints()

    def test_a_private_address_is_another_machine_for_each_node(self) -> None:
        for number, node in enumerate(("ams", "fra", "nyc")):
            self.post(traced("203.0.113.9", ["192.168.1.1", f"198.51.100.{number}", "203.0.113.9"]), node=node)
        browser = self.open("/topology")
        browser.wait_text("#graph-words", "7 addresses, 6 links")
        self._find(browser, "192.168.1.1 fra")
        browser.wait_text("#about", "each node has its own machine with this address")
        self.assertEqual(1, browser.count("#about li"))

    def test_the_ways_from_a_node_are_layers_by_their_true_ttl(self) -> None:
        self.post(traced("203.0.113.9", ["10.0.0.1", None, "198.51.100.2", "203.0.113.9"]), node="fra")
        self.post(traced("203.0.113.9", ["10.0.0.1", "198.51.100.7", "203.0.113.9"]), node="ams")
        browser = self.open("/topology?node=fra")
        browser.wait_text("#graph-words", "3 addresses at their TTLs")
        self._find(browser, "198.51.100.2")
        browser.wait_text("#about", "at TTL 3")
        browser.run("""
            const from = document.getElementById("from");
            from.value = "ams";
            from.dispatchEvent(new Event("change"));
        """)
        browser.wait_text("#graph-words", "results of ams")
        self._find(browser, "198.51.100.7")
        browser.wait_text("#about", "at TTL 2")
        self.assertEqual("?node=ams", browser.run("return location.search"))
        self.assertNoComplaints()

    def _find(self, browser: Browser, ip: str) -> None:
        """Write an address into the search of the graph."""
        browser.run(
            """
            const find = document.getElementById("find");
            find.value = arguments[0];
            find.dispatchEvent(new Event("change"));
            """,
            ip,
        )
        browser.wait_text("#details-title", ip.partition(" ")[0])

    def _is_in_the_middle(self, browser: Browser) -> bool:
        """Whether a ring in the colour of the text is around the middle of the canvas, once the layout rests."""
        return bool(browser.wait("""
            const canvas = document.getElementById('graph');
            if (canvas.dataset.resting !== 'true') return false;
            const [x, y] = [Math.floor(canvas.width / 2), Math.floor(canvas.height / 2)];
            const ring = canvas.getContext('2d').getImageData(x, y - 20, 1, 20).data;
            for (let dot = 0; dot < ring.length; dot += 4) {
              const isText = Math.abs(ring[dot] - 0x16) < 40 && Math.abs(ring[dot + 1] - 0x22) < 40;
              if (isText && ring[dot + 3] > 200) return true;
            }
            return false;
        """, deadline_s=60))  # fmt: skip

    def test_its_address_may_name_one(self) -> None:
        self.post(traced("203.0.113.9", ["10.0.0.1", "203.0.113.9"]))
        self.open("/topology#10.0.0.1").wait_text("#details-title", "10.0.0.1")

    def _is_drawn(self, browser: Browser) -> bool:
        """Whether something is on the canvas."""
        return bool(browser.wait("""
            const canvas = document.getElementById('graph');
            const dots = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            return dots.some(value => value)
        """))  # fmt: skip


@long(
    "tests.pages.test_pages.Heads.test_what_comes_from_outside_is_text",
)
class HostileTests(PagesTest):
    def test_what_nodes_send_is_text_everywhere(self) -> None:
        hops = [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "ip": HOSTILE}, {"ttl": 3, "ip": "</table><script>1</script>"}]
        trace = {"method": HOSTILE, "completed": True, "error": HOSTILE, "hops": hops}
        bad = {"ip": "1.2.3.4", "sent": 1, HOSTILE: 1}
        for node in (HOSTILE, "&lt;b&gt;", "'\"><b>"):
            self.post(
                result("203.0.113.9", traceroute=trace, error=HOSTILE),
                result("203.0.113.9", 9, received=0, error=HOSTILE),
                result("203.0.113.9", 1800, traceroute={**trace, "hops": hops[::2]}), bad, node=node,
            )  # fmt: skip
        for path, places in (
            ("/", ("#nodes", "#failures", "#targets")),
            ("/targets/203.0.113.9", ("#smoke", "#ways", "#strips", "#paths", "#recent")),
            ("/topology", ()),
        ):
            browser = self.open(path)
            for place in places:
                browser.wait_text(place, HOSTILE)
            self.assertEqual(0, browser.run("return document.querySelectorAll('main img, main script, main b').length"))
            self.assertIsNone(browser.run("return document.body.dataset.hit ?? null"))
            self.assertNoComplaints()


@long(
    "tests.pages.test_pages.Heads.test_a_page_runs_no_script_and_no_style_but_its_own_files",
)
class EverybodyTests(PagesTest):
    """Whoever reads, on whatever."""

    def test_the_keyboard_reaches_all(self) -> None:
        ip = self.fill()
        browser = self.open()
        browser.wait("return document.querySelectorAll('#arrivals svg').length")
        browser.press(TAB)
        self.assertEqual("Skip to the content", browser.focused())
        browser.press(ENTER)
        self.assertEqual("main", browser.focused())
        browser.wait("return document.querySelectorAll('#network-lines a').length")
        browser.press(TAB)
        self.assertEqual("0 targets lost", browser.focused())
        browser.run("document.querySelector('[data-span=\"86400\"]').focus()")
        browser.press(ENTER)
        browser.wait("return document.querySelector('[data-span=\"86400\"]').getAttribute('aria-pressed') === 'true'")
        browser = self.open(f"/targets/{ip}")
        browser.wait("return document.querySelectorAll('#smoke svg').length")
        browser.run("document.querySelector('#smoke svg').focus()")
        browser.press(RIGHT)
        self.assertRegex(browser.text("#smoke [aria-live]"), "all nodes: .* loss")
        self.assertEqual(1, browser.count("#smoke .bubble"))

    def test_light_or_dark_is_the_readers_choice_and_kept(self) -> None:
        shown = "return document.documentElement.dataset.theme"
        browser = self.open()
        self.addCleanup(browser.run, "localStorage.clear()")
        self.assertEqual("light", browser.run(shown))
        browser.look(WIDE, "dark")
        browser.wait(f"{shown} === 'dark'")
        browser.run("""
            const choice = document.getElementById("theme");
            choice.value = "light";
            choice.dispatchEvent(new Event("change"));
        """)
        self.assertEqual("light", browser.run(shown))
        browser = self.open("/topology")
        self.assertEqual("light", browser.run(shown))
        self.assertEqual("light", browser.run("return document.getElementById('theme').value"))
        browser.run("localStorage.clear()")
        browser = self.open()
        self.assertEqual("dark", browser.run(shown))
        browser.run("dispatchEvent(new Event('beforeprint'))")
        self.assertEqual("light", browser.run(shown))
        browser.run("dispatchEvent(new Event('afterprint'))")
        self.assertEqual("dark", browser.run(shown))
        self.assertNoComplaints()

    def test_a_question_mark_shows_the_keys(self) -> None:
        browser = self.open()
        browser.press("?")
        browser.wait("return document.getElementById('keys').open")
        browser.press(ESCAPE)
        browser.wait("return !document.getElementById('keys').open")
        browser.press("/", "?")
        self.assertEqual("?", browser.run("return document.querySelector('#search input').value"))
        self.assertFalse(browser.run("return document.getElementById('keys').open"))
        self.assertNoComplaints()

    def test_paper_has_what_is_read_and_not_what_is_pressed(self) -> None:
        browser = self.open()
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        self.addCleanup(browser.driver.execute_cdp_cmd, "Emulation.setEmulatedMedia", {"media": ""})
        self.assertEqual(0, browser.count(".search, #theme, .range, footer nav"))
        self.assertEqual(1, browser.count("#verdict-words"))

    def test_axe_finds_nothing(self) -> None:
        source = axe()
        for filled in (False, True):
            ip = self.fill() if filled else "203.0.113.9"
            for path in PAGES:
                browser = self.open(path.format(ip))
                self._wait_for_all(filled)
                browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
                browser.run(source)
                for size, scheme in product((WIDE, PHONE), ("light", "dark")):
                    browser.look(size, scheme)
                    all_rules = (size is WIDE) == (scheme == "light")
                    if not (filled or all_rules):
                        continue
                    found = browser.violations() if all_rules else browser.violations("color-contrast")
                    self.assertEqual([], found, (path, size, scheme, filled))

    def test_a_phone_scrolls_in_one_direction_only(self) -> None:
        ip = self.fill()
        self.browser.look(PHONE)
        for path in PAGES:
            browser = self.open(path.format(ip))
            self._wait_for_all(True)
            self.assertLessEqual(browser.run("return document.documentElement.scrollWidth"), PHONE[0], path)

    def test_nobody_else_is_asked_for_anything(self) -> None:
        ip = self.fill()
        for path in PAGES:
            browser = self.open(path.format(ip))
            self._wait_for_all(True)
            names = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
            self.assertTrue(names)
            own = f"http://{HOST}:{self.service.health_port}/"
            self.assertEqual([], [name for name in names if not re.match(rf"{own}|data:", name)])
            self.assertNoComplaints()

    def test_real_results_are_drawn(self) -> None:
        real = replay("medium")
        for body in real.bodies:
            self.service.post(body, x_ping_node="fra")
        targets = wait_until(lambda: self.service.get("/targets").json["targets"], "results are counted")
        ip = max(targets, key=lambda target: target["results"])["ip"]
        for path in PAGES:
            self.open(path.format(ip) + ("?from=2010-01-01T00:00:00Z" if path == "/heat" else ""))
            self._wait_for_all(True)
            self.assertNoComplaints()

    def _wait_for_all(self, filled: bool) -> None:
        """Until the page has drawn what there is."""
        drawn = "#arrivals svg, #smoke svg, #strips svg, #graph[data-addresses]:not([data-addresses='0'])"
        drawn += ", #grid[data-asked] a"
        script = "return document.querySelectorAll(arguments[0]).length > 0"
        self.browser.wait(
            script, drawn if filled else "#welcome:not([hidden]), #nothing:not([hidden]), #grid[data-asked]"
        )
