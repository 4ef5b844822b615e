"""An archive in a directory, with the objects that outputd would ship of some result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from outputd.archive.cutting import cut
from outputd.archive.making import rejected_object, results_object
from outputd.archive.names import REJECTED, RESULTS, Name
from outputd.archive.rows import Rejected, Results


def archive(files: Sequence[Path], place: Path, instance: str) -> None:
    """Put what these files of one instance hold under a place, oldest first."""
    after = 0
    while (span := cut(files, after, True)) is not None:
        results, rejected = Results(span), Rejected(span)
        made = {
            RESULTS: results_object(results, span, instance) if results else None,
            REJECTED: rejected_object(rejected, span, instance) if rejected else None,
        }
        for kind, found in made.items():
            path = place / str(Name(span.first_batch_id, span.last_batch_id, span.date, kind, instance))
            if found is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(found.parts))
        after = span.last_batch_id
