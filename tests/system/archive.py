"""Three instances and a real object store, with every trouble there is: each answered result is archived exactly once.

`python -m tests.system.archive --kills 20` prints what happens, and ends with 0 when that was so.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.kit.object_store import SECRET, ObjectStore, program
from tests.kit.relay import Relay, Way, passing
from tests.system.account import Told
from tests.system.disk import CannotMount, Disk
from tests.system.engines import ENGINES
from tests.system.harness import Outputd
from tests.system.load import MixedSource, Result
from tests.system.shared import measured
from tests.system.shipments import Archive, Shipments
from tests.system.traffic import Traffic
from tests.system.waiting import wait_until

_PREFIX = "archive"
_DISK_MIB = 96
_SHIPPED_S = 240.0
_HELD_S = 120.0
_SLOW_BYTES_A_S = 20_000.0
_KEPT = 0.9
"""Of the rejected items: a file has room for the text of some, and counts the others."""
_FLAGS = (
    "--input-url=", "--archive-every=0.02", "--max-size-mb=1", "--keep-files=2", "--archive-max-backlog-mb=1000",
    "--max-pending-mb=16",
)  # fmt: skip
_ALLOWED = {(Told.STORED, 1), (Told.NOTHING, 0), (Told.NOTHING, 1), (Told.REJECTED, 0)}
_IN_WORDS = {0: "that nobody sent", Told.NOTHING: "never answered", Told.STORED: "answered", Told.REJECTED: "rejected"}


@dataclass
class Instance:
    """One service with its line to the store, and its nodes while they post."""

    name: str
    outputd: Outputd
    relay: Relay
    traffic: Traffic | None = None


_Event = Callable[[Instance], None]


@dataclass
class Proof:
    """One run in a directory; `broken` has the promises that were not kept."""

    place: Path
    disk: Disk | None
    """A small disk which can be filled, or none."""
    kills: int
    seed: int = 1
    results_a_second: float = 150.0
    """Of each instance."""
    measured: Sequence[Result] = ()
    say: Callable[[str], object] = print
    broken: list[str] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    """Engines that cannot be had here, and why."""
    account: Shipments = field(default_factory=Shipments)
    instances: list[Instance] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ObjectStore(self.place / "store")
        self.archive = Archive(self.store, _PREFIX, self.account)
        self._source = MixedSource(self.seed, self.measured)
        self._chance = random.Random(self.seed)
        self._begun = time.monotonic()
        self._backup = self.place / "backup"
        for name in ("a", "b"):
            self._add(name, self.place / name, Relay(self.store.port))
        self._add("c", (self.disk.path if self.disk else self.place) / "c", Relay(self.store.port))

    def _add(self, name: str, directory: Path, relay: Relay) -> Instance:
        url = self.store.url(_PREFIX, relay.port)
        flags = (*_FLAGS, f"--archive={url}", f"--archive-credentials={self.store.credentials}")
        outputd = Outputd(directory, *flags)
        outputd.log_path = self.place / f"{name}.log"
        self.instances.append(Instance(name, outputd, relay))
        return self.instances[-1]

    # -- the run -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Return when each kind of event has come, so many kills too, and all is accounted for."""
        try:
            self.store.start()
            for one in self.instances:
                one.relay.open()
                one.outputd.start()
            self._post()
            self._let_things_happen()
            self._come_to_rest()
            for one in self.instances:
                self._stop(one, again=False)
        finally:
            for one in self.instances:
                one.outputd.kill()
                one.relay.close()
        self._settle_accounts()
        self.store.kill()

    def _let_things_happen(self) -> None:
        any_time: dict[str, _Event] = {
            "store killed": self._kill_store, "line cut": partial(self._fail, Way.CUT),
            "line silent": partial(self._fail, Way.SILENCE), "answers lost": partial(self._fail, Way.LOSE),
            "answers late": self._answer_late, "line away": self._cut_off, "line slow": self._slow_down,
            "mark lost": self._lose_mark, "child killed": self._kill_child, "rotation": self._rotate,
            "stop and start": self._stop, "disk full": self._fill_disk,
        }  # fmt: skip
        if self.disk is None:
            del any_time["disk full"]
        kills: list[tuple[str, _Event]] = [("kill -9", self._kill), ("kill -9 after the put", self._kill_after_put)]
        copies: list[tuple[str, _Event]] = [
            ("back up", self._back_up), ("clone", self._clone), ("restore", self._restore)
        ]  # fmt: skip
        plan = list(any_time.items()) * max(1, self.kills // 10)
        plan += [kills[number % 2] for number in range(self.kills)]
        self._chance.shuffle(plan)
        for number, copy in enumerate(copies, 1):
            plan.insert(number * len(plan) // 4, copy)
        for name, do in plan:
            time.sleep(self._chance.uniform(0.2, 1.5))
            one = self._chance.choice(self.instances)
            try:
                do(one)
            except (AssertionError, OSError, HTTPException, ValueError, KeyError) as error:
                self._complain(f"{name} of {one.name}: {error!r}")
                if one.outputd.process.poll() is not None:
                    one.outputd.start()
            self.events[name] += 1
            self._tell(f"{name} of {one.name}")

    def _come_to_rest(self) -> None:
        """No node posts, and all that was answered is in the archive."""
        for one in self.instances:
            if one.traffic is not None:
                one.traffic.finish()
                one.traffic = None

        def is_shipped() -> bool:
            time.sleep(0.5)  # or the store has nothing else to do
            with suppress(OSError):
                self.archive.take()
            return not self.account.counts()[Told.STORED, 0] and not any(map(_lags, self.instances))

        try:
            wait_until(is_shipped, "all that was answered is in the archive", _SHIPPED_S)
        except AssertionError as error:
            self._complain(f"{error}: {self.account.counts()[Told.STORED, 0]} results are not")
        self._tell("all is shipped")

    def _post(self) -> None:
        for one in self.instances:
            if one.traffic is None:
                one.traffic = Traffic(
                    one.outputd.port, self._source, self.account, self.results_a_second, (), self.broken,
                ).start()  # fmt: skip

    def _complain(self, text: str) -> None:
        self.broken.append(f"at {time.monotonic() - self._begun:.1f} s: {text}")
        self.say(f"BROKEN  {text}")

    def _tell(self, event: str) -> None:
        counts, at_s = self.account.counts(), int(time.monotonic() - self._begun)
        answered = sum(counts[Told.STORED, times] for times in range(3))
        self.say(
            f"{at_s // 60:3}:{at_s % 60:02}  {event:<30} {answered:8,} results answered, {counts[Told.STORED, 1]:8,}"
            f" seen in {self.archive.objects:5,} objects"
        )

    # -- what happens to an instance -----------------------------------------------------------------

    def _kill(self, one: Instance) -> None:
        one.outputd.kill()
        time.sleep(self._chance.uniform(0, 0.3))
        one.outputd.start()

    def _kill_after_put(self, one: Instance) -> None:
        """Its object is there, and it has not heard so."""
        with self._line(one, Way.HOLD):
            wait_until(lambda: one.relay.held, "an object arrives", _HELD_S)
            one.outputd.kill()
        one.outputd.start()

    def _stop(self, one: Instance, again: bool = True) -> None:
        ended = one.outputd.stop(self._chance.choice((signal.SIGTERM, signal.SIGINT)))
        if ended.code:
            self._complain(f"{one.name} stopped with {ended}")
        if again:
            one.outputd.start()

    def _kill_child(self, one: Instance) -> None:
        """While it has something to do, if that is soon."""
        with suppress(AssertionError):
            for pid in wait_until(lambda: _children(one.outputd.pid), "a child", 10.0):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _lose_mark(self, one: Instance) -> None:
        one.outputd.kill()
        (one.outputd.directory / "archive.json").unlink(missing_ok=True)
        one.outputd.start()

    def _rotate(self, one: Instance) -> None:
        for _ in range(4):
            if (status := one.outputd.rotate().status) != 200:
                self._complain(f"/rotate answered {status}")

    def _fill_disk(self, _: Instance) -> None:
        """That of the third instance, until posts are refused; with room again it stores and ships."""
        assert self.disk is not None
        disk, (one,) = self.disk, [one for one in self.instances if one.name == "c"]

        def is_refused() -> bool:
            disk.fill()
            return one.outputd.get("/ready").status == 503

        try:
            wait_until(is_refused, "a full disk is told by /ready")
            time.sleep(self._chance.uniform(2.0, 4.0))
        finally:
            disk.make_room()
        wait_until(lambda: one.outputd.get("/ready").status == 200, "it stores again")

    # -- what happens to the line and the store ------------------------------------------------------

    @contextmanager
    def _line(self, one: Instance, way: Way) -> Iterator[None]:
        one.relay.way = lambda method: way if method in ("PUT", "POST") or way is not Way.HOLD else Way.PASS
        try:
            yield
        finally:
            one.relay.way = passing

    def _fail(self, way: Way, one: Instance) -> None:
        with self._line(one, way):
            time.sleep(self._chance.uniform(2.0, 4.0))

    def _answer_late(self, one: Instance) -> None:
        with self._line(one, Way.HOLD):
            wait_until(lambda: one.relay.held, "an object arrives", _HELD_S)
            time.sleep(self._chance.uniform(0.5, 3.0))

    def _cut_off(self, one: Instance) -> None:
        one.relay.close()
        time.sleep(self._chance.uniform(1.0, 3.0))
        one.relay.open()

    def _slow_down(self, one: Instance) -> None:
        one.relay.bytes_a_s = _SLOW_BYTES_A_S
        time.sleep(self._chance.uniform(3.0, 6.0))
        one.relay.bytes_a_s = float("inf")

    def _kill_store(self, _: Instance) -> None:
        self.store.kill()
        time.sleep(self._chance.uniform(0.5, 3.0))
        self.store.start()

    # -- copies of a directory -----------------------------------------------------------------------

    def _back_up(self, _: Instance) -> None:
        """The first instance's directory, as it is in the middle of things."""
        with self._ended(self.instances[0]) as directory:
            shutil.copytree(directory, self._backup)

    def _restore(self, _: Instance) -> None:
        """It comes back, once all is in the archive that was answered since: that is nowhere else from then on."""
        self._come_to_rest()
        with self._ended(self.instances[0]) as directory:
            shutil.rmtree(directory)
            shutil.copytree(self._backup, directory)
        self._post()

    def _clone(self, _: Instance) -> None:
        """The second instance's directory, of which both go on."""
        original = self.instances[1]
        with self._ended(original) as directory:
            shutil.copytree(directory, self.place / "clone")
        clone = self._add("clone of b", self.place / "clone", original.relay)
        clone.outputd.start()
        self._post()

    @contextmanager
    def _ended(self, one: Instance) -> Iterator[Path]:
        """Killed, with every post that has a key answered: one that were sent again to a copy would be stored twice."""
        if one.traffic is not None:
            one.traffic.finish()
            one.traffic = None
        one.outputd.kill()
        yield one.outputd.directory
        one.outputd.start()
        self._post()

    # -- the account ---------------------------------------------------------------------------------

    def _settle_accounts(self) -> None:
        self.archive.take()
        for fault in [*self.account.faults, *self.archive.faults]:
            self._complain(fault)
        for (told, times), count in sorted(self.account.counts().items()):
            if (told, times) not in _ALLOWED:
                self._complain(
                    f"{count} results {_IN_WORDS[told]} are in the archive {('never', 'once', 'twice')[times]}"
                )
        if self.archive.rejected < _KEPT * self.account.rejected_told:
            self._complain(f"{self.account.rejected_told} items were rejected, {self.archive.rejected} are archived")
        if self.account.others:
            self._complain(f"{self.account.others} results in the archive are nobody's")
        for engine in ENGINES:
            try:
                if differs := self.archive.differs(engine):
                    self._complain(differs)
            except SkipTest as reason:
                self.unread.append(f"{engine}: {reason}")
        for one in self.instances:
            log = one.outputd.log
            if SECRET in log:
                self._complain(f"the log of {one.name} has the secret of the store")
            before, traceback, after = log.partition("Traceback")
            if traceback:
                self._complain(f"in the log of {one.name}: {before[-300:]}{traceback}{after[:3000]}")

    def report(self) -> str:
        """What happened, and the account."""
        counts = self.account.counts()
        stored, unsure = (
            sum(counts[told, times] for times in range(3)) for told in (Told.STORED, Told.NOTHING)
        )  # fmt: skip
        engines = [name for name in ENGINES if not any(text.startswith(name) for text in self.unread)]
        return "\n".join([
            "",
            f"events             {', '.join(f'{name} {count}' for name, count in sorted(self.events.items()))}",
            f"results answered   {stored:,}: archived once {counts[Told.STORED, 1]:,},"
            f" never {counts[Told.STORED, 0]}, twice {counts[Told.STORED, 2]}",
            f"never answered     {unsure:,}: archived once {counts[Told.NOTHING, 1]:,},"
            f" twice {counts[Told.NOTHING, 2]}",
            f"items rejected     {self.account.rejected_told:,} told, {self.archive.rejected:,} archived",
            f"archive            {self.archive.objects:,} objects, results by name {dict(self.archive.instances)}",
            f"read by            {', '.join(['pyarrow', *engines])}",
            *(f"not read by        {text}" for text in self.unread),
            f"promises broken    {len(self.broken)}",
            *self.broken,
        ])  # fmt: skip


def _lags(one: Instance) -> bool:
    """Whether it has something that is not in the archive."""
    return b"\noutput_service_archive_lag_seconds 0.0\n" not in one.outputd.get("/metrics").body


def _children(pid: int) -> list[int]:
    """The processes that any of its threads has started and that are there still."""
    with suppress(OSError):
        threads = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for path in threads for child in path.read_text(encoding="ascii").split()]
    return []


def main() -> int:
    """Run it; 1 when a promise was broken."""
    parser = argparse.ArgumentParser("python -m tests.system.archive", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of instances, half of them between put and mark")
    parser.add_argument("--rate", type=float, default=150.0, help="results a second of each instance (%(default)s)")
    parser.add_argument("--results", default="large", help="which real ones, where they are at hand (%(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the directories and logs behind")
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        program()
    except SkipTest as reason:
        sys.exit(str(reason))
    place = Path(tempfile.mkdtemp(prefix="outputd-archive-"))
    disk: Disk | None = Disk(place / "disk", _DISK_MIB)
    try:
        disk = disk.mount() if disk is not None else None
    except CannotMount as error:
        say(f"without a full disk: {error}")
        disk = None
    results = measured(asked.results)
    say(f"{asked.kills} kills, seed {asked.seed}, {len(results)} measured results beside those made; {place}")
    try:
        proof = Proof(place, disk, asked.kills, asked.seed, asked.rate, results, say)
        proof.run()
        say(proof.report())
        return int(bool(proof.broken))
    finally:
        if disk is not None and not asked.keep:
            disk.unmount()
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
