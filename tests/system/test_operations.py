"""docs/operations.md: each fault is caused, and what the page says is then seen, told and done, command by command."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.files import all_faults, is_self_contained, opened, result_files, stored_targets
from tests.system.harness import CHECKOUT, HOST, SystemTest, call, free_port, is_open
from tests.system.load import Source
from tests.system.markdown import blocks, matches, run
from tests.system.waiting import wait_until

PAGE = "docs/operations.md"
PROGRAMS = ("curl", "jq", "sqlite3", "findmnt")
BARE = b"[%s]" % b",".join(
    [b'{"ip":"192.0.2.1","sent":4,"received":4,"avg_rtt":15000000,"timestamp":"2026-01-07T22:30:00.123Z"}'] * 1000
)
_SYSTEMCTL = """\
#!/usr/bin/env bash
# Stands in for systemd: starts and stops the service as the unit does, with the settings of its file.
set -eu
cd {here}
lives() {{ [ -e pid ] && grep -q '^State:.[^ZX]' "/proc/$(cat pid)/status" 2>/dev/null; }}  # no zombie
stop() {{ ! lives || kill -TERM "$(cat pid)"; while lives; do sleep 0.05; done; }}
start() {{
    set -a; . ./default; set +a
    cd {checkout}
    nohup {python} -m outputd >>{here}/log 2>&1 </dev/null &
    echo $! >{here}/pid
    cd {here}
    for _ in $(seq 300); do
        lives || return 0
        curl -s -o /dev/null http://localhost:{health_port}/stats && return 0
        sleep 0.1
    done
    return 1
}}
case "$1 $2" in
    "start outputd") start ;;
    "stop outputd") stop ;;
    "restart outputd") stop; start ;;
    *) exit 2 ;;
esac
"""


class OperationsTest(SystemTest):
    """An installation as the page has it, in a directory of its own."""

    def setUp(self) -> None:
        super().setUp()
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise SkipTest(f"the page's commands need {', '.join(missing)}")
        self.here = self.directory.parent / "here"
        (self.here / "bin").mkdir(parents=True)
        self.port, self.health_port = free_port(), free_port()
        self.settings = self.here / "default"
        self.hog = self.directory / "journal"
        self.set(OUTPUTD_DB_DIR=self.directory, OUTPUTD_PORT=self.port, OUTPUTD_HEALTH_PORT=self.health_port)
        self.set(OUTPUTD_INPUT_URL="http://localhost:9/hops")  # nobody's
        for name, text in {
            "systemctl": _SYSTEMCTL.format(
                here=self.here, checkout=CHECKOUT, python=sys.executable, health_port=self.health_port
            ),
            "outputd-restore": (
                f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m outputd.store.command "$@"\n'
            ),
            "journalctl": f"#!/bin/sh\ncase $1 in --vacuum-size=*) rm {self.hog} ;; *) cat {self.here}/log ;; esac\n",
        }.items():
            program = self.here / "bin" / name
            program.write_text(text, encoding="utf-8")
            program.chmod(0o755)
        self.addCleanup(self.kill)
        self.source = Source(10)

    def set(self, **settings: object) -> None:
        with self.settings.open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    @property
    def pid(self) -> int:
        return int((self.here / "pid").read_text(encoding="ascii"))

    def kill(self) -> None:
        if (self.here / "pid").exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    @property
    def log(self) -> str:
        path = self.here / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def systemctl(self, verb: str) -> None:
        self.shell(f"systemctl {verb} outputd")

    def start(self) -> None:
        self.systemctl("start")
        wait_until(self.is_ready, f"ready\n{self.log}")

    def is_ready(self) -> bool:
        try:
            return call(self.health_port, "GET", "/ready").status == 200
        except OSError:
            return False

    def database(self) -> str:
        """What the check of the database says."""
        status: str = call(self.health_port, "GET", "/health").json["checks"]["database"]["status"]
        return status

    def post(self, count: int = 20, status: int = 200) -> None:
        answer = call(self.port, "POST", "/results", self.source.post(count).body)
        self.assertEqual(status, answer.status, answer.body)

    def rotate(self) -> None:
        self.assertEqual(200, call(self.port, "POST", "/rotate").status)

    def fill_until_refused(self) -> None:
        """Post until the disk takes no more; no hop, so that it is the result file that finds no room."""

        def is_refused() -> bool:
            return call(self.port, "POST", "/results", BARE).status == 503

        wait_until(is_refused, "a POST refused")

    # -- the page

    def shell(self, commands: str) -> str:
        return run(commands, self.here, {"PATH": f"{self.here}/bin:{os.environ['PATH']}"})

    def filled_in(self, text: str) -> str:
        """A text of the page with the names of this installation."""
        for theirs, ours in (
            ("/var/lib/outputd", str(self.directory)),
            ("/etc/default/outputd", str(self.settings)),
            ("localhost:8081", f"localhost:{self.port}"),
            ("localhost:8091", f"localhost:{self.health_port}"),
        ):
            text = text.replace(theirs, ours)
        return text

    def follow(self, heading: str) -> None:
        """Read a section from its beginning: run its commands, and see what it says is printed and logged."""
        section = [block for block in blocks(PAGE) if block.heading == heading]
        self.assertTrue(section, heading)
        printed = ""
        for block in section:
            text = self.filled_in(block.text)
            if block.language == "bash":
                printed = "" if block.untested else self.shell(text)
            elif block.language == "text":
                self.assertTrue(matches(text, printed), f"{heading}: {printed!r} is not {text!r}")
            elif block.language == "log":
                self.assert_logged(text)
            else:
                self.fail(f"{heading}: a block of {block.language!r}")

    def assert_logged(self, lines: str) -> None:
        for line in lines.splitlines():
            pattern = ".*".join(re.escape(part) for part in line.split("..."))
            wait_until(partial(self.is_logged, pattern), f"{line!r} in\n{self.log}")

    def is_logged(self, pattern: str) -> bool:
        return re.search(pattern, self.log) is not None


class PageTests(OperationsTest):
    def test_each_section_with_a_block_is_followed_by_a_test(self) -> None:
        """A section nobody follows could say anything."""
        followed = set(re.findall(r"follow\(\"([^\"]+)\"\)", Path(__file__).read_text(encoding="utf-8")))
        self.assertEqual({block.heading for block in blocks(PAGE) if not block.untested}, followed)

    def test_each_alert_that_is_named_exists(self) -> None:
        named = set(re.findall(r"`(Outputd\w+)`", (CHECKOUT / PAGE).read_text(encoding="utf-8")))
        there = set(re.findall(r"- alert: (\w+)", (CHECKOUT / "monitoring/alerts.yml").read_text(encoding="utf-8")))
        self.assertGreater(len(named), 8)
        self.assertEqual(set(), named - there)

    def test_the_table_of_sizes_is_reckoned_as_said(self) -> None:
        text = (CHECKOUT / PAGE).read_text(encoding="utf-8")
        rows = re.findall(
            r"^\| (\d+) \| (\d+) \| (\d+) s \| ([\d.]+) \| (\d+) "
            r"\| `--max-size-mb=(\d+) --keep-files=(\d+)` \| (\d+) GB \|$", text, re.MULTILINE,
        )  # fmt: skip
        self.assertEqual(3, len(rows))
        for nodes, targets, seconds, rate, mb, size, keep, disk in (tuple(map(float, row)) for row in rows):
            self.assertLessEqual(abs(nodes * targets / seconds - rate), 0.05)
            self.assertLessEqual(abs(nodes * targets / seconds * 86_400 * 800 / 1e6 - mb), 0.5)
            self.assertGreaterEqual(size * 1.048576 * keep, 30 * mb)
            self.assertLessEqual(abs(size * 1.048576 * (keep + 2) / 1000 - disk), 0.5)

    def test_a_result_is_as_large_as_said(self) -> None:
        self.start()
        for _ in range(20):
            self.post(200)
        with_hops = self._size(4000)
        self.rotate()
        for _ in range(4):
            self.assertEqual(200, call(self.port, "POST", "/results", BARE).status)
        hops = self.source.post(200).body.count(b'"ttl"') / 200
        self.assertTrue(600 * hops / 12 < with_hops < 1000 * hops / 12 + 150, (with_hops, hops))
        self.assertTrue(110 < self._size(4000) < 200, self._size(4000))

    def _size(self, results: int) -> float:
        size = call(self.health_port, "GET", "/stats").json["current_db_size"]
        return float(size) / results


@long(
    "tests.system.test_operations.PageTests.test_each_section_with_a_block_is_followed_by_a_test",
    "tests.system.test_operations.PageTests.test_each_alert_that_is_named_exists",
)
class WellTests(OperationsTest):
    def test_is_it_well(self) -> None:
        self.set(OUTPUTD_INPUT_URL=self.input_service().open().url)
        self.start()
        self.follow("Health checks")

    def test_a_crash(self) -> None:
        self.start()
        with contextlib.closing(sqlite3.connect(self.directory / "hops.sqlite3", isolation_level=None)) as ledger:
            ledger.execute("BEGIN IMMEDIATE")  # so that it lacks the hops of what is answered
            self.post()
            self.kill()
        self.start()
        self.follow("A crash or a power cut")
        self.assertEqual(20, sum(stored_targets(self.directory).values()))

    def test_the_directory_was_removed(self) -> None:
        self.start()
        self.post()
        shutil.rmtree(self.directory.rename(self.here / "removed"))  # at once: a file may be made meanwhile
        self.follow("The directory was removed")
        wait_until(self.is_ready, "ready again")
        self.post()
        self.systemctl("stop")
        self.assertEqual(40, sum(stored_targets(self.directory).values()))

    def test_a_deleted_file(self) -> None:
        self.start()
        self.post()
        (file,) = result_files(self.directory)
        file.unlink()
        self.follow("A result file was deleted")
        self.post()
        self.systemctl("stop")
        self.assertEqual(40, sum(stored_targets(self.directory).values()))

    def test_a_replaced_file(self) -> None:
        """By a copy of itself from before the last POST, while more arrive."""
        self.start()
        self.post()
        (file,) = result_files(self.directory)
        backup = self.here / "backup.db"
        backup.write_bytes(call(self.port, "GET", "/dump").body)
        self.post()
        backup.rename(file)
        self.assertIn(call(self.port, "POST", "/results", BARE).status, (200, 503))
        wait_until(lambda: self.database() == "warn", "it stores again")
        self.follow("A result file was replaced")
        self.post()
        self.systemctl("stop")
        self.assertEqual(60, sum(n for ip, n in stored_targets(self.directory).items() if ip != "192.0.2.1"))
        self.assertEqual([], all_faults(self.directory))

    def test_a_damaged_file(self) -> None:
        self.start()
        for _ in range(10):
            self.post(200)
        self.systemctl("stop")
        (file,) = result_files(self.directory)
        with opened(file) as db:
            ((page,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'batches'")
            ((size,),) = db.execute("PRAGMA page_size")
        with file.open("r+b") as damaged:
            damaged.seek((page - 1) * size)
            damaged.write(os.urandom(size))
        self.start()
        self.rotate()
        wait_until(lambda: [*self.directory.glob("results_*.json")], "a manifest")
        self.follow("A result file is damaged")
        self.assertEqual("2000\n", self.shell("sqlite3 saved.db 'SELECT count(*) FROM ping_results'"))
        wait_until(lambda: self.database() == "ok", "nothing is wrong any more")

    def test_a_deleted_ledger(self) -> None:
        self.start()
        self.post()
        known = call(self.health_port, "GET", "/stats").json["hops_discovered"]
        (self.directory / "hops.sqlite3").unlink()
        self.follow("The hop ledger was deleted")
        name = f"output_service_ledger_known_hops {float(known)}"
        wait_until(lambda: name in call(self.health_port, "GET", "/metrics").body.decode(), "all hops known again")

    def test_more_than_it_can_write(self) -> None:
        self.set(OUTPUTD_MAX_PENDING_MB=0.05)
        self.start()
        body = self.source.post(400).body
        with socket.create_connection((HOST, self.port)) as slow:  # alone a POST always has room
            slow.sendall(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b" " * 49_000)
            wait_until(lambda: call(self.port, "POST", "/results", body).status == 503, "a POST refused")
        self.follow("Overload: more arrives than it can write")
        self.post(400)

    def test_descriptors(self) -> None:
        """There are too few for --max-connections, then none at all; afterwards it accepts again."""
        with self.settings.open("a", encoding="utf-8") as file:
            file.write("ulimit -n 600\n")
        self.start()
        used = len(os.listdir(f"/proc/{self.pid}/fd"))
        soft, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (used + 20, hard))
        idle = [socket.create_connection((HOST, self.port)) for _ in range(60)]
        for connection in idle:
            connection.close()
        wait_until(self.is_ready, "ready again")
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.follow("File descriptors run out")
        self.post()

    def test_input_service_away(self) -> None:
        self.set(OUTPUTD_INPUT_URL=f"http://localhost:{free_port()}/hops")
        self.start()
        self.post()
        self.follow("input_service does not take hops")

    def test_archive_away(self) -> None:
        self.set(OUTPUTD_ARCHIVE=f"file://{self.here}/not-mounted", OUTPUTD_ARCHIVE_EVERY="0.01")
        self.start()
        self.post()
        self.follow("The archive does not take results")

    def test_input_service_refuses(self) -> None:
        service = self.input_service()
        service.verdict = lambda hops: 422
        self.set(OUTPUTD_INPUT_URL=service.open().url)
        self.start()
        self.post()
        self.follow("input_service refuses addresses")

    def test_the_clock(self) -> None:
        self.start()
        self.post()
        self.follow("The clock steps")

    def test_it_does_not_start(self) -> None:
        self.start()
        for settings in ({}, {"OUTPUTD_DB_DIR": f"{self.directory}.other"}):
            text = self.settings.read_text(encoding="utf-8")
            self.set(**settings)
            (self.here / "pid").rename(self.here / "first")
            self.systemctl("start")
            (self.here / "first").rename(self.here / "pid")
            self.settings.write_text(text, encoding="utf-8")
        self.follow("It does not start")

    def test_backup_and_restore(self) -> None:
        self.start()
        self.post()
        self.rotate()
        self.post()
        self.follow("Backup and restore")
        self.post()
        self.systemctl("stop")
        self.assertEqual(60, sum(stored_targets(self.directory).values()))
        self.assertEqual([], all_faults(self.directory))

    def test_putting_files_back(self) -> None:
        self.start()
        self.post()
        (file,) = result_files(self.directory)
        self.rotate()
        wait_until(lambda: is_self_contained(file), "the closed file stands alone")
        (self.here / "backup").mkdir()
        shutil.copy(file, self.here / "backup")
        file.write_bytes(b"damaged")
        self.post()
        section = [block for block in blocks(PAGE) if block.heading == "Put single files back"]
        refused = self.filled_in(section[0].text.splitlines()[1])
        self.assertIn(f"process {self.pid}", self.shell(f"! {refused}"))
        self.follow("Put single files back")
        self.post()
        self.systemctl("stop")
        self.assertEqual(60, sum(stored_targets(self.directory).values()))
        self.assertEqual(b"damaged", Path(f"{file}.replaced").read_bytes())
        self.assertEqual([], all_faults(self.directory))

    def test_moving(self) -> None:
        self.start()
        self.post()
        self.follow("Move the directory")
        self.post()
        self.systemctl("stop")
        self.assertEqual(20, sum(stored_targets(self.directory).values()))
        self.assertEqual(40, sum(stored_targets(Path(f"{self.directory}.moved")).values()))

    def test_upgrade(self) -> None:
        self.start()
        self.follow("Upgrade")


@long(
    "tests.system.test_disk.FullDisk.test_posts_are_refused_while_it_is_full_and_stored_soon_after",
)
class DiskTests(OperationsTest):
    """On a small disk of its own, for which one has to be root."""

    def setUp(self) -> None:
        super().setUp()
        self.directory.mkdir()
        self.mount("-t", "tmpfs", "-o", "size=40m", "none", self.directory)
        self.addCleanup(lambda: subprocess.run(["umount", "--lazy", self.directory], check=True))

    def mount(self, *arguments: str | Path) -> None:
        if os.geteuid() or subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
            raise SkipTest("only root may mount a small disk")

    def test_a_full_disk(self) -> None:
        self.start()
        for _ in range(4):
            for _ in range(5):
                self.post(200)
            self.rotate()
        self.hog.write_bytes(bytes(16 << 20))
        self.fill_until_refused()
        self.follow("The disk is full")
        wait_until(self.is_ready, "ready")
        self.post()

    def test_a_read_only_disk(self) -> None:
        self.mount("-o", "remount,ro", self.directory)
        self.systemctl("start")
        self.assertFalse(is_open(self.port))
        self.follow("The directory cannot be written")
        self.assertNotIn("Traceback", self.log)
