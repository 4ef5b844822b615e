"""Store, ledger and collector of one directory, without threads."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure as Bug

from outputd.api.checks import (
    ArchiveCheck,
    Check,
    ConnectionsCheck,
    DatabaseCheck,
    DiskCheck,
    InputServiceCheck,
    RotationCheck,
    WebhookCheck,
)
from outputd.api.disk import Disk
from outputd.api.exports import Exports
from outputd.api.health import Health
from outputd.api.metrics import Metrics
from outputd.api.questions import Questions
from outputd.client.delivery import PeerState
from outputd.intake.admission import Admission, Reservation
from outputd.intake.collector import Collector, Posted, Sender
from outputd.intake.counters import Stats
from outputd.ledger.ledger import Ledger
from outputd.naming.naming import Naming
from outputd.pages import Pages, Report, Surroundings
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Trouble
from outputd.queries import Queries
from outputd.queries.reading import Readings
from outputd.results import timestamps
from outputd.results.addresses import network_of
from outputd.results.hop_policy import feedable
from outputd.results.model import Origin
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from outputd.store.directory import DataDir
from outputd.store.limits import Limits
from outputd.store.rotation import Rotation
from outputd.store.store import Store
from outputd.store.writer import Written
from outputd.summary.senders import Senders
from outputd.summary.summary import Summary
from outputd.web.answers import Answer
from outputd.web.doors import Doors
from tests.kit.makers import body_of, read_by
from tests.kit.pools import InlinePools, P, T, inline, outcome
from tests.kit.wire import Reply, replied

EPOCH = 1_767_825_045.0
"""2026-01-07 22:30:45 UTC, when every Clock here begins."""


class Bench:
    """Store, ledger and collector of one directory on a Clock, without threads; `start` as often as you like."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.path = directory
        self.directory = DataDir(directory)
        self.clock = Clock()
        self.clock_is_off_s = 0.0
        """By so much the time of day is wrong; the clock of the reactor is never set."""
        self.pools = InlinePools()
        self.in_thread: InThread = inline
        self.store_thread: InThread = inline
        """The store's; a test may exchange it while the store runs."""
        self.most_hops = changes.pop("most_hops", 10_000_000)
        self.mode = changes.pop("mode", "all")
        self.limits = Limits(**{"max_size_bytes": 100 << 20, "max_age_s": 7 * 86_400.0, "keep_files": 5, **changes})
        self.start()

    def now(self) -> float:
        return EPOCH + self.clock.seconds() + self.clock_is_off_s

    def start(self, refeed: bool = False) -> Bench:
        """A new process on the same directory."""
        self.stats = Stats()
        self.doors: Doors[Any] = Doors("the port for results", self.clock.seconds, self.now)
        self.commits: list[tuple[Written, int]] = []
        self.feedable = feedable(self.mode)
        self.senders = Senders()
        self.readings = Readings(self.in_thread, self.clock.seconds)
        self.parser = Parser(self.feedable)
        self.admission = Admission(64 << 20, self.clock.seconds)
        self.directory.path.mkdir(parents=True, exist_ok=True)
        self.store = Store(
            self.directory, self.limits, self.clock, self.pools, self._in_store_thread, self._in_store_thread, self.now,
            lambda written, posts: self.commits.append((written, posts)),
        )  # fmt: skip
        self.ledger = Ledger(
            self.directory.ledger, self.clock, self.pools, self.now, self.most_hops, self.stats.count_learnt
        )  # fmt: skip
        self.rotation = Rotation(self.store, self.clock, self.ledger)
        self.collector = Collector(
            self.store, self.ledger, self.parser, self.stats, self.admission, self.in_thread,
            self.now, note_sender=self.senders.note,
        )  # fmt: skip
        self.store.open(self.ledger.heard())
        self.ledger.open(self.store.files, self.feedable, refeed)
        return self

    def queries(self, naming: Naming | None = None) -> Queries:
        """Questions to the files, for which the summary is brought up to date each time."""
        summary = Summary(self.directory.summary, lambda: self.store.files, self.senders)

        async def up_to_date(within_s: float) -> None:
            while summary.step():
                pass
            summary.close()

        return Queries(
            lambda: self.store.files, self.directory.summary, up_to_date, self.in_thread, self.readings, self.clock,
            self.now, naming=naming,
        )  # fmt: skip

    def questions(self) -> Questions:
        """The routes that ask them."""
        return Questions(self.queries())

    def exports(
        self, has_room: Callable[[], bool] = lambda: True, damaged: Callable[[], Mapping[str, Failure]] = dict
    ) -> Exports:
        """The routes that send all that is stored."""
        return Exports(
            self.store, lambda: self.stats.results, damaged, self.in_thread, self.in_thread, self.clock, has_room
        )

    def health(
        self, directory: DataDir | None = None, unreadable: Callable[[], Mapping[str, Failure]] = dict,
        summing_up: Callable[[], Failure | None] = lambda: None, feed: Callable[[], PeerState | None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False, counted_share: Callable[[], float | None] = lambda: None,
        archive: Any = None, webhook: Any = None, looking_for_changes: Callable[[], Failure | None] = lambda: None,
    ) -> Health:  # fmt: skip
        """The routes that tell how it stands."""
        disk = Disk(directory or self.directory, self.in_thread, self.clock, self.now)
        checks: list[Check] = [
            DatabaseCheck(
                self.store, self.ledger, disk, unreadable, summing_up, self.now, counted_share, looking_for_changes
            ),
            DiskCheck(self.store, self.ledger, disk, Trouble(self.now, self.clock.seconds)),
            RotationCheck(self.store, self.rotation),
            InputServiceCheck(self.ledger, feed),
            ConnectionsCheck([self.doors]),
            ArchiveCheck(archive),
            WebhookCheck(webhook),
        ]
        metrics = Metrics(self.stats)
        return Health(self.store, self.ledger, self.stats, metrics, checks, disk, self.clock, self.now, stopping)

    def pages(self, report: Report) -> Pages:
        """The routes of what a person looks at."""
        surroundings = Surroundings(lambda: 8081, lambda: 8091, False)
        return Pages(report, self.stats, lambda: self.store.files, surroundings, self.in_thread, self.clock, self.now)

    def stop(self) -> None:
        """The end of a process, in order."""
        self.outcome(self.store.close())
        self.outcome(self.ledger.close())

    def outcome(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that waits for no more than turns of the store and the ledger."""
        outcomes: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(outcomes.append)
        for _ in range(5):
            self.clock.advance(0)
        assert outcomes, "it waits"
        if isinstance(outcomes[0], Bug):
            outcomes[0].raiseException()
        return cast(T, outcomes[0])

    def crashed(self, into: Path) -> Bench:
        """What a kill -9 now would leave, started again in another directory."""
        shutil.copytree(self.path, into)
        left = Bench.__new__(Bench)
        left.__dict__.update(self.__dict__)
        left.path, left.directory, left.pools = into, DataDir(into), InlinePools()
        left.in_thread = left.store_thread = inline
        return left.start()

    def batch(self, *items: Any) -> Batch:
        """Results as the parser leaves them."""
        origin = Origin("node", timestamps.at(self.now()), timestamps.at(self.now() + 86_400))
        batch = read_by(self.parser, body_of(*items), origin)
        assert isinstance(batch, Batch), batch
        return batch

    def record(self, *items: Any) -> list[Any]:
        """Give results to the store; the list has the outcome once there is one."""
        outcomes: list[Any] = []
        self.store.record(self.batch(*items)).addBoth(outcomes.append)
        return outcomes

    def keep(self, *items: Any) -> None:
        """Store results, the ledger left out."""
        outcomes = self.record(*items)
        self.clock.advance(0)
        assert len(outcomes) == 1, "it waits"
        if isinstance(outcomes[0], Bug):
            outcomes[0].raiseException()

    def sending(self, *items: Any, node: str = "", key: str | None = None, peer: str = "192.0.2.9") -> Deferred[Answer]:
        """A POST on its way, for which no turn has come yet."""
        memory = self.admission.reserve()
        posted = Posted(body_of(*items), Sender(node or peer, node, key, network_of(peer)), memory)
        return Deferred.fromCoroutine(self.collector.collect(posted)).addBoth(_let_go, memory)

    def posting(self, *items: Any, node: str = "", key: str | None = None, peer: str = "192.0.2.9") -> list[Any]:
        """The whole way of a POST; the list has the answer once there is one."""
        outcomes: list[Any] = []
        self.sending(*items, node=node, key=key, peer=peer).addBoth(outcomes.append)
        for _ in range(3):  # the store's turn, the ledger's turn
            self.clock.advance(0)
        return outcomes

    def post(self, *items: Any, node: str = "", key: str | None = None, peer: str = "192.0.2.9") -> Reply:
        """The answer to a POST."""
        outcomes = self.posting(*items, node=node, key=key, peer=peer)
        assert len(outcomes) == 1, "it waits"
        if isinstance(outcomes[0], Bug):
            outcomes[0].raiseException()
        return replied(outcomes[0])

    async def _in_store_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.store_thread(work, *args, **kwargs)

    def pool(self) -> Any:
        """The pool of the current file."""
        return self.store.current.pool

    def fill_the_disk(self, pool: Any) -> None:
        """From now on this database answers "database or disk is full", as SQLite does without room."""
        outcome(pool.run(_no_more_pages))

    def free_the_disk(self, pool: Any) -> None:
        outcome(pool.run(lambda db: db.execute("PRAGMA max_page_count=1073741823").fetchone()))


def _let_go(outcome: Any, memory: Reservation) -> Any:
    memory.let_go()
    return outcome


def _no_more_pages(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}").fetchone()
