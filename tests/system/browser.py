"""A headless Chromium, driven by selenium; without one the tests that want it are skipped and say so."""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.system.harness import free_port
from tests.system.waiting import DEADLINE_S, wait_until

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
except ImportError:
    webdriver = None  # type: ignore[assignment]  # then the tests are skipped

_FLAGS = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
_AXE = """
    const [options, done] = arguments;
    const where = (node) => node.html.slice(0, 200) + node.failureSummary;
    const told = ({ id, help, nodes }) => [id, help, nodes.slice(0, 3).map(where)];
    const looked = () => axe.run({ exclude: ["tbody tr:nth-child(n+9)"] }, options);
    requestAnimationFrame(() => looked().then((found) => done(found.violations.map(told))));
"""
_FAILING = """
    const [real, path] = [fetch, %s];
    const failed = () => new Response(JSON.stringify({ detail: "a test has broken it" }), { status: 500 });
    const isBroken = (url) => !window.mended && new URL(url, document.baseURI).pathname.endsWith(path);
    window.fetch = async (url, ...rest) => isBroken(url) ? failed() : real(url, ...rest);
"""
WIDE, PHONE = (1360, 900), (390, 844)
TAB, ENTER, RIGHT, ESCAPE = "\ue004", "\ue007", "\ue014", "\ue00c"
LIVE = "return document.getElementById('live').dataset.state === 'live'"
"""A script for Browser.wait: the page hears the news."""


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise SkipTest(f"{names[0]} is not installed (Debian: chromium and chromium-driver)")


def axe() -> str:
    """The source of axe-core; without it the test is skipped and says so."""
    path = os.environ.get("OUTPUTD_AXE")
    if not path:
        raise SkipTest("OUTPUTD_AXE does not name an axe.min.js (npm or PyPI have it: axe-core, axe-playwright-python)")
    return Path(path).read_text(encoding="utf-8")


class Browser:
    """One Chromium with a profile of its own, with the tongue of London in the zone of Berlin."""

    _shared: Browser | None = None

    @classmethod
    def shared(cls) -> Browser:
        """The one of this process: to start one takes seconds. It ends with the process."""
        if cls._shared is None:
            cls._shared = cls()
            atexit.register(cls._shared.close)
        cls._shared.look()
        return cls._shared

    def __init__(self) -> None:
        if webdriver is None:
            raise SkipTest("selenium is not installed (pip install selenium)")
        chromium, driver = _program("chromium", "chromium-browser", "google-chrome"), _program("chromedriver")
        self._profile = tempfile.mkdtemp(prefix="outputd-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
        for flag in (*_FLAGS, *sandbox, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # selenium would take a port of those that outgoing connections are given, and lose it to one of them
        self.driver: Any = webdriver.Chrome(options=options, service=Service(driver, port=free_port()))
        self.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Europe/Berlin"})
        self.driver.execute_cdp_cmd("Emulation.setLocaleOverride", {"locale": "en-GB"})
        self.look()

    def close(self) -> None:
        """End it."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def look(self, size: tuple[int, int] = WIDE, scheme: str = "light") -> None:
        """Look through a window of this size, by day or by night."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}
        ]  # fmt: skip
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, url: str) -> None:
        """Open a page anew, and forget what an earlier one has complained of."""
        self.driver.get("about:blank")
        self.complaints()
        self.driver.get(url)

    @contextlib.contextmanager
    def sending(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Whatever is asked for meanwhile is asked for with these headers."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": dict(headers)})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})
            self.driver.execute_cdp_cmd("Network.disable", {})

    @contextlib.contextmanager
    def failing(self, path: str) -> Iterator[None]:
        """Pages that are opened meanwhile are told that a question has failed, until `window.mended`."""
        command = "Page.addScriptToEvaluateOnNewDocument"
        script = self.driver.execute_cdp_cmd(command, {"source": _FAILING % json.dumps(path)})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The text of the first such element, empty when there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def count(self, selector: str) -> int:
        """How many such elements there are to be seen."""
        script = "return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length).length"
        return int(self.run(script, selector))

    def wait(self, script: str, *arguments: object, deadline_s: float = DEADLINE_S) -> Any:
        """What a script returns once that is true."""
        found: list[Any] = []

        def look() -> bool:
            found.append(self.run(script, *arguments))
            return bool(found[-1])

        try:
            wait_until(look, f"{script} {arguments} in {self.driver.current_url}", deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.complaints()}\n{self.text('main')[:2000]}") from None
        return found[-1]

    def wait_text(self, selector: str, words: str) -> None:
        """Wait until an element says these words."""
        self.wait(
            "return (document.querySelector(arguments[0])?.textContent ?? '').includes(arguments[1])", selector, words
        )

    def violations(self, *rules: str) -> list[Any]:
        """What axe-core finds by these rules, by all when none is named; of a table it sees the first rows."""
        options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": rules} if rules else {})}
        return list(self.driver.execute_async_script(_AXE, options))

    def picture(self) -> bytes:
        """What is to be seen, as WebP."""
        answer = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 90})
        return base64.b64decode(answer["data"])

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def focused(self) -> str:
        """What has the focus: its id, else its text."""
        return str(self.run("const e = document.activeElement; return e.id || e.textContent.trim()"))

    def complaints(self) -> list[str]:
        """What the page has written to its console as an error, a broken policy included."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
