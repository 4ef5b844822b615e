"""How fast an export goes on: as its reader does, but beside a crowd of POSTs with a small share of the CPU. Pure."""

from __future__ import annotations

_LOOK_S = 0.5
_CROWD_PER_S = 200
_TIMES = 16
_LEAST_CPUS = 0.1
_MOST_S = 5.0


class Pace:
    """How long to rest behind each page: beside 200 results a second, until the process has worked 16 times as long.

    Beside fewer it is less, and nothing where none come. It goes by the CPU that the process gets: on a machine that
    others use, too, the same page costs results more. The results are those since the start of the service.
    """

    def __init__(self, results: int, cpu_s: float, now_s: float) -> None:
        self._results, self._cpu_s, self._now_s = results, cpu_s, now_s
        self._share = 0.0

    def rest_s(self, worked_s: float, results: int, cpu_s: float, now_s: float) -> float:
        """Seconds, when so many results are stored by now, and the process has had so much of the CPU."""
        past_s = now_s - self._now_s
        if past_s >= _LOOK_S:
            crowd = min(1.0, (results - self._results) / past_s / _CROWD_PER_S)
            self._share = crowd / max(_LEAST_CPUS, (cpu_s - self._cpu_s) / past_s)
            self._results, self._cpu_s, self._now_s = results, cpu_s, now_s
        return min(_MOST_S, _TIMES * worked_s * self._share)
