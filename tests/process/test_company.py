"""What `outputd.company` promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.process.company import Company

WAIT_S = 0.01


class CompanyTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.company = Company(WAIT_S)
        self.now_s = 1000.0
        self.last: dict[str, float] = {}

    def comes(self, name: str, after_s: float = WAIT_S / 2) -> float:
        """How long one should wait who comes so long after the one before."""
        self.now_s += after_s
        wait_s = self.company.wait_s(self.now_s, self.last.get(name))
        self.last[name] = self.now_s
        return wait_s

    def test_many_who_come_often_wait_for_each_other(self) -> None:
        for name in "abcde":
            self.assertEqual(self.comes(name), 0)
        self.assertEqual([self.comes(name) for name in "abcde" * 3], [WAIT_S] * 15)

    def test_a_lonely_one_waits_for_nobody(self) -> None:
        waits = [self.comes(name, after_s=1.1 * WAIT_S) for name in "abcde" * 3]
        self.assertEqual(set(waits), {0.0})

    def test_who_comes_again_as_soon_as_it_is_answered_does_not_wait(self) -> None:
        """A client in a closed loop is its own company."""
        self.assertEqual({self.comes("a") for _ in range(20)}, {0.0})

    def test_nor_does_it_among_others(self) -> None:
        waits: dict[str, set[float]] = {name: set() for name in "abcdefX"}
        for _ in range(9):
            for name in "aXbXcXdXeXfX":
                waits[name].add(self.comes(name, WAIT_S / 2))
        self.assertEqual(waits["X"], {0.0})
        self.assertIn(WAIT_S, waits["a"])

    def test_who_has_not_come_before_does_not_wait(self) -> None:
        """It may be the last one on another connection."""
        self.assertEqual({self.comes(f"{number}") for number in range(20)}, {0.0})

    def test_a_crowd_that_is_gone_is_not_waited_for(self) -> None:
        for name in "abcde" * 3:
            self.comes(name)
        self.assertEqual(self.comes("a", after_s=3 * WAIT_S), 0)
