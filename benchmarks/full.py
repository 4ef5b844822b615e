"""A directory of five full files, filled once a session."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kinds import usual
from benchmarks.session import Session

FILES = 5
_FULL = 0.8


def full_directory(session: Session) -> Path:
    """Its path; filled by the service itself if this is the first to ask."""
    directory = session.home / "full"
    if directory.exists():
        return directory
    kind = usual()
    with session.service(directory) as service:
        while len(service.files()) < FILES or service.files()[-1].stat().st_size < _FULL * session.size_mb * 2**20:
            service.post(kind, 16, 0.0, count=max(16, session.size_mb))
            session.say(f"filling: {sum(path.stat().st_size for path in service.files()) / 2**20:.0f} MiB "
                        f"in {len(service.files())} files")  # fmt: skip
        service.check()
    return directory
