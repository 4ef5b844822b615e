"""What `outputd.archive` promises of objects that are put once, at a real object store."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from outputd.archive.objects import objects_at
from outputd.archive.place import place_of
from tests.archive import test_shipping
from tests.kit.depth import long
from tests.kit.object_store import KEY, SECRET, ObjectStore


@long(
    "tests.archive.test_shipping.ShippingTests.test_a_doubtful_answer_is_no_loss_and_no_double",
    "tests.archive.test_cloud.CloudTests.test_each_cloud_is_asked_to_put_only_what_is_not_there",
)
class S3Tests(test_shipping.ShippingTests):
    store: ObjectStore | None = None

    def archive(self) -> Any:
        if S3Tests.store is None:
            S3Tests.store = ObjectStore(Path(self.mktemp()).absolute())
            atexit.register(S3Tests.store.kill)  # one for all tests: each takes a second to start
            S3Tests.store.start()
        for name, value in (("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)):
            os.putenv(name, value)  # obstore reads the environment of the process
            self.addCleanup(os.unsetenv, name)
        return objects_at(place_of(S3Tests.store.url(uuid4().hex)))
