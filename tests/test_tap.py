"""What `outputd.tap` promises: flags, environment, and starts that fail; a number is that of a rule of the contract."""

import io
import re
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd import __version__
from outputd.tap import Options
from tests.kit.makers import a_result, body_of
from tests.kit.running import REACTOR, Running
from tests.kit.wire import Wire


def options(*flags: str, **environ: str) -> Options:
    parsed = Options(environ)
    parsed.parseOptions(list(flags))
    return parsed


class Flags(SynchronousTestCase):
    def refusal(self, *flags: str, **environ: str) -> str:
        """The one line with which bad options end the process."""
        end = self.assertRaises(SystemExit, options, *flags, **environ)
        self.assertIsInstance(end.code, str, f"{flags} {environ} are taken")
        self.assertNotIn("\n", str(end.code))
        return str(end.code)

    def test_the_spec_s_defaults(self) -> None:
        """Rule 24."""
        found = options()
        self.assertEqual(
            {name: found[name] for name in (
                "port", "health-port", "input-url", "db-dir", "max-size-mb", "rotation-days", "keep-files", "verbose",
            )},
            {
                "port": "8081", "health-port": "8091", "input-url": "http://localhost:8080/hops",
                "db-dir": "./output_data", "max-size-mb": 100, "rotation-days": 7, "keep-files": 5, "verbose": 0,
            },
        )  # fmt: skip
        self.assertEqual(
            {name: found[name] for name in ("feed", "max-hops", "max-pending-mb", "max-connections", "refeed")},
            {"feed": "all", "max-hops": 10_000_000, "max-pending-mb": 64, "max-connections": 1000, "refeed": 0},
        )

    def test_both_ways_to_write_a_flag(self) -> None:
        """Rule 24."""
        for flags in (["--db-dir=X"], ["--db-dir", "X"]):
            self.assertEqual(options(*flags)["db-dir"], "X")

    def test_the_spec_s_example(self) -> None:
        """Rule 24."""
        found = options(
            "--port=8082", "--health-port=8092", "--input-url=http://input-service:8080/hops",
            "--db-dir=/var/lib/output_service", "--max-size-mb=200", "--rotation-days=14", "--keep-files=10",
            "--verbose",
        )  # fmt: skip
        self.assertEqual((found["max-size-mb"], found["rotation-days"], found["keep-files"]), (200, 14, 10))
        self.assertTrue(found["verbose"])
        self.assertTrue(options("-v")["verbose"])

    def test_help_names_every_flag_and_version_is_ours(self) -> None:
        """Rule 24."""
        for flag, wanted in {
            "--version": [__version__],
            "--help": [
                "--port", "--health-port", "--input-url", "--db-dir", "--max-size-mb", "--rotation-days",
                "--keep-files", "--verbose", "--version", "--help", "--feed", "--max-hops", "--max-pending-mb",
                "--max-connections", "--refeed", "--tokens-file", "--tls-cert", "--tls-key", "--client-ca",
                "--input-ca", "--input-token-file", "--trusted-proxies", "--archive", "--archive-every",
                "--archive-credentials", "--archive-max-backlog-mb", "--instance", "--webhook", "--webhook-ca",
                "--webhook-token-file",
            ],
        }.items():  # fmt: skip
            self.patch(sys, "stdout", said := io.StringIO())
            end = self.assertRaises(SystemExit, options, flag)
            self.assertFalse(end.code)
            for word in wanted:
                self.assertIn(word, said.getvalue())
            self.assertNotIn("Twisted version", said.getvalue())

    def test_what_no_service_could_run_with_is_refused(self) -> None:
        """Rule 23: at once, not by a traceback or an outage later."""
        for flag in (
            "--max-size-mb=1e308", "--max-pending-mb=inf", "--rotation-days=1e305", "--max-hops=9999999999999999999",
            "--db-dir=", "--input-url=http://", "--input-url=http://[::1", "--input-url=http://a b/", "--input-url=ftp://a",
        ):  # fmt: skip
            self.assertIn(flag.partition("=")[0], str(self.assertRaises(SystemExit, options, flag).code), flag)

    def test_tls_is_whole_or_not_there(self) -> None:
        both = ("--tls-cert=a", "--tls-key=a")
        for flags in (
            both[:1], both[1:], ("--client-ca=a",), (*both, "--port=ssl:1"), (*both, "--health-port=ssl:1"),
        ):  # fmt: skip
            self.assertIn("--tls-cert", self.refusal(*flags))

    def test_numbers_are_above_0_and_days_may_be_a_fraction(self) -> None:
        """Rule 11."""
        self.assertEqual(options("--rotation-days=0.5")["rotation-days"], 0.5)
        for name in (
            "max-size-mb", "rotation-days", "keep-files", "max-hops", "max-pending-mb", "max-connections",
            "archive-every",
        ):  # fmt: skip
            for text in ("0", "-1", "x", "", "nan", "inf", "1e999", "1,5"):
                self.assertIn(f"--{name}", self.refusal(f"--{name}={text}"), f"--{name}={text}")
        for name in ("keep-files", "max-hops", "max-connections"):
            self.assertIn("whole", self.refusal(f"--{name}=1.5"))

    def test_what_cannot_be_right_is_one_line(self) -> None:
        """Rule 23."""
        for flag, word in {
            "--feed=none": "--feed", "--input-url=input-service:8080": "--input-url", "--port=65536": "--port",
            "--health-port=100000": "--health-port", "--nothing": "nothing",
        }.items():  # fmt: skip
            self.assertIn(word, self.refusal(flag))

    def test_a_word_that_is_no_flag_is_named(self) -> None:
        """Rule 23: `--verbose yes` says which of its words is wrong."""
        for flags, word in ((["word"], "'word'"), (["--verbose", "yes", "no"], "'yes'"), (["a\nb"], r"'a\nb'")):
            self.assertIn(word, self.refusal(*flags))

    def test_what_waits_for_the_archive_may_be_twenty_files(self) -> None:
        self.assertEqual(2000, options()["archive-max-backlog-mb"])
        self.assertEqual(20, options("--max-size-mb=1")["archive-max-backlog-mb"])
        choice = options("--archive=s3://bucket/p", "--max-size-mb=1", "--archive-every=0.5").settings().archive
        assert choice is not None
        self.assertEqual((20 << 20, 30.0, None), (choice.max_backlog_bytes, choice.every_s, choice.name))
        self.assertIsNone(options().settings().archive)

    def test_an_archive_that_cannot_be_is_one_line(self) -> None:
        """Rule 23."""
        for flags in (
            ["--archive=bucket"], ["--archive=http://a/b"], ["--archive=s3://"], ["--archive=file://relative/x"],
            ["--archive=s3://b", "--archive-every=0"], ["--archive=s3://b", "--archive-max-backlog-mb=none"],
            ["--archive-credentials=f"],
        ):  # fmt: skip
            self.assertIn("--archive", self.refusal(*flags), flags)

    def test_a_secret_in_the_url_of_an_archive_is_refused_and_not_repeated(self) -> None:
        for url in ("s3://key:hush@b/p", "s3://b/p?secret=hush", "s3://b/p?endpoint=http://hush@h/", "s3://b/p#hush"):
            told = self.refusal(f"--archive={url}")
            self.assertIn("--archive", told)
            self.assertNotIn("hush", told)

    def test_a_name_that_would_not_do_in_that_of_an_object_is_refused(self) -> None:
        for name in ("a-b", "_a", ".a", "a/b", "a b", "ä", "x" * 65):
            self.assertIn("--instance", self.refusal(f"--instance={name}"), name)
        for name in ("graz", "GRAZ.1_a", "1", "x" * 64):
            self.assertEqual(name, options(f"--instance={name}")["instance"])

    def test_a_webhook_that_cannot_be_is_refused_and_its_url_not_repeated(self) -> None:
        """Rule 23: what it has may be a secret."""
        for url in (
            "ftp://secret/", "http://", "http://me:secret@host/", "http://host/s ecret", "http://höst/secret", "secret",
            "http://[::1]x?secret", "http://[fe80::1%25e0]/secret", "http://h:?secret", "http://a..b?secret",
            "http://a_b?secret",
        ):  # fmt: skip
            said = self.refusal(f"--webhook={url}")
            self.assertIn("--webhook must be", said)
            self.assertNotIn("ecret", said)
        for url in ("https://host/a?b=c", "http://[2001:db8::1]:8080/?a=%2B", "http://192.0.2.1?b=c"):
            self.assertEqual(url, options(f"--webhook={url}")["webhook"])

    def test_what_belongs_to_a_webhook_needs_one(self) -> None:
        for flag in ("--webhook-ca=a", "--webhook-token-file=a"):
            self.assertIn("needs --webhook", self.refusal(flag))

    def test_an_empty_input_url_turns_the_feed_off(self) -> None:
        """Rule 18."""
        self.assertEqual(options("--input-url=")["input-url"], "")


class Environment(SynchronousTestCase):
    """Rule 24: each flag can be set by environment."""

    def test_every_flag_has_its_variable(self) -> None:
        """Rule 24."""
        found = options(
            OUTPUTD_PORT="1", OUTPUTD_HEALTH_PORT="2", OUTPUTD_INPUT_URL="http://x/", OUTPUTD_DB_DIR="D",
            OUTPUTD_MAX_SIZE_MB="3", OUTPUTD_ROTATION_DAYS="4.5", OUTPUTD_KEEP_FILES="5", OUTPUTD_VERBOSE="true",
            OUTPUTD_FEED="public", OUTPUTD_MAX_HOPS="6", OUTPUTD_MAX_PENDING_MB="7", OUTPUTD_MAX_CONNECTIONS="8",
            OUTPUTD_REFEED="1", OUTPUTD_TOKENS_FILE="t", OUTPUTD_TLS_CERT="c", OUTPUTD_TLS_KEY="k",
            OUTPUTD_CLIENT_CA="a", OUTPUTD_INPUT_CA="i", OUTPUTD_INPUT_TOKEN_FILE="f",
            OUTPUTD_TRUSTED_PROXIES="10.0.0.0/8", OUTPUTD_ARCHIVE="file:///a", OUTPUTD_ARCHIVE_EVERY="9",
            OUTPUTD_ARCHIVE_CREDENTIALS="g", OUTPUTD_ARCHIVE_MAX_BACKLOG_MB="11", OUTPUTD_INSTANCE="graz",
            OUTPUTD_ASN_DB="n", OUTPUTD_RDNS="yes", OUTPUTD_RDNS_RESOLVER="192.0.2.1:53",
            OUTPUTD_WEBHOOK="http://w/", OUTPUTD_WEBHOOK_CA="h", OUTPUTD_WEBHOOK_TOKEN_FILE="o",
            OUTPUTD_RAW_PERCENT="12",
        )  # fmt: skip
        self.assertEqual(
            dict(found),
            {
                "port": "1", "health-port": "2", "input-url": "http://x/", "db-dir": "D", "max-size-mb": 3,
                "raw-percent": 12, "rotation-days": 4.5, "keep-files": 5, "verbose": 1, "feed": "public", "max-hops": 6,
                "max-pending-mb": 7, "max-connections": 8, "refeed": 1, "tokens-file": "t", "tls-cert": "c",
                "tls-key": "k", "client-ca": "a", "input-ca": "i", "input-token-file": "f",
                "trusted-proxies": "10.0.0.0/8", "archive": "file:///a", "archive-every": 9,
                "archive-credentials": "g", "archive-max-backlog-mb": 11, "instance": "graz",
                "asn-db": "n", "rdns": 1, "rdns-resolver": "192.0.2.1:53",
                "webhook": "http://w/", "webhook-ca": "h", "webhook-token-file": "o",
            },
        )  # fmt: skip

    def test_the_flag_wins(self) -> None:
        """Rule 24."""
        self.assertEqual(options("--port=2", OUTPUTD_PORT="1")["port"], "2")
        self.assertEqual(options("--port=8081", OUTPUTD_PORT="1")["port"], "8081")
        self.assertEqual(options("--input-url=", OUTPUTD_INPUT_URL="http://x/")["input-url"], "")

    def test_a_flag_that_wins_over_a_bad_variable(self) -> None:
        """Rule 24."""
        self.assertEqual(options("--keep-files=2", OUTPUTD_KEEP_FILES="x")["keep-files"], 2)

    def test_an_empty_variable_counts_as_unset(self) -> None:
        """Rule 24."""
        found = options(OUTPUTD_PORT="", OUTPUTD_INPUT_URL="", OUTPUTD_KEEP_FILES="", OUTPUTD_VERBOSE="")
        self.assertEqual(dict(found), dict(options()))

    def test_what_kubernetes_puts_there_counts_as_unset(self) -> None:
        """Rule 24: tcp://... in OUTPUTD_PORT."""
        found = options(OUTPUTD_PORT="tcp://10.0.0.1:8081", OUTPUTD_HEALTH_PORT="tcp://10.0.0.1:8091")
        self.assertEqual((found["port"], found["health-port"]), ("8081", "8091"))
        self.assertEqual(options(OUTPUTD_PORT="tcp:9000")["port"], "tcp:9000")

    def test_variables_of_others_are_passed_over(self) -> None:
        """Rule 24: Kubernetes makes more of them for a service named outputd."""
        found = options(
            OUTPUTD_SERVICE_HOST="10.0.0.1", OUTPUTD_PORT_8081_TCP="tcp://10.0.0.1:8081", PORT="1", outputd_port="1"
        )
        self.assertEqual(dict(found), dict(options()))

    def test_a_bad_one_is_one_line_that_names_it(self) -> None:
        """Rule 23."""
        for name, text in {"VERBOSE": "perhaps", "KEEP_FILES": "0", "FEED": "x", "PORT": "70000"}.items():
            environ = {f"OUTPUTD_{name}": text}
            end = self.assertRaises(SystemExit, options, **environ)
            self.assertIsInstance(end.code, str)
            self.assertRegex(str(end.code), re.compile(name.replace("_", "[-_]"), re.IGNORECASE))

    def test_switches_take_the_usual_words(self) -> None:
        """Rule 24."""
        for text, value in {"1": 1, "true": 1, "YES": 1, "on": 1, "0": 0, "False": 0, "no": 0, "off": 0}.items():
            self.assertEqual(options(OUTPUTD_VERBOSE=text)["verbose"], value)


class Starting(TestCase):
    """Rule 23: one clear line, no traceback, a non-zero exit, before anything is served."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()

    async def refusal(self, *flags: str) -> str:
        service = Running(self.path, *flags)
        self.patch(sys, "__stderr__", said := io.StringIO())
        try:
            end = self.assertRaises(SystemExit, service.start)
        finally:
            for port, site in (
                (service.parts.results_port, service.parts.results_site),
                (service.parts.health_port, service.parts.health_site),
            ):
                await port.close()
                await site.drain(0)
            service.parts.free()
        self.assertEqual(end.code, 1)
        self.assertRegex(said.getvalue(), r"\Aoutputd: [^\n]+\n\Z")
        return said.getvalue()

    async def test_a_taken_port(self) -> None:
        """Rule 23."""
        with socket.create_server(("", 0)) as taken:
            number = taken.getsockname()[1]
            for name in ("port", "health-port"):
                self.assertIn(f"--{name}={number}", await self.refusal(f"--{name}={number}"))

    async def test_what_is_no_port(self) -> None:
        """Rules 23 and 24."""
        for text in ("x", "", "tcp:x", "tcp:99999", "nothing:1", "-1", "1.5", "8081 ", "tcp:1:interface=300.1.1.1"):
            self.assertIn(f"--port={text}", await self.refusal(f"--port={text}"), text)

    async def test_a_directory_in_use(self) -> None:
        """Rules 14 and 23."""
        other = Running(self.path).start()
        said = await self.refusal()
        await other.stop()
        self.assertIn("process", said)

    async def test_a_directory_that_cannot_be_made(self) -> None:
        """Rule 23."""
        (self.path / "file").touch()
        self.assertIn("file", await self.refusal(f"--db-dir={self.path / 'file'}"))
        self.assertIn("deeper", await self.refusal(f"--db-dir={self.path / 'file' / 'deeper'}"))

    async def test_a_newer_file(self) -> None:
        """Rules 13 and 23."""
        service = Running(self.path).start()
        path = service.parts.store.current.info.path
        await service.stop()
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version=9")
        db.close()
        self.assertIn(path.name, await self.refusal())

    async def test_a_start_that_fails_deletes_nothing_unless_the_disk_is_full(self) -> None:
        """Rule 13: pruning before the start is for room alone, whatever the directory is called."""
        self.path = self.path / "quota" / "full-backup"
        service = Running(self.path).start()
        for _ in range(2):
            await service.post(body_of(a_result()))
            await service.ask("POST", "/rotate")
        await service.stop()
        before = sorted(self.path.glob("*.db"))
        (self.path / "hops.sqlite3").unlink()
        (self.path / "hops.sqlite3").mkdir()
        self.assertIn("no regular file", await self.refusal("--keep-files=1"))
        self.assertEqual((3, before), (len(before), sorted(self.path.glob("*.db"))))


class Serving(TestCase):
    """Rule 24: a number listens on IPv4 and IPv6; endpoint strings are taken."""

    async def served(self, *flags: str, **more: Any) -> Running:
        service = Running(Path(self.mktemp()), *flags, **more).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(service.stop()))
        return service

    async def test_a_number_is_both_families(self) -> None:
        """Rule 24."""
        if not socket.has_dualstack_ipv6():
            self.skipTest("this machine has no IPv6")
        service = await self.served("--port=0")
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, service.port()), timeout=60):
                pass

    async def test_a_unix_socket(self) -> None:
        """Rules 7 and 24: a peer without an address, which may be a proxy that is trusted."""
        body = body_of(a_result())
        head = b"POST /results HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\nContent-Length: %d\r\n\r\n"
        for trusted, node in (("", "local"), ("0.0.0.0/0,::/0", "local"), ("10.0.0.0/8,unix", "198.51.100.7")):
            place = Path(self.mktemp())
            service = await self.served(f"--port=unix:{place}", f"--trusted-proxies={trusted}")
            wire = await connectProtocol(UNIXClientEndpoint(REACTOR, str(place)), Wire())
            wire.write(head % len(body) + body)
            await wire.until(b'"received":1')
            wire.hang_up()
            await wire.closed
            self.assertEqual(service.rows("SELECT count(*), max(node) FROM batches"), [(1, node)], trusted)

    async def test_the_directory_is_made(self) -> None:
        """Rule 23."""
        service = await self.served()
        self.assertTrue((service.directory / "hops.sqlite3").exists())
