"""Changes in a whole service: found beside its POSTs, asked for, counted, and kept over a restart."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.kit.makers import a_result, body_of
from tests.kit.peer import Peer, listen
from tests.kit.running import Running, eventually

LOST = '{kind="loss_began"} 1.0'


class ServiceTests(TestCase):
    def written(self, text: str, path: Path | None = None) -> Path:
        """A file with this text."""
        path = path or Path(self.mktemp())
        path.write_text(text)
        return path

    async def test_a_loss_that_begins_before_a_restart_ends_after_it(self) -> None:
        directory = Path(self.mktemp())
        running = Running(directory).start()
        for received in (*[4] * 10, 0, 0, 0):
            await running.post(body_of(a_result(received=received)))
        await running.parts.changes.up_to_date(30.0)
        metrics = (await running.ask("GET", "/metrics", port="health-port")).body.decode()
        await running.stop()
        self.assertIn(f"output_service_changes_total{LOST}", metrics)
        running = Running(directory).start()
        for _ in range(3):
            await running.post(body_of(a_result()))
        await running.parts.changes.up_to_date(30.0)
        found = (await running.ask("GET", "/changes", port="health-port")).json["changes"]
        await running.stop()
        self.assertEqual([(change["kind"], change["until"] is None) for change in found], [
            ("loss_ended", True), ("loss_began", False),
        ])  # fmt: skip

    async def test_changes_are_posted_to_a_webhook_with_its_token_and_counted(self) -> None:
        peer = Peer(lambda conversation: conversation.say(b"HTTP/1.1 204 No Content\r\n\r\n"))
        port = listen(peer)
        self.addCleanup(port.stopListening)
        token = self.written("first")
        url = f"http://127.0.0.1:{port.getHost().port}/changes?key=secret"
        running = Running(Path(self.mktemp()), f"--webhook={url}", f"--webhook-token-file={token}").start()
        await running.post(body_of(a_result()))
        await running.parts.changes.up_to_date(30.0)
        self.written("second", token)
        await running.parts.reload.again()
        for received in (*[4] * 10, 0, 0, 0):
            await running.post(body_of(a_result(received=received)))
        await running.parts.changes.up_to_date(30.0)
        await eventually(lambda: running.parts.webhook is not None and running.parts.webhook.posted)
        health = (await running.ask("GET", "/health", port="health-port")).json["checks"]["webhook"]
        metrics = (await running.ask("GET", "/metrics", port="health-port")).body.decode()
        await running.stop()
        head, _, body = peer.requests[0].partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"POST /changes?key=secret HTTP/1.1\r\n"))
        self.assertIn(b"authorization: bearer second", head.lower())
        self.assertEqual(("loss_began", "began"), (json.loads(body)["kind"], json.loads(body)["event"]))
        self.assertEqual({"status": "ok", "waiting_changes": 0, "dropped_changes": 0, "refused_changes": 0}, health)
        self.assertIn("output_service_webhook_posted_changes_total 1.0", metrics)
        self.assertEqual(1, len(peer.requests))
