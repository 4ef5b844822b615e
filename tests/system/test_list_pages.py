"""The lists of the pages in a headless Chromium: the worst first, sorted, filtered, paged, and kept in the URL."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.kit.depth import long, short
from tests.system.files import result_files
from tests.system.test_pages import HOSTILE, PagesTest, result


@long(
    "tests.system.test_list_pages.ListTests.test_a_list_is_sorted_and_paged_and_the_back_button_goes_back",
)
class ListTests(PagesTest):
    """The lists of the overview and of a node, and what the verdict on the network counts in them."""

    def rows(self, where: str) -> list[str]:
        """The first cells of a list."""
        found: list[str] = self.browser.run(
            "return [...document.querySelectorAll(arguments[0])].map(cell => cell.textContent)", f"{where} tbody th"
        )
        return found

    @short
    def test_a_list_is_sorted_and_paged_and_the_back_button_goes_back(self) -> None:
        ips = [f"203.0.113.{number}" for number in range(10, 50)]
        self.post(*map(result, ips), result(ips[7], received=0))
        browser = self.open()
        browser.wait_text("#targets", "1 to 15 of 40")
        self.assertEqual([ips[7], *ips[:7], *ips[8:15]], self.rows("#targets"))
        self.press("#targets", "Target")
        browser.wait_text("#targets [aria-sort=ascending]", "Target")
        self.assertEqual(ips[:15], self.rows("#targets"))
        for first, last in ((16, 30), (31, 40)):
            self.press("#targets", "Next")
            browser.wait_text("#targets", f"{first} to {last} of 40")
            self.assertEqual(ips[first - 1 : last], self.rows("#targets"))
        address = browser.driver.current_url
        browser.driver.back()
        browser.wait_text("#targets", "16 to 30 of 40")
        browser.driver.forward()
        browser.wait_text("#targets", "31 to 40 of 40")
        browser.driver.back()
        self.press("#targets", "Target")
        browser.wait_text("#targets [aria-sort=descending]", "Target")
        self.assertEqual(ips[:-16:-1], self.rows("#targets"))
        browser.open(address)  # as somebody else was sent it
        browser.wait_text("#targets", "31 to 40 of 40")
        self.assertNoComplaints()

    def test_a_list_that_is_remembered_no_more_begins_again(self) -> None:
        self.post(*(result(f"203.0.113.{number}") for number in range(10, 50)))
        browser = self.open()
        browser.wait_text("#targets", "1 to 15 of 40")
        self.press("#targets", "Next")
        browser.wait_text("#targets", "16 to 30 of 40")
        self.assertStopped(self.service.stop())
        self.service.start()
        browser.wait_text("#targets", "1 to 15 of 40")
        self.assertNotIn("cursor", browser.driver.current_url)

    def test_targets_are_filtered_by_network_text_node_and_loss(self) -> None:
        self.post(result("203.0.113.9"), result("203.0.114.9", received=0), node="ams")
        self.post(result("198.51.100.9"), node="fra")
        for query, found in (
            ("prefix=203.0.113.0/24", ["203.0.113.9"]), ("text=.114.", ["203.0.114.9"]), ("node=fra", ["198.51.100.9"]),
            ("loss_over=50", ["203.0.114.9"]), ("text=100&node=ams", []),
        ):  # fmt: skip
            self.open(f"/?{query}").wait_text("#targets", found[0] if found else "No target matches")
            self.assertEqual(found, self.rows("#targets"), query)
        self.browser.run("document.getElementById('target-node').value = ''")
        for field, value in (("target-filter", "203.0.0.0/16"), ("target-node", "ams"), ("target-loss", "0")):
            self.browser.run(
                """
                const field = document.getElementById(arguments[0]);
                field.value = arguments[1];
                field.dispatchEvent(new Event("input"));
                field.dispatchEvent(new Event("change"));
                """,
                field,
                value,
            )
            name = {"target-filter": "prefix", "target-node": "node", "target-loss": "loss_over"}[field]
            self.browser.wait(
                "return new URLSearchParams(location.search).get(arguments[0]) === arguments[1]", name, value
            )
        self.browser.wait("return document.querySelectorAll('#targets tbody tr').length === 1")
        self.assertEqual(["203.0.114.9"], self.rows("#targets"))
        self.assertNoComplaints()

    def test_the_one_dead_target_and_the_silent_node_are_said_first_and_a_click_away(self) -> None:
        self.post(result("203.0.113.1"), node="silent")
        self.post(*(result(f"203.0.113.{number}") for number in range(40)), result("203.0.113.99", received=0))
        for number in range(20):
            self.post(result("203.0.113.1"), node=f"node-{number}")
        self.service.stop()
        for path in result_files(self.service.directory):
            with closing(sqlite3.connect(path)) as db, db:
                db.execute("UPDATE batches SET received_at = datetime(received_at, '-2 hours') WHERE node = 'silent'")
        (self.service.directory / "summary.sqlite3").unlink()
        self.service.start()
        browser = self.open()
        browser.wait_text("#network-words", "1 target lost, 1 node silent")
        self.press("#network", "1 target lost", "a")
        browser.wait("return document.querySelectorAll('#targets tbody tr').length === 1")
        self.assertEqual(["203.0.113.99"], self.rows("#targets"))
        browser.wait_text("#nodes tbody tr", "silent, 2")
        self.press("#nodes", "silent", "a")
        browser.wait_text("#name", "silent")
        browser.wait_text("#tiles", "2\N{NO-BREAK SPACE}h ago")
        browser.driver.back()
        browser.wait("return document.querySelectorAll('#targets tbody tr').length === 1")
        self.assertNoComplaints()

    def test_a_node_has_a_page_whatever_its_name(self) -> None:
        for name in ("ams", HOSTILE, "..", ".", "a/b//c", "/", "%2F", "?x=1#y", "&amp;", "x.csv"):
            bad = {"ip": "no address", "sent": 1, "note": HOSTILE}
            self.post(result("203.0.113.9", received=0, error=HOSTILE), result("203.0.113.10"), bad, node=name)
            browser = self.open()
            browser.wait(
                "return [...document.querySelectorAll('#nodes a')].some(a => a.textContent === arguments[0])", name
            )
            self.press("#nodes", name, "a")
            browser.wait("return document.querySelector('#name')?.textContent === arguments[0]", name)
            browser.wait_text("#rejected", HOSTILE)
            browser.wait("return document.querySelector('#arrivals svg')")
            browser.wait_text("#tiles", "in 1 POSTs")
            self.assertEqual(["203.0.113.9", "203.0.113.10"], self.rows("#targets"), "the worst is the first")
            self.assertEqual(0, browser.run("return document.querySelectorAll('main img, main script, main b').length"))
            self.assertNoComplaints()

    def test_one_of_which_nothing_is_known_says_so_until_it_posts(self) -> None:
        browser = self.open("/nodes/ams")
        browser.wait("return !document.getElementById('nothing').hidden")
        self.post(result("203.0.113.9"))
        browser.wait("return document.getElementById('nothing').hidden")
        browser.wait_text("#targets", "203.0.113.9")
        self.assertNoComplaints()

    def press(self, where: str, words: str, kind: str = "button") -> None:
        """Press the button or link of these words."""
        script = """
            const [where, words, kind] = arguments;
            const said = (each) => (each.firstChild?.textContent ?? "") === words;
            const found = [...document.querySelectorAll(`${where} ${kind}`)].find(said);
            found?.click();
            return Boolean(found);
        """
        self.browser.wait(script, where, words, kind)
