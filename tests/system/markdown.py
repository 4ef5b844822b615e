"""Code blocks of our documents, so that what is written there can be run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.system.harness import CHECKOUT

RUN_S = 300.0
_BLOCK = re.compile(
    r"^(#{1,4}) (?P<heading>[^\n]+)$|^(<!-- not tested: (?P<untested>[^\n]+) -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block: under which heading, in which language, what, and why no test runs it."""

    heading: str
    language: str
    text: str
    untested: str = ""


def blocks(document: str) -> list[Block]:
    """The code blocks of a document of the checkout, in order."""
    found, heading = [], ""
    for match in _BLOCK.finditer((CHECKOUT / document).read_text(encoding="utf-8")):
        if match["heading"] is not None:
            heading = match["heading"]
        else:
            found.append(Block(heading, match["language"], match["text"], match["untested"] or ""))
    return found


def run(commands: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """What commands print, run by bash, which stops at the first that fails; then it is an AssertionError."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=cwd, env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=RUN_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def installed(place: Path, **modules: str) -> dict[str, str]:
    """An environment in which modules are the commands `outputd-NAME`, as in an installation; they are put there."""
    place.mkdir(parents=True)
    for name, module in modules.items():
        command = place / f"outputd-{name}"
        command.write_text(f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m {module} "$@"\n')
        command.chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def matches(expected: str, printed: str) -> bool:
    """Whether a text is as documented, where `...` stands for anything and white space counts as one blank."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in expected.split("..."))
    pattern = pattern.replace(r"\ .*", r"\ ?.*").replace(r".*\ ", r".*\ ?")
    return re.fullmatch(pattern.strip(), " ".join(printed.split()), re.DOTALL) is not None
