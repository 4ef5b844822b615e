"""How a JSON text is built, told from its signs and without its values. Pure."""

from __future__ import annotations

import re

# Possessive, and an open string is one token: else a string without an end takes time by the square of its length.
_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)'


def _nested(levels: int) -> bytes:
    """The pattern of an array or object of so many levels at most, which is one token, too: a result has four."""
    within = rb'[^"\[\]{}]++|' + _STRING + (b"|" + _nested(levels - 1) if levels > 1 else b"")
    return rb"[\[{](?:" + within + rb")*+[\]}]"


ARRAY_BEGIN = re.compile(rb"\s*\[")
"""What an array begins with."""
STRUCTURE = re.compile(_STRING + b"|" + _nested(6) + rb"|[\[\]{},]", re.DOTALL)
"""The next token that tells how a text is built: a string, a whole value of a few levels, or a sign alone."""
OBJECT = re.compile(rb"(?=\{)" + _nested(16), re.DOTALL)
"""A whole object of a few more levels."""
