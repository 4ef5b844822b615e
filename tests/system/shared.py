"""Other people's data, which is read from ../shared and never copied into the repository."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.system.harness import CHECKOUT
from tests.system.load import Result

DATA = Path(os.environ.get("OUTPUTD_TEST_DATA") or CHECKOUT.parent / "shared" / "data")


def needed(name: str) -> Path:
    """A file of the data; without it the test is skipped and says so."""
    path = DATA / name
    if not path.exists():
        raise SkipTest(f"{path} is not here; OUTPUTD_TEST_DATA may name the directory")
    return path


@dataclass(frozen=True)
class Replay:
    """Bodies for POST /results, and the counts of what is in them."""

    bodies: list[bytes]
    expected: dict[str, Any]


def replay(name: str) -> Replay:
    """One of the sets in results/."""
    expected = json.loads(needed(f"results/{name}.expected.json").read_text(encoding="utf-8"))
    lines = gzip.decompress(needed(f"results/{name}.jsonl.gz").read_bytes())
    assert hashlib.sha256(lines).hexdigest() == expected["sha256_of_uncompressed"], f"{name} is not what was counted"
    return Replay(lines.splitlines(), expected)


def measured(name: str) -> list[Result]:
    """The results of such a set; none where it is not at hand."""
    try:
        return [result for body in replay(name).bodies for result in json.loads(body)]
    except SkipTest:
        return []


@dataclass(frozen=True)
class Case:
    """A hostile body, and the careful answers to it."""

    name: str
    body: bytes
    headers: dict[str, str]
    statuses: list[int]
    least: int
    most: int


def hostile_cases() -> list[Case]:
    """All cases of hostile/."""
    index = json.loads(needed("hostile/index.json").read_text(encoding="utf-8"))
    return [_case(entry) for entry in index["cases"]]


def _case(entry: dict[str, Any]) -> Case:
    body = (DATA / "hostile" / entry["file"]).read_bytes()
    if entry["file"].endswith(".diskgz"):
        body = gzip.decompress(body)
    assert hashlib.sha256(body).hexdigest() == entry["sha256"], entry["file"]
    headers = {"Content-Type": entry["content_type"], "Content-Encoding": entry["content_encoding"]}
    stored = entry["expect"]["stored"]
    least, most = stored if isinstance(stored, list) else (stored, stored)
    given = {name: value for name, value in headers.items() if value is not None}
    return Case(entry["file"], body, given, entry["expect"]["status"], least, most)
