"""`python -m tests.kit.runner`: test modules side by side, a line for each as it ends, and why what was skipped was.

Each module runs under trial in a process and a directory of its own, so that none hears of another; the processes are
forked from one that has imported what most tests import. What is marked by `tests.kit.depth.long` runs only with --all,
or when it is named; --list-long says which short test stands for each.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import multiprocessing
import os
import tempfile
import threading
import time
import unittest
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, cast

from twisted.trial.reporter import VerboseTextReporter
from twisted.trial.runner import ErrorHolder, TestLoader, TrialRunner

from tests.kit.depth import twins_of

TOP = Path(__file__).resolve().parents[2]
_WANTED = {"short": {False}, "long": {True}, "all": {False, True}}
"""By what is asked for: whether a test that is wanted is a long one."""
_MODULE_S = 1200
_IMPORTED = (
    "cryptography.x509", "hypothesis.strategies", "outputd.archive.archive", "outputd.queries", "outputd.store.store",
    "prometheus_client", "treq", "twisted.protocols.tls", "twisted.trial.runner", "twisted.web.server",
)  # fmt: skip
"""What is imported once for all; nothing that imports a reactor, which each process must have for itself."""
_IN_TURN = threading.Lock()
"""Held to start a process, which asks how each other ended, and to ask it oneself: an answer can be read only once."""
_JOBS = (os.cpu_count() or 2) * 2  # a system test waits for half of its time
_LINE = "{state:6} {name:42} {passed:4d} passed  {seconds:6.1f} s"


@dataclass
class Ended:
    """What became of one module."""

    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    said: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is named, or all; the exit code is 1 when something failed."""
    parser = argparse.ArgumentParser("python -m tests.kit.runner", description=__doc__)
    parser.add_argument("names", nargs="*", default=["tests"], metavar="NAME", help="package, module, class or test")
    parser.add_argument("--all", action="store_true", help="the long tests, too")
    parser.add_argument("--only-long", action="store_true", help="the long tests alone")
    parser.add_argument("--list-long", action="store_true", help="name the long ones, and the short ones for each")
    parser.add_argument("--jobs", type=int, default=_JOBS, metavar="N", help="side by side (%(default)s)")
    asked = parser.parse_args(arguments)
    if asked.list_long:
        for test, twins in long_tests(asked.names):
            print(test, *twins, sep="\n    ")
        return
    which = "long" if asked.only_long else "all" if asked.all or asked.names != ["tests"] else "short"
    raise SystemExit(_run_all(list(_modules(asked.names)), which, asked.jobs))


def _modules(names: Sequence[str]) -> Iterator[str]:
    """The modules in these packages, those that take longest first; what is within a module stays as it is."""
    found = []
    for name in names:
        path = TOP / name.replace(".", "/")
        inside = sorted(path.rglob("test_*.py")) if path.is_dir() else []
        found += [".".join(file.relative_to(TOP).with_suffix("").parts) for file in inside] or [name]
    yield from sorted(dict.fromkeys(found), key=lambda name: ".system." not in name)


def long_tests(names: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The tests that `make test` leaves out, each with those that prove the same there."""
    for test in _all(names):
        if twins := _twins(test):
            yield test.id(), twins


def short_tests(names: Sequence[str]) -> Iterator[str]:
    """The tests that `make test` runs."""
    return (test.id() for test in _all(names) if not _twins(test))


def _all(names: Sequence[str]) -> Iterator[unittest.TestCase]:
    for name in _modules(names):
        yield from _each(TestLoader().loadByName(name, recurse=True))


# -- one module, in this process -------------------------------------------------------------------


def _run_here(name: str, wanted: set[bool]) -> Ended:
    ended = Ended(name)
    found = TestLoader().loadByName(name, recurse=True)
    chosen = [test for test in _each(found) if bool(_twins(test)) in wanted]
    ended.left_out = sum(1 for _ in _each(found)) - len(chosen)
    said = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="outputd-test-", ignore_cleanup_errors=True) as place:
        os.chmod(place, 0o755)  # for tests that give up root
        os.environ["TMPDIR"] = tempfile.tempdir = place
        runner = TrialRunner(VerboseTextReporter, stream=said, workingDirectory=f"{place}/trial")
        outcome: Any = runner.run(unittest.TestSuite(chosen))
    ended.passed = outcome.successes + len(outcome.expectedFailures)
    ended.failed = [test.id() for test, _ in (*outcome.failures, *outcome.errors)]
    ended.failed += [test.id() for test, _ in outcome.unexpectedSuccesses]
    ended.skipped = Counter(str(reason) for _, reason in outcome.skips)
    ended.said = said.getvalue().partition(f"{'=' * 79}\n")[2] if ended.failed else ""
    return ended


def _each(suite: object) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.TestSuite):
        for test in suite:
            yield from _each(test)
    elif isinstance(suite, unittest.TestCase):
        yield suite
    elif isinstance(suite, ErrorHolder):  # for a module that cannot be imported: it is run like a test, and fails
        yield cast("unittest.TestCase", suite)


def _twins(test: unittest.TestCase) -> tuple[str, ...]:
    return twins_of(test, test.id().rpartition(".")[2])


# -- all modules, each in its process --------------------------------------------------------------


def _run_all(names: Sequence[str], which: str, jobs: int) -> int:
    begun = time.monotonic()
    total = Ended("")
    os.chdir(TOP)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(_IMPORTED))
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(_run_apart, forks, name, which) for name in names]):
            ended = future.result()
            _tell(ended)
            total.passed += ended.passed
            total.failed += ended.failed
            total.skipped += ended.skipped
            total.left_out += ended.left_out
    for reason, count in total.skipped.most_common():
        print(f"skipped {count}: {reason}")
    if total.left_out:
        print(f"left out {total.left_out} (make test-all runs all)")
    for name in total.failed:
        print(f"FAILED  {name}")
    skipped = total.skipped.total()
    print(f"in {time.monotonic() - begun:.0f} s, {jobs} at a time")
    print(f"{total.passed} passed, {len(total.failed)} failed" + (f", {skipped} skipped" if skipped else ""))
    return int(bool(total.failed) or not total.passed)


def _run_apart(forks: ForkServerContext, name: str, which: str) -> Ended:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="outputd-tested-") as place:
        told, said = Path(place, "told"), Path(place, "said")
        said.touch()
        process = forks.Process(target=_be_apart, args=(name, which, told, said))
        with _IN_TURN:
            process.start()
        is_late = not wait([process.sentinel], _MODULE_S)
        with _IN_TURN:
            if is_late:
                process.kill()
            process.join()
        ended = Ended(**json.loads(told.read_text())) if told.exists() else Ended(name)
        ended.skipped = Counter(ended.skipped)
        if process.exitcode or not told.exists():
            why = f"not done after {_MODULE_S} s" if is_late else f"its process ended with {process.exitcode}"
            ended.failed.append(f"{name}: {why}")
            ended.said += said.read_text(errors="replace")
    ended.seconds = time.monotonic() - begun
    return ended


def _be_apart(name: str, which: str, told: Path, said: Path) -> None:
    """Run a module, and write down what became of it, and what it printed."""
    words = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(words, 1)
    os.dup2(words, 2)
    os.close(words)
    begun = told.with_name("begun")
    try:
        begun.write_text(json.dumps(_run_here(name, _WANTED[which]).__dict__))
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 - before Python 3.14 a forked process ends without them
    begun.rename(told)  # whole, or not at all: the process may be killed here, or the disk be full


def _tell(ended: Ended) -> None:
    if not (ended.passed or ended.failed or ended.skipped):
        return  # all of it was left out
    state = "FAILED" if ended.failed else "ok"
    line = _LINE.format(state=state, name=ended.name, passed=ended.passed, seconds=ended.seconds)
    skipped = ended.skipped.total()
    print(line + (f"  {skipped} skipped" if skipped else ""), flush=True)
    if ended.said:
        print(ended.said, flush=True)


if __name__ == "__main__":
    main()
