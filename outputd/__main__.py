"""The command `outputd`: the same service as `twistd outputd`, in the foreground."""

from __future__ import annotations

import sys

from twisted.scripts.twistd import run


def main() -> None:
    """Run until a signal ends it. A stale twistd.pid must not stop a start, so there is none."""
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "outputd", *sys.argv[1:]]
    run()


if __name__ == "__main__":
    main()
