"""What becomes of bodies of other formats on their way into the files; a number is that of a rule of the contract."""

from __future__ import annotations

import bz2
import json
import lzma
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zstandard import ZstdDecompressor

from outputd.formats.formats import BY_NAME
from outputd.intake.collector import Sender
from outputd.intake.foreign import NOTHING_ASKED, Asked, Foreign
from outputd.results.model import MOST_RAW_BYTES, OURS, Origin
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from tests.intake.test_collector import Instance
from tests.kit.makers import a_result, rows_of
from tests.kit.wire import Reply

PING = {
    "type": "ping", "msm_id": 1, "prb_id": 2, "dst_addr": "192.0.2.1", "timestamp": 1_700_000_000, "sent": 3, "rcvd": 3,
    "avg": 43.869999999999997,
}  # fmt: skip
ROUTE = {
    "type": "traceroute", "msm_id": 1, "prb_id": 2, "dst_addr": "192.0.2.1", "timestamp": 1_700_000_000,
    "proto": "ICMP", "result": [{"hop": 1, "result": [{"from": "10.0.0.1", "rtt": 1.5}, {"x": "*"}]}],
}  # fmt: skip
ATLAS = Asked(BY_NAME["atlas"])


class ForeignTests(SynchronousTestCase):
    """Foreign bodies, from their bytes to their rows."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.it = Instance(Path(self.mktemp()), self.clock)

    def post(self, body: object, asked: Asked = NOTHING_ASKED, key: str | None = None) -> Reply:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.it.sending(text, Sender("vienna", "vienna", key), asked=asked)
        self.it.run()
        return self.successResultOf(answer)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return rows_of(self.it.path, sql)

    def test_one_that_is_claimed_is_stored_without_being_named(self) -> None:
        """Rule 5."""
        for body in (PING, [PING], [PING, ROUTE], json.dumps(PING).encode() + b"\n" + json.dumps(ROUTE).encode()):
            self.assertEqual(self.post(body).status, 200, body)
        self.assertEqual(self.rows("SELECT DISTINCT ip, avg_rtt, timestamp FROM ping_results WHERE received = 3"), [
            ("192.0.2.1", 43_870_000, "2023-11-14 22:13:20")
        ])  # fmt: skip
        self.assertEqual(self.rows("SELECT count(*) FROM traceroute_hops"), [(4,)])

    def test_its_hops_are_learnt_as_those_of_a_native_one(self) -> None:
        """Rule 17."""
        self.post(ROUTE)
        self.assertEqual(self.it.stats.hops_discovered, 1)

    def test_an_array_whose_first_item_has_an_ip_is_ours(self) -> None:
        """Rule 5."""
        self.assertEqual(self.post([{**PING, "ip": 1}, PING]).status, 422)
        self.assertEqual(self.post([a_result(), PING]).json["rejected"], 1)

    def test_what_nobody_claims_is_answered_as_ever(self) -> None:
        """Rule 5."""
        for body in ({}, {**PING, "type": "dns"}, b"", b"{", b"traceroute to x", json.dumps([PING])[:-1].encode()):
            self.assertEqual(self.post(body).status, 400, body)
        self.assertEqual(self.post([{}]).status, 422)
        self.assertEqual(self.post([]).json, {"status": "ok", "received": 0})

    def test_one_that_is_said_to_be_ours_is_not_read_as_another(self) -> None:
        self.assertEqual(self.post(PING, Asked(is_ours=True)).status, 400)
        self.assertEqual(self.post([PING], Asked(is_ours=True)).status, 422)

    def test_one_that_is_not_what_it_is_said_to_be_is_told(self) -> None:
        answer = self.post(b"traceroute to x", ATLAS)
        self.assertEqual(answer.status, 400)
        self.assertIn("not of the format atlas", answer.json["detail"])

    def test_a_bad_item_costs_no_neighbours(self) -> None:
        """Rule 5."""
        bad = {**PING, "dst_addr": "example.org", "dst_name": "x" * 100_000}
        answer = self.post([PING, bad, PING])
        self.assertEqual(answer.json, {
            "status": "partial", "received": 2, "rejected": 1,
            "errors": [{"index": 1, "field": "dst_addr", "error": "no address of a target"}],
        })  # fmt: skip
        self.assertEqual(self.rows("SELECT length(raw) FROM rejected_results"), [(MOST_RAW_BYTES,)])
        self.assertEqual(self.post([bad]).status, 422)

    def test_a_time_that_it_lacks_is_that_of_the_sender_else_of_the_arrival(self) -> None:
        raw = {"dst_addr": "192.0.2.7", "result": [{"rtt": 1.0}]}
        self.post(raw, Asked(BY_NAME["atlas"], measured_at="2026-01-07T12:00:00+01:00"))
        self.post(raw, ATLAS)
        self.post(PING, Asked(BY_NAME["atlas"], measured_at="2026-01-07T12:00:00+01:00"))
        self.assertEqual(
            self.rows("SELECT timestamp FROM ping_results ORDER BY id"),
            [("2026-01-07 11:00:00",), ("2026-01-07 22:30:00",), ("2023-11-14 22:13:20",)],
        )
        self.assertEqual(
            self.rows("SELECT format, time_from FROM batches ORDER BY id"),
            [("atlas", "header"), ("atlas", "arrival"), ("atlas", "native")],
        )

    def test_it_is_kept_as_it_was_sent_beside_its_rows(self) -> None:
        packed = lzma.compress(json.dumps([PING, {**PING, "type": "dns"}]).encode())
        self.post(packed, ATLAS)
        self.post([a_result()])
        ((batch, form, version, body),) = self.rows("SELECT * FROM raw_bodies")
        self.assertEqual((batch, form, version), (1, "atlas", BY_NAME["atlas"].version))
        self.assertEqual(ZstdDecompressor().decompress(body), packed)
        self.assertEqual(self.rows("SELECT format, time_from FROM batches WHERE id = 2"), [("native", "native")])

    def test_a_packed_one_is_unpacked_where_it_is_named(self) -> None:
        text = json.dumps(PING).encode()
        for pack in (bz2.compress, lzma.compress):
            self.assertEqual(self.post(pack(text), ATLAS).json["received"], 1)
            self.assertEqual(self.post(pack(text)).status, 400)

    def test_a_bomb_is_too_long_and_takes_no_more_than_a_body(self) -> None:
        """Rule 8."""
        for pack in (bz2.compress, lzma.compress):
            answer = self.post(pack(bytes(40 << 20)), ATLAS)
            self.assertEqual((answer.status, answer.json["detail"][-12:]), (413, "when decoded"))

    def test_a_retry_with_a_key_is_stored_once(self) -> None:
        """Rule 6."""
        first, again = (self.post(lzma.compress(json.dumps(PING).encode()), ATLAS, key="k") for _ in range(2))
        self.assertEqual((first.json["received"], again.json["duplicate"]), (1, True))

    def test_more_items_than_a_body_may_have_are_refused(self) -> None:
        """Rule 8."""
        self.assertEqual(self.post(b"{}\n" * 131_073, ATLAS).status, 413)

    def test_rows_are_bounded_whatever_becomes_of_few_bytes(self) -> None:
        """Rule 9: they are counted while they are made."""
        body = [{**ROUTE, "result": [{"hop": 1, "result": [{"x": 1}] * 800_000}]}]
        self.assertIn(self.post(json.dumps(body, separators=(",", ":")).encode(), ATLAS).status, (413, 422, 503))
        self.assertEqual(self.it.admission.held_bytes, 0)

    def test_bodies_and_rejected_items_are_counted_by_format(self) -> None:
        """Rule 22: a closed set."""
        self.post([PING, {**PING, "type": "dns"}])
        self.post([a_result(), {}])
        stats = self.it.stats
        self.assertEqual({**dict.fromkeys(BY_NAME, 0), "atlas": 1}, dict(stats.foreign_bodies))
        self.assertEqual({**dict.fromkeys(BY_NAME, 0), "atlas": 1}, dict(stats.foreign_rejected))

    def test_the_format_ours_has_a_name_that_no_reader_has(self) -> None:
        self.assertNotIn(OURS, BY_NAME)


class WeightTests(SynchronousTestCase):
    def test_the_rows_of_a_packed_body_weigh_what_its_texts_take(self) -> None:
        text = json.dumps({**PING, "error": "a" * 500_000}).encode()
        weights_bytes = []
        for body in (text, lzma.compress(text)):
            origin = Origin("node", "2026-01-07 22:30:00", "2026-01-08 22:30:00", None)
            foreign = Foreign(BY_NAME["atlas"], text, body, None)
            batch = foreign.parse(Parser(lambda ip: True), origin, 1 << 20, keeps_raw=False)
            assert isinstance(batch, Batch)
            weights_bytes.append(batch.memory_bytes)
        self.assertEqual(*weights_bytes)
