"""What is made of measurements: ratios of turns taken side by side, their medians and ranges, tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, with the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of one value or more. Raises ValueError without any."""
        ranked = sorted(values)
        if not ranked:
            raise ValueError("nothing was measured")
        return cls(statistics.median(ranked), ranked[0], ranked[-1])

    def text(self, digits: int | None = None) -> str:
        """`0.71 (0.66-0.75)`, all with the digits that the median deserves."""
        if digits is None:
            digits = digits_of(self.median)
        median, least, most = (f"{value:,.{digits}f}" for value in (self.median, self.least, self.most))
        return median if least == most else f"{median} ({least}-{most})"

    def __str__(self) -> str:
        return self.text()


def digits_of(value: float) -> int:
    """How many digits after the point show a value to about three figures."""
    return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0


def ratios(pairs: Iterable[tuple[float, float]]) -> Spread:
    """The first of each pair as a share of the second: a ratio a turn, then the median of the ratios."""
    return Spread.of(mine / other if other else float("inf") for mine, other in pairs)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of outputd, and the same of what it is compared with: by name, a value a turn."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]

    def mine(self) -> Spread:
        """That of outputd."""
        return Spread.of(self.values["outputd"])

    def beside(self, other: str) -> Spread | None:
        """That of outputd as a share of another's, turn by turn; None where the other was not measured."""
        theirs = self.values.get(other)
        return ratios(zip(self.values["outputd"], theirs, strict=True)) if theirs else None


def overview(rows: Sequence[Row]) -> str:
    """A Markdown table of rows: the figure, and its share of each other's."""
    others = list(dict.fromkeys(name for row in rows for name in row.values if name != "outputd"))
    return table(
        ["", "outputd", "", *(f"of {other}" for other in others)],
        [[row.title, row.mine(), row.unit, *(row.beside(other) or "" for other in others)] for row in rows],
    )


def in_turn(turns: int, works: Mapping[str, Callable[[], A]]) -> Iterator[dict[str, A]]:
    """Do each of the works once a turn, in the other direction each time; yields what they gave, by name."""
    for turn in range(turns):
        names = list(works)[:: -1 if turn % 2 else 1]
        yield {name: works[name]() for name in names}


def alternating(turns: int, mine: Callable[[], A], other: Callable[[], B]) -> Iterator[tuple[A, B]]:
    """Take turns, A B, B A, A B, ..., so that neither always comes first; yields what both gave, turn by turn."""
    for turn in range(turns):
        if turn % 2:
            theirs = other()
            yield mine(), theirs
        else:
            ours = mine()
            yield ours, other()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, figures to the right."""
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells under {len(head)} headings: {row}")
        lines.append(_line([str(cell) for cell in row]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def clock(seconds: float) -> str:
    """`3:07`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
