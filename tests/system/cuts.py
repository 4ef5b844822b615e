"""Power cuts under load, with rotations and prunes: `python -m tests.system.cuts --cuts 100`.

A run records every write and fsync of the service and when each POST was answered. Then the power fails at many moments
of it: a directory is made that has what was on the disk, the service starts in it, and nothing acknowledged may lack.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from tests.system.addresses import canonical, is_feedable
from tests.system.files import all_faults, column, opened, stored_targets
from tests.system.harness import HOST, Outputd, call, free_port
from tests.system.inputservice import InputService
from tests.system.load import Post, Source
from tests.system.powercut import Content, Disk, Rest
from tests.system.recorder import Call, Kind, Recorder
from tests.system.waiting import DEADLINE_S

_CONNECTIONS = 4
_RESULTS = 5
_BETWEEN_ROTATIONS_S = 0.15
_MOST_KEYS = 60
_SOON_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Case:
    """How the service runs."""

    keep_files: int
    is_feed_up: bool

    def __str__(self) -> str:
        return f"--keep-files={self.keep_files}, input_service {'up' if self.is_feed_up else 'down'}"


CASES = [Case(keep_files, is_feed_up) for keep_files in (1, 2) for is_feed_up in (False, True)]


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody outside knew when the journal had a length."""

    at: int
    post: Post | None = None
    delivered: tuple[str, ...] = ()


@dataclass
class Run:
    """A run of the service that is recorded; `told` has what it acknowledged."""

    place: Path
    case: Case
    seed: int
    told: list[Told] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    """Targets of all that was posted, answered or not."""

    def __post_init__(self) -> None:
        self.root = self.place / "disk"
        self.root.mkdir(parents=True)
        self.recorder = Recorder(self.root).build()
        self._source = Source(self.seed)
        self._input_service = InputService(free_port(), self._take_hops)
        self._ended = threading.Event()

    def _take_hops(self, hops: Sequence[str]) -> int:
        self.told.append(Told(self.recorder.position, delivered=tuple(hops)))
        return 200

    def go(self, seconds: float) -> Run:
        """Return when it has gone on so long, killed once in the middle."""
        outputd = Outputd(
            self.root / "var" / "data", f"--keep-files={self.case.keep_files}",
            f"--input-url={self._input_service.url}", environment=self.recorder.environment,
        )  # fmt: skip
        outputd.log_path = self.place / "outputd.log"
        if self.case.is_feed_up:
            self._input_service.open()
        try:
            for _ in range(2):
                self._ended.clear()
                outputd.start()
                threads = [threading.Thread(target=self._post_on, args=(outputd,)) for _ in range(_CONNECTIONS)]
                threads.append(threading.Thread(target=self._rotate_on, args=(outputd,)))
                for thread in threads:
                    thread.start()
                self._ended.wait(seconds / 2)
                self.recorder.fault("pwrite - die")
                outputd.process.wait(DEADLINE_S)
                self.recorder.fault()
                self._ended.set()
                for thread in threads:
                    thread.join()
        finally:
            self._ended.set()
            outputd.kill()
            self._input_service.close()
        return self

    def _post_on(self, outputd: Outputd) -> None:
        connection = http.client.HTTPConnection(HOST, outputd.port, timeout=10)
        with suppress(OSError, http.client.HTTPException):
            while not self._ended.is_set():
                post = self._source.post(_RESULTS)
                self.sent.update(post.targets)
                connection.request("POST", "/results", post.body, post.headers)
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    self.told.append(Told(self.recorder.position, post))
        connection.close()

    def _rotate_on(self, outputd: Outputd) -> None:
        with suppress(OSError, http.client.HTTPException):
            while not self._ended.wait(_BETWEEN_ROTATIONS_S):
                outputd.rotate()


@dataclass
class Cut:
    """A moment of a run at which the power fails."""

    run: Run
    at: int
    rest: Rest
    seed: int
    pruned: set[str]
    """Targets in files that retention has deleted, in whole or in part, before."""
    place: Path

    def __str__(self) -> str:
        return f"{self.run.case}, cut at {self.at}, left of what was not fsynced: {self.rest.value}, seed {self.seed}"

    def faults(self) -> Iterator[str]:
        """What was acknowledged and is not there, or is wrong otherwise."""
        directory = self.place / "var" / "data"
        outputd = Outputd(directory, "--input-url=", "--keep-files=100000")
        outputd.log_path = Path(f"{self.place}.log")
        known = [told for told in self.run.told if told.at <= self.at]
        posts = [told.post for told in known if told.post is not None]
        try:
            outputd.start()
            yield from self._keys_forgotten(outputd, posts)
            newest = self._source.post(1)
            if outputd.post(newest.body).status != 200:
                yield "it stores nothing more"
            if outputd.stop().code:
                yield "it does not stop in order"
        except AssertionError as error:
            yield f"it does not start: {error}"
            return
        finally:
            outputd.kill()
        yield from (fault for fault in all_faults(directory))
        stored = stored_targets(directory)
        lost = {target for post in posts for target in post.targets} - stored.keys() - self.pruned
        if lost:
            yield f"{len(lost)} acknowledged results are lost"
        if twice := [target for target, times in stored.items() if times > 1]:
            yield f"{len(twice)} results are there twice"
        if strange := stored.keys() - self.run.sent - set(newest.targets):
            yield f"{len(strange)} results are nobody's"
        yield from self._hops_lost(directory, posts, {hop for told in known for hop in told.delivered})

    @property
    def _source(self) -> Source:
        return Source(0, made=1 << 40)  # beyond those of the run

    def _keys_forgotten(self, outputd: Outputd, posts: Sequence[Post]) -> Iterator[str]:
        chance = random.Random(self.seed)
        asked = [*posts[-_MOST_KEYS // 2 :], *chance.sample(posts, min(len(posts), _MOST_KEYS // 2))]
        answers = [call(outputd.port, "POST", "/results", post.body, post.headers).json for post in asked]
        if forgotten := sum(not answer.get("duplicate") for answer in answers):
            yield f"{forgotten} of {len(asked)} keys are forgotten"

    def _hops_lost(self, directory: Path, posts: Sequence[Post], delivered: set[str]) -> Iterator[str]:
        hops = {hop for post in posts for hop in _hops_of(post)}
        with opened(directory / "hops.sqlite3") as db:
            known = set(column(db, "SELECT address FROM known"))
            waiting = set(column(db, "SELECT address FROM waiting"))
        if lost := {hop for hop in hops if _packed(hop) not in known}:
            yield f"{len(lost)} hops are not known"
        if lost := {hop for hop in hops - delivered if _packed(hop) not in waiting}:
            yield f"{len(lost)} hops are neither delivered nor owed"


def _hops_of(post: Post) -> Iterator[str]:
    for result in post.results:
        for hop in result.get("traceroute", {}).get("hops", ()):
            text = canonical(hop.get("ip", ""))
            if text and is_feedable(text) and not hop.get("timeout"):
                yield text


def _packed(address: str) -> bytes:
    return ip_address(address).packed


def cuts_of(run: Run, count: int, chance: random.Random, place: Path) -> Iterator[Cut]:
    """So many cuts, each with its directory made: at any moment, and soon after files were pruned."""
    ends, pruned, leaving = _moments(run)
    begun = min((told.at for told in run.told), default=0)
    moments = [end for end in ends if end >= begun]
    soon = [at for at in pruned if at >= begun] or moments
    chosen = sorted(
        chance.choice(moments) if number % 2 else _at_most(ends, chance.choice(soon) + chance.randrange(_SOON_BYTES))
        for number in range(count)
    )
    disk, gone = Disk(run.root), _Gone(leaving)
    calls = run.recorder.calls()
    for number, at in enumerate(chosen):
        for one in calls:
            gone.take(one, disk)
            disk.take(one)
            if one.end >= at:
                break
        cut = Cut(run, at, list(Rest)[number % 4], chance.randrange(1 << 30), gone.targets(place), place / str(number))
        disk.cut(cut.place, cut.rest, random.Random(cut.seed))
        yield cut


def _moments(run: Run) -> tuple[list[int], list[int], set[int]]:
    """The ends of all calls, of those that delete a result file, and of those that have deleted its WAL before."""
    ends, pruned = [], []
    leaving: set[int] = set()
    wals: dict[str, list[int]] = {}
    for one in run.recorder.calls():
        ends.append(one.end)
        if one.kind is Kind.UNLINK and one.name.endswith(".db-wal"):
            wals.setdefault(one.name, []).append(one.end)
        elif one.kind is Kind.UNLINK and one.name.endswith(".db"):
            pruned.append(one.end)
            leaving.update(wals.pop(f"{one.name}-wal", ()))
    return ends, pruned, leaving


def _at_most(ends: Sequence[int], at: int) -> int:
    return min(at, ends[-1])


class _Gone:
    """What was in the files that were deleted, as their last reader would have seen it.

    A prune deletes the WAL first, and a cut or the kill may come before it deletes the file: what only the WAL had is
    gone from then on. `leaving` are the ends of such calls.
    """

    def __init__(self, leaving: Container[int]) -> None:
        self._leaving = leaving
        self._wals: dict[str, bytes] = {}
        self._unread: list[tuple[bytes, bytes | None]] = []
        self._left_in_wals: list[tuple[bytes, bytes]] = []
        self._targets: set[str] = set()

    def take(self, call: Call, disk: Disk) -> None:
        """A call is about to be taken."""
        name = call.name
        if call.kind is not Kind.UNLINK or "results_" not in name:
            return
        content = disk.names[name]
        assert isinstance(content, Content), name
        if name.endswith(".db-wal"):
            self._wals[name] = content.whole()
            file = disk.names.get(name.removesuffix("-wal"))
            if call.end in self._leaving and isinstance(file, Content):
                self._left_in_wals.append((file.whole(), self._wals[name]))
        elif name.endswith(".db"):
            self._unread.append((content.whole(), self._wals.pop(f"{name}-wal", None)))

    def targets(self, place: Path) -> set[str]:
        """The targets in all of them."""
        for data, wal in self._unread:
            self._targets |= _targets(place.parent, data, wal)
        for data, wal in self._left_in_wals:
            kept: set[str] = set()
            with suppress(sqlite3.DatabaseError):  # without the pages that the WAL has it may be unreadable
                kept = _targets(place.parent, data, None)
            self._targets |= _targets(place.parent, data, wal) - kept
        self._unread.clear()
        self._left_in_wals.clear()
        return set(self._targets)


def _targets(place: Path, data: bytes, wal: bytes | None) -> set[str]:
    directory = Path(tempfile.mkdtemp(dir=place))
    path = directory / "gone.db"
    path.write_bytes(data)
    if wal:
        path.with_name("gone.db-wal").write_bytes(wal)
    with opened(path) as db:
        found = set(column(db, "SELECT ip FROM ping_results"))
    shutil.rmtree(directory)
    return found


def broken_by(case: Case, seconds: float, cuts: int, seed: int, place: Path, say: Callable[[str], object]) -> list[str]:
    """What so many cuts of one run have broken; what was is left in `place` for those alone."""
    run = Run(place / "run", case, seed).go(seconds)
    say(f"{case}: {sum(told.post is not None for told in run.told)} POSTs, {run.recorder.position >> 20} MiB")
    broken = []
    for cut in cuts_of(run, cuts, random.Random(seed), place / "cuts"):
        found = list(cut.faults())
        for fault in found:
            say(f"{cut}: {fault}")
        broken += [f"{cut}: {fault}" for fault in found]
        if not found:
            shutil.rmtree(cut.place)
    return broken


def main() -> None:
    """Cuts of all cases; ends with 0 when nothing acknowledged was lost."""
    parser = argparse.ArgumentParser("python -m tests.system.cuts", description=__doc__)
    parser.add_argument("--cuts", type=int, default=100, help="in all (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of load in each case (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the directories of cuts that broke something")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="outputd-cuts-"))
    broken = []
    for number, case in enumerate(CASES):
        broken += broken_by(
            case, asked.seconds, -(-asked.cuts // len(CASES)), asked.seed + number, place / str(number), print
        )
    print(json.dumps({"broken": len(broken), "cuts": asked.cuts, "place": str(place) if asked.keep else None}))
    if not asked.keep:
        shutil.rmtree(place)
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
