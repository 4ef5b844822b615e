"""outputd of which a part hangs for six seconds after SIGUSR1: `python -m tests.system.hanging PART flags`."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from outputd import __main__
from outputd.store.writer import Writer

_HANG_S = 6.0


def main(part: str) -> None:
    """Run outputd; PART is `reactor` or `writer`."""
    hanging = [False]
    inner = Writer.write

    def write(self: Writer, *args: Any) -> Any:
        if hanging[0]:
            hanging[0] = False
            time.sleep(_HANG_S)
        return inner(self, *args)

    def hang(*_: object) -> None:
        if part == "reactor":
            time.sleep(_HANG_S)
        else:
            hanging[0] = True

    Writer.write = write  # type: ignore[method-assign,assignment]
    signal.signal(signal.SIGUSR1, hang)
    __main__.main()


if __name__ == "__main__":
    part = sys.argv.pop(1)
    main(part)
