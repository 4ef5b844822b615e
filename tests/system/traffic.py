"""The clients of a long run: nodes with keys that never give up, scripts without, and rude ones."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.system.account import Account
from tests.system.harness import HOST, call
from tests.system.load import MixedSource, Post
from tests.system.shared import Case

_KEYED = 4
_KEYLESS = 2
_MOST_ITEMS = 60
_MEAN_ITEMS = (1 + _MOST_ITEMS) / 2
_PATIENCE_S = 120.0
_LONGEST_WAIT_S = 0.5
_RUDE_EVERY_S = 0.1


@dataclass
class Traffic:
    """Clients that post until they are told to finish; they can be made to pause."""

    port: int
    source: MixedSource
    account: Account
    results_a_second: float
    cases: Sequence[Case] = ()
    """Hostile bodies of others."""
    broken: list[str] = field(default_factory=list)
    """Answers that should not be."""
    answers: Counter[int] = field(default_factory=Counter)
    cut_off: int = 0
    """Connections that ended without an answer."""
    others_least: int = 0
    others_most: int = 0
    """How many results of hostile bodies must and may be stored."""
    _finishing: threading.Event = field(default_factory=threading.Event)
    _turnstile: threading.Condition = field(default_factory=threading.Condition)
    _paused: bool = False
    _under_way: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> Traffic:
        """Begin."""
        kinds = [self._keyed] * _KEYED + [self._keyless] * _KEYLESS + [self._rude]
        self._threads = [
            threading.Thread(target=self._work, args=(kind, random.Random(number)), daemon=True)
            for number, kind in enumerate(kinds)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def finish(self, deadline_s: float = 90.0) -> None:
        """Return when each post with a key has its answer, or that takes too long."""
        self._finishing.set()
        ends = time.monotonic() + deadline_s
        for thread in self._threads:
            thread.join(max(0.1, ends - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self.broken.append(f"posts with keys are not answered within {deadline_s:g} s")

    @contextmanager
    def pause(self) -> Iterator[None]:
        """No request is under way within."""
        with self._turnstile:
            self._paused = True
            self._turnstile.wait_for(lambda: not self._under_way, 2 * _PATIENCE_S)
        try:
            yield
        finally:
            with self._turnstile:
                self._paused = False
                self._turnstile.notify_all()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        with self._turnstile:
            self._turnstile.wait_for(lambda: not self._paused)
            self._under_way += 1
        try:
            yield
        finally:
            with self._turnstile:
                self._under_way -= 1
                self._turnstile.notify_all()

    def _work(self, kind: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._finishing.is_set():
            try:
                kind(chance)
            except Exception as error:  # a client's own mistake must not pass for silence
                self.broken.append(f"{kind.__name__}: {error!r}")

    # -- nodes and scripts ---------------------------------------------------------------------------

    def _keyed(self, chance: random.Random) -> None:
        """Post once more until it is answered."""
        post = self._next(chance)
        while not self._is_stored(post, post.headers):
            time.sleep(_LONGEST_WAIT_S * chance.random())

    def _keyless(self, chance: random.Random) -> None:
        """Post once."""
        self._is_stored(self._next(chance), {})

    def _next(self, chance: random.Random) -> Post:
        self._finishing.wait(
            chance.random() * 2 * (_KEYED + _KEYLESS) * _MEAN_ITEMS / self.results_a_second
        )  # so that the mean is right
        size = chance.randint(1, _MOST_ITEMS)
        post = self.source.post(size, bad=min(size - 1, chance.choice((0, 0, 0, 0, 0, 1, 3))))
        self.account.sent(post)
        return post

    def _is_stored(self, post: Post, headers: Mapping[str, str]) -> bool:
        answer = self._ask(post.body, headers)
        if answer is None:
            return False
        status, content = answer
        if status == 200:
            told = json.loads(content)
            counts = (told["received"], told.get("rejected", 0))
            if counts == (len(post.targets), len(post.bad)):
                self.account.answered(post)
            else:
                self.broken.append(f"{len(post.targets)} results and {len(post.bad)} others are answered {told}")
        elif status != 503:
            self.broken.append(f"a good post is answered {status} {content[:200]!r}")
        return status != 503

    def _ask(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes] | None:
        """An answer, or None when the connection ended."""
        with self._exchange():
            try:
                answer = call(self.port, "POST", "/results", body, headers, timeout=_PATIENCE_S)
            except TimeoutError:
                self.broken.append(f"a post is not answered within {_PATIENCE_S:g} s")
                return None
            except (OSError, http.client.HTTPException):
                self.cut_off += 1
                return None
        self.answers[answer.status] += 1
        if answer.status == 503 and not 1 <= int(answer.headers["Retry-After"] or 0) <= 60:
            self.broken.append(f"503 with Retry-After {answer.headers['Retry-After']}")
        return answer.status, answer.body

    # -- rude clients --------------------------------------------------------------------------------

    def _rude(self, chance: random.Random) -> None:
        self._finishing.wait(_RUDE_EVERY_S * 2 * chance.random())
        chance.choice((self._hang_up, self._cut_short, self._all_bad, self._too_large, self._no_http, self._hostile))(
            chance
        )

    def _hang_up(self, chance: random.Random) -> None:
        """Send a whole body and be gone before the answer: it may be stored, once."""
        post = self.source.post(chance.randint(1, _MOST_ITEMS))
        self.account.sent(post)
        self._send(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(post.body) + post.body)

    def _cut_short(self, chance: random.Random) -> None:
        """Send half a body: nothing of it may be stored, which `bad` stands for."""
        post = self.source.post(10)
        self.account.sent(Post(post.body, (), post.key, post.targets))
        head = b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(post.body)
        self._send(head + post.body[: chance.randrange(len(post.body))])

    def _all_bad(self, chance: random.Random) -> None:
        size = chance.randint(1, 5)
        post = self.source.post(size, bad=size)
        self.account.sent(post)
        answer = self._ask(post.body, {})
        if answer is not None and answer[0] == 422:
            self.account.answered(post)
        elif answer is not None and answer[0] != 503:
            self.broken.append(f"a body without a result is answered {answer}")

    def _too_large(self, chance: random.Random) -> None:
        """A little too much, or a hundred times as much as it says; rarely, since it takes time."""
        if chance.random() > 0.1:
            return
        body, headers = chance.choice(
            ((b" " * (9 << 20), {}), (gzip.compress(b" " * (80 << 20)), {"Content-Encoding": "gzip"}))
        )
        answer = self._ask(body, headers)
        if answer is not None and answer[0] not in (413, 503):
            self.broken.append(f"far too much is answered {answer[0]}")

    def _no_http(self, chance: random.Random) -> None:
        self._send(
            chance.choice(
                (
                    b"\0\xff" * 200,
                    b"POST /results HTTP/1.1\r\n" + b"X: y\r\n" * 2000,
                    b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n[]",
                    b"POST /results HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                    b"GET /dump?file=../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
                )
            )
        )

    def _hostile(self, chance: random.Random) -> None:
        if not self.cases:
            return
        case = chance.choice(self.cases)
        answer = self._ask(case.body, case.headers)
        if answer is None:
            self.others_most += case.most
        elif answer[0] == 200:
            stored = json.loads(answer[1])["received"]
            self.others_least += stored
            self.others_most += stored
        if answer is not None and answer[0] not in (*case.statuses, 503):
            self.broken.append(f"{case.name} is answered {answer[0]}")

    def _send(self, data: bytes) -> None:
        with self._exchange(), suppress(OSError), socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(data)
