"""What a node is told of what it has sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

MOST_ERRORS = 20
"""Rejected items that an answer names."""


def answer_of(accepted: int, rejected: int, errors: Sequence[Mapping[str, object]]) -> bytes:
    """The JSON that answers a POST which stored something; the first 20 errors are told."""
    if not rejected:
        return msgspec.json.encode({"status": "ok", "received": accepted})
    return msgspec.json.encode({
        "status": "partial", "received": accepted, "rejected": rejected, "errors": errors[:MOST_ERRORS],
    })  # fmt: skip
