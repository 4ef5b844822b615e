"""What the interpreter and the allocator are told for a service that runs for a year."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

_GC_EVERY = 20_000
_SWITCH_S = 0.0005
_MALLOC = ((-8, 1), (-3, 128 * 1024), (-1, 1 << 20))  # malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def share_one_heap() -> None:
    """All threads take memory from one heap, and that of large bodies goes back to the system as soon as it is free.

    Call it before any thread begins: each would get a heap of its own, and what is freed there is of no use to others.
    """
    with contextlib.suppress(OSError, AttributeError):  # of glibc alone
        for option, value in _MALLOC:
            ctypes.CDLL(None).mallopt(option, value)


def settle() -> None:
    """What is there at the start stays: the collector of cycles need not walk it, nor walk often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_EVERY, 20, 50)
    sys.setswitchinterval(_SWITCH_S)  # threads that parse give way soon: each read of a socket waits for it


def give_back() -> None:
    """Let the system have what was freed within the heap, too: a few milliseconds, in which other threads work."""
    with contextlib.suppress(OSError, AttributeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)
