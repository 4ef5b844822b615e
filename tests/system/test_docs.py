"""README.md and docs/: each command does what the page says, and what is made from the code is as the code is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.harness import CHECKOUT, Outputd, SystemTest
from tests.system.markdown import Block, blocks, run
from tests.system.pinging import pretenders
from tools import reference

ELSEWHERE = {
    "docs/how-to/export.md": "tests/system/test_exporting.py",
    "docs/how-to/merge.md": "tests/system/test_merging.py",
    "docs/how-to/read.md": "tests/system/test_read.py",
    "docs/operations.md": "tests/system/test_operations.py",
    "docs/sql.md": "tests/system/test_sql.py",
}
"""Pages that a test of their own follows."""
PAGES = sorted(
    str(path.relative_to(CHECKOUT))
    for path in [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *(CHECKOUT / "docs").rglob("*.md")]
)
FOLLOWED = (
    "README.md",
    "docs/tutorial/first-node.md",
    "docs/how-to/archive.md",
    "docs/how-to/authentication.md",
    "docs/how-to/fleet.md",
    "docs/how-to/monitoring.md",
    "docs/how-to/send-files.md",
    "docs/how-to/send-results.md",
    "docs/how-to/webhook.md",
    "docs/queries.md",
    "docs/reference/formats.md",
    "docs/reference/health.md",
    "docs/reference/ingest.md",
)
"""Pages whose commands are typed here."""
_MOST_LINES, _MOST_COLUMNS = 150, 100


def commands_of(page: str) -> list[Block]:
    """What of a page a reader types and sees."""
    return [block for block in blocks(page) if block.language in ("bash", "text")]


def is_as_said(expected: str, printed: str) -> bool:
    """Whether a text is as documented, where `...` stands for anything and white space does not count."""
    pattern = ".*".join(re.escape("".join(part.split())) for part in expected.split("..."))
    return re.fullmatch(pattern, "".join(printed.split()), re.DOTALL) is not None


class ReadmeTests(SystemTest):
    def test_it_is_short_and_narrow_and_has_four_pictures(self) -> None:
        lines = (CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()
        self.assertLessEqual(len(lines), _MOST_LINES)
        pictures = [line for line in lines if "![" in line]
        self.assertEqual(4, sum(line.count("![") for line in pictures))
        self.assertEqual([], [line for line in lines if len(line) > _MOST_COLUMNS and line not in pictures])


class ReferenceTests(SystemTest):
    def test_what_is_made_from_the_code_is_as_the_code_is(self) -> None:
        """`make reference` brings it up to date."""
        made = set()
        for path in reference.DOCS.rglob("*.md"):
            text = path.read_text(encoding="utf-8")
            self.assertEqual(reference.updated(text), text, f"{path}: make reference")
            made |= set(re.findall(r"<!-- made from the code: ([\w -]+) -->", text))
        self.assertEqual(set(reference.REGIONS), made)

    def test_every_metric_of_a_running_service_is_listed(self) -> None:
        served = set(re.findall(r"(?m)^# TYPE (\S+) ", self.outputd().start().get("/metrics").body.decode()))
        told = set(re.findall(r"(?m)^\| `(\w+)` \|", (CHECKOUT / "docs/reference/metrics.md").read_text("utf-8")))
        self.assertEqual(set(), {name for name in served if not name.endswith("_created")} - told)


class CommandTests(SystemTest):
    """Each page from its beginning, in a checkout with a fresh service on the usual ports."""

    def setUp(self) -> None:
        super().setUp()
        if missing := [name for name in ("curl", "jq", "sqlite3", "promtool") if shutil.which(name) is None]:
            raise SkipTest(f"the commands need {', '.join(missing)}")

    def follow(self, page: str) -> None:
        here = Path(self.mktemp()).absolute()
        here.mkdir()
        it = self.watched(Outputd(here / "output_data", "--input-url=")).start()
        (here / ".curlrc").write_text("silent\nshow-error\n", encoding="ascii")  # as on a terminal: no meter
        (here / ".venv").mkdir()
        (here / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        shutil.copytree(CHECKOUT / "examples", here / "examples")
        shutil.copytree(CHECKOUT / "monitoring", here / "monitoring")
        environment = {
            "HOME": str(here), "PATH": pretenders(here / "programs"),
            "OUTPUTD_URL": f"http://localhost:{it.port}/results",
        }  # fmt: skip
        printed = None
        for block in commands_of(page):
            if block.language == "bash":
                text = block.text.replace("localhost:8081", f"localhost:{it.port}")
                text = text.replace("localhost:8091", f"localhost:{it.health_port}")
                printed = None if block.untested else run(text, here, environment)
            elif printed is not None:
                expected = block.text.replace("localhost:8081", f"localhost:{it.port}")
                self.assertTrue(is_as_said(expected, printed), f"{page}, {block.heading}: {printed}")

    def test_the_readme(self) -> None:
        self.follow(FOLLOWED[0])

    def test_the_tutorial(self) -> None:
        self.follow(FOLLOWED[1])

    @long(
        "tests.system.test_docs.CommandTests.test_the_readme", "tests.system.test_docs.CommandTests.test_the_tutorial"
    )
    def test_all_others(self) -> None:
        for page in FOLLOWED[2:]:
            self.follow(page)

    def test_each_page_with_commands_is_followed_or_says_why_not(self) -> None:
        with_commands = {
            page for page in PAGES if any(block.language == "bash" and not block.untested for block in blocks(page))
        }
        self.assertEqual({*FOLLOWED, *ELSEWHERE}, with_commands)


class LinkTests(SystemTest):
    def test_each_link_between_files_of_the_checkout_leads_somewhere(self) -> None:
        """MkDocs checks those between pages; here are those to other files, as on a hosting site."""
        lost = []
        for page in [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md"), *CHECKOUT.glob("[a-z]*/README.md")]:
            for to in re.findall(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8")):
                if not (page.parent / to).exists() and not to.startswith("<"):
                    lost.append(f"{page.relative_to(CHECKOUT)}: {to}")
        self.assertEqual([], lost)


@long("tests.system.test_docs.LinkTests.test_each_link_between_files_of_the_checkout_leads_somewhere")
class SiteTests(SystemTest):
    def test_it_builds_without_a_warning(self) -> None:
        if shutil.which("mkdocs", path=str(Path(sys.executable).parent)) is None:
            raise SkipTest("mkdocs is not here: make docs installs it")
        site = self.directory.parent / "site"
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site], cwd=CHECKOUT,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        self.assertEqual((0, ""), (done.returncode, done.stdout + done.stderr))
        self.assertIn("POST /results", (site / "reference" / "openapi.html").read_text(encoding="utf-8"))
        loaded = re.findall(r'(?:src|href)="(https?://[^"]+)"', (site / "index.html").read_text(encoding="utf-8"))
        self.assertEqual([], [url for url in loaded if "squidfunk" not in url])
