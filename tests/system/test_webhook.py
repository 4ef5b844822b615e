"""The webhook of a real service: the receiver of how-to/webhook.md, and a kill between a post and its mark."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.kit.makers import a_result
from tests.system.files import webhook_is_on
from tests.system.harness import HOST, SystemTest, free_port
from tests.system.markdown import blocks
from tests.system.waiting import DEADLINE_S, wait_until


class WebhookTests(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.hook_port = free_port()
        self.printed = Path(self.mktemp()).absolute()
        self.served = self.outputd(f"--webhook=http://{HOST}:{self.hook_port}/?key=secret")

    def receive(self) -> None:
        """Start the receiver of the documentation."""
        (block,) = [block for block in blocks("docs/how-to/webhook.md") if block.language == "python"]
        script = Path(self.mktemp()).absolute()
        script.write_text(block.text, encoding="utf-8")
        with self.printed.open("wb") as printed:
            process = subprocess.Popen([sys.executable, script, str(self.hook_port)], stdout=printed)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def lines(self) -> list[str]:
        return self.printed.read_text(encoding="utf-8").splitlines()

    def lose(self) -> None:
        for received in (*[4] * 10, 0, 0, 0):
            self.assertEqual(200, self.served.post([a_result(received=received)]).status)

    def test_what_was_taken_without_an_answer_before_a_kill_comes_again(self) -> None:
        self.served.start()
        wait_until(lambda: webhook_is_on(self.directory), "the webhook is turned on")
        with socket.create_server((HOST, self.hook_port)) as silent:
            silent.settimeout(DEADLINE_S)
            self.lose()
            connection, _ = silent.accept()
            with connection:
                connection.settimeout(DEADLINE_S)
                taken = b""
                while b"loss_began" not in taken:
                    taken += connection.recv(65536)
                self.served.kill()
        self.receive()
        self.served.start()
        wait_until(self.lines, "the change comes again")
        self.assertEqual([["began", "loss_began"]], [line.split()[:2] for line in self.lines()])
        check = wait_until(
            lambda: (said := self.served.get("/health").json["checks"]["webhook"])["status"] == "ok" and said,
            "it is well",
        )  # the receiver may have come after the first try
        self.assertEqual((0, 0), (check["dropped_changes"], check["refused_changes"]))
        wait_until(lambda: self.served.get("/health").json["checks"]["webhook"]["waiting_changes"] == 0, "none waits")
        self.assertNotIn("secret", self.served.log)
        self.assertNotIn(b"secret", self.served.get("/health").body + self.served.get("/metrics").body)
        self.assertStopped(self.served.stop())
