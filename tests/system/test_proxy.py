"""The pages and the API behind a real nginx, below a path of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.kit.makers import a_result
from tests.system.browser import LIVE, Browser
from tests.system.harness import HOST, Outputd, SystemTest, call, free_port, is_open
from tests.system.waiting import wait_until

_CONFIG = """
daemon off; error_log stderr; pid {place}/nginx.pid; worker_processes 1; user root;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen {host}:{port};
    location /outputd/ {{ proxy_pass http://{host}:{health}/; proxy_http_version 1.1; }}
  }}
}}
"""


class ProxyTest(SystemTest):
    """Issue: `location /outputd/` of nginx, with nothing rewritten but the path."""

    def behind_nginx(self, outputd: Outputd) -> int:
        """The port of an nginx in front of the health port."""
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        if nginx is None:
            raise SkipTest("nginx is not here; on Debian it is in the package nginx-light")
        place, port = Path(self.mktemp()).absolute(), free_port()
        place.mkdir()
        config = place / "nginx.conf"
        config.write_text(_CONFIG.format(place=place, host=HOST, port=port, health=outputd.health_port))
        said = (place / "said").open("wb")
        self.addCleanup(said.close)
        server = subprocess.Popen([nginx, "-p", place, "-c", config], stdin=subprocess.DEVNULL, stderr=said)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        wait_until(lambda: is_open(port), "nginx listens")
        return port


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


@long
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
