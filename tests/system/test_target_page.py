"""A target's page in a headless Chromium: where loss begins, routes that keep their letters."""

from __future__ import annotations

from typing import Any

from tests.kit.depth import long, short
from tests.system.harness import Outputd
from tests.system.test_pages import PagesTest, result, traced

IP = "203.0.113.9"
WAY = ["10.0.0.1", "198.51.100.2", "198.51.100.3", IP]
OTHER = ["10.0.0.1", "198.51.100.66", "198.51.100.3", IP]


def cut(ago_s: float) -> dict[str, Any]:
    """A result whose traceroute got no reply behind the second hop."""
    found = traced(IP, [*WAY[:2], None, None], ago_s)
    found["traceroute"]["completed"] = False
    return found


@long("tests.system.test_target_page.WayTests.test_the_hop_where_loss_begins_is_marked")
class WayTests(PagesTest):
    @short
    def test_the_hop_where_loss_begins_is_marked(self) -> None:
        self.post(*[cut(60 * ago) if ago % 3 else traced(IP, [*WAY], 60 * ago) for ago in range(1, 13)])
        browser = self.open(f"/targets/{IP}")
        browser.wait_text("#ways .marked", "loss begins")
        self.assertIn("198.51.100.3", browser.text("#ways .marked"))
        self.assertIn("Loss begins behind TTL 2, 198.51.100.2", browser.text("#ways .says"))
        rows = browser.run(
            "return [...document.querySelectorAll('#ways tbody tr')].map(row => row.cells[2].textContent)"
        )
        self.assertEqual(["0\u00a0%", "0\u00a0%", "66.7\u00a0%", "66.7\u00a0%"], rows)
        self.assertNoComplaints()

    def test_a_route_has_its_own_table_and_the_newest_is_the_first_to_be_seen(self) -> None:
        self.post(*[traced(IP, [*(OTHER if ago < 3 else WAY)], 60 * ago) for ago in range(10)])
        browser = self.open(f"/targets/{IP}")
        browser.wait_text("#ways [aria-pressed=true]", "the newest")
        self.assertIn("198.51.100.66", browser.text("#ways table"))
        self.assertNotIn("198.51.100.2", browser.text("#ways table").replace("198.51.100.66", ""))
        browser.run("[...document.querySelectorAll('#ways button')].at(-1).click()")
        browser.wait_text("#ways tbody tr:nth-child(2)", "70\u00a0% of replies")
        self.assertEqual("All routes together", browser.focused())

    def test_a_route_keeps_its_letter_when_another_becomes_the_usual_one(self) -> None:
        self.post(*[traced(IP, [*WAY], 600 + ago) for ago in range(5)], *[traced(IP, [*OTHER], 60)] * 2)
        marks = "return [...document.querySelectorAll('#paths thead .route')].map(e => [e.textContent, e.className])"
        browser = self.open(f"/targets/{IP}")
        browser.wait("return document.querySelectorAll('#paths thead .route').length === 2")
        usual, rare = browser.run(marks)
        self.assertNotEqual(usual[1], rare[1], "two routes have one colour")
        self.post(*[traced(IP, [*OTHER], ago) for ago in range(9)], traced(IP, ["10.0.0.2", IP], 1))
        for _ in range(2):  # on the page that was open, and on a new one
            browser.wait("return document.querySelector('#paths thead')?.textContent.includes('11 ')")
            self.assertEqual([rare, usual], browser.run(marks)[:2])
            self.open(f"/targets/{IP}")

    def test_rare_routes_fold(self) -> None:
        ways = [["10.0.0.1", f"198.51.100.{way}", IP] for way in range(7)]
        self.post(*[traced(IP, [*way], 60 * place) for place, way in enumerate([*ways, *ways[:4] * 3])])
        browser = self.open(f"/targets/{IP}")
        browser.wait("return document.querySelectorAll('#paths thead tr').length === 2")
        self.assertEqual(4, browser.count("#paths .paths thead .route"))
        self.assertIn("3 rare routes", browser.text("#paths details details"))
        self.assertFalse(browser.run("return document.querySelector('#paths details details').open"))

    def test_hops_are_shown_with_their_networks(self) -> None:
        networks = self.directory.with_name("networks.tsv")
        networks.write_text("198.51.100.0\t198.51.100.255\t64500\tAT\tEXAMPLE-NET\n", encoding="ascii")
        self.service = self.watched(Outputd(self.directory, "--input-url=", f"--asn-db={networks}")).start()
        self.post(*[traced(IP, [*WAY], 60 * ago) for ago in range(3)], result(WAY[1]))
        browser = self.open(f"/targets/{WAY[1]}")
        browser.wait_text("#label", "AS64500 EXAMPLE-NET")
        browser = self.open()
        browser.wait_text("#targets .label", "AS64500 EXAMPLE-NET")
        browser = self.open(f"/targets/{IP}")
        for table in ("#ways", "#paths"):
            browser.wait_text(f"{table} tbody tr:nth-child(2) .label", "AS64500 EXAMPLE-NET")
            self.assertEqual(2, browser.count(f"{table} .label"))
        self.assertNoComplaints()

    def test_a_node_that_says_nothing_of_its_way_has_no_table(self) -> None:
        self.post(result(IP))
        self.open(f"/targets/{IP}").wait_text("#ways", "There is no path to show.")
        self.assertNoComplaints()


@long("tests.system.test_target_page.ChangesTests.test_changes_are_listed_and_marked_on_the_charts")
class ChangesTests(PagesTest):
    @short
    def test_changes_are_listed_and_marked_on_the_charts(self) -> None:
        """A route is usual after 24 traceroutes, ten minutes apart."""
        self.post(*[traced(IP, [*(WAY if ago > 5 else OTHER)], 600 * ago) for ago in range(36, 0, -1)])
        self.post(*[result(IP, 600 * ago, received=4 * (ago > 5)) for ago in range(36, 0, -1)], node="fra")
        browser = self.open(f"/targets/{IP}")
        browser.wait("return document.querySelectorAll('#changes tbody tr').length === 2", deadline_s=120)
        words = sorted(
            browser.run("return [...document.querySelectorAll('#changes .changed')].map(e => e.textContent)")
        )
        self.assertEqual(["loss began", "route changed"], words)
        self.assertIn("from TTL 2: 198.51.100.2 \N{RIGHTWARDS ARROW} 198.51.100.66", browser.text("#changes"))
        marked = "return [...document.querySelectorAll('#smoke .change text')].map(e => e.textContent).sort()"
        browser.wait(f"return (() => {{ {marked} }})().length === 2")
        self.assertEqual(["loss began, fra", "route changed, ams"], browser.run(marked))
        browser.wait_text("#strips .change text", "route changed")
        browser.run("document.querySelector('#changes tr:has(.route_changed) a').click()")
        browser.wait("return new URLSearchParams(location.search).get('node') === 'ams'")
        browser.wait_text("#smoke figcaption", "ams")
        browser.wait_text("#strips .change text", "route changed")
        browser.driver.back()
        browser.wait_text("#smoke figcaption", "2 nodes")
        self.assertNoComplaints()

    def test_many_nodes_are_one_chart_in_which_those_with_trouble_have_a_colour(self) -> None:
        for number in range(12):
            self.post(*[result(IP, 60 * ago, received=0 if number == 7 else 4) for ago in range(5)], node=f"n{number}")
        browser = self.open(f"/targets/{IP}")
        browser.wait_text("#smoke .legend", "11 other nodes")
        self.assertEqual(1, browser.count("#smoke .legend button"))
        self.assertIn("n7100\u00a0% loss", browser.text("#smoke .legend button"))
        self.assertEqual("All 12 nodes", browser.run("return document.getElementById('node').placeholder"))
        self.assertNoComplaints()
