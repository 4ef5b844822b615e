"""The pictures of the README: `python -m tests.system.pictures` makes them of the demonstration's internet."""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from outputd.demo.internet import VANTAGE_POINTS, World
from tests.system.browser import LIVE, PHONE, RIGHT, Browser
from tests.system.files import result_files
from tests.system.harness import CHECKOUT, HOST, Outputd, free_port
from tests.system.inputservice import InputService

IMAGES = CHECKOUT / "docs" / "images"
_WIDE = (1200, 900)
_MOST_BYTES = 200_000
_DAYS = 3
_LIVE_S = 24
_AS_MEASURED = """
    UPDATE batches SET received_at = (SELECT timestamp FROM ping_results WHERE id = last_id) WHERE last_id IS NOT NULL
"""


class Fleet:
    """The nodes: two targets all the time, others now and then, in the last hour what the traceroutes have found."""

    def __init__(self, outputd: Outputd) -> None:
        self._outputd = outputd
        self._world = World(1)
        self._random = random.Random(1)
        self._first = [ip for ip in self._world.first_targets(12) if self._answers(ip)]
        self._known = dict.fromkeys(self._first)
        self.target = self._first[0]

    def measure(self, times: Iterator[float], most: int) -> None:
        """Each node posts its own targets and at most so many others."""
        for at in times:
            others = self._first if most < 4 else list(self._known)
            for node in VANTAGE_POINTS:
                chosen = self._random.sample(others, min(most, len(others)))
                self._post(node, [self.target, self.target, self._first[1], *chosen], at)

    def _post(self, node: str, targets: list[str], at: float) -> None:
        results = [self._world.measure(node, ip, at) for ip in targets]
        hops = [hop["ip"] for result in results for hop in result["traceroute"]["hops"] if "ip" in hop]
        self._known |= dict.fromkeys(ip for ip in hops if self._answers(ip))
        assert self._outputd.post(results, x_ping_node=node).status == 200

    def _answers(self, ip: str) -> bool:
        """Whether it mostly does; a few that do not are measured all the same."""
        router = self._world.routers[self._world.owners[ip]] if ip in self._world.owners else None
        return router is not None and (router.number % 25 == 0 or (not router.is_down and router.loss < 0.05))


def _every(step_s: float, begin: float, end: float) -> Iterator[float]:
    while begin < end:
        yield begin
        begin += step_s


def take(images: Path) -> None:
    """Take all pictures; a file that is too big for a README is an error."""
    with tempfile.TemporaryDirectory(prefix="outputd-pictures-") as directory:
        hops = InputService(free_port())
        outputd = Outputd(Path(directory) / "data", f"--input-url={hops.url}")
        browser = Browser()
        try:
            hops.open()
            fleet = Fleet(outputd.start())
            now = time.time()
            fleet.measure(_every(600, now - 86_400 * _DAYS, now - 3600), 1)
            for turn in range(240, 0, -1):
                fleet.measure(iter([now - 15 * turn]), 4 + turn // 4 % 17 % 6)
            fleet.measure(_every(15, now, time.time()), 4)  # what went by meanwhile
            outputd.stop()
            for path in result_files(outputd.directory):  # as if nothing had come late
                with closing(sqlite3.connect(path)) as db, db:
                    db.execute(_AS_MEASURED)
            (outputd.directory / "summary.sqlite3").unlink()
            outputd.start()
            _look(browser, outputd, fleet, images)
        finally:
            browser.close()
            outputd.kill()
            hops.close()


def _look(browser: Browser, outputd: Outputd, fleet: Fleet, images: Path) -> None:
    def open_(path: str, size: tuple[int, int], scheme: str) -> None:
        browser.look(size, scheme)
        browser.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        browser.open(f"http://{HOST}:{outputd.health_port}{path}")
        browser.wait(LIVE)

    def keep(name: str) -> None:
        picture = browser.picture()
        if len(picture) > _MOST_BYTES:
            raise SystemExit(f"{name}.webp has {len(picture)} bytes, at most {_MOST_BYTES} are wanted")
        (images / f"{name}.webp").write_bytes(picture)
        print(f"{name}.webp, {len(picture) // 1000} kB")

    def live() -> None:
        """The nodes go on for a while."""
        until = time.time() + _LIVE_S
        while time.time() < until:
            fleet.measure(iter([time.time()]), 1)
            time.sleep(_LIVE_S / 6)  # their pace

    images.mkdir(parents=True, exist_ok=True)
    open_("/", _WIDE, "light")
    browser.wait("return document.querySelectorAll('#nodes tbody tr').length > 4")
    live()
    keep("overview")
    open_("/", PHONE, "dark")
    live()
    keep("phone-dark")
    open_(f"/targets/{fleet.target}", _WIDE, "light")
    browser.wait("return document.querySelectorAll('#smoke .legend button').length > 4")
    browser.run(
        "[...document.querySelectorAll('#smoke .legend button')].find((one) => one.textContent.includes('nyc')).click()"
    )
    browser.wait("return document.querySelector('#smoke path.median')")
    keep("target")
    open_("/heat?last=1h", _WIDE, "light")
    browser.wait("return document.querySelectorAll('#grid[data-asked] a').length > 0")
    keep("heat")
    open_("/topology", _WIDE, "dark")
    browser.wait("return document.getElementById('graph').dataset.resting === 'true'", deadline_s=60)
    browser.run("document.getElementById('graph').focus()")
    browser.press(RIGHT)
    browser.wait("return document.querySelectorAll('#about li').length > 3")
    browser.run("document.activeElement.blur()")
    keep("topology-dark")


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
