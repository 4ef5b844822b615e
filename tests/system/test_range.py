"""The time range of a page: in its URL, by buttons and by a drag, over back and forward, from page to page."""

from __future__ import annotations

from typing import Any

from tests.kit.depth import long, short
from tests.system.browser import ENTER, Browser
from tests.system.test_pages import PagesTest, result

IP = "203.0.113.9"
READ = """
    const [search, done] = arguments;
    import("/static/range.js").then(({ rangeIn }) => done(rangeIn(search, Date.UTC(2026, 0, 8))));
"""
LASTS_S = """
    const query = new URLSearchParams(location.search);
    return (Date.parse(query.get("to")) - Date.parse(query.get("from"))) / 1000;
"""
TWO_TIMES = "?from=2026-01-07T00:00:00Z&to=2026-01-07T06:00:00%2B01:00"
DRAG = """
    const [chart, begin, end] = arguments;
    const svg = document.querySelector(chart);
    const { left, top } = svg.getBoundingClientRect();
    const told = (kind, x) => svg.dispatchEvent(new PointerEvent(kind, {
      bubbles: true, isPrimary: true, button: 0, clientX: left + x, clientY: top + 40,
    }));
    told("pointerdown", begin);
    told("pointermove", (begin + end) / 2);
    told("pointermove", end);
    told("pointerup", end);
"""


@long("tests.system.test_range.RangeTests.test_a_drag_on_a_chart_chooses_and_back_takes_it_back")
class RangeTests(PagesTest):
    def read(self, search: str) -> Any:
        return self.browser.driver.execute_async_script(READ, search)

    def pressed(self) -> str:
        return self.browser.text("#range button[aria-pressed='true']")

    def search(self) -> str:
        return str(self.browser.run("return location.search"))

    def drag(self, chart: str, begin: int, end: int) -> None:
        self.browser.wait("return document.querySelector(arguments[0])", chart)
        self.browser.run(DRAG, chart, begin, end)

    @short
    def test_a_drag_on_a_chart_chooses_and_back_takes_it_back(self) -> None:
        self.post(*(result(IP, 60 * ago) for ago in range(50)))
        browser = self.open()
        self.assertEqual("1 h", self.pressed())
        self.drag("#arrivals svg", 400, 200)  # to the left, too
        browser.wait("return new URLSearchParams(location.search).has('to')")
        lasts_s = browser.run(LASTS_S)
        self.assertTrue(100 < lasts_s < 3600, lasts_s)
        browser.wait("return document.querySelectorAll('#range button[aria-pressed=true]').length === 0")
        self._follow(browser, "#targets a")
        browser.wait_text("#ip", IP)
        self.assertEqual(lasts_s, browser.run(LASTS_S))
        browser.wait("return document.querySelector('#smoke svg .axis[data-since]')")
        browser.run("history.back()")
        browser.wait("return document.querySelector('#arrivals svg')")
        browser.run("history.back()")
        browser.wait("return location.search === '' && document.querySelector('#range button[aria-pressed=true]')")
        self.assertEqual("1 h", self.pressed())
        browser.run("history.forward()")
        browser.wait("return new URLSearchParams(location.search).has('to')")
        self.assertNoComplaints()

    def _follow(self, browser: Browser, link: str) -> None:
        browser.wait("return document.querySelector(arguments[0])", link)
        browser.run("document.querySelector(arguments[0]).click()", link)

    def test_buttons_choose_zoom_and_move(self) -> None:
        self.post(result(IP, 60))
        browser = self.open(f"/targets/{IP}")
        browser.wait("return document.querySelector('#smoke svg')")
        for button, found in (
            ("[data-span='21600']", "?last=6h"), ("[title='Zoom in']", "?last=3h"), ("[title='Zoom out']", "?last=6h"),
        ):  # fmt: skip
            browser.run("document.querySelector(`#range ${arguments[0]}`).click()", button)
            self.assertEqual(found, self.search())
        browser.wait_text("#range summary", "now")
        browser.run("document.querySelector('#range button[aria-label=Earlier]').click()")
        browser.wait_text("#smoke", "No result in this time")
        browser.run("document.querySelector('#range [data-span=\"0\"]').click()")
        browser.wait("return document.querySelector('#smoke svg')")
        browser.wait("return document.querySelector('#range [data-span=\"0\"]').ariaPressed === 'true'")
        self.assertNoComplaints()

    def test_two_times_are_typed(self) -> None:
        browser = self.open()
        browser.wait("return document.querySelector('#range summary').textContent.includes('now')")
        browser.run("document.querySelector('#range details').open = true")
        browser.run("""
            const [from, to] = document.querySelectorAll("#range input");
            [from.value, to.value] = ["2026-01-07T01:00:00", "2026-01-07T03:00:00"];
            to.focus();
        """)
        browser.press(ENTER)
        browser.wait("return location.search !== ''")
        self.assertEqual("?from=2026-01-07T00%3A00%3A00Z&to=2026-01-07T02%3A00%3A00Z", self.search())
        browser.wait_text("#range summary", "7 Jan 2026, 01:00:00 to 7 Jan 2026, 03:00:00")

    def test_what_the_url_says(self) -> None:
        self.open()
        hour_ms = 3_600_000
        end = 1_767_830_400_000  # 8 January
        for search, begin, until in (
            ("?last=6h", end - 6 * hour_ms, end), ("?last=90m", end - 1.5 * hour_ms, end),
            ("?from=2026-01-07T00:00:00Z", end - 24 * hour_ms, end),
            (TWO_TIMES, end - 24 * hour_ms, end - 19 * hour_ms),
            (TWO_TIMES.replace("%2B", "+"), end - 24 * hour_ms, end - 19 * hour_ms),
            ("?from=2026-01-07T00:00:00.123456789Z", end - 24 * hour_ms + 123, end),
        ):  # fmt: skip
            found = self.read(search)
            self.assertEqual((begin, until), (found["from"], found["to"]), search)
        self.assertIsNone(self.read("?node=x"))
        for search in (
            "?last=6", "?last=h", "?last=0h", "?last=-1h", "?last=6h&to=2026-01-07T00:00:00Z", "?last=9999999999w",
            "?to=2026-01-07T00:00:00Z", "?from=yesterday", "?from=2026-01-07", "?from=2026-13-07T00:00:00Z",
            "?from=2026-01-07T00:00:00Z&to=2026-01-06T00:00:00Z", "?from=2027-01-07T00:00:00Z",
            "?from=0001-01-01T00:00:00Z", "?from=2026-01-07T00:00:00Z&to=<b>",
        ):  # fmt: skip
            self.assertTrue(self.read(search)["problem"], search)

    def test_a_bad_one_is_told_and_the_usual_one_is_shown(self) -> None:
        self.post(result(IP, 60))
        for path in ("/", f"/targets/{IP}"):
            browser = self.open(f"{path}?last=<img>")
            browser.wait_text("#range .notice", "last must be a number with s, m, h, d or w")
            browser.wait("return document.querySelector('.picture svg .axis[data-since]')")
            browser.run("document.querySelector('#range button').click()")
            browser.wait("return document.querySelector('#range .notice').hidden")
            self.assertNoComplaints()

    def test_links_between_pages_carry_it_and_those_to_data_do_not(self) -> None:
        self.post(result(IP, 60))
        browser = self.open("/?last=6h")
        browser.wait("return document.querySelector('#targets a')")
        links = self._touched(browser)
        carrying = {link.split("?")[0] for link in links if link.endswith("?last=6h")}
        root = f"http://127.0.0.1:{self.service.health_port}"
        browser.run("document.querySelector('#range button').click()")
        self.assertIn(f"{root}/heat?last=1h", self._touched(browser))
        pages = ("/", "/heat", "/topology", f"/targets/{IP}", "/nodes/ams")
        self.assertEqual({f"{root}{page}" for page in pages}, carrying)

    def _touched(self, browser: Browser) -> list[str]:
        """Where all links lead once the pointer is down on them."""
        return list(
            browser.run("""
            for (const link of document.links) link.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
            return [...document.links].map((link) => link.href);
        """)
        )
