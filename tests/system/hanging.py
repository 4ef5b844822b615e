"""outputd of which a part hangs from SIGUSR1 to SIGUSR2: `python -m tests.system.hanging PART flags`."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from outputd import __main__
from outputd.store.writer import Writer


def main(part: str) -> None:
    """Run outputd; PART is `reactor` or `writer`."""
    hanging = [False]
    inner = Writer.write

    def wait() -> None:
        while hanging[0]:
            time.sleep(0.05)

    def write(self: Writer, *args: Any) -> Any:
        wait()
        return inner(self, *args)

    def hang(*_: object) -> None:
        hanging[0] = True
        if part == "reactor":
            wait()

    def go_on(*_: object) -> None:
        hanging[0] = False

    Writer.write = write  # type: ignore[method-assign,assignment]  # put around it from outside
    signal.signal(signal.SIGUSR1, hang)
    signal.signal(signal.SIGUSR2, go_on)
    __main__.main()


if __name__ == "__main__":
    part = sys.argv.pop(1)
    main(part)
