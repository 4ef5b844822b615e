"""What `outputd.company` promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.process.company import Company

WAIT_S = 0.01
NAMES = "abcdefgh"


class CompanyTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.is_busy = False
        self.company = Company(WAIT_S, lambda: self.is_busy)
        self.now_s = 1000.0
        self.answered: dict[str, float] = {}

    def comes(self, name: str, after_s: float = WAIT_S / 2) -> float:
        """How long one waits who comes so long after the one before, and is answered at once."""
        self.now_s += after_s
        wait_s = self.company.wait_s(self.now_s)
        self.company.came(self.now_s, self.answered.get(name))
        self.answered[name] = self.now_s
        return wait_s

    def gather(self) -> None:
        """Let so many come that the next one waits."""
        for name in NAMES * 2:
            self.comes(name)
        self.assertEqual(self.company.wait_s(self.now_s), WAIT_S)

    def test_many_who_come_often_wait_for_each_other(self) -> None:
        self.assertEqual([self.comes(name) for name in NAMES * 2], [0.0] * 16)
        self.assertEqual([self.comes(name) for name in NAMES * 2], [WAIT_S] * 16)

    def test_as_long_as_eight_of_them_take_and_no_longer(self) -> None:
        names = [str(number) for number in range(100)]
        for name in names:
            self.comes(name, WAIT_S / 80)
        self.now_s += 3 * WAIT_S
        for name in names[:-1]:
            self.comes(name, WAIT_S / 80)
        self.assertAlmostEqual(self.comes(names[-1], WAIT_S / 80), WAIT_S / 10)

    def test_a_lonely_one_waits_for_nobody(self) -> None:
        waits = [self.comes(name, after_s=1.2 * WAIT_S) for name in NAMES * 3]
        self.assertEqual(set(waits), {0.0})

    def test_who_comes_again_as_soon_as_it_is_answered_does_not_wait(self) -> None:
        """A client in a closed loop is its own company; so are many that share a commit, and come all at once."""
        self.assertEqual({self.comes("a") for _ in range(20)}, {0.0})
        self.assertEqual({self.comes(name, WAIT_S / 10) for name in NAMES * 9}, {0.0})

    def test_nor_does_anybody_while_it_is_there(self) -> None:
        self.gather()
        self.comes("X")
        self.assertEqual({self.comes(name) for name in "aXbXcXdXeXfX" * 3}, {0.0})

    def test_who_has_not_come_before_does_not_wait(self) -> None:
        """It may be the last one on another connection."""
        self.assertEqual({self.comes(f"{number}") for number in range(20)}, {0.0})

    def test_a_crowd_that_is_gone_is_not_waited_for(self) -> None:
        self.gather()
        self.assertEqual(self.comes("a", after_s=8 * WAIT_S), 0)

    def test_while_a_turn_is_under_way_nobody_waits_for_more(self) -> None:
        self.gather()
        self.is_busy = True
        self.assertEqual(self.company.wait_s(self.now_s), 0)

    def test_for_half_a_second_nothing_else_that_wants_to_be_served_waits(self) -> None:
        self.gather()
        self.company.disturb(self.now_s)
        until_s = self.now_s + 0.45
        while self.now_s < until_s:
            for name in NAMES:
                self.assertEqual(self.comes(name), 0)
        for name in NAMES:
            self.comes(name)
        self.assertEqual(self.comes("a"), WAIT_S)
