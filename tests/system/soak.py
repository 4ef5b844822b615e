"""A long run: load of every kind, while the service is killed, starved of disk and cut off; then a full account.

`python -m tests.system.soak --minutes 30` prints what happens, and ends with 0 when every promise was kept.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.system.account import Account, Told
from tests.system.disk import CannotMount, Disk
from tests.system.files import faults, opened, result_files
from tests.system.harness import Outputd, call, free_port
from tests.system.inputservice import MOST_HOPS, InputService, take_all
from tests.system.load import MixedSource, Result
from tests.system.shared import Case, hostile_cases, measured
from tests.system.traffic import Traffic
from tests.system.waiting import wait_until

_MIB = 1 << 20
_DISK_MIB = 160
_PENDING_MIB = 16
_MOST_RSS_MIB = _PENDING_MIB + 150
_MOST_DESCRIPTORS = 120
_FLAGS = (f"--max-pending-mb={_PENDING_MIB}", "--max-size-mb=4", "--keep-files=12", "--max-connections=200")
_KILLS = 3
"""How much oftener than any other event it is killed."""
_LEDGER_S = 150.0
_ROWS = 15
_WIDTH = 60
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process used at a moment, in seconds since the begin."""

    at_s: float
    pid: int
    rss_bytes: int
    descriptors: int
    threads: int


@dataclass
class Soak:
    """One run in a directory; `broken` has the promises that were not kept."""

    place: Path
    disk: Disk | None
    """A small disk which can be filled, or none."""
    seconds: float
    seed: int = 1
    results_a_second: float = 400.0
    measured: Sequence[Result] = ()
    cases: Sequence[Case] = ()
    say: Callable[[str], object] = print
    broken: list[str] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    def __post_init__(self) -> None:
        self.directory = (self.disk.path if self.disk is not None else self.place) / "data"
        self.input_service = InputService(free_port())
        self.outputd = Outputd(self.directory, f"--input-url={self.input_service.url}", *_FLAGS)
        self.outputd.log_path = self.place / "outputd.log"
        self.traffic = Traffic(
            self.outputd.port, MixedSource(self.seed, self.measured), self.account, self.results_a_second, self.cases,
            self.broken,
        )  # fmt: skip
        self._chance = random.Random(self.seed)
        self._ended = threading.Event()
        self._begun = time.monotonic()

    # -- the run -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Return when the time is over, each kind of event has come, and all is accounted for."""
        helpers = [threading.Thread(target=work, daemon=True) for work in (self._sample_on, self._read_on)]
        self.input_service.open()
        try:
            self.outputd.start()
            for helper in helpers:
                helper.start()
            self.traffic.start()
            self._let_things_happen()
            self._come_to_an_end()
        finally:
            self._ended.set()
            self.outputd.kill()
            for helper in helpers:
                helper.join()
            self.input_service.close()
        self._settle_accounts()

    def _let_things_happen(self) -> None:
        events = {
            "kill -9": self._kill, "stop and start": self._stop, "rotation": self._rotate, "dump": self._dump,
            "input_service away": self._cut_off, "input_service ill": self._make_ill, "long reader": self._read_long,
            "recent results": self._ask_recent, "balance": self._balance, "disk full": self._fill_disk,
        }  # fmt: skip
        if self.disk is None:
            del events["disk full"]
        first, often = list(events), [*events, *["kill -9"] * _KILLS]
        self._chance.shuffle(first)
        while first or self._at_s < self.seconds:
            time.sleep(self._chance.uniform(0.2, 4.0 if self.seconds > 60 else 0.5))
            name = first.pop() if first else self._chance.choice(often)
            try:
                events[name]()
            except (AssertionError, OSError, HTTPException, ValueError, KeyError) as error:
                self._complain(f"{name}: {error!r}")
                if self.outputd.process.poll() is not None:
                    self._start()
            self.events[name] += 1
            self._tell(name)

    def _come_to_an_end(self) -> None:
        if self.disk is not None:
            self.disk.make_room()
        self.input_service.verdict = take_all
        self.traffic.finish()
        self._balance(paused=False)
        self._tell("the load has ended")
        try:  # the feed may be in its longest rest
            wait_until(lambda: self._metric("ledger_backlog_hops") == 0, "input_service has every hop", _LEDGER_S)
        except AssertionError as error:
            self._complain(str(error))
        self._stop(again=False)

    @property
    def _at_s(self) -> float:
        return time.monotonic() - self._begun

    def _complain(self, text: str) -> None:
        self.broken.append(f"at {self._at_s:.1f} s: {text}")
        self.say(f"BROKEN  {text}")

    def _tell(self, event: str) -> None:
        last = self.samples[-1] if self.samples else Sample(0, 0, 0, 0, 0)
        self.say(
            f"{int(self._at_s) // 60:3}:{int(self._at_s) % 60:02}  {event:<22}"
            f" {self.traffic.answers[200]:7,} stored posts {self.traffic.answers[503]:6,} refused"
            f" {self.account.files:4} files read {last.rss_bytes / _MIB:4.0f} MiB {last.descriptors:3} descriptors"
        )

    # -- what happens --------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start it as often as a supervisor would."""
        for attempt in range(3):
            try:
                self.outputd.start()
                return
            except AssertionError as error:
                self._complain(f"start {attempt + 1}: {str(error)[-500:]}")
                self.outputd.kill()
        raise AssertionError("it does not start any more")

    def _kill(self) -> None:
        """Under load, and often while a file is changed or copied."""
        beside = self._chance.choice((("POST", "/rotate"), ("GET", "/dump"), None))
        asking = threading.Thread(target=self._ask_in_vain, args=beside or (), daemon=True)
        if beside is not None:
            asking.start()
        time.sleep(self._chance.uniform(0, 0.05))
        self.outputd.kill()
        if beside is not None:
            asking.join()
        self._start()

    def _ask_in_vain(self, method: str, path: str) -> None:
        with suppress(OSError, HTTPException):
            call(self.outputd.port, method, path)

    def _stop(self, again: bool = True) -> None:
        ended = self.outputd.stop(self._chance.choice((signal.SIGTERM, signal.SIGINT)))
        if ended.code:
            self._complain(f"it stopped with {ended}")
        if again:
            self._start()

    def _rotate(self) -> None:
        answer = self.outputd.rotate()
        if answer.status != 200:
            self._complain(f"/rotate answered {answer.status} {answer.body[:200]!r}")

    def _dump(self) -> None:
        """The current file, or the newest closed one."""
        names = [path.name for path in result_files(self.directory)[-2:-1]]
        path = self._chance.choice(["/dump", *(f"/dump?file={name}" for name in names)])
        answer = call(self.outputd.port, "GET", path)
        digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode()
        if answer.status != 200 or answer.headers["Repr-Digest"] != f"sha-256=:{digest}:":
            self._complain(f"{path} answered {answer.status}, {len(answer.body)} bytes")
            return
        copy = self.place / "dump.db"
        copy.write_bytes(answer.body)
        for fault in faults(copy):
            self._complain(f"{path}: {fault}")

    def _cut_off(self) -> None:
        self.input_service.close()
        time.sleep(self._chance.uniform(1.0, 3.0))
        self.input_service.open()

    def _make_ill(self) -> None:
        status = self._chance.choice((302, 401, 429, 500, 503))
        self.input_service.verdict = lambda _: status
        time.sleep(self._chance.uniform(1.0, 3.0))
        self.input_service.verdict = take_all

    def _read_long(self) -> None:
        """Somebody holds an old snapshot of the current file."""
        with opened(self.directory / self.outputd.stats["current_db_file"]) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM ping_results").fetchone()
            time.sleep(self._chance.uniform(1.0, 3.0))

    def _ask_recent(self) -> None:
        recent = self.outputd.get("/recent?limit=1000")
        ids = [result["id"] for result in recent.json] if recent.status == 200 else []
        if not ids or ids != sorted(set(ids), reverse=True):
            self._complain(f"/recent answered {recent.status}, {len(ids)} results")

    def _balance(self, paused: bool = True) -> None:
        """offered = stored + rejected + refused, once nothing is under way."""
        if paused:
            with self.traffic.pause():
                return self._balance(paused=False)
        with suppress(AssertionError):
            wait_until(lambda: self._difference() == 0, "the account is even")
            return None
        return self._complain(f"offered and accounted for differ by {self._difference():g} items")

    def _difference(self) -> float:
        names = ("total_results", "rejected_items_total", "refused_items_total")
        text = self._metrics()
        return _sum_of(text, "offered_items_total") - sum(_sum_of(text, name) for name in names)

    def _fill_disk(self) -> None:
        """Until posts are refused; it is killed then at times. With room again it stores within seconds."""
        assert self.disk is not None
        disk, outputd = self.disk, self.outputd

        def is_refused() -> bool:
            disk.fill()  # what retention gives back is taken, too
            return outputd.get("/ready").status == 503

        try:
            wait_until(is_refused, "a full disk is told by /ready")
            wait_until(lambda: is_refused() and self._tells_of_full_disk(), "a full disk is told by /health")
            time.sleep(self._chance.uniform(0.5, 2.0))
            killed = self._chance.random() < 0.5
            if killed:
                outputd.kill()
        finally:
            disk.make_room()
        begun = time.monotonic()
        if killed:
            self._start()
        wait_until(lambda: outputd.get("/ready").status == 200, "it stores again")
        if not killed:
            self.recoveries_s.append(time.monotonic() - begun)

    def _tells_of_full_disk(self) -> bool:
        health = self.outputd.get("/health")
        return (health.status, health.json["checks"]["disk"]["status"]) == (503, "fail")

    # -- beside it -----------------------------------------------------------------------------------

    def _sample_on(self) -> None:
        while not self._ended.wait(min(1.0, self.seconds / 100)):
            with suppress(OSError, AttributeError, ValueError):  # it is dead now
                pid = self.outputd.pid
                status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
                rss, threads = (int(_found(rf"^{name}:\s+(\d+)", status)) for name in ("VmRSS", "Threads"))
                descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
                self.samples.append(Sample(self._at_s, pid, rss * 1024, descriptors, threads))

    def _read_on(self) -> None:
        """Take in the files before retention takes them away."""
        while not self._ended.wait(0.5):
            try:
                self.account.take_closed(self.directory)
            except Exception as error:
                self._complain(f"a closed file cannot be read: {error!r}")

    def _metrics(self) -> str:
        return self.outputd.get("/metrics").body.decode()

    def _metric(self, name: str) -> float:
        return _sum_of(self._metrics(), name)

    # -- the account ---------------------------------------------------------------------------------

    def _settle_accounts(self) -> None:
        account = self.account
        account.take_rest(self.directory)
        for fault in [*account.faults, *account.order_faults()]:
            self._complain(fault)
        counts = account.counts()
        for (told, times), count in sorted(counts.items()):
            if (told, times) not in _ALLOWED:
                self._complain(
                    f"{count} results {_IN_WORDS[told]} are in the files {('never', 'once', 'twice')[times]}"
                )
        if not self.traffic.others_least <= account.others <= self.traffic.others_most:
            self._complain(f"{account.others} results of hostile bodies, {self.traffic.others_least} were answered")
        if account.rejected_rows < account.rejected_told:
            self._complain(
                f"{account.rejected_told} items were told to be rejected, {account.rejected_rows} are counted"
            )
        taken = self.input_service.taken
        for text, hops in (("lacks", account.fed - taken.keys()), ("was given unasked", taken.keys() - account.fed)):
            if hops:
                self._complain(f"input_service {text} {len(hops)} hops: {sorted(hops)[:5]}")
        self.twice = taken.total() - len(taken)
        if self.twice > MOST_HOPS * (
            self.events["kill -9"] + self.events["disk full"] + self.events["input_service away"]
        ):
            self._complain(f"{self.twice} hops were delivered twice")
        for fault in self.input_service.faults:
            self._complain(f"input_service: {fault}")
        if "Traceback" in self.outputd.log:
            self._complain("there is a traceback in the log")
        self._judge_resources()

    def _judge_resources(self) -> None:
        most = max(sample.rss_bytes for sample in self.samples) / _MIB
        if most > _MOST_RSS_MIB:
            self._complain(f"it took {most:.0f} MiB, {_MOST_RSS_MIB} are allowed")
        descriptors = max(sample.descriptors for sample in self.samples)
        if descriptors > _MOST_DESCRIPTORS:
            self._complain(f"it had {descriptors} descriptors open, {_MOST_DESCRIPTORS} are allowed")

    def report(self) -> str:
        """The account, and the process over time."""
        account, traffic, counts = self.account, self.traffic, self.account.counts()
        stored = sum(counts[Told.STORED, times] for times in range(3))
        unsure = sum(counts[Told.NOTHING, times] for times in range(3))
        recoveries = ", ".join(f"{seconds:.1f}" for seconds in self.recoveries_s) or "none"
        lines = [
            "",
            f"events             {', '.join(f'{name} {count}' for name, count in sorted(self.events.items()))}",
            f"answers            {dict(sorted(traffic.answers.items()))}, {traffic.cut_off} connections cut off",
            f"results answered   {stored:,}: found once {counts[Told.STORED, 1]:,},"
            f" missing {counts[Told.STORED, 0]}, twice {counts[Told.STORED, 2]}",
            f"never answered     {unsure:,}: found once {counts[Told.NOTHING, 1]:,}, twice {counts[Told.NOTHING, 2]}",
            f"items rejected     {account.rejected_told:,} told, {account.rejected_rows:,} counted in the files,"
            f" {account.rejected_kept:,} kept there, found as results"
            f" {counts[Told.REJECTED, 1] + counts[Told.REJECTED, 2]}",
            f"hostile bodies     {account.others:,} results of theirs, {traffic.others_least:,} to"
            f" {traffic.others_most:,} expected",
            f"hops               {len(account.fed):,} of stored results, delivered {len(self.input_service.taken):,},"
            f" twice {self.twice} (an answer that a crash or an outage lost)",
            f"files              {account.files}, faults {len(account.faults)}",
            f"full disk          stored again after {recoveries} s",
            "",
            *_table(self.samples),
            "",
            f"promises broken    {len(self.broken)}",
            *self.broken,
        ]
        return "\n".join(lines)


_ALLOWED = {(Told.STORED, 1), (Told.NOTHING, 0), (Told.NOTHING, 1), (Told.REJECTED, 0)}
_IN_WORDS = {0: "that nobody sent", Told.NOTHING: "never answered", Told.STORED: "answered", Told.REJECTED: "rejected"}


def _sum_of(text: str, name: str) -> float:
    """The value of a metric, over all its labels."""
    values = re.findall(rf"^output_service_{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for value in values)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise ValueError(pattern)
    return found[1]


def _table(samples: Sequence[Sample]) -> list[str]:
    """The greatest figures of as many spans of time, and a picture."""
    spans = _cut(samples, _ROWS)
    rows = [f"{'until':>8} {'lives':>7} {'memory, MiB':>12} {'descriptors':>12} {'threads':>8}"]
    for span in spans:
        end = int(span[-1].at_s)
        rows.append(
            f"{end // 60:5}:{end % 60:02} {len({sample.pid for sample in span}):7}"
            f" {max(sample.rss_bytes for sample in span) / _MIB:12.0f}"
            f" {max(sample.descriptors for sample in span):12} {max(sample.threads for sample in span):8}"
        )
    fine = _cut(samples, _WIDTH)
    memory = [max(sample.rss_bytes for sample in span) / _MIB for span in fine]
    descriptors = [max(sample.descriptors for sample in span) for span in fine]
    rows += ["", f"memory      {_picture(memory, _MOST_RSS_MIB)} MiB"]
    return [*rows, f"descriptors {_picture(descriptors, _MOST_DESCRIPTORS)}"]


def _cut(samples: Sequence[Sample], parts: int) -> list[list[Sample]]:
    last = samples[-1].at_s
    spans: list[list[Sample]] = [[] for _ in range(parts)]
    for sample in samples:
        spans[min(parts - 1, int(parts * sample.at_s / last))].append(sample)
    return [span for span in spans if span]


def _picture(values: Sequence[float], limit: float) -> str:
    """Bars that are full at the limit."""
    bars = "".join(_BARS[min(len(_BARS) - 1, round(value / limit * (len(_BARS) - 1)))] for value in values)
    return f"|{bars}| most {max(values):.0f} of {limit:g}"


def shared() -> tuple[list[Result], list[Case]]:
    """Measured results and hostile bodies, where they are at hand."""
    try:
        return measured("small"), hostile_cases()
    except SkipTest:
        return [], []


def main() -> int:
    """Run it; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=400.0, help="results a second")
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="outputd-soak-") as name:
        place = Path(name)
        disk: Disk | None = Disk(place / "disk", _DISK_MIB)
        try:
            disk = disk.mount() if disk is not None else None
        except CannotMount as error:
            say(f"without spells of a full disk: {error}")
            disk = None
        measured, cases = shared()
        say(f"{asked.minutes:g} minutes, seed {asked.seed}")
        say(f"{len(measured)} measured results and {len(cases)} hostile bodies beside those that are made")
        soak = Soak(place, disk, 60 * asked.minutes, asked.seed, asked.rate, measured, cases, say)
        try:
            soak.run()
            say(soak.report())
            if soak.broken:
                kept = Path(tempfile.gettempdir()) / f"outputd-soak-{asked.seed}.log"
                kept.write_text(soak.outputd.log, encoding="utf-8")
                say(f"the log of the service is {kept}")
        finally:
            if disk is not None:
                disk.unmount()
    return int(bool(soak.broken))


if __name__ == "__main__":
    sys.exit(main())
