"""Draws rates, latency and the cost at light load beside the peers, from the JSON of a run; light and dark.

make chart RUN=benchmarks/runs/2026-11-30.json
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

THEMES = {
    "light": {"text": "#1f2328", "ground": "#ffffff", "grid": "#d1d9e0"},
    "dark": {"text": "#e6edf3", "ground": "#0d1117", "grid": "#3d444d"},
}
# Okabe and Ito's colours, which no common colour blindness confuses.
LOOKS = {"outputd": ("#0072b2", ""), "Go": ("#e69f00", "///"), "the limit": ("#999999", "")}
PANELS = {
    "Rate: results a second, more is better": "best rate: ",
    "Cost when there is time: ms of CPU a result, less is better": "CPU a result: ",
    "Written to disk: KiB a result, less is better": "written a result: ",
    "Latency when there is time: p99 in ms, less is better": "p99: ",
}
_UNITS = {"CPU a result: ": "ms"}


def draw(rows: Sequence[Mapping[str, Any]], theme: Mapping[str, str]) -> Figure:
    """A chart of a run's rows; a panel whose rows were not measured stays away. Raises ValueError without any."""
    panels = {title: _of(rows, start) for title, start in PANELS.items()}
    panels = {title: chosen for title, chosen in panels.items() if chosen}
    if not panels:
        raise ValueError("the run has none of the rows that are drawn")
    figure = Figure(figsize=(9, 2.3 * len(panels)), layout="constrained", facecolor=theme["ground"])
    for place, (title, chosen) in enumerate(panels.items(), start=1):
        _panel(figure.add_subplot(len(panels), 1, place), title, chosen, theme)
    return figure


def _of(rows: Sequence[Mapping[str, Any]], start: str) -> dict[str, Mapping[str, Any]]:
    unit = _UNITS.get(start)
    return {
        row["title"].removeprefix(start): row
        for row in rows
        if row["title"].startswith(start) and unit in (None, row["unit"])
    }


def _panel(axes: Axes, title: str, rows: Mapping[str, Mapping[str, Any]], theme: Mapping[str, str]) -> None:
    names = [name for name in LOOKS if any(name in row for row in rows.values())]
    height = 0.8 / len(names)
    for number, name in enumerate(names):
        colour, pattern = LOOKS[name]
        values = [statistics.median(row[name]) if name in row else 0.0 for row in rows.values()]
        places = [place + number * height for place in range(len(rows))]
        bars = axes.barh(places, values, height, label=name, color=colour, hatch=pattern, edgecolor=theme["ground"])
        axes.bar_label(bars, [f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in values],
                       padding=3, color=theme["text"], fontsize=8)  # fmt: skip
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(rows))], list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", color=theme["text"], fontsize=10, fontweight="bold")
    axes.set_facecolor(theme["ground"])
    axes.tick_params(colors=theme["text"], labelsize=8, length=0)
    axes.grid(axis="x", color=theme["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.legend(
        fontsize=8, frameon=False, labelcolor=theme["text"], ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """RUN.json DIRECTORY: writes benchmarks-light.svg and benchmarks-dark.svg there."""
    run, directory = argv if argv is not None else sys.argv[1:]
    rows = json.loads(Path(run).read_text(encoding="utf-8"))["rows"]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "outputd", "font.family": "sans-serif"}):
        for name, theme in THEMES.items():
            path = Path(directory) / f"benchmarks-{name}.svg"
            draw(rows, theme).savefig(path, metadata={"Date": None})
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
