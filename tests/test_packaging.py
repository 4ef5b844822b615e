"""What surrounds the package: the plugin, the version, the starts that we give, the systemd unit."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import outputd

TOP = Path(__file__).parent.parent
UNITS = sorted((TOP / "systemd").glob("*.service"))


def _run(*command: str | Path) -> str:
    """All that a command printed, its errors too."""
    done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_one_outputd(self) -> None:
        plugins: list[object] = list(getPlugins(IServiceMaker))
        makers = [plugin for plugin in plugins if isinstance(plugin, ServiceMaker) and plugin.tapname == "outputd"]
        self.assertEqual([maker.module for maker in makers], ["outputd.tap"])

    def test_the_dropin_is_pure_data(self) -> None:
        """Every twistd imports it, so it brings in neither our package nor a reactor."""
        code = "import sys, twisted.plugins.outputd_dropin; print(*sorted(sys.modules))"
        loaded = _run(sys.executable, "-c", code).split()
        self.assertIn("twisted.plugins.outputd_dropin", loaded)
        self.assertEqual([name for name in loaded if re.match(r"outputd\b|twisted\.internet\.reactor$", name)], [])


class VersionTests(SynchronousTestCase):
    def test_setup_says_the_version_of_the_package(self) -> None:
        said = _run(sys.executable, "-W", "ignore", "setup.py", "--version").split()[-1]
        self.assertEqual(said, outputd.__version__)

    def test_the_changelog_begins_with_what_is_unreleased_and_the_version_of_the_package(self) -> None:
        headings = re.findall(r"^## \[(\S+)\]", (TOP / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
        released = [heading for heading in headings if heading != "Unreleased"]
        self.assertEqual((["Unreleased", outputd.__version__], outputd.__version__), (headings[:2], released[0]))

    def test_the_changelog_keeps_its_form(self) -> None:
        """That of keepachangelog.com: each release with its day, each change in one of six sections."""
        text = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
        releases = re.findall(r"(?m)^## (.*)$", text)
        self.assertEqual("[Unreleased]", releases[0])
        for release in releases[1:]:
            self.assertRegex(release, r"^\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$")
        sections = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        self.assertEqual(set(), set(re.findall(r"(?m)^### (.*)$", text)) - sections)


class StartTests(SynchronousTestCase):
    def test_every_start_passes_an_empty_pidfile(self) -> None:
        """Rule 24: a stale twistd.pid stops no start that we give."""
        starts = [
            line
            for path in [TOP / "Makefile", TOP / "outputd.tac", TOP / ".ci" / "run", *TOP.glob("*.md"), *UNITS]
            for line in path.read_text(encoding="utf-8").splitlines()
            if re.search(r"\btwistd\b.* -(n|ny|noy|y)\b", line)
        ]
        self.assertTrue(starts)
        self.assertEqual([line for line in starts if "--pidfile= " not in line], [])


class UnitTests(SynchronousTestCase):
    def test_systemd_has_nothing_to_say(self) -> None:
        """An unknown key is only printed, with exit 0: so nothing may be printed. The program may be missing."""
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        directory = Path(self.mktemp())
        directory.mkdir()
        for unit in UNITS:
            with self.subTest(unit=unit.name):
                copy = (directory / unit.name.replace("@", "@graz")).resolve()
                copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8")))
                self.assertEqual(_run("systemd-analyze", "verify", "--recursive-errors=no", copy), "")

    def test_systemd_waits_for_our_own_deadline(self) -> None:
        """Rule 23: the service ends itself at the tenth second and says what hung, so systemd must not be first."""
        for unit in UNITS:
            seconds = re.search(r"(?m)^TimeoutStopSec=(\d+)s$", unit.read_text(encoding="utf-8"))
            self.assertGreater(int(seconds[1]) if seconds else 0, 10, unit.name)
