"""What the site of --port promises, over real connections; a number is that of a rule of the contract."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from outputd.api.results import Api
from outputd.intake.admission import Admission
from outputd.intake.collector import Posted
from outputd.security.access import Access
from outputd.web.answers import Answer
from outputd.web.connection import Channel
from outputd.web.request import CappedRequest, send
from outputd.web.routes import Route, Routes
from outputd.web.site import Site
from tests.kit.makers import a_result, a_trace, body_of
from tests.kit.running import REACTOR, Running, eventually
from tests.kit.wire import Reply, Wire, over_the_wire, parsed

MIB = 1 << 20
MOST = 8 * MIB
RESULT = body_of(a_result())
SPEC_EXAMPLE = b"""[
{
"ip": "8.8.8.8",
"sent": 4,
"received": 4,
"packet_loss": 0,
"avg_rtt": 15000000,
"timestamp": "2026-01-07T22:30:00Z",
"traceroute": {
"method": "icmp",
"completed": true,
"hops": [
{"ttl": 1, "ip": "192.168.1.1", "rtt": 2000000},
{"ttl": 2, "ip": "10.0.0.1", "rtt": 5000000},
{"ttl": 3, "ip": "8.8.8.8", "rtt": 15000000}
]
}
}
]"""


def padded(size: int) -> bytes:
    """A body of one result and this size."""
    return RESULT[:-1] + b" " * (size - len(RESULT)) + b"]"


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def head(method: bytes = b"POST", path: bytes = b"/results", host: bytes = b"Host: outputd", *more: bytes) -> bytes:
    """A request's head, after whose answer the connection is closed."""
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), host, b"Connection: close", *more, b"", b""])


def post(body: bytes = RESULT, *more: bytes) -> bytes:
    return head(b"POST", b"/results", b"Host: outputd", b"Content-Length: %d" % len(body), *more) + body


class ApiTest(TestCase):
    """The service in this process, on free ports, in an empty directory."""

    flags: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.it = Running(Path(self.mktemp()), *self.flags).start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.it.stop()))

    def stored(self) -> int:
        return int(self.it.rows("SELECT count(*) FROM ping_results")[0][0])

    def assert_ok(self, reply: Reply, **members: Any) -> None:
        self.assertEqual((reply.status, reply.header("Content-Type")), (200, "application/json"), reply.body)
        self.assertEqual(reply.json, {"status": "ok", "received": 1, **members})

    def assert_problem(self, reply: Reply, status: int) -> Any:
        """Rule 10: application/problem+json with title, status and detail."""
        self.assertEqual(reply.status, status, reply.body[:200])
        self.assertEqual(reply.header("Content-Type"), "application/problem+json", reply.body[:200])
        members = reply.json
        self.assertEqual(members["status"], status)
        self.assertTrue(members["title"])
        self.assertTrue(members["detail"])
        self.assertNotIn("Traceback", members["detail"])
        return members


class Results(ApiTest):
    """POST /results."""

    async def test_the_specs_example_is_answered_as_in_the_spec(self) -> None:
        """Rule 1: and is on disk."""
        reply = await self.it.post(SPEC_EXAMPLE, Content_Type="application/json")
        self.assert_ok(reply)
        self.assertEqual(
            self.it.rows("SELECT id, ip, sent, received, packet_loss, avg_rtt, timestamp, error FROM ping_results"),
            [(1, "8.8.8.8", 4, 4, 0.0, 15_000_000, "2026-01-07 22:30:00", None)],
        )
        self.assertEqual(
            self.it.rows("SELECT ttl, ip, rtt, timeout FROM traceroute_hops ORDER BY id"),
            [(1, "192.168.1.1", 2_000_000, 0), (2, "10.0.0.1", 5_000_000, 0), (3, "8.8.8.8", 15_000_000, 0)],
        )

    async def test_the_content_type_is_not_asked(self) -> None:
        """Rule 8: `curl -d` and urllib call it a form."""
        kinds = (
            "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data",
            "text/plain; charset=utf-16", "application/json; charset=utf-8", "", "nonsense",
        )  # fmt: skip
        for kind in kinds:
            self.assert_ok(await self.it.post(RESULT, Content_Type=kind))
        self.assert_ok(await self.it.post(RESULT))
        self.assertEqual(self.stored(), len(kinds) + 1)

    async def test_an_empty_array_is_ok(self) -> None:
        """Rule 5."""
        reply = await self.it.post(b"[]")
        self.assertEqual((reply.status, reply.json), (200, {"status": "ok", "received": 0}))

    async def test_a_partly_good_body_is_partial(self) -> None:
        """Rule 5."""
        body = body_of(a_result(), a_trace({"ttl": 1}, {"ttl": 2}, {"ttl": 300}), a_result())
        reply = await self.it.post(body)
        self.assertEqual((reply.status, reply.header("Content-Type")), (200, "application/json"))
        members = reply.json
        (error,) = members.pop("errors")
        self.assertEqual(members, {"status": "partial", "received": 2, "rejected": 1})
        self.assertEqual((error["index"], error["field"]), (1, "traceroute.hops[2].ttl"))

    async def test_an_all_bad_body_is_a_problem_with_members(self) -> None:
        """Rules 5 and 10."""
        members = self.assert_problem(await self.it.post(body_of(*[{}] * 21)), 422)
        self.assertEqual((members["received"], members["rejected"], len(members["errors"])), (0, 21, 20))
        self.assertEqual(members["errors"][0], {"index": 0, "field": "ip", "error": "required"})

    async def test_a_field_nested_900_deep_is_read_and_one_nested_100_000_deep_refuses_the_body(self) -> None:
        """Rule 5, and docs/reference/ingest.md."""
        for depth, status in ((900, 200), (100_000, 400)):
            nested = RESULT.replace(b"{", b'{"unknown":' + b"[" * depth + b"]" * depth + b",", 1)
            self.assertEqual(status, (await self.it.post(nested)).status)

    async def test_what_is_no_array_is_400(self) -> None:
        """Rules 5 and 10."""
        for body in (b"", b"null", b"{}", b"[", RESULT + b"\0", b"[1]]", b"\xff\xfe", b"[" * 50_000):
            self.assert_problem(await self.it.post(body), 400)
        self.assertEqual(self.it.rows("SELECT count(*) FROM batches"), [(0,)])

    async def test_a_body_without_a_length_is_empty(self) -> None:
        """Rule 5: nothing is no array."""
        self.assert_problem(parsed(await self.it.say(head())), 400)

    async def test_a_large_body_is_read_beside_the_reactor_with_the_same_answer(self) -> None:
        """Rule 5: some thousand results, two of them bad."""
        items: list[Any] = [a_trace({"ttl": 1, "ip": "10.0.0.1"}) for _ in range(4000)]
        items[7] = items[3000] = {"ip": "x"}
        reply = await self.it.post(body_of(*items))
        self.assertEqual((reply.json["received"], reply.json["rejected"]), (3998, 2))
        self.assertEqual([error["index"] for error in reply.json["errors"]], [7, 3000])
        self.assertEqual(self.stored(), 3998)

    async def test_requests_in_one_write_are_answered_in_order(self) -> None:
        """Rule 1: pipelined, on one connection."""
        wire = await self.it.connect()
        one = b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
        wire.write(one % (len(RESULT), RESULT) + one % (2, b"[]") + post())
        await wire.closed
        bodies = [part.split(b"\r\n\r\n")[1] for part in wire.data.split(b"HTTP/1.1 200 OK")[1:]]
        self.assertEqual([json.loads(body)["received"] for body in bodies], [1, 0, 1])

    async def test_a_client_that_expects_100_continue_gets_it(self) -> None:
        """Rule 8: curl asks so before 1 MiB and more."""
        wire = await self.it.connect()
        wire.write(head(b"POST", b"/results", b"Host: x", b"Content-Length: %d" % len(RESULT), b"Expect: 100-continue"))
        await wire.until(b"100 Continue\r\n\r\n")
        wire.write(RESULT)
        await wire.closed
        self.assert_ok(parsed(wire.data))

    async def test_an_error_text_comes_back_as_data(self) -> None:
        """Rule 10: never HTML."""
        reply = await self.it.post(body_of(a_result(ip="<script>alert(1)</script>"), a_result()))
        self.assertEqual(reply.header("X-Content-Type-Options"), "nosniff")
        self.assertNotIn(b"<script>", reply.body)

    async def test_a_client_that_hangs_up_after_its_body_has_its_results_stored(self) -> None:
        """Rule 9: nothing is half taken, and its memory is free."""
        wire = await self.it.connect()
        wire.write(post(body_of(*[a_result()] * 2000)))
        await eventually(lambda: self.it.site.in_flight or self.stored())
        wire.hang_up()
        await eventually(lambda: self.stored() == 2000)
        await eventually(lambda: (self.it.admission.held_bytes, self.it.site.in_flight) == (0, 0))

    async def test_a_client_that_hangs_up_within_its_body_leaves_nothing(self) -> None:
        """Rule 9: neither rows nor held memory, and others are served."""
        wire = await self.it.connect()
        wire.write(post(padded(200_000))[:100_000])
        await eventually(lambda: self.it.admission.held_bytes > 50_000)
        wire.hang_up()
        await eventually(lambda: self.it.admission.held_bytes == 0)
        self.assertEqual((self.stored(), self.it.site.in_flight), (0, 0))
        self.assert_ok(await self.it.post(RESULT))


class Nodes(ApiTest):
    """Rule 7: X-Ping-Node."""

    async def named(self, value: bytes) -> Reply:
        return parsed(await self.it.say(post(RESULT, b"X-Ping-Node: " + value)))

    def nodes(self) -> list[str]:
        return [row[0] for row in self.it.rows("SELECT node FROM batches ORDER BY id")]

    async def test_the_header_names_the_node(self) -> None:
        """Rule 7: printable ASCII, at most 64 characters."""
        names = (b"vienna-1", b"x" * 64, b"a b, c;'\"<>~!", b"192.0.2.1", b"  spaces around  ")
        for name in names:
            self.assert_ok(await self.named(name))
        self.assertEqual(self.nodes(), [name.decode().strip() for name in names])

    async def test_another_value_is_400(self) -> None:
        """Rule 7."""
        for name in (b"x" * 65, "wien-\u00fc".encode(), b"\xff", b"a\tb", b"a\x7fb", b"a\x01b"):
            self.assert_problem(await self.named(name), 400)
        self.assertEqual(self.stored(), 0)

    async def test_two_headers_are_400_even_when_they_agree(self) -> None:
        """Rule 7."""
        for names in (["a", "b"], ["a", "a"], ["", ""], ["a", ""]):
            self.assert_problem(await self.it.post(RESULT, X_Ping_Node=names), 400)
        self.assertEqual(self.stored(), 0)

    async def test_an_absent_or_empty_one_is_the_peers_address(self) -> None:
        """Rule 7."""
        self.assert_ok(await self.it.post(RESULT))
        for name in (b"", b"   "):
            self.assert_ok(await self.named(name))
        self.assertEqual(self.nodes(), ["127.0.0.1"] * 3)

    async def test_a_bad_name_is_400_before_the_body_is_judged(self) -> None:
        """Rule 7: so that nobody mends the body first."""
        members = self.assert_problem(parsed(await self.it.say(post(b"{", b"X-Ping-Node: " + b"x" * 65))), 400)
        self.assertIn("X-Ping-Node", members["detail"])


class AtTheHead(ApiTest):
    """Rule 8: what the headers of a body of results say is answered without a 100 and without waiting for the body."""

    async def assert_refused(self, status: int, *more: bytes) -> None:
        asking = (b"Content-Length: 8000000", b"Expect: 100-continue", *more)
        sent = await self.it.say(head(b"POST", b"/results", b"Host: x", *asking))
        self.assertNotIn(b"100 Continue", sent)
        self.assert_problem(parsed(sent), status)
        self.assertEqual((0, 0), (self.it.admission.held_bytes, self.it.site.in_flight))

    async def test_a_bad_node_or_key_is_400(self) -> None:
        """Rules 6 and 7."""
        for more in (
            [b"X-Ping-Node: " + b"x" * 65], [b"X-Ping-Node: a", b"X-Ping-Node: a"], [b"X-Ping-Node: \xe9"],
            [b"Idempotency-Key: " + b"x" * 256], [b"Idempotency-Key:"], [b'Idempotency-Key: ""'],
            [b"Idempotency-Key: a", b"Idempotency-Key: b"],
        ):  # fmt: skip
            await self.assert_refused(400, *more)

    async def test_a_ledger_that_failed_is_503(self) -> None:
        """Rule 18: what could not be known of again is not taken."""
        self.it.parts.ledger.trouble.begin("it cannot be written")
        await self.assert_refused(503)

    async def test_without_a_body_they_are_told_too(self) -> None:
        self.assert_problem(parsed(await self.it.say(post(b"", b"Idempotency-Key:"))), 400)


class MappedPeers(ApiTest):
    """Rule 7 on a port of both IP versions."""

    flags = ("--port=tcp:0:interface=\\:\\:",)

    def setUp(self) -> None:
        try:
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True).close()
        except (OSError, ValueError) as error:
            raise SkipTest("no dual stack here") from error
        super().setUp()

    async def test_behind_a_trusted_proxy_it_is_who_the_proxy_says(self) -> None:
        """Rule 7: its own word alone, and never a client's."""
        for flag, node in (
            ("--trusted-proxies=127.0.0.0/8", "198.51.100.7"),
            ("--trusted-proxies=10.0.0.1", "127.0.0.1"),
        ):
            it = Running(Path(self.mktemp()), flag).start()
            self.addCleanup(_stop, it)
            await it.post(RESULT, X_Forwarded_For="203.0.113.9, 198.51.100.7")
            self.assertEqual([(node,)], it.rows("SELECT node FROM batches"))

    async def test_the_peers_address_is_unmapped(self) -> None:
        """Rule 7."""
        self.assert_ok(await self.it.post(RESULT))
        self.assertEqual(self.it.rows("SELECT node FROM batches"), [("127.0.0.1",)])


class Formats(ApiTest):
    """Rule 5: bodies of other formats, by name, by media type and by how they begin."""

    ATLAS = b'{"type":"ping","msm_id":1,"prb_id":2,"dst_addr":"192.0.2.1","timestamp":1,"sent":3,"rcvd":3,"avg":1.5}'
    TIMELESS = b'{"dst_addr":"192.0.2.1","result":[{"rtt":1.5}]}'

    async def said(self, query: bytes, body: bytes, *more: bytes) -> Reply:
        length = b"Content-Length: %d" % len(body)
        return parsed(await self.it.say(head(b"POST", b"/results" + query, b"Host: outputd", length, *more) + body))

    async def test_one_that_is_named_is_read_as_that(self) -> None:
        """Rule 5."""
        self.assert_ok(await self.said(b"?format=atlas", self.TIMELESS))
        self.assert_ok(await self.said(b"", self.TIMELESS, b"Content-Type: Application/vnd.outputd.atlas+JSON; x=y"))
        self.assert_ok(await self.said(b"?format=native", RESULT))
        self.assert_ok(await self.said(b"?format=atlas", gzip.compress(self.TIMELESS), b"Content-Encoding: gzip"))

    async def test_one_that_is_claimed_needs_no_name_and_the_name_wins(self) -> None:
        """Rule 5."""
        self.assert_ok(await self.said(b"", self.ATLAS, b"Content-Type: application/x-www-form-urlencoded"))
        self.assert_problem(await self.said(b"?format=native", self.ATLAS), 400)
        kind = b"Content-Type: application/vnd.outputd.atlas+json"
        self.assert_ok(await self.said(b"?format=native", RESULT, kind))

    async def test_an_unknown_name_is_told_which_there_are(self) -> None:
        for query in (b"?format=warts", b"?format=atlas&format=atlas", b"?format=ATLAS"):
            answer = await self.said(query, RESULT)
            self.assert_problem(answer, 400)
        self.assertIn("native, atlas", (await self.said(b"?format=x", RESULT)).json["detail"])

    async def test_a_time_is_taken_from_the_query_else_from_the_header(self) -> None:
        """Rule 7."""
        header = b"X-Measured-At: 2026-01-07T12:00:00Z"
        self.assert_ok(await self.said(b"?format=atlas", self.TIMELESS, header))
        self.assert_ok(await self.said(b"?format=atlas&at=2026-01-07T12:00:00+01:00", self.TIMELESS, header))
        self.assertEqual(
            [("2026-01-07 12:00:00",), ("2026-01-07 11:00:00",)],
            self.it.rows("SELECT timestamp FROM ping_results ORDER BY id"),
        )

    async def test_a_time_that_is_none_is_400(self) -> None:
        for query, more in ((b"?at=today", []), (b"", [b"X-Measured-At: 1700000000"]), (b"?at=", [])):
            self.assert_problem(await self.said(query, RESULT, *more), 400)
        self.assertEqual(self.stored(), 0)


class Keys(ApiTest):
    """Rule 6: Idempotency-Key."""

    async def keyed(self, value: bytes, body: bytes = RESULT, *more: bytes) -> Reply:
        return parsed(await self.it.say(post(body, b"Idempotency-Key: " + value, *more)))

    async def test_a_key_of_1_to_255_characters_is_taken(self) -> None:
        """Rule 6."""
        for key in (b"k", b"x" * 255, b'"' + b"y" * 255 + b'"', b"a b, c", b"'single'"):
            self.assert_ok(await self.keyed(key))
            self.assert_ok(await self.keyed(key), duplicate=True)

    async def test_the_quotes_of_the_structured_form_are_taken_off(self) -> None:
        """Rule 6: with and without is one key, also in `batches`."""
        self.assert_ok(await self.keyed(b'"8e03978e-40d5-43dd-bc93-6894a57f9324"'))
        self.assert_ok(await self.keyed(b"8e03978e-40d5-43dd-bc93-6894a57f9324"), duplicate=True)
        self.assertEqual(self.it.rows("SELECT key FROM batches"), [("8e03978e-40d5-43dd-bc93-6894a57f9324",)])

    async def test_an_empty_or_a_longer_one_is_400(self) -> None:
        """Rule 6."""
        for key in (b"", b"  ", b'""', b"x" * 256, b'"' + b"x" * 256 + b'"'):
            self.assert_problem(await self.keyed(key), 400)
        self.assertEqual(self.stored(), 0)

    async def test_two_headers_are_400(self) -> None:
        """Rule 6: even when they agree."""
        for keys in (["a", "b"], ["a", "a"], ["", "a"]):
            self.assert_problem(await self.it.post(RESULT, Idempotency_Key=keys), 400)
        self.assertEqual(self.stored(), 0)

    async def test_keys_that_are_no_utf_8_are_kept_apart_or_refused(self) -> None:
        """Rule 6: what differs is never taken for a retry."""
        replies = [await self.keyed(key) for key in (b"\xfe", b"\xff", b"\xff\xfe")]
        for reply in replies:
            if reply.status == 200:
                self.assert_ok(reply)
            else:
                self.assert_problem(reply, 400)

    async def test_another_body_is_422(self) -> None:
        """Rules 6 and 10."""
        self.assert_ok(await self.keyed(b"k"))
        self.assert_problem(await self.keyed(b"k", body_of(a_result(), a_result())), 422)

    async def test_the_scope_is_the_nodes_name_or_none(self) -> None:
        """Rule 6."""
        self.assert_ok(await self.keyed(b"k"))
        self.assert_ok(await self.keyed(b"k", RESULT, b"X-Ping-Node: a"))
        self.assert_ok(await self.keyed(b"k", RESULT, b"X-Ping-Node: b"))
        self.assert_ok(await self.keyed(b"k", RESULT, b"X-Ping-Node:"), duplicate=True)
        self.assert_ok(await self.keyed(b"k", RESULT, b"X-Ping-Node: b"), duplicate=True)

    async def test_the_digest_is_of_the_decoded_body(self) -> None:
        """Rule 6: the retry may be compressed, or otherwise."""
        self.assert_ok(await self.keyed(b"k"))
        for level in (1, 9):
            again = await self.keyed(b"k", gzip.compress(RESULT, level), b"Content-Encoding: gzip")
            self.assert_ok(again, duplicate=True)

    async def test_twins_are_stored_once(self) -> None:
        """Rule 6: eight at the same time, one body small and one read beside the reactor."""
        for body, size in ((RESULT, 1), (body_of(*[a_result()] * 5000), 5000)):
            before = self.stored()
            key = f"key-{size}"
            replies = await gatherResults(
                [Deferred.fromCoroutine(self.it.post(body, Idempotency_Key=key)) for _ in range(8)]
            )
            self.assertEqual([reply.json["received"] for reply in replies], [size] * 8)
            self.assertEqual(sum(reply.json.get("duplicate", False) for reply in replies), 7)
            self.assertEqual(self.stored() - before, size)

    async def test_a_first_whose_client_hung_up_is_known_to_its_retry(self) -> None:
        """Rule 6: that is what the key is for."""
        body = body_of(*[a_result()] * 1000)
        wire = await self.it.connect()
        wire.write(post(body, b"Idempotency-Key: k"))
        await eventually(lambda: self.it.site.in_flight or self.stored())
        wire.hang_up()
        reply = await self.keyed(b"k", body)
        self.assertEqual(reply.json, {"status": "ok", "received": 1000, "duplicate": True})
        self.assertEqual(self.stored(), 1000)

    async def test_a_key_outlives_a_restart(self) -> None:
        """Rule 6."""
        self.assert_ok(await self.keyed(b"k"))
        await self.it.stop()
        self.it = Running(self.it.directory).start()
        self.assert_ok(await self.keyed(b"k"), duplicate=True)


class Bodies(ApiTest):
    """Rule 8: sizes and codings."""

    async def zipped(self, data: bytes, coding: str = "gzip") -> Reply:
        return await self.it.post(data, Content_Encoding=coding)

    def assert_nothing_kept(self) -> None:
        self.assertEqual((self.stored(), self.it.admission.held_bytes), (0, 0))

    async def test_8_mib_are_taken_and_a_byte_more_is_413(self) -> None:
        """Rule 8."""
        self.assert_problem(await self.it.post(padded(MOST + 1)), 413)
        self.assert_nothing_kept()
        self.assert_ok(await self.it.post(padded(MOST)))

    async def test_the_limit_holds_for_a_chunked_body(self) -> None:
        """Rule 8: whose length nobody knows before."""
        lines = (b"POST", b"/results", b"Host: x", b"Transfer-Encoding: chunked")
        body = padded(MOST + 1)
        pieces = [body[at : at + MIB] for at in range(0, len(body), MIB)]
        self.assert_problem(parsed(await self.it.say(head(*lines) + chunked(*pieces))), 413)
        self.assert_nothing_kept()
        pieces = [RESULT[at : at + 7] for at in range(0, len(RESULT), 7)]
        self.assert_ok(parsed(await self.it.say(head(*lines) + chunked(*pieces))))

    async def test_a_connection_ends_after_413(self) -> None:
        """Rule 8: what still comes is thrown away, and no request, whatever it looks like."""
        wire = await self.it.connect()
        wire.write(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MOST + 1) + padded(MOST + 1))
        wire.write(post())
        await wire.closed
        self.assert_problem(parsed(wire.data), 413)
        self.assert_nothing_kept()

    async def test_gzip_is_decoded(self) -> None:
        """Rule 8: whatever case its name has, small and large."""
        for coding in ("gzip", "GZIP", " gzip ", "x-gzip"):
            self.assert_ok(await self.zipped(gzip.compress(RESULT), coding))
        self.assert_ok(await self.it.post(RESULT, Content_Encoding="identity"))
        large = gzip.compress(body_of(*[a_result(error=str(number) * 9) for number in range(40_000)]), 1)
        self.assertGreater(len(large), 64 * 1024)
        self.assertEqual((await self.zipped(large)).json["received"], 40_000)

    async def test_all_members_of_gzip_are_decoded(self) -> None:
        """Rule 8."""
        half = len(RESULT) // 2
        data = gzip.compress(RESULT[:half]) + gzip.compress(b"") + gzip.compress(RESULT[half:])
        self.assert_ok(await self.zipped(data))

    async def test_the_limit_holds_after_decompression(self) -> None:
        """Rule 8: also over several members, and for a bomb."""
        self.assert_ok(await self.zipped(gzip.compress(padded(MOST))))
        for data in (
            gzip.compress(padded(MOST + 1)),
            gzip.compress(padded(MOST)) + gzip.compress(b" "),
            gzip.compress(bytes(64 * MIB), 9),
        ):
            self.assert_problem(await self.zipped(data), 413)
        self.assertEqual((self.stored(), self.it.admission.held_bytes), (1, 0))

    async def test_bytes_after_the_end_are_400(self) -> None:
        """Rule 8: zero bytes too."""
        for rest in (b"x", b"\0", bytes(512), b"\x1f\x8b"):
            self.assert_problem(await self.zipped(gzip.compress(RESULT) + rest), 400)
        self.assert_nothing_kept()

    async def test_what_is_no_whole_gzip_is_400(self) -> None:
        """Rule 8."""
        for data in (b"", RESULT, gzip.compress(RESULT)[:-1], zlib.compress(RESULT), bytes(100_000)):
            self.assert_problem(await self.zipped(data), 400)
        self.assert_nothing_kept()

    async def test_an_empty_element_of_the_list_of_codings_is_none(self) -> None:
        """RFC 9110, 5.6.1.2."""
        for coding in ("gzip,", ",gzip", " , GZIP , "):
            self.assertEqual(200, (await self.zipped(gzip.compress(RESULT), coding)).status, coding)
        for coding in ("", ",", " , "):
            self.assertEqual(200, (await self.it.post(RESULT, Content_Encoding=coding)).status, coding)

    async def test_any_other_coding_is_415_and_told_which_is_known(self) -> None:
        """Rule 8."""
        for coding in ("br", "zstd", "deflate", "gzip, gzip", "gzip, br", "gzip;q=1", "x"):
            reply = await self.zipped(gzip.compress(RESULT), coding)
            self.assert_problem(reply, 415)
            self.assertEqual(reply.header("Accept-Encoding"), "gzip")
        self.assert_problem(await self.it.post(gzip.compress(RESULT), Content_Encoding=["gzip", "gzip"]), 415)
        self.assert_nothing_kept()

    async def test_undeclared_gzip_is_400(self) -> None:
        """Rule 5: it is not JSON."""
        self.assert_problem(await self.it.post(gzip.compress(RESULT)), 400)


class Overload(ApiTest):
    """Rule 9: the memory of what waits is bounded."""

    flags = ("--max-pending-mb=1",)
    size = 700_000

    async def begun(self, sent: int) -> Wire:
        """A connection on which so many bytes of a body have been taken in."""
        wire = await self.it.connect()
        held = self.it.admission.held_bytes
        wire.write(post(padded(self.size))[: -(self.size - sent) or None])
        await eventually(lambda: self.it.admission.held_bytes >= held + sent)
        return wire

    def assert_overloaded(self, reply: Reply) -> None:
        self.assert_problem(reply, 503)
        self.assertIn(int(reply.header("Retry-After") or 0), range(1, 61))

    async def test_beyond_the_limit_it_is_503_with_retry_after_and_then_taken_again(self) -> None:
        """Rule 9: nothing is half taken, and all memory is free afterwards."""
        first = await self.begun(self.size - 1)
        self.assert_overloaded(await self.it.post(padded(self.size)))
        self.assertEqual((self.stored(), self.it.parts.stats.refused_posts), (0, 1))
        first.write(b"]")
        await first.closed
        self.assert_ok(parsed(first.data))
        await eventually(lambda: self.it.admission.held_bytes == 0)
        self.assert_ok(await self.it.post(padded(self.size)))
        self.assertEqual(self.stored(), 2)
        await eventually(lambda: self.it.admission.held_bytes == 0)

    async def test_a_small_body_finds_room_beside_a_large_one(self) -> None:
        """Rule 9: bounded by memory, not by number."""
        first = await self.begun(self.size - 1)
        self.assert_ok(await self.it.post(RESULT))
        first.hang_up()

    async def test_a_chunked_body_is_503_as_soon_as_there_is_no_room(self) -> None:
        """Rule 9: and gives back what it held."""
        first = await self.begun(self.size - 1)
        request = head(b"POST", b"/results", b"Host: x", b"Transfer-Encoding: chunked")
        self.assert_overloaded(parsed(await self.it.say(request + chunked(*[b" " * 50_000] * 10, RESULT))))
        self.assertEqual(self.it.admission.held_bytes, self.size)
        first.hang_up()

    async def test_the_memory_is_reserved_before_the_body_is_read(self) -> None:
        """Rule 9: two that announce more than the room cannot both be let in, to fail in the middle."""
        first = await self.begun(1)
        self.assert_overloaded(await self.it.post(padded(self.size)))
        first.write(padded(self.size)[1:])
        await first.closed
        self.assert_ok(parsed(first.data))

    async def test_a_decoded_body_has_to_find_room_too(self) -> None:
        """Rule 9: memory is what counts, not what was sent."""
        first = await self.begun(100_000)
        self.assert_overloaded(await self.it.post(gzip.compress(padded(2 * MIB)), Content_Encoding="gzip"))
        self.assertEqual((self.stored(), self.it.parts.stats.refused_posts), (0, 1))
        first.hang_up()
        await eventually(lambda: self.it.admission.held_bytes == 0)

    async def test_what_one_alone_may_send_it_may_send_in_any_coding(self) -> None:
        """Rule 9: nobody is told to come again in vain."""
        for body, headers in ((padded(2 * MIB), {}), (gzip.compress(padded(2 * MIB)), {"Content_Encoding": "gzip"})):
            self.assert_ok(await self.it.post(body, **headers))
            await eventually(lambda: self.it.admission.held_bytes == 0)

    async def test_a_key_is_not_used_up(self) -> None:
        """Rule 6: 503 stored nothing."""
        first = await self.begun(self.size - 1)
        self.assert_overloaded(await self.it.post(padded(self.size), Idempotency_Key="k"))
        first.hang_up()
        await eventually(lambda: self.it.admission.held_bytes == 0)
        self.assert_ok(await self.it.post(padded(self.size), Idempotency_Key="k"))


class Connections(ApiTest):
    """Rule 8: at most --max-connections on the result port."""

    flags = ("--max-connections=2",)

    async def test_one_more_is_closed_and_the_health_port_keeps_its_own(self) -> None:
        """Rule 8: nobody makes room who was answered."""
        wires = [await self.it.connect() for _ in range(2)]
        for wire in wires:
            wire.write(b"GET /ready HTTP/1.1\r\nHost: outputd\r\n\r\n")
            await wire.until(b"}")
            wire.data = b""
        third = await self.it.connect()
        await third.closed
        self.assertEqual(third.data, b"")
        self.assertEqual((await self.it.ask("GET", "/ready", port="health-port")).status, 200)
        wires[0].write(post())
        await wires[0].closed
        self.assert_ok(parsed(wires[0].data))
        await eventually(lambda: len(self.it.site.channels) == 1)
        self.assert_ok(await self.it.post(RESULT))


class Problems(ApiTest):
    """Rule 10: errors of every route are problem+json."""

    async def test_an_unknown_path_is_404(self) -> None:
        """Rule 10: never HTML, no redirect to another spelling."""
        for path in ("/", "/nothing", "/results/", "/results/1", "/Results", "/%00", "/a%2fb", "/dump/..", "/health"):
            for method in ("GET", "POST", "PUT"):
                self.assert_problem(await self.it.ask(method, path), 404)

    async def test_an_unknown_method_is_405_with_allow(self) -> None:
        """Rule 10."""
        for path, allow in {"/results": {"POST"}, "/rotate": {"POST"}, "/dump": {"GET", "HEAD"}}.items():
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "M-SEARCH"):
                if method in allow:
                    continue
                reply = await self.it.ask(method, path)
                self.assert_problem(reply, 405)
                self.assertEqual(set((reply.header("Allow") or "").split(", ")), allow)

    async def test_head_has_the_headers_and_no_body(self) -> None:
        """Rule 10."""
        for path, status in {"/nothing": 404, "/results": 405}.items():
            reply = parsed(await self.it.say(head(b"HEAD", path.encode())))
            self.assertEqual((reply.status, reply.body), (status, b""))
            self.assertEqual(reply.header("Content-Type"), "application/problem+json")

    async def test_a_path_that_is_no_utf_8_is_a_problem(self) -> None:
        """Rule 10."""
        for path in (b"/%ff", b"/results/%c3%28", b"/%ed%a0%80"):
            for method in (b"GET", b"POST"):
                reply = parsed(await self.it.say(head(method, path)))
                self.assertIn(reply.status, (400, 404))
                self.assert_problem(reply, reply.status)

    async def test_a_query_that_is_no_utf_8_is_a_problem(self) -> None:
        """Rule 10."""
        for query in (b"?file=%ff", b"?file=..%2fx.db", b"?file=", b"?file=hops.sqlite3", b"?file=%00"):
            self.assert_problem(parsed(await self.it.say(head(b"GET", b"/dump" + query))), 404)

    async def test_targets_of_other_forms_are_problems(self) -> None:
        """Rule 10: `*`, an authority, another scheme."""
        for method, target in ((b"OPTIONS", b"*"), (b"CONNECT", b"example.org:80"), (b"GET", b"ftp://x/y")):
            reply = parsed(await self.it.say(head(method, target)))
            self.assertIn(reply.status, (400, 404, 405))
            self.assert_problem(reply, reply.status)

    async def test_any_host_header_is_answered_without_an_error_of_ours(self) -> None:
        """Rule 10: it is nobody's business which name was used; at worst it is a 400."""
        hosts = (
            b"", b"a..b", b".", b"a" * 80 + b".example", b"[::1", b"[::1]:80", b"a:b", b"\xff",
            "\u00fc.example".encode(), "\u200d".encode(), b"xn--", b"a b", b"a/b?c#d", b"x" * 5000,
        )  # fmt: skip
        for host in hosts:
            reply = parsed(await self.it.say(head(b"GET", b"/nothing", b"Host: " + host)))
            self.assertIn(reply.status, (400, 404), host)
            self.assert_problem(reply, reply.status)
            self.assert_ok(parsed(await self.it.say(head(b"POST", b"/results", b"Host: " + host,
                                                         b"Content-Length: %d" % len(RESULT)) + RESULT)))  # fmt: skip
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_a_method_is_taken_by_its_letters(self) -> None:
        """Rule 10: methods are case-sensitive (RFC 9110, 9.1); `post` is none that a path knows."""
        body = post().replace(b"POST", b"post", 1)
        self.assert_problem(parsed(await self.it.say(body)), 405)
        self.assertEqual(self.stored(), 0)

    async def test_an_unreadable_request_line_gets_a_bare_400(self) -> None:
        """Rule 10: and only that."""
        for line in (b"\xff /results HTTP/1.1", b"GET", b"GET /a", b"GET / HTTP/9.9", b"\x16\x03\x01"):
            reply = await self.it.say(line + b"\r\nHost: x\r\n\r\n")
            self.assertTrue(reply.startswith(b"HTTP/1.1 400 "), reply[:100])

    async def test_unreadable_headers_are_a_problem(self) -> None:
        """Rule 10: only a request line that cannot be read gets a bare 400."""
        for line in (
            b"Content-Length: abc", b"Content-Length: -1", b"Content-Length: 2\r\nContent-Length: 3",
            b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: rot13", b"no colon", b"a b: c",
            b"X-Ping-Node: a\0b",
        ):  # fmt: skip
            reply = parsed(await self.it.say(head(b"POST", b"/results", b"Host: x", line)))
            self.assertIn(reply.status, (400, 501), line)
            self.assert_problem(reply, reply.status)

    async def test_an_unreadable_chunk_is_a_problem(self) -> None:
        """Rule 10: the line was read well."""
        request = head(b"POST", b"/results", b"Host: x", b"Transfer-Encoding: chunked") + b"zz\r\n"
        self.assert_problem(parsed(await self.it.say(request)), 400)

    async def test_headers_that_are_too_many_or_too_long_are_answered(self) -> None:
        """Rule 10: never a connection that is closed without a word."""
        for lines in ([b"X: a"] * 600, [b"X: " + b"a" * 20_000], [b"Content-Length: " + b"9" * 5000]):
            answer = await self.it.say(head(b"POST", b"/results", b"Host: x", *lines))
            self.assertNotEqual(answer, b"")
            reply = parsed(answer)
            self.assertIn(reply.status, (400, 413, 431))
            self.assert_problem(reply, reply.status)

    async def test_rotate_names_the_new_file(self) -> None:
        """Rule 11: and takes any body."""
        for body in (None, b"", b"x" * 1000):
            reply = await self.it.ask("POST", "/rotate", body)
            self.assertEqual((reply.status, reply.json["status"]), (200, "rotated"))
            self.assertTrue((self.it.directory / reply.json["file"]).exists())


class Answering:
    """Answers with `size` bytes, or not at all."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self.requests: list[CappedRequest] = []

    def answer(self, request: CappedRequest) -> None:
        self.requests.append(request)
        if self.size is not None:
            send(request, 200, bytes(self.size), {})


def a_site(clock: Clock, answering: Answering) -> Site:
    routes = Routes([Route("POST", "/results", None, answering.answer), Route("GET", "/", None, answering.answer)])
    site = Site(routes, clock, Admission(64 * MIB, clock.seconds), MOST, 10, Access())
    site.doStart()
    return site


class Arrivals(SynchronousTestCase):
    """Company learns when a POST has come, and when its connection was last answered."""

    def test_of_each_connection_for_itself(self) -> None:
        clock = Clock()
        came: list[tuple[float, float | None]] = []
        answers: list[Deferred[Answer]] = []

        class Kept:
            def refusal(self) -> None:
                """There is none."""

            async def collect(self, posted: Posted) -> Answer:
                answers.append(Deferred())
                return await answers[-1]

        class Noted:
            def came(self, came_s: float, answered_s: float | None) -> None:
                came.append((came_s, answered_s))

        class Noting:
            company = Noted()

        nothing, kept, store = cast(Any, None), cast(Any, Kept()), cast(Any, Noting())
        api = Api(kept, store, nothing, nothing, nothing, nothing, lambda _: None, clock.seconds)
        site = Site(Routes(api.routes()), clock, Admission(64 * MIB, clock.seconds), MOST, 10, Access())
        first, _ = over_the_wire(site)
        second, _ = over_the_wire(site)
        request = b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"
        for channel in (first, second, first, first, second):
            clock.advance(0.75)
            channel.dataReceived(request)
            clock.advance(0.25)
            answers.pop().callback((200, b"", {}))
        self.assertEqual([(0.75, None), (1.75, None), (2.75, 1), (3.75, 3), (4.75, 2)], came)


class SlowSenders(SynchronousTestCase):
    """Rule 8: dropped after 60 s of no progress and 5 min in all."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.resource = Answering(None)
        self.site = a_site(self.clock, self.resource)
        self.channel = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        assert self.channel is not None
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        cast(Channel, self.channel).dataReceived(data)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    @property
    def dropped(self) -> bool:
        return self.transport.disconnecting or not self.transport.connected

    def test_a_silent_connection_is_dropped_after_60_s(self) -> None:
        """Rule 8: before any request."""
        self.wait(59)
        self.assertFalse(self.dropped)
        self.wait(7)
        self.assertTrue(self.dropped)

    def test_a_sender_that_falls_silent_is_dropped_after_60_s(self) -> None:
        """Rule 8: in the middle of its head, and of its body."""
        self.send(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        self.wait(50)
        self.send(b" ")
        self.wait(59)
        self.assertFalse(self.dropped)
        self.wait(7)
        self.assertTrue(self.dropped)

    def test_a_slow_body_is_dropped_after_5_min_in_all(self) -> None:
        """Rule 8: however steadily it trickles."""
        self.send(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        for _ in range(29):
            self.wait(10)
            self.send(b" ")
            self.assertFalse(self.dropped)
        for _ in range(3):
            self.wait(7)
            self.send(b" ")
        self.assertTrue(self.dropped)

    def test_a_slow_head_is_dropped_after_10_s_in_all(self) -> None:
        """Rule 8: however steadily it trickles, from its first letter to the empty line."""
        for byte in b"POST /resu":
            self.assertFalse(self.dropped)
            self.send(bytes([byte]))
            self.wait(1)
        self.send(b"lts HTTP/1.1\r\nHost: x\r\n")
        self.assertFalse(self.dropped)
        self.wait(1)
        self.assertTrue(self.dropped)

    def test_a_request_that_is_being_answered_is_not_dropped(self) -> None:
        """Rule 8: the disk may be slow, the sender has done its part."""
        self.send(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]")
        self.assertEqual(len(self.resource.requests), 1)
        self.wait(600)
        self.assertFalse(self.dropped)


class SlowReaders(TestCase):
    """Rule 8: a reader without progress for 60 s is dropped too."""

    async def begin(self) -> None:
        self.clock = Clock()
        resource = Answering(30 * MIB)
        self.site = a_site(self.clock, resource)
        port = REACTOR.listenTCP(0, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        # A receive buffer of a fixed size, so that the kernel does not read on for a reader that does not.
        handle = socket.socket()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        handle.connect(("127.0.0.1", port.getHost().port))
        handle.setblocking(False)
        self.addCleanup(handle.close)
        handle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.handle = handle
        await eventually(lambda: resource.requests)

    async def wait(self, seconds: int) -> None:
        for _ in range(0, seconds, 5):
            self.clock.advance(5)
            await deferLater(REACTOR, 0.002)

    async def test_one_that_reads_nothing_is_dropped(self) -> None:
        """Rule 8: after 60 s; or later, for what the kernels still pass on to each other is progress too."""
        await self.begin()
        await self.wait(50)
        self.assertEqual(len(self.site.channels), 1)
        while self.site.channels:
            await self.wait(5)

    async def test_one_that_reads_slowly_is_served_on(self) -> None:
        """Rule 8: progress is what its side acknowledged."""
        await self.begin()
        read = 0
        for _ in range(10):
            await self.wait(40)
            wanted = read + 200_000
            while read < wanted:
                try:
                    read += len(self.handle.recv(65_536))
                except BlockingIOError:
                    await deferLater(REACTOR, 0.001)
            self.assertEqual(len(self.site.channels), 1)
        self.handle.close()
        await eventually(lambda: not self.site.channels)


def _stop(it: Running) -> Deferred[None]:
    return Deferred.fromCoroutine(it.stop())
