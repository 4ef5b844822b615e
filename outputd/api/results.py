"""The site of --port: results come in, files are rotated and copied out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from outputd.api.asked import BadHeader, asked_by, header
from outputd.api.endpoints import DUMP, FILES, RESULTS, ROTATE
from outputd.api.files import described, send_part
from outputd.intake.collector import Collector, Posted, Sender
from outputd.process.threads import InThread
from outputd.results.addresses import network_of
from outputd.sqlite.errors import DatabaseFailed
from outputd.store.copies import Copies, Copy, Reader
from outputd.store.copying import NoRoom
from outputd.store.manifests import Manifests
from outputd.store.rotation import Rotation
from outputd.store.store import Store
from outputd.web.answers import SAFE, Answer, as_json, problem
from outputd.web.negotiation import is_known
from outputd.web.ranges import byte_range
from outputd.web.request import CappedRequest, answered, put_head
from outputd.web.routes import Route

_MOST_KEY = 255
_MOST_NODE = 64


class Api:
    """What --port serves."""

    def __init__(
        self, collector: Collector, store: Store, rotation: Rotation, copies: Copies, manifests: Manifests,
        in_thread: InThread, observe: Callable[[float], object], seconds: Callable[[], float],
    ) -> None:  # fmt: skip
        self._collector = collector
        self._store = store
        self._rotation = rotation
        self._copies = copies
        self._manifests = manifests
        self._in_thread = in_thread
        self._observe = observe
        self._seconds = seconds

    def routes(self) -> list[Route]:
        """The routes of the site."""
        return [
            RESULTS.answered_by(self.post_results, self.judge_results),
            ROTATE.answered_by(self.post_rotate),
            DUMP.answered_by(self.get_dump),
            FILES.answered_by(self.get_files),
        ]

    # -- POST /results -------------------------------------------------------------------------------

    def judge_results(self, request: CappedRequest) -> Answer | None:
        """What a body of results is refused for before it comes in; else its node and key are kept."""
        try:
            request.said = (*_node_and_key(request), asked_by(request))
        except BadHeader as error:
            return problem(400, str(error))
        return self._collector.refusal()

    def post_results(self, request: CappedRequest) -> None:
        """Store a body of results."""
        started = self._seconds()
        self._store.company.came(started, request.channel.answered_s)
        is_gzip = request.coding not in (b"", b"identity")
        posted = Posted(request.take_body(), _sender(request), request.memory, is_gzip, request.said[2])
        answered(request, self._collect(posted, started))

    async def _collect(self, posted: Posted, started: float) -> Answer:
        answer = await self._collector.collect(posted)
        self._observe(self._seconds() - started)
        return answer

    # -- POST /rotate --------------------------------------------------------------------------------

    def post_rotate(self, request: CappedRequest) -> None:
        """Begin a new file."""
        request.take_body()
        answered(request, self._rotate())

    async def _rotate(self) -> Answer:
        try:
            path = await self._rotation.rotate("asked for")
        except (OSError, DatabaseFailed) as error:
            return problem(503, f"no new file can be made: {error}", retry_after_s=5)
        return as_json({"status": "rotated", "file": path.name})

    # -- GET /files ----------------------------------------------------------------------------------

    def get_files(self, request: CappedRequest) -> None:
        """Send the list of the result files with what is known of each."""
        request.take_body()
        answered(request, self._list())

    async def _list(self) -> Answer:
        return as_json(
            {"files": await self._in_thread(described, self._store.files, self._store.current, self._manifests)}
        )

    # -- GET /dump -----------------------------------------------------------------------------------

    def get_dump(self, request: CappedRequest) -> None:
        """Send a copy of the current file, or a closed one."""
        request.take_body()
        answered(request, self._dump(request))

    async def _dump(self, request: CappedRequest) -> Answer | None:
        names = request.args.get(b"file", [])
        current = self._store.current.info.path
        path = current if not names else self._named(names[-1])
        if path is None:
            return problem(404, "there is no result file with this name")
        try:
            if await self._store.finish(path):
                reader = await self._copies.closed(path)
            else:
                reader = await self._copies.current(path)
        except NoRoom as error:
            return problem(503, str(error), retry_after_s=60)
        except (OSError, DatabaseFailed) as error:
            if not await self._in_thread(path.exists):
                return problem(404, "there is no result file with this name any more")
            return problem(503, f"no copy can be made now: {error}", retry_after_s=60)
        return await self._send_copy(request, reader, is_closed=path != current)

    def _named(self, name: bytes) -> Path | None:
        text = name.decode(errors="replace")
        return next((info.path for info in self._store.files if info.path.name == text), None)

    async def _send_copy(self, request: CappedRequest, reader: Reader, is_closed: bool) -> Answer | None:
        copy = reader.copy
        size, start, end, status = copy.size_bytes, 0, copy.size_bytes, 200
        headers = _headers_of(copy, is_closed)
        if is_closed and is_known(copy.etag, request.header_text(b"If-None-Match")):
            reader.end()
            _send_head(request, 304, {b"ETag": headers[b"ETag"], **SAFE}, None)
            return None
        try:
            takes_parts = is_closed and request.method == b"GET" and _is_still(request, copy.etag)
            wanted = byte_range(request.header_text(b"Range"), size) if takes_parts else None
        except ValueError:
            reader.end()
            return problem(416, "the range lies outside of the file", {b"Content-Range": b"bytes */%d" % size})
        if wanted is not None:
            (start, end), status = wanted, 206
            headers[b"Content-Range"] = b"bytes %d-%d/%d" % (start, end - 1, size)
        if request.method == b"HEAD":
            reader.end()
            _send_head(request, status, headers, end - start)
            return None
        put_head(request, status, headers, end - start)
        await send_part(request, reader, start, end, self._in_thread)
        return None


def _headers_of(copy: Copy, is_closed: bool) -> dict[bytes, bytes]:
    headers = {
        b"Content-Type": b"application/vnd.sqlite3",
        b"Content-Disposition": b'attachment; filename="%s"' % copy.name.encode(),
        b"Repr-Digest": copy.repr_digest,
        **SAFE,
    }
    return {**headers, b"Accept-Ranges": b"bytes", b"ETag": copy.etag.encode()} if is_closed else headers


def _send_head(request: CappedRequest, status: int, headers: Mapping[bytes, bytes], length: int | None) -> None:
    """Answer without a body, unless the client has gone."""
    if not request.gone:
        put_head(request, status, headers, length)
        request.finish()


def _is_still(request: CappedRequest, etag: str) -> bool:
    """Whether the client's parts, if it has any, are of this very file: compared strongly, and never by a date."""
    return not request.requestHeaders.hasHeader(b"If-Range") or request.header_text(b"If-Range").strip() == etag


def _node_and_key(request: CappedRequest) -> tuple[str | None, str | None]:
    node = header(request, b"X-Ping-Node")
    if node is not None and not (len(node) <= _MOST_NODE and node.isascii() and node.isprintable()):
        raise BadHeader(f"X-Ping-Node must be printable ASCII of at most {_MOST_NODE} characters")
    key = header(request, b"Idempotency-Key")
    if key is not None:
        if len(key) >= 2 and key[0] == key[-1] == '"':
            key = key[1:-1]
        if not 1 <= len(key) <= _MOST_KEY:
            raise BadHeader(f"Idempotency-Key must have 1 to {_MOST_KEY} characters")
    return node, key


def _sender(request: CappedRequest) -> Sender:
    """Who sends a body whose head was judged; the holder of its token may have changed since then."""
    node, key, _ = request.said
    if request.holder is not None:
        node = request.holder.name
    peer = request.origin_host
    return Sender(node or peer, node or "", key, network_of(peer) if request.holder is None else request.holder.name)
