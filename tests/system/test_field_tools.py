"""What mtr and fping print is posted by the commands of the docs, and others' files too: stored is what they say."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from outputd.formats.formats import READERS
from tests.formats.recount_reports import RECOUNTS, Counted, Expected
from tests.formats.test_reports_of_others import NOT_OF_THE_FORMAT
from tests.system.harness import Outputd, SystemTest, call
from tests.system.markdown import blocks, run
from tests.system.shared import needed

PAGE = "docs/reference/formats.md"
FOLDERS = {"atlas": "ripe-atlas", "warts": "scamper"}
"""Folders of raw/ that are not named as their format."""
MOST_DAMAGED_BYTES = 64 * 1024


class FieldToolTests(SystemTest):
    """Each command of the page, on loopback."""

    def commands(self, tool: str) -> list[str]:
        """What the page tells to type for a tool; without the tool the test is skipped."""
        if missing := [name for name in (tool, "curl") if shutil.which(name) is None]:
            raise SkipTest(f"the commands need {', '.join(missing)}")
        return [block.text for block in blocks(PAGE) if block.language == "sh" and block.heading.endswith(f"`{tool}`")]

    def follow(self, tool: str, *changes: tuple[str, str]) -> None:
        it = self.outputd("--input-url=").start()
        here = Path(self.mktemp()).absolute()
        here.mkdir()
        stored = 0
        commands = "\0".join(self.commands(tool))
        self.assertTrue(commands)
        here_and_now = (
            ("192.0.2.", "127.0.0."),
            ("localhost:8081", f"localhost:{it.port}"),
            ("|\n", "| tee printed |\n"),
        )
        for old, new in (*changes, *here_and_now):
            commands = commands.replace(old, new)
        for command in commands.split("\0"):
            printed = run(command, here)
            text = (here / "printed").read_text(encoding="utf-8")
            expected = RECOUNTS[tool](text)
            self.assertIn(f'{{"status":"ok","received":{len(expected.results)}}}', printed)
            self.assertEqual(expected.refused, 0, text)
            self.assertTrue(expected.results, text)
            found = read_back(it, stored, expected)
            self.assertEqual([counted(result) for result in found], expected.results, text)
            (at,) = {result["timestamp"] for result in found}
            self.assertTrue(
                re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at), "in whole seconds, as the command says"
            )
            stored += len(found)

    def test_mtr(self) -> None:
        self.follow("mtr", ("-c 10", "-c 2"))

    def test_fping(self) -> None:
        self.follow("fping", (" 10 ", " 2 "))


class FileTests(SystemTest):
    """Every file of five tools in ../shared/data/raw."""

    def test_each_is_stored_as_a_recount_counts_it(self) -> None:
        it = self.outputd("--input-url=").start()
        stored = 0
        for name, recount in RECOUNTS.items():
            for path in sorted(needed(f"raw/{name}").iterdir()):
                answer = call(it.port, "POST", f"/results?format={name}", path.read_bytes())
                if path.name.endswith(NOT_OF_THE_FORMAT.get(name, ())):
                    self.assertIn(answer.status, (400, 422), path.name)
                    continue
                expected = recount(path.read_text(encoding="utf-8"))
                self.assertEqual(answer.status, 200 if expected.results or not expected.refused else 422, path.name)
                self.assertEqual(answer.json["received"], len(expected.results), path.name)
                found = [counted(result) for result in read_back(it, stored, expected)]
                self.assertEqual(found, expected.results, path.name)
                stored += len(found)
        self.assertGreater(stored, 40)
        self.assertNotIn("Traceback", it.log)

    def test_damaged_ones_are_answered_named_or_not(self) -> None:
        it = self.outputd("--input-url=").start()
        chance = random.Random(23)
        answered = Counter[int]()
        for reader in READERS:
            for path in sorted(needed(f"raw/{FOLDERS.get(reader.name, reader.name)}").iterdir()):
                body = damaged(path.read_bytes()[:MOST_DAMAGED_BYTES], chance)
                for query in (f"?format={reader.name}", ""):
                    answer = call(it.port, "POST", f"/results{query}", body)
                    self.assertIn(answer.status, (200, 400, 413, 422), path.name)
                    answered[answer.status] += 1
        self.assertGreater(answered[200], 40)
        self.assertNotIn("Traceback", it.log)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """A body that was cut, doubled, shuffled or recoded on its way."""
    at, lines = chance.randrange(len(body) + 1), body.splitlines(keepends=True)
    chance.shuffle(lines)
    changed = (body[:at], body[at:], body + body, b"".join(lines), body[:at] + b"1e999999999" + body[at + 1 :])
    return chance.choice((*changed, body.decode("latin-1").encode("utf-16")))


def read_back(it: Outputd, stored: int, expected: Expected) -> list[dict[str, Any]]:
    """The results behind those that were stored before, as many as were expected."""
    return [it.get(f"/results/{stored + place}").json for place, _ in enumerate(expected.results, 1)]


def counted(result: dict[str, Any]) -> Counted:
    """What the recount says of a result that was read back."""
    hops = (result["traceroute"] or {}).get("hops") or []
    times = [hop["rtt"] or 0 for hop in hops]
    silences = sum(hop["timeout"] for hop in hops)
    return Counted(result["ip"], result["sent"], result["received"], result["avg_rtt"], len(hops), silences, sum(times))
