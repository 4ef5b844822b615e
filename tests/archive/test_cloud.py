"""What an archive on object storage says when it fails."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.archive.objects import ArchiveFailed, objects_at
from outputd.archive.place import place_of
from outputd.archive.reasons import reason_of
from outputd.process.trouble import Kind

if find_spec("obstore") is not None:
    from outputd.archive import cloud

_SECRET = "wJalrXUtnFEMI"
_ENVIRONMENT = {
    "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7",
    "AWS_SECRET_ACCESS_KEY": _SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_REFUSAL = f"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>{_SECRET} is no key of
yours</Message><Resource>/bucket</Resource></Error>"""


class CloudTests(SynchronousTestCase):
    def setUp(self) -> None:
        if find_spec("obstore") is None:
            raise SkipTest("obstore is not installed: pip install 'outputd[archive]'")
        self.patch(os, "environ", {**os.environ, **_ENVIRONMENT})
        for name, value in _ENVIRONMENT.items():  # of this process, as obstore reads it
            os.putenv(name, value)
            self.addCleanup(os.unsetenv, name)
        self.patch(cloud, "_MOST_RETRIES", 0)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)

    def answering(self, answer: bytes) -> list[bytes]:
        """Have the server answer one connection; what it hears."""
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = self.server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return heard

    def failing(self, work: Callable[[Any], object]) -> ArchiveFailed:
        port = self.server.getsockname()[1]
        objects = objects_at(place_of(f"s3://bucket/a?endpoint=http://127.0.0.1:{port}"))
        failed: ArchiveFailed = self.assertRaises(ArchiveFailed, work, objects)
        return failed

    def test_each_cloud_is_asked_to_put_only_what_is_not_there(self) -> None:
        for url in (
            "s3://bucket/a?endpoint=http://127.0.0.1:{}",
            "az://bucket/a?account=ours&endpoint=http://127.0.0.1:{}",
        ):
            heard = self.answering(b'HTTP/1.1 201 Created\r\nETag: "a"\r\nContent-Length: 0\r\n\r\n')
            objects = objects_at(place_of(url.format(self.server.getsockname()[1])))
            self.assertTrue(objects.put("results/date=2026-11-30/b", [b"c"]))
            self.assertIn(b"\r\nif-none-match: *\r\n", heard[0].lower())

    def test_a_refusal_is_told_in_the_words_of_the_cloud_without_secrets(self) -> None:
        body = _REFUSAL.encode()
        self.answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        failed = self.failing(lambda objects: objects.put("b", [b"c"]))
        self.assertEqual(("403 Forbidden: AccessDenied: ... is no key of", Kind.OTHER), (str(failed), failed.kind))

    def test_a_bucket_that_is_not_there_is_told(self) -> None:
        body = _REFUSAL.replace("AccessDenied", "NoSuchBucket").encode()
        self.answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        failed = self.failing(lambda objects: objects.put("b", [b"c"]))
        self.assertIn("NoSuchBucket", str(failed))
        self.assertEqual(Kind.GONE, failed.kind)

    def test_what_is_in_the_way_is_told(self) -> None:
        self.patch(cloud, "_ANSWERED_WITHIN_S", 0.2)
        self.assertIn("no answer in time", str(self.failing(lambda objects: objects.folders("results"))))
        self.server.close()
        server, self.server = self.server, socket.socket()
        self.server.bind(("127.0.0.1", 0))
        del server
        self.assertIn("Connection refused", str(self.failing(lambda objects: list(objects.paths("a", "b")))))

    def test_a_certificate_of_a_ca_of_ones_own_is_believed_when_it_is_named(self) -> None:
        ca = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost").configure_cert(context)

        def serve() -> None:
            for _ in range(2):
                connection, _ = self.server.accept()
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as talk:
                    talk.recv(65536)
                    talk.sendall(b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 0\r\n\r\n')

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        place = place_of(f"s3://bucket?endpoint=https://localhost:{self.server.getsockname()[1]}")
        failed = self.assertRaises(ArchiveFailed, objects_at(place).put, "a", [b"b"])
        self.assertIn("its certificate is of a CA", str(failed))
        bundle = Path(self.mktemp())
        os.environ["AWS_CA_BUNDLE"] = str(bundle)
        self.assertIn(str(bundle), str(self.assertRaises(ArchiveFailed, objects_at, place)))
        bundle.write_bytes(ca.cert_pem.bytes())
        self.assertTrue(objects_at(place).put("a", [b"b"]))

    def test_what_nobody_has_foreseen_is_one_line_without_secrets(self) -> None:
        error = ValueError(f"GET https://a.example/b?X-Amz-Signature=abcdef of {_SECRET}\n{'x' * 1000}")
        reason = reason_of(error, _ENVIRONMENT)
        self.assertTrue(reason.startswith("GET https://a.example/b?... of ... xxx"), reason)
        self.assertLess(len(reason), 310)
        self.assertNotIn("\n", reason)
