"""The name under which an instance ships: one that a person knows it by, and one that no other has. Pure."""

from __future__ import annotations

import hashlib
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,63}", re.ASCII)
RULE = "1 to 64 letters, digits, dots and underscores, the first a letter or a digit"
"""A - ends the name in that of an object; engines leave out objects whose names begin with a dot or an underscore."""


def is_name(text: str) -> bool:
    """Whether a person may give an instance this name: see RULE."""
    return _NAME.fullmatch(text) is not None


def name_of_host(host: str) -> str:
    """What an instance is called that was given no name: after its host, without the domain."""
    label = re.sub(r"[^A-Za-z0-9]+", "_", host.partition(".")[0]).strip("_")
    return label[:64] or "outputd"


def instance_of(name: str, own: str) -> str:
    """INSTANCE of a name, and of letters and digits that no other instance has."""
    return f"{name}.{own}"


def of_history(instance: str, history: str) -> str:
    """The INSTANCE of those who have shipped as another one, and from then on have another history than it has.

    All copies of a directory with this history find the same, each time.
    """
    return instance_of(name_in(instance), hashlib.sha256(f"{instance} {history}".encode()).hexdigest()[:32])


def name_in(instance: str) -> str:
    """The name in an INSTANCE."""
    return instance.rpartition(".")[0]


def renamed(instance: str, name: str) -> str:
    """The INSTANCE of the same files under another name."""
    return instance_of(name, instance.rpartition(".")[2])
