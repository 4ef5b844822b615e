from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from outputd.client.agent import http_client
from outputd.demo.guard import why_not
from outputd.security.access import OPERATOR, Holder, line_of
from outputd.store.directory import manifest_of
from tests.kit.makers import a_result, a_trace, body_of
from tests.kit.peer import Conversation, Peer, listen
from tests.kit.running import REACTOR, Running, eventually


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

    async def test_one_that_has_only_rejected_what_a_node_sent(self) -> None:
        running = await self.running("a")
        await running.post(b'[{"ip": "of no result"}]')
        self.assertIn("has heard of a node", await self.why_not(running))

    async def test_one_whose_only_closed_file_cannot_be_read(self) -> None:
        running = await self.running("a")
        await running.post(body_of(a_result()))
        closed = running.parts.store.current.info.path
        await running.ask("POST", "/rotate")
        await eventually(manifest_of(closed).exists)
        closed.write_bytes(os.urandom(closed.stat().st_size))
        self.assertIn("has files that it cannot read", await self.why_not(running))

    async def test_one_whose_results_are_pruned_and_whose_hops_wait_of_an_earlier_run(self) -> None:
        flags = ("--keep-files=1", "--input-url=http://127.0.0.1:9/hops")
        running = Running(self.path / "a", *flags, with_pages=False).start()
        await running.post(body_of(a_trace({"ttl": 1, "ip": "9.9.9.9"})))
        await running.ask("POST", "/rotate")
        await eventually(lambda: len(running.parts.store.files) == 1)
        why = await self.why_not(running)
        await running.stop()
        self.assertIn("has had results", why)
        self.assertIn("has hops that wait", await self.why_not(await self.running("a", *flags)))

    async def test_each_sign_is_enough(self) -> None:
        """Also of a service that tells less than ours: what it does not tell may be."""
        empty: dict[str, dict[str, Any]] = {
            "stats": {"current_db_file": "x.db", "total_results": 0, "hops_discovered": 0},
            "checks": {"rotation": {"files": 1}, "input_service": {"waiting_hops": 0}},
        }
        self.assertEqual("", await self.of_a_peer(empty))
        for words, part, name, value in (
            ("has had results", "stats", "total_results", 1),
            ("has discovered hops", "stats", "hops_discovered", 1),
            ("has more than one result file", "checks", "rotation", {"files": 2}),
            ("has hops that wait", "checks", "input_service", {"waiting_hops": 1}),
            ("cannot see", "checks", "input_service", {"status": "ok"}),
        ):
            self.assertIn(words, await self.of_a_peer({**empty, part: {**empty[part], name: value}}))
        self.assertIn("has files that it cannot read", await self.of_a_peer(empty, "Unreadable-Files: a.db\r\n"))

    async def of_a_peer(self, health: object, header: str = "") -> str:
        """The answer about a service that says this of its health, and no results."""

        def behave(conversation: Conversation) -> None:
            body = json.dumps(health).encode()
            for asked, nothing in ((b" /recent", b"[]"), (b" /nodes", b'{"nodes": []}')):
                body = nothing if asked in conversation.received else body
            length = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
            disposition = 'Content-Disposition: attachment; filename="x.db"\r\n'
            head = f"HTTP/1.1 200 OK\r\n{length}{disposition}{header}\r\n".encode()
            conversation.say(head if conversation.received.startswith(b"HEAD") else head + body)

        port = listen(Peer(behave))
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        return await why_not(http_client(REACTOR), f"{url}/results", url)

    async def test_two_ports_of_two_services(self) -> None:
        second = await self.running("b")
        first = await self.running("a")
        await first.ask("POST", "/rotate")  # a name of its own: a later one
        await second.post(body_of(a_result()))
        self.assertIn("is not of the service", await self.why_not(second, health=first))

    async def test_one_that_does_not_say(self) -> None:
        tokens = self.path.with_suffix(".tokens")
        tokens.write_text(line_of(Holder(OPERATOR, "op"), "x" * 43))
        running = await self.running("a", f"--tokens-file={tokens}")
        self.assertIn("cannot see whether the service is empty", await self.why_not(running))
        nobody = await why_not(http_client(REACTOR), "http://127.0.0.1:9/results", "http://127.0.0.1:9")
        self.assertIn("cannot see whether the service is empty", nobody)
