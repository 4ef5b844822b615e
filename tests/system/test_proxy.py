"""The pages and the API behind a real nginx, below a path of its own."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin

from tests.kit.depth import long
from tests.kit.makers import a_result
from tests.system.browser import LIVE, Browser
from tests.system.harness import HOST, Outputd, SystemTest, call
from tests.system.proxies import nginx


class ProxyTest(SystemTest):
    """`location /outputd/` of nginx, with nothing rewritten but the path."""

    def behind_nginx(self, outputd: Outputd) -> int:
        """The port of an nginx in front of the health port."""
        return nginx(Path(self.mktemp()).absolute(), outputd.health_port, self.addCleanup, "/outputd/")


class Answers(ProxyTest):
    def test_each_link_of_a_page_stays_below_the_path(self) -> None:
        outputd = self.outputd().start()
        port = self.behind_nginx(outputd)
        for page in ("/outputd/", "/outputd/topology", "/outputd/targets/192.0.2.1"):
            self.assertEqual(200, call(port, "GET", page).status)
            for link in ("static/style.css", "static/overview.js", "health", "openapi.json", "targets.csv"):
                root = urljoin(page, "../" if "/targets/" in page else "./")
                self.assertEqual(200, call(port, "GET", urljoin(root, link)).status, link)

    def test_events_are_not_kept_back(self) -> None:
        outputd = self.outputd().start()
        answer = call(outputd.health_port, "HEAD", "/events")
        self.assertEqual("no", answer.headers["X-Accel-Buffering"])


@long(
    "tests.system.test_proxy.Answers.test_each_link_of_a_page_stays_below_the_path",
    "tests.system.test_proxy.Answers.test_events_are_not_kept_back",
)
class Pages(ProxyTest):
    def test_they_live_there(self) -> None:
        """Each page draws, hears the news, and leads to the others."""
        browser = Browser.shared()
        self.addCleanup(browser.driver.get, "about:blank")
        outputd = self.outputd().start()
        root = f"http://{HOST}:{self.behind_nginx(outputd)}/outputd/"
        hops = [{"ttl": ttl, "ip": f"203.0.113.{ttl}", "rtt": ttl * 1_000_000} for ttl in (1, 2, 3)]
        result = a_result(ip="203.0.113.3", traceroute={"hops": hops})
        self.assertEqual(200, outputd.post([result] * 3).status)
        browser.open(root)
        browser.wait(LIVE)
        first = "return document.querySelector('#targets a.address')?.href === arguments[0]"
        browser.wait(first, f"{root}targets/203.0.113.3")
        for page in ("targets/203.0.113.3", "topology"):
            browser.open(root + page)
            browser.wait(LIVE)
            links = browser.run("return [...document.querySelectorAll('a[href]')].map(a => a.href)")
            self.assertEqual([], [link for link in links if not link.startswith(root)])
            self.assertEqual([], browser.complaints())
