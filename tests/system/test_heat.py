"""The heat map: the worst target first of thousands, each cell in words and a link, by pointer and by keyboard."""

from __future__ import annotations

from tests.kit.depth import long, short
from tests.system.browser import ENTER, RIGHT, Browser
from tests.system.test_pages import PagesTest, result

DOWN, LEFT, HOME, END = "\ue015", "\ue012", "\ue011", "\ue010"
ASKED = "return document.getElementById('heat-words').textContent.includes('a cell is')"
POINTED = """
    const [x, y] = arguments;
    const scroller = document.querySelector(".cells");
    const { left, top } = scroller.getBoundingClientRect();
    scroller.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: left + x, clientY: top + y }));
"""
DARK = """
    const canvas = document.querySelector(".cells canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 22);
    for (let dot = 0; dot < data.length; dot += 4)
      if (data[dot] === 0x6c && data[dot + 1] === 0x0d && data[dot + 2] === 0x17 && data[dot + 3] === 255) return true;
    return false;
"""
SIX_HOURS = "?from=2026-01-07T00:00:00Z&to=2026-01-07T06:00:00Z"
FIRST = "return document.querySelector('.labels li').textContent"


def address(number: int) -> str:
    return f"198.18.{number >> 8}.{number & 255}"


@long("tests.system.test_heat.HeatTests.test_the_dead_one_comes_first_and_its_cells_lead_to_it")
class HeatTests(PagesTest):
    def fill_grid(self, targets: int, dead: int) -> None:
        """Each target twice in SIX_HOURS, hours apart; of one nothing comes back."""
        for at in ("2026-01-07T02:00:00Z", "2026-01-07T05:59:00Z"):
            for begin in range(0, targets, 1000):
                numbers = range(begin, min(targets, begin + 1000))
                self.post(*(result(address(n), received=0 if n == dead else 4, timestamp=at) for n in numbers))

    def open_grid(self, query: str = "") -> Browser:
        browser = self.open(f"/heat{query}")
        browser.wait(ASKED)
        browser.wait("return document.querySelectorAll('.labels a').length > 0")
        return browser

    @short
    def test_the_dead_one_comes_first_and_its_cells_lead_to_it(self) -> None:
        self.fill_grid(30, 17)
        browser = self.open_grid(SIX_HOURS)
        self.assertEqual(f"{address(17)}100\u00a0%", browser.run(FIRST))
        browser.wait_text("#heat-words", "30 targets, 1 without any reply")
        self.assertTrue(browser.run(DARK))
        browser.run("document.querySelector('.cells').focus()")
        browser.press(HOME)
        browser.wait_text(".cells .bubble", "no result")
        browser.press(END)
        browser.wait_text(".cells .bubble", "100\u00a0% loss, 4 of 4 packets")
        browser.wait_text("#grid [aria-live]", "no reply")
        ends = browser.run("return [...new URL(document.querySelector('a.cell').href).searchParams.values()]")
        self.assertEqual(["2026-01-07T05:55:00Z", "2026-01-07T06:00:00Z"], ends)
        browser.press(ENTER)
        browser.wait_text("#ip", address(17))
        browser.run("history.back()")
        browser.wait(ASKED)
        self.assertEqual(SIX_HOURS, browser.run("return location.search"))
        self.assertNoComplaints()

    def test_five_thousand_rows_are_drawn_where_they_are_looked_at(self) -> None:
        self.fill_grid(5000, 4321)
        browser = self.open(f"/heat{SIX_HOURS}")
        browser.wait(ASKED, deadline_s=60)
        browser.wait_text("#heat-words", "5,000 targets, 1 without any reply")
        self.assertIn(address(4321), browser.run(FIRST))
        self.assertLess(browser.count(".labels li"), 100)
        browser.run("const cells = document.querySelector('.cells'); cells.scrollTop = cells.scrollHeight")
        browser.wait("return document.querySelector('.cells').dataset.drawn.endsWith('-5000')")
        self.assertLess(browser.count(".labels li"), 100)
        browser.run("document.querySelector('#all summary').click()")
        browser.wait("return document.querySelectorAll('#heat-table tbody tr').length === 100")
        self.assertIn(address(4321), browser.text("#heat-table tbody tr"))
        self.assertNoComplaints()

    def test_a_cell_says_what_it_has_and_what_is_usual(self) -> None:
        hours = [f"2026-01-07T0{hour}:00:00Z" for hour in range(1, 4)]
        self.post(*(result("203.0.113.9", avg_rtt=10_000_000, timestamp=at) for at in hours))
        self.post(result("203.0.113.9", avg_rtt=30_000_000, received=3, timestamp="2026-01-07T05:59:00Z"))
        browser = self.open_grid(f"{SIX_HOURS}&measure=rtt&sort=rtt_rise_percent")
        self.assertEqual("203.0.113.9+200\u00a0%", browser.run(FIRST))
        browser.wait_text("#heat-legend", "up to 200 % above")
        browser.run("document.querySelector('.cells').focus()")
        browser.press(END)
        browser.wait_text(".cells .bubble", "25\u00a0% loss, 1 of 4 packets")
        browser.wait_text(".cells .bubble", "RTT 30\u00a0ms, 200 % above its median of 10\u00a0ms")
        browser.press(LEFT)
        browser.wait_text(".cells .bubble", "no result")
        self.assertNoComplaints()

    def test_the_pointer_shows_a_link_of_the_cell(self) -> None:
        self.fill_grid(3, 1)
        browser = self.open_grid(f"{SIX_HOURS}&sort=ip")
        width = browser.run("return document.querySelector('.cells').clientWidth")
        browser.run(POINTED, width - 8, 30)  # in the second row
        browser.wait("return !document.querySelector('a.cell').hidden")
        self.assertIn(f"/targets/{address(1)}?from=", browser.run("return document.querySelector('a.cell').href"))
        for y, number in ((30, 1), (50, 2)):  # also when it was followed before, as another cell
            browser.run(POINTED, width - 8, y)
            browser.run(
                "document.querySelector('a.cell').dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }))"
            )
            self.assertIn(
                f"/targets/{address(number)}?from=", browser.run("return document.querySelector('a.cell').href")
            )
        browser.run(POINTED, width - 8, 300)  # below all rows
        browser.wait("return document.querySelector('a.cell').hidden")

    def test_what_is_chosen_is_in_the_url_and_back_undoes_it(self) -> None:
        self.post(*(result(ip) for ip in ("198.18.0.1", "198.18.1.1", "2001:db8::1")))
        browser = self.open_grid()
        for name, value in (("measure", "rtt"), ("sort", "ip")):
            browser.run(
                """
                const [name, value] = arguments;
                document.getElementById(name).value = value;
                document.getElementById(name).dispatchEvent(new Event("change"));
                """,
                name, value,
            )  # fmt: skip
        browser.wait("return location.search === '?measure=rtt&sort=ip'")
        browser.run("document.getElementById('filter').focus()")
        browser.press(*"18.1")
        browser.wait_text("#heat-words", "1 target,")
        browser.run("document.getElementById('filter').value = '2001:db8::/32'")
        browser.press(" ", ENTER)
        browser.wait("return location.search.includes('only=2001')")
        browser.wait(ASKED)
        browser.wait("return document.querySelector('.labels li')?.textContent.startsWith('2001:db8::1')")
        browser.wait_text("#heat-words", "1 target,")
        browser.run("document.activeElement.blur(); history.back()")
        browser.wait_text("#heat-words", "3 targets")
        browser.run("history.go(-2)")
        browser.wait("return document.getElementById('measure').value === 'loss'")
        self.assertNoComplaints()

    def test_a_wrong_network_and_an_empty_time_are_told(self) -> None:
        self.post(result("198.18.0.1"))
        browser = self.open("/heat?only=198.18.0.0/99")
        browser.wait_text(".failed", "prefix must be a network")
        browser = self.open("/heat?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z")
        browser.wait_text("#heat-words", "No result in this time")
        browser = self.open("/heat?last=soon")
        browser.wait_text("#range .notice", "last must be a number")
        browser.wait_text("#heat-words", "1 target")
        browser.run("document.querySelector('.cells').focus()")
        browser.press(DOWN, RIGHT)  # where there is no further one
        browser.wait_text(".cells .bubble", "198.18.0.1")

    def test_it_grows_when_the_first_result_comes(self) -> None:
        browser = self.open("/heat")
        browser.wait_text("#heat-words", "No result in this time")
        self.post(result("198.18.0.1"))
        browser.run("document.querySelector('#range button').click()")
        browser.wait_text("#heat-words", "1 target")

    def test_a_question_that_fails_says_so_and_is_asked_again(self) -> None:
        self.post(result("198.18.0.1"))
        with self.browser.failing("/cells"):
            browser = self.open("/heat")
            browser.wait_text(".failed", "a test has broken it")
            browser.wait("return document.getElementById('heat-words').textContent === ''")
            browser.run("window.mended = true")
            browser.wait_text("#heat-words", "1 target")
            self.assertEqual(0, browser.count(".failed"))
