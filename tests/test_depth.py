"""What `make test` leaves out has a short test that stands for it there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.runner import long_tests, short_tests


class Depth(SynchronousTestCase):
    """The marks of tests.kit.depth."""

    def test_for_each_long_test_those_that_prove_the_same_are_run_by_make_test(self) -> None:
        """By the names that they have now."""
        short = set(short_tests(["tests"]))
        missing = {test: lost for test, twins in long_tests(["tests"]) if (lost := set(twins) - short)}
        self.assertEqual(missing, {})
        self.assertGreater(len(list(long_tests(["tests"]))), 10)
