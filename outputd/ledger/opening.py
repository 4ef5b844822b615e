"""The opening of the files of one instance at its start: the result files, and the ledger that follows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from outputd.ledger.ledger import Ledger
from outputd.process.log import Logger
from outputd.process.trouble import Kind, Unusable
from outputd.sqlite.errors import DatabaseFailed, kind_of
from outputd.sqlite.files import delete_database
from outputd.store.directory import SUMMARY
from outputd.store.store import Store

_log = Logger()


def open_files(
    store: Store, ledger: Ledger, feedable: Callable[[str], bool], refeed: bool, directory: Path,
    archived: Callable[[], int] | None = None,
) -> None:  # fmt: skip
    """Open the store and the ledger. Blocking. Raises Unusable.

    On a full disk it is tried again without the summary, which is made anew, and without the oldest files beyond the
    limit, as far as the ledger has on disk what they hold, and the archive has them (`archived`, where there is one).
    """

    def both() -> None:
        store.open(ledger.heard())
        ledger.open(store.files, feedable, refeed)

    try:
        try:
            both()
        except (OSError, DatabaseFailed) as error:
            if kind_of(error) is not Kind.FULL:
                raise
            delete_database(directory / SUMMARY)
            ledger.heard(alone=True)
            kept = ledger.kept if archived is None else min(ledger.kept, archived())
            removed = store.make_room(kept)
            _log.warn("{error!s}; pruned before the start: {names}", error=error, names=", ".join(removed) or "nothing")
            both()
    except (OSError, DatabaseFailed) as error:
        raise Unusable(f"cannot use {directory}: {error}") from None
