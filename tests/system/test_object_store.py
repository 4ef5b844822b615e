"""What the tests of the archive believe of their object store, and of the line to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.depth import long
from tests.kit.object_store import BUCKET, KEY, REGION, SECRET, ObjectStore
from tests.kit.relay import Relay, Way, passing
from tests.system.waiting import wait_until

_PATIENCE = timedelta(seconds=3)
_NAME = "archive/results/a.parquet"


@long(
    "tests.archive.test_shipping.ShippingTests.test_one_that_another_put_meanwhile_is_compared",
    "tests.archive.test_cloud.CloudTests.test_each_cloud_is_asked_to_put_only_what_is_not_there",
)
class ObjectStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = ObjectStore(Path(self.mktemp()).absolute())
        self.addCleanup(self.store.kill)
        self.store.start()

    def client(self, port: int | None = None, secret: str = SECRET) -> S3Store:
        return S3Store(
            BUCKET, endpoint=self.store.endpoint(port), region=REGION, access_key_id=KEY, secret_access_key=secret,
            client_options={"allow_http": True, "timeout": _PATIENCE}, retry_config={"max_retries": 0},
        )  # fmt: skip

    def put(self, client: S3Store, body: bytes, name: str = _NAME) -> bool:
        """Whether it was not there and is now."""
        try:
            obstore.put(client, name, body, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def got(self, name: str = _NAME) -> bytes:
        return bytes(obstore.get(self.client(), name).bytes())

    def test_only_the_first_put_of_a_name_counts(self) -> None:
        """Also over a kill, and only for those who have its keys."""
        self.assertTrue(self.put(self.client(), b"first"))
        self.assertFalse(self.put(self.client(), b"second"))
        self.store.kill()
        self.store.start()
        self.assertFalse(self.put(self.client(), b"third"))
        self.assertEqual(b"first", self.got())
        self.assertRaises(BaseError, self.put, self.client(secret="guessed"), b"x", "b")

    def test_one_of_many_at_once(self) -> None:
        won: list[tuple[str, bytes]] = []

        def race(mine: bytes) -> None:
            client = self.client()
            won.extend((name, mine) for name in names if self.put(client, mine, name))

        names = [f"race/{number}" for number in range(20)]
        threads = [threading.Thread(target=race, args=(bytes([letter]) * 100_000,)) for letter in b"abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({name: self.got(name) for name in names}, dict(won))
        self.assertEqual(len(names), len(won))

    def test_a_line_that_fails(self) -> None:
        relay = Relay(self.store.port)
        self.addCleanup(relay.close)
        client = self.client(relay.port)
        self.assertRaises(BaseError, self.put, client, b"refused", "a")
        relay.open()
        for way, arrives in ((Way.CUT, False), (Way.SILENCE, False), (Way.LOSE, True), (Way.HOLD, True)):
            relay.way = self.for_puts(way)
            self.assertRaises(BaseError, self.put, client, b"x", way.name)
            self.assertEqual(arrives, self.is_there(way.name), way)
        relay.way = passing
        wait_until(lambda: not relay.held, "what was held is given up")
        self.assertTrue(self.put(client, b"passed", "passed"))
        relay.way = self.for_puts(Way.HOLD)
        thread = threading.Thread(target=self.put, args=(client, b"late", "late"))
        thread.start()
        wait_until(lambda: relay.held, "the object has arrived")
        self.assertEqual(b"late", self.got("late"))
        relay.way = passing
        thread.join()

    def for_puts(self, way: Way) -> Callable[[str], Way]:
        return lambda method: way if method == "PUT" else Way.PASS

    def is_there(self, name: str) -> bool:
        try:
            self.got(name)
        except FileNotFoundError:
            return False
        return True
