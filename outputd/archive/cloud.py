"""An archive on object storage, by obstore: S3 and what speaks it, Google Cloud Storage, Azure. Blocking.

Credentials are those of the environment, under the usual names of each cloud.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from outputd.archive.objects import ArchiveFailed
from outputd.archive.place import Place
from outputd.archive.reasons import reason_of
from outputd.process.trouble import Kind

_CONNECTED_WITHIN_S = 10
_ANSWERED_WITHIN_S = 120
"""With the body of the request: 64 MiB at 5 Mbit/s."""
_RETRIED_WITHIN_S = 30
_MOST_RETRIES = 2
"""Few: the service asks again after a while, and says meanwhile what is wrong."""
_ATTRIBUTES: Any = {"Content-Type": "application/vnd.apache.parquet"}


def store_of(place: Place) -> Any:
    """The store of a place. Raises ArchiveFailed."""
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=_CONNECTED_WITHIN_S), "timeout": timedelta(seconds=_ANSWERED_WITHIN_S),
        "allow_http": place.parameters.get("endpoint", "").startswith("http:"),
    }  # fmt: skip
    with _understood():
        if bundle := os.environ.get("AWS_CA_BUNDLE"):  # as all tools for S3 have it
            options["root_certificate"] = Path(bundle).read_bytes()
    retries = {"max_retries": _MOST_RETRIES, "retry_timeout": timedelta(seconds=_RETRIED_WITHIN_S)}
    kind, names = _STORES[place.scheme]
    given = {names[name]: value for name, value in place.parameters.items()}
    with _understood():
        return kind(
            place.bucket, prefix=place.prefix or None, config=given, client_options=options, retry_config=retries
        )


_STORES: dict[str, tuple[Any, dict[str, str]]] = {
    "s3": (S3Store, {"endpoint": "endpoint", "region": "region"}),
    "gs": (GCSStore, {}),
    "az": (AzureStore, {"account": "account_name", "endpoint": "endpoint"}),
}


class Cloud:
    """See Objects."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, path: str, parts: Sequence[bytes]) -> bool:
        """See Objects."""
        with _understood():
            try:
                obstore.put(self._store, path, list(parts), attributes=_ATTRIBUTES, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    def folders(self, folder: str) -> list[str]:
        """See Objects."""
        with _understood():
            prefixes = obstore.list_with_delimiter(self._store, prefix=folder)["common_prefixes"]
        return [prefix.rpartition("/")[2] for prefix in prefixes]

    def paths(self, folder: str, beginning: str, above: str = "") -> Iterator[str]:
        """See Objects. They come sorted, so that those of other instances are not looked at."""
        first = f"{folder}/{beginning}"
        with _understood():
            for chunk in obstore.list(self._store, prefix=folder, offset=max(first, f"{folder}/{above}")):
                for entry in chunk:
                    if not entry["path"].startswith(first):
                        return
                    yield entry["path"]

    def read(self, path: str) -> bytes:
        """See Objects."""
        with _understood():
            return bytes(obstore.get(self._store, path).bytes())

    def end_of(self, path: str, most_bytes: int) -> bytes:
        """See Objects."""
        with _understood():
            size_bytes = obstore.head(self._store, path)["size"]
            first = max(0, size_bytes - most_bytes)
            return bytes(obstore.get_range(self._store, path, start=first, end=size_bytes)) if size_bytes else b""


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:  # obstore's for what is not there, the bucket included
        raise ArchiveFailed(reason_of(error, os.environ), Kind.GONE) from None
    except (BaseError, OSError, ValueError) as error:
        raise ArchiveFailed(reason_of(error, os.environ)) from None
