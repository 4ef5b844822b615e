"""Changes in a whole service: found beside its POSTs, asked for, counted, and kept over a restart."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.kit.makers import a_result, body_of
from tests.kit.running import Running

LOST = '{kind="loss_began"} 1.0'


class ServiceTests(TestCase):
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
