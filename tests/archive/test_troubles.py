"""Whatever comes between, in whatever order: each result of each directory is in the archive once."""

from __future__ import annotations

import errno
import random
import shutil
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive.asks import Failed
from outputd.store.directory import DataDir
from tests.archive.test_keeping_up import Sender
from tests.archive.worker import Place
from tests.kit.makers import a_result, rows_of

_ROWS = """
SELECT b.id, b.received_at, p.id, p.ip FROM batches b LEFT JOIN ping_results p ON p.id BETWEEN b.first_id AND b.last_id
"""


class World:
    """Some services that ship to one archive, and what happens to them."""

    def __init__(self, test: SynchronousTestCase, seed: int) -> None:
        self.test = test
        self.chance = random.Random(seed)
        self.place = Place()
        self.is_full = False
        self.results = 0
        self.senders = [self.sender(Path(test.mktemp()))]
        self.done: list[str] = []
        self.backup: Path | None = None
        self.ever: set[tuple[object, ...]] = set()
        """All rows that were in a directory which a backup has replaced."""

    def sender(self, path: Path) -> Sender:
        sender = Sender(self.test, self.place, path, keep_files=1000)
        sender.bench.clock.advance(self.chance.random())  # two never store at the same time
        return sender

    def step(self) -> None:
        """Anything."""
        happens = self.chance.choice([
            self.store, self.store, self.store, self.rotate, self.wait, self.wait, self.outage, self.kill, self.restart,
            self.lose_the_mark, self.rename, self.fill_the_disk, self.clone, self.set_the_clock,
            self.back_up, self.restore,
        ])  # fmt: skip
        self.done.append(happens.__name__)
        happens()

    def any(self) -> int:
        return self.chance.randrange(len(self.senders))

    def store(self) -> None:
        sender = self.senders[self.any()]
        for _ in range(self.chance.randint(1, 5)):
            self.results += 1
            sender.bench.clock.advance(0.001)
            sender.keep(1, a_result(ip=f"10.0.{self.results >> 8}.{self.results & 255}"))

    def rotate(self) -> None:
        self.senders[self.any()].rotate()

    def wait(self) -> None:
        self.senders[self.any()].pass_seconds(self.chance.choice((1, 5, 70, 650)))

    def outage(self) -> None:
        self.place.failure = None if self.place.failure else Failed("no answer")

    def kill(self) -> None:
        """Right after the next put of it, if there is one."""
        number, left = self.any(), Path(self.test.mktemp())

        def copy() -> None:
            shutil.copytree(self.senders[number].bench.path, left)
            self.place.failure = Failed("it is dead")
            self.place.after_put = lambda: None

        before, self.place.after_put = self.place.failure, copy
        self.senders[number].pass_seconds(650)
        self.place.after_put, self.place.failure = lambda: None, before
        if left.exists():
            self.senders[number].end()
            self.senders[number] = self.sender(left)

    def restart(self) -> None:
        self.senders[self.any()].again()

    def lose_the_mark(self) -> None:
        sender = self.senders[self.any()]
        if not self.done.count("rename"):  # the name is there alone
            sender.end()
            sender.bench.directory.archive.unlink(missing_ok=True)
            sender.bench.start()
            sender.begin()

    def rename(self) -> None:
        sender = self.senders[self.any()]
        if not {"lose_the_mark", "restore"} & {*self.done} and sender.bench.directory.archive.exists():  # likewise
            sender.name = self.chance.choice((None, "graz", "wien"))
            sender.again()

    def fill_the_disk(self) -> None:
        self.is_full = not self.is_full

    def clone(self) -> None:
        if len(self.senders) < 4:
            sender, path = self.senders[self.any()], Path(self.test.mktemp())
            sender.end()
            shutil.copytree(sender.bench.path, path)
            sender.bench.start()
            sender.begin()
            self.senders.append(self.sender(path))

    def back_up(self) -> None:
        sender, self.backup = self.senders[self.any()], Path(self.test.mktemp())
        sender.end()
        shutil.copytree(sender.bench.path, self.backup)
        sender.bench.start()
        sender.begin()

    def restore(self) -> None:
        """With the mark of then, that of now, or none."""
        if self.backup is None or self.done.count("rename"):  # it may not know of a name that was changed after it
            return
        number, path = self.any(), Path(self.test.mktemp())
        sender = self.senders[number]
        sender.end()
        self.ever |= set(rows_of(sender.bench.path, _ROWS))
        shutil.copytree(self.backup, path)
        mark = sender.bench.directory.archive
        what = self.chance.choice(("then", "now", "none"))
        if what == "now" and mark.exists():
            shutil.copy(mark, path)
        if what == "none":
            (path / mark.name).unlink(missing_ok=True)
        self.senders[number] = self.sender(path)

    def set_the_clock(self) -> None:
        self.senders[self.any()].bench.clock_is_off_s = self.chance.choice((0.0, 86_400.0, -86_400.0))

    def settle(self) -> None:
        """All is well at last."""
        self.place.failure, self.is_full = None, False
        for _ in range(3):
            for sender in self.senders:
                sender.pass_seconds(1300)


class TroublesTest(SynchronousTestCase):
    def test_each_result_is_in_the_archive_once(self) -> None:
        overwrite = DataDir.overwrite
        for seed in range(5):
            world = World(self, seed)

            def write(directory: DataDir, path: Path, text: bytes, world: World = world) -> None:
                if world.is_full:
                    raise OSError(errno.ENOSPC, "No space left on device")
                overwrite(directory, path, text)

            self.patch(DataDir, "overwrite", write)
            for _ in range(40):
                world.step()
            world.settle()
            stored = {row for sender in world.senders for row in rows_of(sender.bench.path, _ROWS)}
            shipped = Counter(row for rows in world.place.objects.values() for row in rows)
            self.assertEqual(set(), stored - set(shipped), f"seed {seed}: {world.done}")
            self.assertEqual([], [row for row, times in shipped.items() if times > 1], f"seed {seed}: {world.done}")
            self.assertLessEqual(set(shipped), stored | world.ever)
            self.assertEqual([0] * len(world.senders), [sender.shipping.losses.batches for sender in world.senders])
            for sender in world.senders:
                sender.end()
