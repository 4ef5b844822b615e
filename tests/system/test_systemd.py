"""What systemd hears of the service, what it hands over, and what it thinks of the units; the test plays systemd."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import trustme

from outputd.security.access import Holder, line_of, new_token
from tests.kit.depth import long
from tests.system.harness import CHECKOUT, HOST, Outputd, SystemTest
from tests.system.load import Source
from tests.system.waiting import wait_until

_UNITS = CHECKOUT / "systemd"
_SILENT_S = 2.5  # more than twice what the watchdog waits for


class Heard:
    """A notify socket, and what came in over it."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path.replace("@", "\0", 1) if path.startswith("@") else path)
        self.messages: list[tuple[float, str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while data := self.socket.recv(4096):
                self.messages.append((time.monotonic(), data.decode()))
        except OSError:
            return

    def times(self, text: str) -> list[float]:
        """When messages with this text came."""
        return [at for at, message in list(self.messages) if text in message]

    def silent_s(self, text: str) -> float:
        """How long no such message has come."""
        return time.monotonic() - self.times(text)[-1]

    def wait(self, text: str, times: int = 1) -> None:
        """Return when so many such messages have come."""
        wait_until(lambda: len(self.times(text)) >= times, f"{times} times {text}")


class Hanging(Outputd):
    """An instance of which a part hangs from SIGUSR1 to SIGUSR2."""

    part = "reactor"

    def _command(self, flags: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "tests.system.hanging", self.part, *self.flags, *flags]


class Notifying(SystemTest):
    """sd_notify(3)."""

    def heard(self, name: str = "") -> Heard:
        if not name:  # the path of a socket may have 107 bytes, less than some directories of trial's
            place = self.enterContext(tempfile.TemporaryDirectory())
            name = f"{place}/notify"
        self.path = name
        heard = Heard(self.path)
        self.addCleanup(heard.socket.close)
        return heard

    def test_ready_status_reloading_and_stopping(self) -> None:
        """In this order, and READY only when results are taken."""
        for name in ("", f"@outputd-test-{os.getpid()}"):
            heard = self.heard(name)
            outputd = self.outputd(environment={"NOTIFY_SOCKET": self.path}).start()
            heard.wait("READY=1")
            outputd.post(Source(1).post().body)
            heard.wait("STATUS=")
            self.assertTrue(any(re.search(r"STATUS=[\d,]+ results/s, [\d,]+ hops wait", m) for _, m in heard.messages))
            outputd.send(signal.SIGHUP)
            heard.wait("READY=1", 2)
            (reloading,) = [message for _, message in heard.messages if "RELOADING=1" in message]
            self.assertRegex(reloading, r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual([], heard.times("WATCHDOG"))
            self.assertStopped(outputd.stop())
            heard.wait("STOPPING=1")
            order = [heard.times(text)[0] for text in ("READY=1", "RELOADING=1", "STOPPING=1")]
            self.assertEqual(order, sorted(order))

    @long(
        "tests.system.test_systemd.Notifying.test_ready_status_reloading_and_stopping",
        "tests.api.test_health.Ready.test_not_while_the_writer_hangs",
    )
    def test_the_watchdog_hears_of_us_while_reactor_and_writer_work(self) -> None:
        """And no longer when one of them hangs; a writer that fails does not hang."""
        for part in ("reactor", "writer"):
            shutil.rmtree(self.directory, ignore_errors=True)
            heard = self.heard()
            outputd = Hanging(
                self.directory, "--input-url=", environment={"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "1000000"}
            )
            outputd.part = part
            self.addCleanup(outputd.kill)
            outputd.start()
            heard.wait("WATCHDOG=1", 4)
            outputd.send(signal.SIGUSR1)
            if part == "writer":
                threading.Thread(target=self._post, args=(outputd,), daemon=True).start()
            wait_until(lambda: heard.silent_s("WATCHDOG=1") > _SILENT_S, f"nothing is heard while the {part} hangs")  # noqa: B023  # called here
            before = len(heard.times("WATCHDOG=1"))
            outputd.send(signal.SIGUSR2)
            heard.wait("WATCHDOG=1", before + 1)
            outputd.kill()

    def _post(self, outputd: Outputd) -> None:
        outputd.post(Source(1).post().body)


class Activated(SystemTest):
    """sd_listen_fds(3): the sockets outlive the process."""

    def _start(self, listening: list[socket.socket], names: str = "outputd.socket:outputd.socket") -> int:
        """What systemd does: descriptors from 3 on, and who they are for. The process's number."""

        def place() -> None:
            for number, each in enumerate(listening, start=3):
                os.dup2(each.fileno(), 100 + number)
            for number in range(3, 3 + len(listening)):
                os.dup2(100 + number, number, inheritable=True)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(listening)), LISTEN_FDNAMES=names)
            os.chdir(CHECKOUT)
            os.execv(sys.executable, [
                sys.executable, "-m", "outputd", f"--db-dir={self.directory}", "--input-url=", "--port=1",
                "--health-port=1",
            ])  # fmt: skip

        process = os.fork()
        if process == 0:
            try:
                log = os.open(f"{self.directory}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                place()
            finally:
                os._exit(127)
        self.addCleanup(_end, process)
        return process

    def test_no_connection_is_refused_through_a_restart(self) -> None:
        """A client connects and posts all the while, and every POST is answered 200."""
        listening = [socket.create_server((HOST, 0), backlog=511) for _ in range(2)]
        ports = [each.getsockname()[1] for each in listening]
        for each in listening:
            self.addCleanup(each.close)
        outputd = Outputd(self.directory)
        outputd.port, outputd.health_port = ports
        process = self._start(listening)
        wait_until(lambda: _is_ready(outputd), "ready")
        statuses: list[int] = []
        stop = threading.Event()

        def post_on() -> None:
            source = Source(4)
            while not stop.is_set():
                statuses.append(outputd.post(source.post(2).body, timeout=30).status)

        client = threading.Thread(target=post_on, daemon=True)
        client.start()
        wait_until(lambda: len(statuses) > 20, "posts before")
        for _ in range(2):
            os.kill(process, signal.SIGTERM)
            self.assertEqual(0, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
            wanted = len(statuses) + 20
            process = self._start(listening)
            _wait_for(statuses, wanted)
        stop.set()
        client.join(30)
        self.assertEqual({200}, set(statuses))
        self.assertEqual(200, outputd.get("/ready").status)

    def test_sockets_are_known_by_name(self) -> None:
        """Whatever their order."""
        health, results = (socket.create_server((HOST, 0)) for _ in range(2))
        self.addCleanup(health.close)
        self.addCleanup(results.close)
        self._start([health, results], "health:results")
        outputd = Outputd(self.directory)
        outputd.port, outputd.health_port = results.getsockname()[1], health.getsockname()[1]
        wait_until(lambda: _is_ready(outputd), "ready")
        self.assertEqual(200, outputd.post([]).status)

    def test_by_systemd_s_own_tool(self) -> None:
        """systemd-socket-activate starts it at the first connection."""
        tool = shutil.which("systemd-socket-activate")
        if tool is None:
            self.skipTest("systemd-socket-activate is not here")
        outputd = Outputd(self.directory)
        process = subprocess.Popen(
            [tool, f"--listen={HOST}:{outputd.port}", f"--listen={HOST}:{outputd.health_port}",
             "--fdname=results:health", "-E", "PYTHONPATH", "-E", "PATH",
             sys.executable, "-m", "outputd", f"--db-dir={self.directory}",
             "--input-url="],
            cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: _is_ready(outputd), "ready")
        self.assertEqual(200, outputd.post(Source(3).post().body).status)


class Credentials(SystemTest):
    """systemd.exec(5), LoadCredential=: what credentials.conf hands over; all but the mount and its access control."""

    def setUp(self) -> None:
        super().setUp()
        text = (_UNITS / "credentials.conf").read_text(encoding="ascii")
        self.loaded = dict(re.findall(r"(?m)^LoadCredential=([^:\n]+):(/etc/outputd/.+)$", text))
        self.variables = dict(re.findall(r"(?m)^Environment=(\w+)=(.+)$", text))

    def test_each_variable_names_what_is_loaded(self) -> None:
        self.assertEqual(sorted(f"%d/{name}" for name in self.loaded), sorted(self.variables.values()))

    def test_tokens_and_tls_come_from_a_directory_that_nobody_can_write(self) -> None:
        """As systemd makes it: files of mode 0400 in a directory of mode 0500."""
        ca, token = trustme.CA(), new_token()
        certificate = ca.issue_cert("localhost")
        contents = {
            "tokens": line_of(Holder("node", "graz"), token).encode(),
            "tls.pem": certificate.cert_chain_pems[0].bytes(), "tls.key": certificate.private_key_pem.bytes(),
        }  # fmt: skip
        self.assertEqual(contents.keys(), self.loaded.keys())
        place = self.directory.parent / "credentials"
        place.mkdir(parents=True)
        self.addCleanup(place.chmod, 0o700)
        for name, content in contents.items():
            (place / name).write_bytes(content)
            (place / name).chmod(0o400)
        place.chmod(0o500)
        variables = {name: value.replace("%d", str(place)) for name, value in self.variables.items()}
        outputd = self.outputd(environment={"CREDENTIALS_DIRECTORY": str(place), **variables})
        outputd.is_ready = lambda: "results go to" in outputd.log  # type: ignore[method-assign]  # it asks in plain HTTP
        outputd.start()
        context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
        for said, status in ((f"Bearer {token}", 200), ("Bearer guessed", 401)):
            connection = http.client.HTTPSConnection("localhost", outputd.port, timeout=30, context=context)
            self.addCleanup(connection.close)
            connection.request("POST", "/results", b"[]", {"Authorization": said})
            self.assertEqual(status, connection.getresponse().status)
        outputd.send(signal.SIGHUP)  # harmless: it reads the same again
        wait_until(lambda: outputd.log.count(" reloaded") == 2, "tokens and certificate")
        self.assertStopped(outputd.stop())


class Units(SystemTest):
    """What systemd-analyze says."""

    def setUp(self) -> None:
        super().setUp()
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not here")

    def test_they_are_right(self) -> None:
        """No word but that the program is not installed."""
        place = self.directory.parent / "units"
        place.mkdir()
        for unit in _UNITS.iterdir():
            (place / unit.name).write_text(unit.read_text().replace("/opt/outputd/bin/twistd", "/bin/true"))
        (place / "outputd.service.d").mkdir()
        shutil.copy(_UNITS / "credentials.conf", place / "outputd.service.d")
        for name in ("outputd.service", "outputd.socket", "outputd@graz.service"):
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", str(place / name)],
                capture_output=True,
                text=True,
                check=False,
            )
            ours = [line for line in done.stderr.splitlines() if "outputd" in line]
            self.assertEqual([], ours)

    def test_they_are_hardened(self) -> None:
        """An exposure of 1.5 at most."""
        for name in ("outputd.service", "outputd@.service"):
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(_UNITS / name)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.assertEqual(0, done.returncode, done.stdout[-300:] + done.stderr)


def _wait_for(statuses: list[int], wanted: int) -> None:
    wait_until(lambda: len(statuses) > wanted, "posts are answered again")


def _is_ready(outputd: Outputd) -> bool:
    try:
        return outputd.get("/ready").status == 200
    except OSError:
        return False


def _end(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        return
