"""Directories of full files."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kinds import Kind, usual
from benchmarks.session import Session

FILES = 5
_FULL = 0.8


def full_directory(session: Session, kind: Kind | None = None) -> Path:
    """Its path; filled by the service itself if this is the first to ask."""
    directory = session.home / "full"
    return directory if directory.exists() else filled(session, directory, FILES, kind)


def filled(session: Session, directory: Path, files: int, kind: Kind | None = None) -> Path:
    """A fresh directory, once the service has filled so many files in it, with the usual bodies unless it is said."""
    kind = kind or usual()
    with session.service(directory) as service:
        said = 0
        while len(service.files()) < files or service.files()[-1].stat().st_size < _FULL * session.size_mb * 2**20:
            service.post(kind, 16, 0.0, count=max(16, session.size_mb))
            if len(service.files()) > said:
                said = len(service.files())
                session.say(f"filling file {said} of {files}")
        service.check()
    return directory
