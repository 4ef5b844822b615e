"""What a node and this service have agreed upon: how long a body is, what is told of it, how its keys are scoped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from outputd.results.addresses import canonical
from outputd.results.model import NO_ADDRESS

MOST_BODY_BYTES = 8 << 20
"""The size of a body, also when decoded."""
MOST_ERRORS = 20
"""Rejected items that an answer names."""


def item_error(index: int, field: str, reason: str) -> Mapping[str, object]:
    """What an answer says of one rejected item."""
    return {"index": index, "field": field, "error": reason}


def answer_of(accepted: int, rejected: int, errors: Sequence[Mapping[str, object]]) -> bytes:
    """The JSON that answers a POST which stored something; the first 20 errors are told."""
    if not rejected:
        return msgspec.json.encode({"status": "ok", "received": accepted})
    return msgspec.json.encode({
        "status": "partial", "received": accepted, "rejected": rejected, "errors": errors[:MOST_ERRORS],
    })  # fmt: skip


def duplicate_of(answer: bytes) -> bytes:
    """The JSON that answers the same body under the same key once more."""
    return msgspec.json.encode({**msgspec.json.decode(answer), "duplicate": True})


def key_scopes(node: str) -> set[str]:
    """The scopes in which a stored batch of this node may have used its key.

    A row does not tell a node's name from its peer's address, under which no key is kept: both are right.
    """
    return {node, ""} if node == NO_ADDRESS or canonical(node) else {node}
