"""What `outputd.queries.sent` promises of the pages it holds."""

from __future__ import annotations

import json
import random

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.sent import Gone, Sent, new_name

_ROOM_BYTES = 30_000


def _keys(number: int, count: int = 100) -> str:
    return json.dumps([f"{random.Random(f'{number} {place}').random()}" for place in range(count)])


class HeldTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent = Sent(_ROOM_BYTES)

    def begin(self, number: int) -> str:
        """A list whose second page was asked for."""
        first = self.add(None, _keys(number))
        self.read(first)
        return self.add(first, _keys(number + 1000))

    def add(self, before: str | None, keys: str, question: str = "question") -> str:
        return self.sent.add(question, before, [keys])

    def read(self, name: str) -> list[str]:
        return list(self.sent.until(name))

    def test_a_page_can_be_named_before_its_keys_are_known(self) -> None:
        """Until they are, it cannot be continued."""
        name = new_name()
        with self.assertRaises(Gone):
            self.read(name)
        self.assertEqual(name, self.sent.add("question", None, [_keys(1)], name))
        self.assertEqual([_keys(1)], self.read(name))
        self.assertNotEqual(name, new_name())

    def test_a_page_has_what_it_and_those_before_it_sent(self) -> None:
        first = self.add(None, _keys(1))
        second = self.add(first, _keys(2))
        other = self.add(first, _keys(3))
        self.assertEqual([_keys(1)], self.read(first))
        self.assertEqual([_keys(2), _keys(1)], self.read(second))
        self.assertEqual([_keys(3), _keys(1)], self.read(other))

    def test_the_same_page_is_held_once(self) -> None:
        for _ in range(2):
            first = self.add(None, _keys(1))
            name, held = self.add(first, _keys(2)), self.sent.held_bytes
            self.assertEqual(2, len(self.read(name)))
        self.assertEqual(held, self.sent.held_bytes)
        self.assertNotEqual(first, self.add(None, _keys(1), "another"))

    def test_first_pages_that_nobody_continues_push_out_no_list_that_is_read(self) -> None:
        name = self.begin(0)
        for number in range(1, 200):
            latest = self.add(None, _keys(number))
        self.assertEqual([_keys(1000), _keys(0)], self.read(name))
        self.assertEqual([_keys(199)], self.read(latest))
        self.assertLessEqual(self.sent.held_bytes, 2 * _ROOM_BYTES)

    def test_the_list_that_was_not_read_for_longest_makes_room(self) -> None:
        names = [self.begin(0)]
        for number in range(1, 100):
            names.append(self.begin(number))
            self.assertEqual(2, len(self.read(names[0])))
            self.assertEqual(2, len(self.read(names[-1])))
            self.assertLessEqual(self.sent.held_bytes, 2 * _ROOM_BYTES)
        with self.assertRaises(Gone):
            self.read(names[1])

    def test_whatever_is_asked_a_page_is_whole_or_gone_and_the_memory_bounded(self) -> None:
        rng = random.Random(5)
        pages: dict[str, list[str]] = {}
        whole = gone = 0
        for number in range(3000):
            before = rng.choice([None, *list(pages)[-30:]])
            try:
                had = [] if before is None else self.read(before)
            except Gone:
                gone += 1
                continue
            if before is not None:
                self.assertEqual(pages[before], had)
                whole += 1
            keys = _keys(number, rng.choice([1, 10, 100, 300]))
            pages[self.add(before, keys)] = [keys, *had]
            self.assertLessEqual(self.sent.held_bytes, 2 * _ROOM_BYTES)
        self.assertGreater(min(whole, gone), 100)

    def test_a_page_that_alone_is_too_long_is_gone_and_pushes_out_none(self) -> None:
        other, held = self.begin(0), self.sent.held_bytes
        name = self.add(None, _keys(1, 10_000))
        self.assertEqual(held, self.sent.held_bytes)
        self.assertRaises(Gone, self.read, name)
        self.assertEqual(2, len(self.read(other)))

    def test_the_keys_of_a_long_page_come_in_parts(self) -> None:
        name = self.sent.add("question", None, iter([_keys(1), _keys(2)]))
        self.assertEqual([_keys(1), _keys(2)], self.read(name))
