"""What scamper and HiPerConTracer write, posted by the commands of the docs or as files of others: it is stored."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SkipTest

from outputd.formats.packing import unpacked
from tests.formats import recount_hipercontracer, recount_scamper
from tests.formats.recount import Counted
from tests.system.harness import Outputd, SystemTest, call
from tests.system.markdown import blocks, run
from tests.system.shared import needed

PAGE = "docs/reference/formats.md"
RECOUNTS: dict[str, Callable[[bytes], list[Counted]]] = {
    "scamper": recount_scamper.recount,
    "hipercontracer": recount_hipercontracer.recount,
}
MOST_BODY_BYTES = 8 << 20
OF_EACH = """
    SELECT p.ip, p.sent, p.received, coalesce(p.avg_rtt, 0), t.id IS NOT NULL,
        count(h.id) - coalesce(sum(h.timeout), 0), coalesce(sum(h.timeout), 0), coalesce(sum(h.rtt), 0)
    FROM ping_results AS p
    LEFT JOIN traceroute_results AS t ON t.ping_result_id = p.id
    LEFT JOIN traceroute_hops AS h ON h.traceroute_id = t.id
    GROUP BY p.id ORDER BY p.id
"""


class ProberTests(SystemTest):
    """Each command of the page, on loopback."""

    def follow(self, tool: str, printed: str, *changes: tuple[str, str]) -> None:
        """Run the commands of a tool, and compare what is stored with what is in the files of this pattern."""
        if missing := [name for name in (tool, "curl") if shutil.which(name) is None]:
            raise SkipTest(f"the commands need {', '.join(missing)}")
        commands = [
            block.text for block in blocks(PAGE) if block.language == "sh" and block.heading.endswith(f"`{tool}`")
        ]
        self.assertTrue(commands)
        it = self.outputd("--input-url=").start()
        expected: list[Counted] = []
        here_and_now = (
            ("192.0.2.", "127.0.0."),
            ("localhost:8081", f"localhost:{it.port}"),
            ("|\n", "| tee printed |\n"),
        )
        for documented in commands:
            command = documented
            for old, new in (*changes, *here_and_now):
                command = command.replace(old, new)
            here = Path(self.mktemp()).absolute()
            here.mkdir()
            self.assertIn('"status":"ok"', run(command, here))
            for path in sorted(here.glob(printed)):
                expected += RECOUNTS[tool](unpacked(path.read_bytes(), MOST_BODY_BYTES))
        self.assertTrue(expected)
        self.assertEqual(stored(it), expected)
        self.assertTrue(all(count.received == count.sent for count in expected), expected)

    def test_scamper(self) -> None:
        self.follow("scamper", "printed", ("-c 10", "-c 2"))

    def test_hipercontracer(self) -> None:
        self.follow("hipercontracer", "*.results.bz2", ("--iterations 3", "--iterations 1"))


class FileTests(SystemTest):
    """Every file of both in ../shared/data/raw."""

    def test_each_is_stored_as_a_recount_counts_it(self) -> None:
        it = self.outputd("--input-url=").start()
        expected: list[Counted] = []
        for name, recount in RECOUNTS.items():
            for path in sorted(needed(f"raw/{name}").iterdir()):
                answer = call(it.port, "POST", f"/results?format={name}", path.read_bytes())
                if path.suffix in (".txt", ".warts"):
                    self.assertEqual(answer.status, 400, path.name)
                    continue
                found = recount(unpacked(path.read_bytes(), MOST_BODY_BYTES))
                self.assertIn(answer.status, (200, 422) if not found else (200,), path.name)
                self.assertEqual(answer.json["received"], len(found), path.name)
                expected += found
        self.assertEqual(stored(it), expected)
        self.assertNotIn("Traceback", it.log)


def stored(it: Outputd) -> list[Counted]:
    """What is stored, in the order of its arrival."""
    path = Path(f"{it.directory}.copy")
    path.write_bytes(call(it.port, "GET", "/dump").body)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(OF_EACH).fetchall()
    return [
        Counted(ip, sent, received, rtt_ns, bool(is_route), replies, timeouts, hop_rtt_ns)
        for ip, sent, received, rtt_ns, is_route, replies, timeouts, hop_rtt_ns in rows
    ]
