"""What a piece of work costs in a process of its own."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.service import apart


@dataclass(frozen=True, slots=True)
class Cost:
    """What one piece of work took, with the commands that it ran."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    """Of the largest command that it ran."""


def cost_of(work: Callable[[], object]) -> Cost:
    """Do it once, and measure."""

    def child() -> Cost:
        began = time.perf_counter()
        work()
        wall_s = time.perf_counter() - began
        own, commands = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        cpu_s = sum(use.ru_utime + use.ru_stime for use in (own, commands))
        return Cost(wall_s, cpu_s, commands.ru_maxrss / 1024)

    return apart(child)
