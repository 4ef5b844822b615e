"""The peer: what a plain collector in Go does, built from `peer/main.go` where Go and its SQLite driver are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.kinds import CHECKOUT
from benchmarks.service import Server, free_port

_SOURCE = CHECKOUT / "benchmarks" / "peer"
_PACKAGES = Path("/usr/share/gocode")  # Debian's golang-github-mattn-go-sqlite3-dev puts its driver there
_DRIVER = _PACKAGES / "src" / "github.com" / "mattn" / "go-sqlite3"


def built(home: Path) -> Path | None:
    """The program, made in `home`; None where Go or its driver is missing. Raises CalledProcessError."""
    if shutil.which("go") is None or not _DRIVER.exists():
        return None
    program = home / "go-peer"
    settings = {"GO111MODULE": "off", "GOPATH": str(_PACKAGES), "GOCACHE": str(home / "go-cache")}
    subprocess.run(
        ["go", "build", "-tags", "libsqlite3", "-o", program, _SOURCE / "main.go"],
        check=True,
        env={**os.environ, **settings},
    )
    return program


class Peer(Server):
    """One instance of it on an empty directory."""

    name = "the peer in Go"

    def __init__(self, program: Path, directory: Path) -> None:
        directory.mkdir()
        port = free_port()
        command = [str(program), "-port", str(port), "-dir", str(directory), "-schema", str(_SOURCE / "schema.sql")]
        super().__init__(directory, port, command, CHECKOUT)
