"""What runs the tests says what became of each module, also of one that takes its process down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.runner import TOP

_PASSES = """
from twisted.trial.unittest import SynchronousTestCase
class Passes(SynchronousTestCase):
    def test_it(self):
        from twisted.internet import reactor
        reactor.callLater(0, reactor.stop)
        reactor.run()
"""
_FAILS = _PASSES.replace("reactor.run()", "self.fail('as it should')")
_DIES = "import os\nprint('about to die', flush=True)\nos._exit(3)\n"
_LEAVES = "import os\nos._exit(0)\n"
_CLEARS = (
    f"{_PASSES}import atexit\nfrom pathlib import Path\natexit.register(Path(__file__).with_suffix('.cleared').touch)\n"
)


class Runner(SynchronousTestCase):
    """`python -m tests.kit.runner`."""

    def test_each_module_is_told_and_has_a_reactor_of_its_own(self) -> None:
        """One that passes twice over, one that fails, two that end their process, and one that is not there."""
        place = Path(self.mktemp())
        place.mkdir(parents=True)
        texts = {
            "test_one": _PASSES, "test_two": _PASSES, "test_fails": _FAILS, "test_dies": _DIES, "test_leaves": _LEAVES,
            "test_clears": _CLEARS,
        }  # fmt: skip
        for name, text in texts.items():
            (place / f"{name}.py").write_text(text)
        names = [*texts, "test_nowhere"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.kit.runner", "--jobs=2", *names], cwd=TOP, capture_output=True, text=True,
            timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(place.resolve())},
        )  # fmt: skip
        self.assertEqual(1, done.returncode, done.stderr)
        said = done.stdout
        self.assertRegex(said, r"(?m)^ok +test_one +1 passed")
        self.assertRegex(said, r"(?m)^ok +test_two +1 passed")
        self.assertIn("FAILED  test_fails.Passes.test_it", said)
        self.assertIn("as it should", said)
        self.assertIn("FAILED  test_dies: its process ended with 3", said)
        self.assertIn("about to die", said)
        self.assertIn("FAILED  test_leaves: its process ended with 0", said)
        self.assertRegex(said, r"(?m)^FAILED  .*test_nowhere")
        self.assertRegex(said, r"(?m)^ok +test_clears +1 passed")
        self.assertTrue((place / "test_clears.cleared").exists(), "what a module left for the end of its process")
        self.assertEqual("3 passed, 4 failed", said.splitlines()[-1])
