"""An account of an archive that finds nothing wrong is worth as much as what it would find."""

from __future__ import annotations

import io
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from obstore.store import S3Store
from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.kit.object_store import BUCKET, KEY, REGION, SECRET, ObjectStore
from tests.system.account import Told
from tests.system.engines import ENGINES
from tests.system.harness import Outputd, SystemTest
from tests.system.load import MixedSource
from tests.system.shared import measured
from tests.system.shipments import Archive, Shipments

_NAME = "results/date={}/one-1-9.parquet"


@long(
    "tests.archive.test_making.MakingTests.test_rows_are_those_of_sqlite_by_target_time_and_id_however_odd_they_are",
    "tests.archive.test_shipping.ShippingTests.test_what_is_shipped_is_there_once_with_the_rejected_items",
)
class ShipmentTests(SystemTest):
    """Objects are made of exports, which have the same columns."""

    def setUp(self) -> None:
        super().setUp()
        self.store = ObjectStore(Path(self.mktemp()).absolute())
        self.addCleanup(self.store.kill)
        self.store.start()
        self.account = Shipments()
        self.archive = Archive(self.store, "proof", self.account)
        outputd = self.watched(Outputd(self.directory, "--input-url=")).start()
        source = MixedSource(1, measured("small"))
        for _ in range(4):
            post = source.post(100, bad=3)
            self.account.sent(post)
            self.assertEqual(200, outputd.post(post.body).status)
            self.account.answered(post)
        self.rows = pq.read_table(io.BytesIO(outputd.get("/export.parquet").body))
        self.date = str(self.rows["received_at"][0])[:10]
        outputd.kill()

    def put(self, rows: pa.Table, name: str = "", instance: str = "one") -> None:
        sink = io.BytesIO()
        names = pa.array([instance] * rows.num_rows)
        pq.write_table(rows.set_column(rows.column_names.index("instance"), "instance", names), sink)
        client = S3Store(
            BUCKET, prefix="proof", endpoint=self.store.endpoint(), region=REGION, access_key_id=KEY,
            secret_access_key=SECRET, client_options={"allow_http": True},
        )  # fmt: skip
        obstore.put(client, name or _NAME.format(self.date), sink.getvalue())

    def test_all_is_well_and_every_engine_reads_the_same(self) -> None:
        self.put(self.rows)
        self.archive.take()
        self.assertEqual(([], []), (self.archive.faults, self.account.faults))
        self.assertEqual({(Told.STORED, 1): 388, (Told.REJECTED, 0): 12}, dict(self.account.counts()))
        missing = []
        for engine in ENGINES:
            try:
                self.assertEqual("", self.archive.differs(engine))
            except SkipTest as reason:
                missing.append(str(reason))
        if missing:
            raise SkipTest("; ".join(missing))

    def test_what_is_missing_twice_changed_or_nobody_s_is_found(self) -> None:
        changed = pc.if_else(pc.equal(self.rows["id"], 5), 77, self.rows["sent"])
        rows = self.rows.set_column(self.rows.column_names.index("sent"), "sent", changed).slice(1)
        self.put(rows)
        self.archive.take()
        self.put(self.rows.slice(10, 2), f"results/date={self.date}/two-1-9.parquet", "two")
        self.put(self.rows.slice(20, 1), f"results/date={self.date}/one-10-11.parquet")
        self.put(self.rows.slice(30, 1), "results/elsewhere.parquet")
        self.put(self.rows)
        self.archive.take()
        counts = self.account.counts()
        self.assertEqual((1, 384, 3), tuple(counts[Told.STORED, times] for times in range(3)))
        self.assertEqual(1, len(self.account.faults))
        faults = " ".join(self.archive.faults)
        for fault in ("no longer what it was", "twice", "no name of", "of batch"):
            self.assertIn(fault, faults)
