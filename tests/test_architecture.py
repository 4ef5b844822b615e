"""docs/architecture.md says what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")


class PageTests(SynchronousTestCase):
    def test_its_layers_are_those_that_the_check_holds(self) -> None:
        settings = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
        layers = [
            [package.strip() for package in layer.split("|")]
            for layer in settings["tool"]["importlinter"]["contracts"][0]["layers"]
        ]
        rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE)
        told = [[name for number, name in rows if int(number) == layer + 1] for layer in range(len(layers))]
        self.assertEqual([sorted(layer) for layer in layers], [sorted(layer) for layer in told])

    def test_each_file_that_it_names_is_there(self) -> None:
        named = {*re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE)}
        self.assertGreater(len(named), 20)
        for name in named:
            self.assertTrue((TOP / "outputd" / name).exists() or (TOP / name).exists(), name)

    def test_each_thread_that_it_names_is_in_the_code_and_no_other(self) -> None:
        code = "".join(file.read_text(encoding="utf-8") for file in (TOP / "outputd").rglob("*.py"))
        there = set(re.findall(r'(?:Threads\(reactor, |name=|thread: str = |thread=)"(outputd-\w+)"', code)) - {
            "outputd-send"
        }
        self.assertEqual(there, set(re.findall(r"^\| `(outputd-\w+)` \|", PAGE, re.MULTILINE)))

    def test_each_module_that_it_names_is_there(self) -> None:
        for package, module in re.findall(r"`([a-z]+)\.(?!json`)([a-z_]+)[`.]", PAGE):
            folder = TOP / "outputd" / package
            if folder.is_dir():
                self.assertTrue((folder / f"{module}.py").exists(), f"{package}.{module}")
