"""The whole way under TLS and with tokens: outputd-send, outputd, input_service; and the reload of a process."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import trustme

from outputd.security.access import Holder, line_of, new_token
from tests.system.files import feedable_rows, stored_targets
from tests.system.harness import CHECKOUT, HOST, Outputd, SystemTest, free_port
from tests.system.inputservice import InputService
from tests.system.load import Load, Source, targets
from tests.system.markdown import blocks, run
from tests.system.waiting import wait_until

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Secured(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.directory.parent
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(self.place / "ca.pem"))
        certificate = self.ca.issue_cert("localhost")
        (self.place / "tls.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        (self.place / "tls.key").write_bytes(certificate.private_key_pem.bytes())
        self.node, self.theirs = new_token(), new_token()
        self.tokens = self.written("tokens", line_of(Holder("node", "graz"), self.node))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self.input_service_tls = InputService(free_port(), tls=context).open()
        self.addCleanup(self.input_service_tls.close)

    def written(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text, encoding="utf-8")
        return path

    def start(self) -> Outputd:
        outputd = Outputd(
            self.directory, f"--tls-cert={self.place}/tls.pem", f"--tls-key={self.place}/tls.key",
            f"--tokens-file={self.tokens}", f"--input-url={self.input_service_tls.url}",
            f"--input-ca={self.place}/ca.pem", f"--input-token-file={self.written('theirs', self.theirs)}",
        )  # fmt: skip
        self.addCleanup(outputd.kill)
        outputd.is_ready = lambda: "results go to" in outputd.log  # type: ignore[method-assign]  # it asks in plain HTTP
        return outputd.start()

    def send(self, outputd: Outputd, file: Path, token: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable, "-m", "outputd.sender.command", str(file), f"--url=https://localhost:{outputd.port}/results",
                f"--ca={self.place}/ca.pem", f"--token-file={self.written('token', token)}", "--give-up-after=1",
            ],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def test_the_whole_way(self) -> None:
        """Results go in by a node's token, hops go out by ours, and a stranger's are not stored."""
        outputd = self.start()
        post, other = Source(31).post(60), Source(32).post(5)
        ended = self.send(outputd, self.written("file.jsonl", post.body.decode()), self.node)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertNotEqual(
            0, self.send(outputd, self.written("other.jsonl", other.body.decode()), new_token()).returncode
        )
        fed = feedable_rows(self.directory)
        self.assertGreater(len(fed), 50)
        wait_until(lambda: self.input_service_tls.taken.keys() >= fed, "every hop has arrived")
        self.assertEqual({f"Bearer {self.theirs}"}, self.input_service_tls.authorizations)
        self.assertEqual(0, outputd.stop().code)
        self.assertEqual(targets([post]), stored_targets(self.directory))
        for secret in (self.node, self.theirs):
            self.assertNotIn(secret, outputd.log)

    def test_the_commands_of_the_operations_page_ask_with_token_and_certificate(self) -> None:
        """Once its shell function is typed, they work as they stand."""
        operator = new_token()
        self.written("tokens", line_of(Holder("operator", "anna"), operator))
        outputd = self.start()
        (function,) = (block.text for block in blocks("docs/operations.md") if block.heading == "Operations")
        typed = function.replace("...", operator).replace("/etc/outputd/tls.pem", f"{self.place}/ca.pem")
        asked = f"curl -sS --fail 'http://localhost:{outputd.health_port}/stats'"
        told = f"curl -sS --fail -X POST http://localhost:{outputd.port}/rotate"
        self.assertIn('"total_results":0', run(f"{typed}{asked}", self.place))
        self.assertIn('"status":"rotated"', run(f"{typed}{told}", self.place))

    def read_again(self, outputd: Outputd, tokens: str, told: str) -> None:
        """Return when the file is judged once more, in these words."""
        before = outputd.log.count(told)
        self.written("tokens", tokens)
        outputd.send(signal.SIGHUP)
        wait_until(lambda: outputd.log.count(told) > before, told)

    def test_sighup_costs_no_request(self) -> None:
        """Neither when it comes before the first one, nor when the file is broken by turns."""
        good = line_of(Holder("node", "graz"), self.node)
        outputd = self.outputd(f"--tokens-file={self.tokens}")
        outputd.is_ready = lambda: "results go to" in outputd.log  # type: ignore[method-assign]  # /stats wants a token
        outputd.start()
        outputd.send(signal.SIGHUP)
        load = Load(HOST, outputd.port, Source(35), 4, headers={"Authorization": f"Bearer {self.node}"})
        self.addCleanup(load.stop)
        load.start()
        for _ in range(10):
            for text, told in (("nonsense", "the old one stays"), (good, "the tokens file reloaded")):
                self.read_again(outputd, text, told)
                load.go_on(4)
        load.stop()
        self.assertUndisturbed(load)
        self.assertStopped(outputd.stop())
        self.assertEqual(targets(load.answered), stored_targets(self.directory))

    def test_a_certificate_swapped_under_load_costs_no_request(self) -> None:
        """New handshakes get the new one; a broken file, a key of another one, or an expired one change nothing."""
        outputd = self.start()
        context = ssl.create_default_context(cafile=str(self.place / "ca.pem"))
        loads = [
            Load("localhost", outputd.port, Source(seed), 3, headers={"Authorization": f"Bearer {self.node}"},
                 tls=context, comes_anew=comes_anew).start()
            for seed, comes_anew in ((36, False), (37, True))
        ]  # fmt: skip
        for load in loads:
            self.addCleanup(load.stop)
        good, old = self.ca.issue_cert("localhost"), self.ca.issue_cert("localhost", not_after=_LONG_AGO)
        key = good.private_key_pem.bytes()
        broken = [(b"nonsense", key), (b"", b""), (pem_of(self.ca.issue_cert("localhost")), key)]
        broken.append((pem_of(old), old.private_key_pem.bytes()))
        for wrong in broken:
            certificate = self.ca.issue_cert("localhost")
            self.swap(outputd, pem_of(certificate), certificate.private_key_pem.bytes(), "the certificate reloaded")
            shown = self.shown(outputd, context)
            self.assertEqual(ssl.PEM_cert_to_DER_cert(pem_of(certificate).decode()), shown)
            for load in loads:
                load.go_on(5)
            self.swap(outputd, *wrong, "the old one stays")
            self.assertEqual(shown, self.shown(outputd, context))
            for load in loads:
                load.go_on(5)
        for load in loads:
            self.assertUndisturbed(load.stop())
        self.assertStopped(outputd.stop())
        self.assertEqual(targets(post for load in loads for post in load.answered), stored_targets(self.directory))

    def swap(self, outputd: Outputd, certificate: bytes, key: bytes, told: str) -> None:
        """Return when the files are judged once more, in these words."""
        before = outputd.log.count(told)
        (self.place / "tls.pem").write_bytes(certificate)
        (self.place / "tls.key").write_bytes(key)
        outputd.send(signal.SIGHUP)
        wait_until(lambda: outputd.log.count(told) > before, told)

    def shown(self, outputd: Outputd, context: ssl.SSLContext) -> bytes | None:
        """The certificate that a new handshake gets."""
        with (
            socket.create_connection((HOST, outputd.port)) as bare,
            context.wrap_socket(bare, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(True)

    def test_sighup_lets_in_whom_the_file_names_now(self) -> None:
        """And the process goes on; a broken file is told by its line."""
        outputd = self.start()
        new = new_token()
        file = self.written("file.jsonl", Source(33).post(5).body.decode())
        self.assertNotEqual(0, self.send(outputd, file, new).returncode)
        self.written("tokens", line_of(Holder("node", "linz"), new))
        outputd.send(signal.SIGHUP)
        wait_until(lambda: "the tokens file reloaded" in outputd.log, "it is read")
        ended = self.send(outputd, file, new)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.written("tokens", "nonsense")
        outputd.send(signal.SIGHUP)
        wait_until(lambda: "line 1: expected a role, a name" in outputd.log, "it is refused")
        self.assertEqual(
            0, self.send(outputd, self.written("b.jsonl", Source(34).post(5).body.decode()), new).returncode
        )
        self.assertEqual(0, outputd.stop().code)


def pem_of(certificate: trustme.LeafCert) -> bytes:
    return certificate.cert_chain_pems[0].bytes()
