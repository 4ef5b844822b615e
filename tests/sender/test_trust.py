"""A certificate that is not trusted: at the first contact a mistake of the operator, later an outage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from outputd.client.agent import http_client
from outputd.client.bounds import Bounds
from outputd.security.certificates import Certificates
from outputd.security.trust import Policy
from outputd.sender.command import ALL_STORED, CANNOT_START, Command, parse, target_of
from outputd.sender.journal import Journal, Refused
from outputd.sender.outbox import Delivery, head_of
from outputd.sender.progress import Screen
from outputd.sender.sender import Sender, Target
from outputd.sender.source import examine
from tests.kit.certificates import write_certificate
from tests.kit.peer import Conversation, Peer, listen
from tests.kit.pools import inline

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"status":"ok","received":1}'
LINES = b'[{"a":1}]\n[{"a":2}]\n'


class Trust(TestCase):
    """A real service on loopback that shows a certificate for localhost, and a file of two bodies."""

    timeout = 30

    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()
        self.file = self.place / "x.jsonl"
        self.file.write_bytes(LINES)
        self.theirs, self.another = trustme.CA(), trustme.CA()
        self.ca = self.place / "ca.pem"
        self.theirs.cert_pem.write_to_path(str(self.ca))
        self.show(self.theirs)
        self.peer = Peer(lambda conversation: conversation.say(OK))
        port = listen(self.peer, tls=self.certificates)
        self.addCleanup(self.until, lambda: not self.peer.open)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def show(self, ca: trustme.CA) -> None:
        """From now on the service has a certificate of this CA."""
        self.certificates = getattr(self, "certificates", None) or Certificates(
            self.place / "tls.pem", self.place / "tls.key", None
        )
        write_certificate(self.place, "tls", ca.issue_cert("localhost"))
        self.certificates.take(self.certificates.read())

    async def until(self, condition: Any) -> None:
        """Return when the condition holds; it must within ten seconds."""
        for _ in range(2000):
            if condition():
                return
            await deferLater(cast(Any, reactor), 0.005)
        self.fail("it never came to pass")

    async def run_command(self, *flags: str, host: str = "localhost") -> int:
        """The exit code of a whole run; `said` and `printed` have its words."""
        options = parse([str(self.file), f"--url=https://{host}:{self.port}/results", *flags])
        http = http_client(reactor, Policy(options.ca), bounds=Bounds())
        said, printed = io.StringIO(), io.StringIO()
        seconds = cast(Any, reactor).seconds
        command = Command(options, target_of(options), reactor, inline, http, Screen(said, seconds), printed)
        code = await command.run()
        self.said, self.printed = said.getvalue(), printed.getvalue()
        return code

    async def test_an_unknown_ca_ends_the_run_with_one_line_that_says_what_to_do(self) -> None:
        self.assertEqual(CANNOT_START, await self.run_command())
        self.assertIn("certificate verify failed): name its CA with --ca FILE", self.said)
        _, failure, end = self.said.split("\n")
        self.assertEqual(("", "", []), (end, self.printed, self.peer.requests), failure)

    async def test_so_does_a_certificate_for_another_name(self) -> None:
        code = await self.run_command(f"--ca={self.ca}", host="127.0.0.1")
        self.assertEqual((CANNOT_START, []), (code, self.peer.requests))
        self.assertIn("(TLS: the certificate is for another name)", self.said)

    async def test_nothing_of_such_a_run_is_in_the_way_of_the_next(self) -> None:
        """Which may have another URL."""
        await self.run_command(f"--ca={self.ca}", host="127.0.0.1")
        self.assertEqual(ALL_STORED, await self.run_command(f"--ca={self.ca}"), self.said)
        self.assertEqual(2, len(self.peer.requests))

    async def test_what_an_earlier_run_has_left_stays(self) -> None:
        """The keys of what may have arrived are needed again."""
        url = f"https://localhost:{self.port}/results"
        journal = Journal(Path(f"{self.file}.sent"), head_of(examine(self.file), url, ""))
        journal.close(in_doubt=True, whole=False)
        self.assertEqual(CANNOT_START, await self.run_command())
        self.assertTrue(Journal(Path(f"{self.file}.sent"), head_of(examine(self.file), url, "")).was_in_doubt_since)

    async def test_once_it_has_answered_it_is_an_outage(self) -> None:
        def answer(conversation: Conversation) -> None:
            conversation.say(OK)
            self.show(self.another)

        self.peer.behave = answer
        clock, told = Clock(), list[str]()
        target = Target(f"https://localhost:{self.port}/results")
        source = examine(self.file)
        journal = Journal(self.place / "x.sent", head_of(source, target.url, ""))
        delivery = Delivery(source, journal, Refused(self.place / "x.refused.jsonl"))
        http = http_client(reactor, Policy(self.ca), bounds=Bounds())
        sending = Deferred.fromCoroutine(
            Sender(http, target, clock, inline, 1, 600, told.append, jitter=lambda: 0.0).send(delivery)
        )
        await self.until(lambda: told)
        self.assertIn("certificate verify failed; trying again for up to 10:00", told[0])
        self.show(self.theirs)
        clock.advance(1)
        await sending
        delivery.close(False, True)
        self.assertEqual((2, 2), (journal.totals.stored, len(self.peer.requests)))
