"""`make deb`: the package on a bare Debian, and the man pages and the completion that it brings."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.harness import CHECKOUT, SystemTest, call, free_port
from tests.system.waiting import DEADLINE_S, wait_until
from tools import completion, manpages
from tools.commands import all_commands

_COMPLETE = """\
source {script}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_{function}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
_ZSH = """\
fpath=({place} $fpath); autoload -Uz compinit; compinit -D -u
shown() {{ print -r -- "<<$BUFFER>>" }}; zle -N shown; bindkey '^X' shown
print is rea''dy
"""


def said(*command: str | Path) -> str:
    """All that a command prints; it must end with 0."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


class ManualTests(SystemTest):
    def test_each_option_of_each_command_is_explained(self) -> None:
        for command in all_commands():
            text = manpages.page(command)
            for flag in command.flags:
                self.assertIn("\\fB" + flag.name.replace("-", "\\-") + "\\fR", text)

    def test_mandoc_has_nothing_to_say(self) -> None:
        if shutil.which("mandoc") is None:
            raise SkipTest("mandoc is not here; on Debian it is in the package of that name")
        for command in all_commands():
            path = Path(self.mktemp())
            path.write_text(manpages.page(command), encoding="utf-8")
            self.assertEqual("", said("mandoc", "-T", "lint", "-W", "warning", path), command.name)


class Completion(SystemTest):
    """A test with all that is written below /usr/share."""

    shell: str

    def setUp(self) -> None:
        super().setUp()
        if shutil.which(self.shell) is None:
            raise SkipTest(f"{self.shell} is not here; on Debian it is in the package of that name")
        self.share = Path(self.mktemp()).absolute()
        completion.write(self.share)


class BashTests(Completion):
    shell = "bash"

    def complete(self, *words: str) -> list[str]:
        """What bash offers for the last word."""
        script = self.share / "bash-completion/completions" / words[0]
        text = _COMPLETE.format(
            script=script, words=" ".join(f"'{word}'" for word in words), function=words[0].replace("-", "_")
        )
        return said("bash", "-c", text).split()

    def test_options(self) -> None:
        self.assertEqual(["--max-size-mb", "--max-hops", "--max-pending-mb", "--max-connections"],
                         self.complete("outputd", "--max"))  # fmt: skip
        self.assertEqual(["--give-up-after"], self.complete("outputd-send", "--gi"))

    def test_values(self) -> None:
        self.assertEqual(["public"], self.complete("outputd", "--feed", "=", "pu"))
        self.assertEqual(["all", "public"], self.complete("outputd", "--feed", "="))
        self.assertEqual(["node"], self.complete("outputd-token", "new", "graz", "--role", "no"))
        self.assertEqual(["new"], self.complete("outputd-token", ""))

    def test_files(self) -> None:
        found = self.complete("outputd-send", f"{CHECKOUT}/examples/res")
        self.assertEqual([f"{CHECKOUT}/examples/results.jsonl"], found)
        self.assertIn(f"{CHECKOUT}/README.md", self.complete("outputd", "--tls-key", "=", f"{CHECKOUT}/READ"))


class FishTests(Completion):
    shell = "fish"

    def complete(self, line: str) -> list[str]:
        """What fish offers for the end of a line."""
        script = self.share / "fish/vendor_completions.d" / f"{line.split(maxsplit=1)[0]}.fish"
        found = said("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")
        return [each.partition("\t")[0] for each in found.splitlines()]

    def test_options(self) -> None:
        self.assertEqual({"--max-size-mb", "--max-hops", "--max-pending-mb", "--max-connections"},
                         set(self.complete("outputd --max")))  # fmt: skip
        self.assertEqual(["--give-up-after"], self.complete("outputd-send --gi"))

    def test_values(self) -> None:
        self.assertEqual(["--feed=public"], self.complete("outputd --feed=pu"))
        self.assertEqual(["node"], self.complete("outputd-token new graz --role no"))
        self.assertEqual(["new"], self.complete("outputd-token "))

    def test_files(self) -> None:
        self.assertEqual([f"{CHECKOUT}/examples/results.jsonl"], self.complete(f"outputd-send {CHECKOUT}/examples/res"))
        self.assertEqual([f"{CHECKOUT}/README.md"], self.complete(f"outputd --tls-key {CHECKOUT}/READ"))
        self.assertEqual([], self.complete(f"outputd {CHECKOUT}/READ"))


class ZshTests(Completion):
    """zsh completes only on a terminal; control-X prints what the line has become."""

    shell = "zsh"

    def complete(self, line: str) -> str:
        """What becomes of a line by the tab key."""
        process, terminal = pty.fork()
        if process == 0:
            os.environ.update(TERM="dumb", PS1="", HOME=str(self.share))
            os.execlp("zsh", "zsh", "-f", "-i")
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.waitpid, process, 0)
        self.addCleanup(os.kill, process, signal.SIGKILL)
        os.write(terminal, _ZSH.format(place=self.share / "zsh/vendor-completions").encode())
        self.read(terminal, r"is ready\r")
        os.write(terminal, f"{line}\t\x18".encode())
        return self.read(terminal, r"<<(.*)>>")

    def read(self, terminal: int, pattern: str) -> str:
        """What it prints is read until this is found."""
        said, ends = "", time.monotonic() + DEADLINE_S
        while (found := re.search(pattern, said)) is None:
            if not select.select([terminal], [], [], ends - time.monotonic())[0]:
                self.fail(f"not within {DEADLINE_S} s: {said}")
            said += os.read(terminal, 4096).decode()
        return found.group(found.lastindex or 0)

    def test_options(self) -> None:
        self.assertEqual("outputd --max-size-mb=", self.complete("outputd --max-s"))
        self.assertEqual("outputd-send --give-up-after=", self.complete("outputd-send --gi"))

    def test_values(self) -> None:
        self.assertEqual("outputd --feed=public ", self.complete("outputd --feed=pu"))
        self.assertEqual("outputd-token new graz --role node ", self.complete("outputd-token new graz --role no"))
        self.assertEqual("outputd-token new ", self.complete("outputd-token "))

    def test_files(self) -> None:
        file = f"{CHECKOUT}/examples/results.jsonl"
        self.assertEqual(f"outputd-send {file} ", self.complete(f"outputd-send {CHECKOUT}/examples/res"))
        self.assertEqual(f"outputd --tls-key={file} ", self.complete(f"outputd --tls-key={CHECKOUT}/examples/res"))


@long(
    "tests.system.test_debian.ManualTests.test_each_option_of_each_command_is_explained",
    "tests.system.test_debian.BashTests.test_options",
)
class PackageTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() or shutil.which("debootstrap") is None:
            raise SkipTest("a bare Debian needs root and debootstrap")
        release = dict(
            line.split("=", 1) for line in Path("/etc/os-release").read_text("utf-8").splitlines() if "=" in line
        )
        if release["ID"] != "debian" or said("/usr/bin/python3", "-c", "import sys; print(sys.version_info[:2])") != (
            f"{sys.version_info[:2]}\n"
        ):
            raise SkipTest("the package is for the Python of this Debian, and the tests run with another")
        self.tree = self.directory.parent / "debian"
        mirror = said("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").split()[0]
        said("debootstrap", "--variant=minbase", "--include=python3,ca-certificates", release["VERSION_CODENAME"],
             self.tree, mirror)  # fmt: skip
        self.addCleanup(shutil.rmtree, self.tree)

    def test_it_is_installed_started_and_removed(self) -> None:
        package = Path(
            said(sys.executable, "-m", "tools.deb", os.path.relpath(self.directory.parent / "dist")).split()[-1]
        )
        shutil.copy(package, self.tree)
        inside = ("chroot", str(self.tree))
        said(*inside, "dpkg", "--install", f"/{package.name}")
        self.assertIn("outputd 0", said(*inside, "outputd", "--version"))
        self.assertIn("node graz", said(*inside, "outputd-token", "new", "graz", "--role", "node"))
        for name in (
            "lib/systemd/system/outputd.service", "usr/share/man/man1/outputd-send.1.gz", "etc/default/outputd",
            "usr/share/bash-completion/completions/outputd-token", "usr/share/zsh/vendor-completions/_outputd",
            "usr/share/fish/vendor_completions.d/outputd-token.fish",
        ):  # fmt: skip
            self.assertTrue((self.tree / name).exists(), name)
        self.assertNotIn("/opt", (self.tree / "lib/systemd/system/outputd.service").read_text("utf-8"))
        self.serve(inside)
        said(*inside, "dpkg", "--remove", "outputd")
        self.assertFalse((self.tree / "usr/bin/outputd").exists())
        self.assertFalse((self.tree / "usr/lib/outputd").exists())
        said(*inside, "dpkg", "--purge", "outputd")
        self.assertFalse((self.tree / "etc/default/outputd").exists())
        self.assertEqual(1, len(list((self.tree / "var/lib/outputd").glob("results_*.db"))))

    def serve(self, inside: tuple[str, ...]) -> None:
        """Start it as a plain user, post a result with its own command, stop it."""
        port, health_port = free_port(), free_port()
        flags = [f"--port={port}", f"--health-port={health_port}", "--db-dir=/var/lib/outputd", "--input-url="]
        said(*inside, "install", "-d", "-o", "nobody", "/var/lib/outputd")
        process = subprocess.Popen(["chroot", "--userspec=nobody:nogroup", str(self.tree), "outputd", *flags])
        self.addCleanup(process.kill)

        def is_ready() -> bool:
            self.assertIsNone(process.poll())
            try:
                return call(health_port, "GET", "/ready").status == 200
            except OSError:
                return False

        wait_until(is_ready, "the installed service is ready")
        sample = "/usr/share/doc/outputd/examples/results.jsonl"
        told = said(*inside, "outputd-send", sample, "--state=/tmp", f"--url=http://127.0.0.1:{port}/results")
        self.assertIn("40 results stored of 10 bodies", told)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(DEADLINE_S))
