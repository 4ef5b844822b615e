"""The opening of the files of one instance at its start: the result files, and the ledger that follows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from outputd.ledger.ledger import Ledger
from outputd.process.log import Logger
from outputd.process.trouble import Kind, Unusable
from outputd.sqlite.errors import DatabaseFailed, kind_of
from outputd.store.store import Store

_log = Logger()


def open_files(store: Store, ledger: Ledger, feedable: Callable[[str], bool], refeed: bool, directory: Path) -> None:
    """Open the store and the ledger. Blocking. Raises Unusable.

    On a full disk it is tried again without the oldest files beyond the limit, if there are any.
    """

    def both() -> None:
        store.open()
        ledger.open(store.files, feedable, refeed)

    try:
        try:
            both()
        except (OSError, DatabaseFailed) as error:
            removed = store.make_room() if kind_of(error) is Kind.FULL else []
            if not removed:
                raise
            _log.warn("{error!s}; pruned before the start: {names}", error=error, names=", ".join(removed))
            both()
    except (OSError, DatabaseFailed) as error:
        raise Unusable(f"cannot use {directory}: {error}") from None
