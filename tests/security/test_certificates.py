"""What `outputd.tls` promises, with real certificates over real connections."""

from __future__ import annotations

import datetime
import http.client
import json
import socket
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import trustme
import twisted.web.http
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.client.agent import http_client
from outputd.client.exchange import drained
from outputd.client.words import in_words
from outputd.process.trouble import Unusable
from outputd.security.access import Holder, line_of, new_token
from outputd.security.certificates import Certificates
from outputd.security.pem import token_of
from outputd.security.trust import Policy
from tests.kit.certificates import write_certificate
from tests.kit.logs import said
from tests.kit.makers import a_result, body_of
from tests.kit.running import Running, eventually

REACTOR: Any = _reactor
EXPIRED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Reading(SynchronousTestCase):
    """Files that cannot be used are told by name, in a line."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()
        self.ca = trustme.CA()
        self.chain, self.key = write_certificate(self.place, "ours", self.ca.issue_cert("localhost"))

    def refused(self, *paths: Path | None) -> str:
        certificate, key, ca = paths
        assert certificate is not None and key is not None
        return str(self.assertRaises(Unusable, Certificates(certificate, key, ca).read))

    def test_what_is_wrong(self) -> None:
        _, other = write_certificate(self.place, "other", self.ca.issue_cert("localhost"))
        nonsense = self.place / "nonsense"
        nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        missing = self.place / "missing"
        self.assertIn("key values mismatch", self.refused(self.chain, other, None))
        locked = self.place / "locked"
        locked.write_bytes(_locked_key())
        self.assertIn("without a passphrase", self.refused(self.chain, locked, None))
        self.assertIn("no certificate in PEM", self.refused(nonsense, self.key, None))
        self.assertIn("no private key", self.refused(self.chain, nonsense, None))
        self.assertIn("No such file", self.refused(missing, self.key, None))
        self.assertIn("no certificate in PEM", self.refused(self.chain, self.key, self.key))
        self.assertRaises(Unusable, Policy, nonsense)
        for key in (nonsense, locked, other):
            self.assertRaises(Unusable, Policy, None, self.chain, key)

    def test_an_expired_certificate_is_shown_from_the_start_but_replaces_none(self) -> None:
        old, old_key = write_certificate(self.place, "old", self.ca.issue_cert("localhost", not_after=EXPIRED))
        certificates = Certificates(old, old_key, None)
        with said() as log:
            certificates.take(certificates.read())
        self.assertEqual([f"{old} has expired on 2020-01-01 00:00 UTC: clients will reject it"], log)
        self.assertIn("has expired on", str(self.assertRaises(Unusable, certificates.read)))

    def test_a_token_file(self) -> None:
        path = self.place / "token"
        path.write_text(" abc \n")
        self.assertEqual(token_of(path), "abc")
        for text in ("", "a b", "ä"):
            path.write_text(text, encoding="utf-8")
            self.assertRaises(Unusable, token_of, path)


class Serving(TestCase):
    """Both ports speak TLS, with the newest certificate, and take nodes' certificates if asked to."""

    async def begin(self, *flags: str, tokens: bool = False) -> None:
        self.place = self.new_place()
        self.ca, self.nodes = trustme.CA(), trustme.CA()
        self.chain, self.key = write_certificate(self.place, "ours", self.ca.issue_cert("localhost"))
        self.ca.cert_pem.write_to_path(str(self.place / "ca.pem"))
        self.nodes.cert_pem.write_to_path(str(self.place / "nodes.pem"))
        self.it = Running(
            Path(self.mktemp()), f"--tls-cert={self.chain}", f"--tls-key={self.key}",
            *(flag.replace("PLACE", str(self.place)) for flag in flags),
        ).start()  # fmt: skip
        self.addCleanup(lambda: Deferred.fromCoroutine(self.it.stop()))

    def new_place(self) -> Path:
        place = Path(self.mktemp())
        place.mkdir()
        return place

    def old_context(self) -> ssl.SSLContext:
        context = self.context()
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    def file_of(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    def context(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return context

    async def ask(
        self, method: str, path: str, body: bytes | None = None, port: str = "port",
        context: ssl.SSLContext | None = None, token: str | None = None,
    ) -> tuple[int, Any]:  # fmt: skip
        number = self.it.port(port)

        def work() -> tuple[int, Any]:
            connection = http.client.HTTPSConnection("localhost", number, timeout=60, context=context or self.context())
            with closing(connection):
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
                return response.status, json.loads(content) if content[:1] in b"{[" else content

        answer: tuple[int, Any] = await deferToThread(work)
        return answer

    async def test_both_ports(self) -> None:
        await self.begin()
        self.assertEqual((await self.ask("POST", "/results", body_of(a_result())))[0], 200)
        self.assertEqual((await self.ask("GET", "/stats", port="health-port"))[1]["total_results"], 1)
        self.assertTrue((await self.ask("GET", "/dump"))[1].startswith(b"SQLite format 3\0"))

    async def test_nothing_older_than_1_2(self) -> None:
        await self.begin()
        old = self.old_context()
        await self.assertFailure(Deferred.fromCoroutine(self.ask("GET", "/stats", context=old)), ssl.SSLError, OSError)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.minimum_version = context.maximum_version = version
            self.assertEqual((await self.ask("GET", "/ready", port="health-port", context=context))[0], 200)

    async def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(self) -> None:
        """Without a restart; who is connected stays."""
        await self.begin()
        shown = [await self.shown()]
        for renewed in (True, False):
            if renewed:
                write_certificate(self.place, "ours", self.ca.issue_cert("localhost"))
            else:
                self.key.write_text("nonsense")
            with said() as log:
                await self.it.parts.reload.again()
            self.assertEqual(any("the old one stays" in line and "ours.key" in line for line in log), not renewed)
            shown.append(await self.shown())
        self.assertNotEqual(shown[0], shown[1])
        self.assertEqual(shown[1], shown[2])

    async def test_who_is_connected_stays_connected_when_the_certificate_is_renewed(self) -> None:
        await self.begin()
        before, number = await self.shown(), self.it.port("health-port")
        connection = http.client.HTTPSConnection("localhost", number, timeout=60, context=self.context())
        self.addCleanup(connection.close)

        def ask() -> tuple[int, Any]:
            connection.request("GET", "/ready")
            response = connection.getresponse()
            response.read()
            return response.status, connection.sock.getpeercert(True)

        self.assertEqual((200, before), await deferToThread(ask))
        socket_before = connection.sock
        write_certificate(self.place, "ours", self.ca.issue_cert("localhost"))
        await self.it.parts.reload.again()
        self.assertNotEqual(before, await self.shown())
        self.assertEqual((200, before), await deferToThread(ask))
        self.assertIs(socket_before, connection.sock)

    async def test_an_endpoint_string(self) -> None:
        """`ssl:`, of one port alone; nothing older than TLS 1.2 there either."""
        self.ca = trustme.CA()
        chain, key = write_certificate(self.new_place(), "ours", self.ca.issue_cert("localhost"))
        flag = f"--port=ssl:0:privateKey={key}:certKey={chain}:interface=127.0.0.1"
        self.it = Running(Path(self.mktemp()), flag).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.it.stop()))
        self.assertEqual(
            (200, {"status": "ok", "received": 1}), await self.ask("POST", "/results", body_of(a_result()))
        )
        old = self.old_context()
        await self.assertFailure(Deferred.fromCoroutine(self.ask("GET", "/dump", context=old)), ssl.SSLError, OSError)
        self.assertEqual(200, (await self.it.ask("GET", "/ready", port="health-port")).status)

    async def test_http_1_1_alone_is_offered(self) -> None:
        """By ALPN, also where the parts that speak HTTP/2 are installed."""
        self.patch(twisted.web.http, "H2_ENABLED", True)
        await self.begin()
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        number = self.it.port()

        def work() -> str | None:
            with context.wrap_socket(socket.create_connection(("localhost", number)), server_hostname="localhost") as s:
                return s.selected_alpn_protocol()

        self.assertEqual("http/1.1", await deferToThread(work))

    async def shown(self) -> bytes:
        """The certificate that a new connection sees."""
        number = self.it.port()

        def work() -> bytes:
            plain = socket.create_connection(("localhost", number))
            with self.context().wrap_socket(plain, server_hostname="localhost") as wrapped:
                return wrapped.getpeercert(True) or b""

        shown: bytes = await deferToThread(work)
        return shown

    async def test_a_node_s_certificate_is_its_name(self) -> None:
        await self.begin("--client-ca=PLACE/nodes.pem")
        graz = self.nodes.issue_cert("graz.example", common_name="graz")
        status, _ = await self.ask("POST", "/results", body_of(a_result()), context=self.context(graz))
        self.assertEqual(status, 200)
        with closing(sqlite3.connect(self.it.parts.store.current.info.path)) as db:
            self.assertEqual(db.execute("SELECT node FROM batches").fetchall(), [("graz",)])
        status, told = await self.ask("POST", "/results", b"[]")
        self.assertEqual((status, told["detail"]), (401, "needed: a node's certificate"))
        self.assertEqual((await self.ask("GET", "/stats", port="health-port"))[0], 200)  # without tokens it is open
        self.assertEqual((await self.ask("GET", "/health", port="health-port"))[0], 200)

    async def test_a_certificate_of_another_ca_or_of_last_year_is_none(self) -> None:
        await self.begin("--client-ca=PLACE/nodes.pem")
        stranger = trustme.CA().issue_cert("graz.example", common_name="graz")
        old = self.nodes.issue_cert("graz.example", common_name="graz", not_after=EXPIRED)
        for certificate in (stranger, old):
            asked = Deferred.fromCoroutine(self.ask("POST", "/results", b"[]", context=self.context(certificate)))
            await self.assertFailure(asked, ssl.SSLError, OSError)

    async def test_a_certificate_that_is_for_servers_alone_is_no_node_s(self) -> None:
        """As each node's own web server has one."""
        await self.begin("--client-ca=PLACE/nodes.pem")
        web = _for_servers_alone(self.nodes, "graz")
        asked = Deferred.fromCoroutine(self.ask("POST", "/results", b"[]", context=self.context(web)))
        await self.assertFailure(asked, ssl.SSLError, OSError)

    async def test_a_certificate_below_another_and_the_name_of_the_ca_that_is_asked_for(self) -> None:
        """A node shows the whole chain, as outputd-send does."""
        await self.begin("--client-ca=PLACE/nodes.pem")
        below = self.nodes.create_child_ca()
        chain, key = write_certificate(self.place, "graz", below.issue_cert(common_name="graz"))
        client = http_client(REACTOR, Policy(self.place / "ca.pem", chain, key))
        response = await client.post(f"https://localhost:{self.it.port()}/results", data=body_of(a_result()))
        await drained(response)  # unread, it keeps the connection from seeing its end
        self.assertEqual(200, response.code)
        with closing(sqlite3.connect(self.it.parts.store.current.info.path)) as db:
            self.assertEqual([("graz",)], db.execute("SELECT node FROM batches").fetchall())

    async def test_who_is_connected_by_a_ca_that_has_gone_is_refused(self) -> None:
        """Also in the middle of a request; who is of a CA that stays hears nothing of it."""
        await self.begin("--client-ca=PLACE/nodes.pem")
        gone, stays = self.nodes, trustme.CA()
        await self.trust(gone, stays)
        linz = await self.connected(gone, "linz")
        graz, wien = await self.connected(gone, "graz"), await self.connected(stays.create_child_ca(), "wien")
        linz.putrequest("POST", "/results")
        linz.putheader("Content-Length", "2")
        await deferToThread(linz.endheaders, b"[")
        await eventually(lambda: any(channel.requests for channel in self.it.parts.results_site.channels))
        await self.trust(stays)
        self.assertEqual(1, sum(channel.is_known for channel in self.it.parts.results_site.channels))
        linz.send(b"]")
        self.assertEqual(401, await deferToThread(lambda: linz.getresponse().status))
        self.assertEqual([401, 200], [await deferToThread(self.post_on, each) for each in (graz, wien)])

    async def test_another_ca_beside_it_changes_nothing_for_who_is_connected(self) -> None:
        await self.begin("--client-ca=PLACE/nodes.pem")
        graz = await self.connected(self.nodes, "graz")
        await self.trust(self.nodes, trustme.CA())
        self.assertEqual(200, await deferToThread(self.post_on, graz))

    async def connected(self, ca: trustme.CA, name: str) -> http.client.HTTPSConnection:
        """The connection of a node, on which it has posted."""
        context = self.context(ca.issue_cert(common_name=name))
        connection = http.client.HTTPSConnection("localhost", self.it.port(), timeout=60, context=context)
        self.addCleanup(connection.close)
        self.assertEqual(200, await deferToThread(self.post_on, connection))
        return connection

    @staticmethod
    def post_on(connection: http.client.HTTPSConnection) -> int:
        connection.request("POST", "/results", body_of(a_result()))
        response = connection.getresponse()
        response.read()
        return response.status

    async def trust(self, *authorities: trustme.CA) -> None:
        """Have these sign for nodes from now on."""
        (self.place / "nodes.pem").write_bytes(b"".join(ca.cert_pem.bytes() for ca in authorities))
        await self.it.parts.reload.again()

    async def test_certificates_beside_tokens(self) -> None:
        token = new_token()
        tokens = self.file_of(line_of(Holder("operator", "anna"), token))
        await self.begin("--client-ca=PLACE/nodes.pem", f"--tokens-file={tokens}")
        graz = self.context(self.nodes.issue_cert("graz.example", common_name="graz"))
        self.assertEqual((await self.ask("POST", "/results", b"[]", context=graz))[0], 200)
        self.assertEqual((await self.ask("GET", "/dump", context=graz))[0], 403)
        self.assertEqual((await self.ask("GET", "/stats", port="health-port"))[0], 401)
        self.assertEqual((await self.ask("GET", "/stats", port="health-port", token=token))[0], 200)


def _for_servers_alone(ca: trustme.CA, name: str) -> trustme.LeafCert:
    """A certificate that may not be a client's."""
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    signer: Any = load_pem_private_key(ca.private_key_pem.bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
    )
    certificate = builder.sign(signer, SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return trustme.LeafCert(private, certificate, [])


def _locked_key() -> bytes:
    """A key that nobody can read without its passphrase."""
    how = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*how)


class Asking(TestCase):
    """As a client of input_service: whose certificate is believed."""

    def place(self) -> Path:
        place = Path(self.mktemp())
        place.mkdir()
        return place

    async def reason(self, certificate: trustme.LeafCert, policy: Policy | None) -> str | None:
        """Why a server with this certificate is not talked to, None if it is."""
        chain, key = write_certificate(self.place(), "theirs", certificate)
        it = Running(Path(self.mktemp()), f"--tls-cert={chain}", f"--tls-key={key}").start()
        try:
            client = http_client(REACTOR, policy)
            response = await client.get(f"https://localhost:{it.port('health-port')}/ready")
            await drained(response)
            self.assertEqual(response.code, 200)
        except Exception as error:
            return in_words(error)
        finally:
            await it.stop()
        return None

    async def test_a_ca_of_one_s_own(self) -> None:
        ca = trustme.CA()
        path = Path(self.mktemp())
        ca.cert_pem.write_to_path(str(path))
        policy = Policy(path)
        self.assertIsNone(await self.reason(ca.issue_cert("localhost"), policy))
        unknown, another_s = "TLS: certificate verify failed", "TLS: the certificate is for another name"
        for wrong, own, told in (
            (trustme.CA().issue_cert("localhost"), policy, unknown),
            (ca.issue_cert("elsewhere.example"), policy, another_s),
            (ca.issue_cert("localhost", not_after=EXPIRED), policy, unknown),
            (ca.issue_cert("localhost"), None, unknown),
        ):
            reason = await self.reason(wrong, own)
            self.assertTrue(reason is not None and reason.startswith(told), reason)
