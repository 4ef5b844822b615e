"""The colours that mean something can be told apart, also by those who see fewer of them, by day and by night."""

from __future__ import annotations

import importlib
import importlib.resources
import re
from functools import cache
from itertools import combinations
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

LEAST_DIFFERENCE = 12.0
"""CIEDE2000 between any two colours of a palette."""
PALETTES = {"loss": 7, "route": 8, "rtt": 6, "age": 5, "node": 8}
BLINDNESS = (None, "protan", "deutan", "tritan")


def style() -> str:
    """The style sheet."""
    return importlib.resources.files("outputd.pages").joinpath("static/style.css").read_text(encoding="utf-8")


def themes() -> dict[str, dict[str, str]]:
    """The variables of each theme."""
    sheet = style()
    begins = {"light": ":root {", "dark": ':root[data-theme="dark"] {'}
    blocks = {theme: sheet[sheet.index(begin) :].partition("}")[0] for theme, begin in begins.items()}
    own = {theme: dict(re.findall(r"--([\w-]+): ([^;]+);", block)) for theme, block in blocks.items()}
    return {"light": own["light"], "dark": own["light"] | own["dark"]}


@cache
def known(colour: str) -> Any:
    """A colour, by the library that knows how they differ; without it the test is skipped and says so."""
    try:
        return importlib.import_module("coloraide").Color(colour)
    except ImportError:
        raise SkipTest("coloraide is not installed (pip install coloraide)") from None


def seen(colour: str, blindness: str | None) -> Any:
    """A colour as it is seen by an eye that lacks one kind of cones altogether (Machado and others, 2009)."""
    plain = known(colour)
    return plain if blindness is None else plain.filter(blindness, 1, method="machado").clip("srgb")


class Colours(SynchronousTestCase):
    def test_no_two_of_a_palette_are_alike_for_anybody(self) -> None:
        for theme, variables in themes().items():
            for palette, size in PALETTES.items():
                names = [f"{palette}-{place}" for place in range(size)]
                for blindness in BLINDNESS:
                    colours = {name: seen(variables[name], blindness) for name in names}
                    for one, other in combinations(names, 2):
                        difference = colours[one].delta_e(colours[other], method="2000")
                        self.assertGreaterEqual(difference, LEAST_DIFFERENCE, (theme, blindness, one, other))

    def test_the_letter_of_a_route_can_be_read(self) -> None:
        for theme, variables in themes().items():
            for place in range(PALETTES["route"]):
                contrast = known(variables["on-route"]).contrast(known(variables[f"route-{place}"]))
                self.assertGreaterEqual(contrast, 4.5, (theme, place))


class SecondCues(SynchronousTestCase):
    def test_more_loss_is_a_wider_line(self) -> None:
        widths = [float(width) for width in re.findall(r"\.median\.loss-\d { stroke-width: ([\d.]+);", style())]
        self.assertEqual(PALETTES["loss"], len(widths))
        self.assertEqual(sorted(set(widths)), widths)

    def test_no_palette_has_a_colour_that_is_not_looked_at(self) -> None:
        found = re.findall(rf"--({'|'.join(PALETTES)})-\d: ", style().partition("}")[0])
        self.assertEqual(PALETTES, {name: found.count(name) for name in PALETTES})
