"""SECURITY.md names a test for each threat: each of them is there."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

TOP = Path(__file__).parent.parent


class ThreatTests(SynchronousTestCase):
    def test_each_named_test_is_there(self) -> None:
        rows = [
            line for line in (TOP / "SECURITY.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")
        ]
        self.assertGreater(len(rows), 12)
        for row in rows[1:]:
            (name,) = re.findall(r"`(tests\.[\w.]+)`", row)
            found = unittest.defaultTestLoader.loadTestsFromName(name)
            self.assertGreater(found.countTestCases(), 0, name)
            self.assertNotIn("_FailedTest", str(found), name)
