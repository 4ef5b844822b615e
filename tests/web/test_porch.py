"""Who goes first of those who have not said what they want."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from outputd.web.porch import Porch

HERE, THERE = "192.0.2.0/24", "198.51.100.0/24"


class Newcomer:
    """One of a network; what it has sent, if anything, has not been read yet."""

    def __init__(self, network: str, said: Callable[[], object] | None = None) -> None:
        self.network = network
        self.heard = 0
        self._said = said

    @property
    def waits_for_us(self) -> bool:
        return self._said is not None

    def hear(self) -> None:
        said, self._said = self._said, None
        self.heard += 1
        if said is not None:
            said()

    def say(self, said: Callable[[], object] = lambda: None) -> None:
        self._said = said


class PorchTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.porch: Porch[Newcomer] = Porch()

    def come(self, network: str, said: Callable[[], object] | None = None) -> Newcomer:
        newcomer = Newcomer(network, said)
        self.porch.enter(newcomer)
        return newcomer

    def go(self) -> Newcomer | None:
        first = self.porch.first()
        if first is not None:
            self.porch.leave(first)
        return first

    def test_nobody_there_nobody_goes(self) -> None:
        self.assertEqual((None, 0), (self.go(), len(self.porch)))

    def test_the_oldest_of_the_network_that_has_most(self) -> None:
        alone = self.come(THERE)
        many = [self.come(HERE) for _ in range(3)]
        self.assertEqual(4, len(self.porch))
        self.assertEqual([*many[:2], alone, many[2], None], [self.go() for _ in range(5)])
        self.assertEqual(0, len(self.porch))

    def test_who_turns_out_to_have_said_all_stays(self) -> None:
        polite = self.come(HERE)
        polite.say(lambda: self.porch.leave(polite))
        other = self.come(HERE)
        self.assertEqual((other, None), (self.go(), self.go()))

    def test_who_is_in_the_midst_of_it_is_the_last_once(self) -> None:
        speaking, other = self.come(HERE, lambda: None), self.come(HERE)
        self.assertIs(other, self.go())
        speaking.say()
        self.assertIs(speaking, self.go())
        self.assertEqual(2, speaking.heard)

    def test_a_few_are_heard_at_a_time(self) -> None:
        """So that a newcomer costs little, whatever the crowd does; and somebody goes."""
        crowd = [self.come(HERE, lambda: None) for _ in range(100)]
        self.assertIsNotNone(self.go())
        self.assertLess(sum(one.heard for one in crowd), 50)
