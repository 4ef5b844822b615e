"""Words of strangers, made harmless: whoever holds an address chooses its name, and a file the names of networks."""

from __future__ import annotations

import re

MOST_NAME = 255
"""Characters of a name in the DNS, with what stands for its strange bytes."""
MOST_NETWORK_NAME = 200
_STRANGE = re.compile(rb"[^a-z0-9._-]")


def dns_name(raw: bytes) -> str | None:
    """A name as ASCII in lower case; what no host name has is written as RFC 1035 says, `\\060` for `<`.

    Names of other scripts stay as the DNS has them (`xn--`): none can look like another.
    """
    text = _STRANGE.sub(lambda found: b"\\%03d" % found[0][0], raw.rstrip(b".").lower())
    return text[:MOST_NAME].decode() or None


def network_name(said: object) -> str | None:
    """The name of a network in one line; None for what is no text."""
    if not isinstance(said, str):
        return None
    text = "".join(letter if letter.isprintable() else " " for letter in said[:MOST_NETWORK_NAME])
    return " ".join(text.split()) or None
