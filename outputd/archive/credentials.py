"""What lets us into a cloud: lines of a file, under the names of the cloud's environment variables. Blocking."""

from __future__ import annotations

import os
import re
from pathlib import Path

from outputd.process.files import open_ours
from outputd.process.trouble import Unusable

_NAME = re.compile(r"(AWS|AZURE|GOOGLE)_[A-Z0-9_]{1,60}").fullmatch
_MOST_BYTES = 64 * 1024


def credentials_of(path: Path) -> dict[str, str]:
    """What a file says, by its names. Raises Unusable, whose text repeats nothing of it.

    A line is KEY=VALUE, is empty, or begins with #; a value may stand in quotes.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_lines_of(path), 1):
        name, is_given, value = line.partition("=")
        if not line or line.startswith("#"):
            continue
        if not is_given or _NAME(name) is None:
            raise Unusable(f"{path}, line {number}: expected KEY=VALUE, with a key such as AWS_SECRET_ACCESS_KEY")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if not value.isprintable():
            raise Unusable(f"{path}, line {number}: the value has characters that are none of text")
        found[name] = value
    if not found:
        raise Unusable(f"{path}: expected lines KEY=VALUE, with keys such as AWS_SECRET_ACCESS_KEY")
    return found


def _lines_of(path: Path) -> list[str]:
    try:
        with open(
            open_ours(path.resolve(), os.O_RDONLY), "rb"
        ) as file:  # a link may lead there, as secrets are mounted
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise Unusable(f"{path}: it has more than {_MOST_BYTES // 1024} KiB")
        return [line.strip() for line in text.decode().splitlines()]
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unusable(f"{path}: it is no text") from None
