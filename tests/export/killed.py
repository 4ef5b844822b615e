"""Exports files, and is killed within the first write that would go beyond a size.

`python -m tests.export.killed 8192 FILE... --to OUT`; what fits of that write is written, and the rest is not.
"""

from __future__ import annotations

import sys

from outputd.export.command import main
from tests.sqlite.killed import within_write

if __name__ == "__main__":
    within_write(int(sys.argv[1]))
    main(sys.argv[2:])
