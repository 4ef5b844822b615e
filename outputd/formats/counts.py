"""Foreign counts as ours, and how much is counted at all."""

from __future__ import annotations

from decimal import Decimal

MOST_ITEM_BYTES = 512 * 1024
"""The longest text that is decoded as one object: what it becomes takes many times as much."""
MOST_TTL = 255
"""The last TTL there is."""

_MOST = 2**63 - 1


def count(number: Decimal) -> int:
    """The whole number that a number or a text spells; ValueError unless it is in 0..2^63-1."""
    if not number.is_finite() or number.adjusted() >= len(str(_MOST)) or number != (whole := int(number)):
        raise ValueError("not a whole number")
    if not 0 <= whole <= _MOST:
        raise ValueError("not a count")
    return whole
