from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from outputd.client.agent import http_client
from outputd.demo.guard import why_not
from outputd.security.access import OPERATOR, Holder, line_of
from tests.kit.makers import a_result, body_of
from tests.kit.running import REACTOR, Running


class GuardTests(TestCase):
    """Issue 15.22: invented results go to a service that has none, and to no other."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    async def running(self, name: str, *flags: str) -> Running:
        running = Running(self.path / name, *flags, with_pages=False).start()
        self.addCleanup(running.stop)
        return running

    async def why_not(self, running: Running, health: Running | None = None) -> str:
        health = health or running
        return await why_not(
            http_client(REACTOR), f"http://127.0.0.1:{running.port()}/results",
            f"http://127.0.0.1:{health.port('health-port')}",
        )  # fmt: skip

    async def test_an_empty_one(self) -> None:
        self.assertEqual("", await self.why_not(await self.running("a")))

    async def test_one_with_a_result_in_an_older_file_and_of_an_earlier_run(self) -> None:
        running = Running(self.path / "a", with_pages=False).start()
        await running.post(body_of(a_result()))
        await running.ask("POST", "/rotate")
        await running.stop()
        again = await self.running("a")
        self.assertIn("has results", await self.why_not(again))

    async def test_two_ports_of_two_services(self) -> None:
        first = await self.running("a")
        await first.ask("POST", "/rotate")  # a name of its own
        second = await self.running("b")
        await second.post(body_of(a_result()))
        self.assertIn("is not of the service", await self.why_not(second, health=first))

    async def test_one_that_does_not_say(self) -> None:
        tokens = self.path.with_suffix(".tokens")
        tokens.write_text(line_of(Holder(OPERATOR, "op"), "x" * 43))
        running = await self.running("a", f"--tokens-file={tokens}")
        self.assertIn("cannot see whether the service is empty", await self.why_not(running))
        nobody = await why_not(http_client(REACTOR), "http://127.0.0.1:9/results", "http://127.0.0.1:9")
        self.assertIn("cannot see whether the service is empty", nobody)
