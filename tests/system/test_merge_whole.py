"""`outputd-merge` over all orders of files, and through kills at random moments: always the same rows."""

from __future__ import annotations

import random
import signal
import time
from itertools import combinations, permutations
from pathlib import Path

from tests.kit.depth import long
from tests.merge.instances import MergeTest, digest_of, whole

_KILLS = 10


class Orders(MergeTest):
    @long("tests.merge.test_merge.Merging.test_neither_order_nor_copies_change_a_row_or_an_id")
    def test_any_three_of_five_files_in_all_orders_and_twice_over(self) -> None:
        files, copies = self.of_three()
        for chosen in combinations(files, 3):
            wanted = digest_of(self.merged(*chosen))
            self.assertEqual(whole(*chosen), whole(self.merged(*chosen, *chosen)))
            for ordered in permutations(chosen):
                self.assertEqual(wanted, digest_of(self.merged(*ordered)))
                self.assertEqual(wanted, digest_of(self.merged(*ordered, *reversed(ordered))))
        everything = digest_of(self.merged(*files))
        for ordered in permutations(files[:3]):
            self.assertEqual(everything, digest_of(self.merged(*copies, *ordered, *files, *copies)))


@long("tests.merge.test_merge.Resuming.test_after_ten_kills_it_is_as_if_there_was_none")
class Kills(MergeTest):
    def setUp(self) -> None:
        super().setUp()
        self.files, copies = self.of_three(times=20)
        self.given = [*copies, *self.files]
        whole_run = self.killed("step", 0, self.out(), *self.given)
        self.steps = int(whole_run.stdout.split()[-1])
        self.assertGreater(self.steps, 1000, whole_run.stderr)
        self.wanted = digest_of(self.merged(*self.given))
        self.seed = time.time_ns()
        self.chance = random.Random(self.seed)

    def kill_at(self, step: int, out: Path) -> None:
        killed = self.killed("step", step, out, *self.given)
        self.assertEqual((-signal.SIGKILL, False), (killed.returncode, out.exists()), self.why(step))

    def assertResumes(self, step: int, out: Path) -> None:
        self.assertEqual(self.wanted, digest_of(self.merged(*self.given, out=out)), self.why(step))
        self.assertEqual(whole(*self.files), whole(out), self.why(step))

    def why(self, step: int) -> str:
        return f"seed {self.seed}, killed at step {step} of {self.steps}"

    def test_one_kill_in_each_tenth_of_the_work(self) -> None:
        for tenth in range(_KILLS):
            step = self.chance.randrange(1 + tenth * self.steps // _KILLS, 1 + (tenth + 1) * self.steps // _KILLS)
            out = self.out()
            self.kill_at(step, out)
            self.assertResumes(step, out)

    def test_ten_kills_of_one_merge(self) -> None:
        """Each in the first quarter of what is left, so that some files are taken in between."""
        out, left = self.out(), self.steps
        for _ in range(_KILLS):
            step = self.chance.randrange(1, left // 4)
            self.kill_at(step, out)
            left -= step
        self.assertResumes(step, out)
