"""A POST body of a ping node, read into the rows it becomes. Pure but for a cache of addresses.

msgspec decodes a body straight into the types below. A body that does not fit them is taken apart item by item, by the
same types, to tell the good from the bad: one bad item never costs its neighbours.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

import msgspec

from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.model import (
    MOST_RAW_BYTES,
    MOST_REASON_CHARACTERS,
    MOST_RESULTS,
    Mixed,
    NotResults,
    Origin,
    PingResult,
    TooManyResults,
)
from outputd.results.rows import Batch, Rejected
from outputd.results.structure import ARRAY_BEGIN, STRUCTURE
from outputd.results.weight import text_bytes

_MOST_HOP_TEXT_CHARACTERS = 255
_MOST_HOPS_CACHED = 131_072
_MOST_TARGETS_CACHED = 32_768
_UTF8_STEP_BYTES = 64 * 1024


class _Spellings(dict[str, str]):
    """Spellings of addresses, with their stored text; when there are too many, they are found out anew."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add(self, texts: Mapping[str, str]) -> None:
        if len(self) + len(texts) > self._most:
            self.clear()
        self.update(texts if len(texts) <= self._most else islice(texts.items(), self._most))


class Parser:
    """Turns bodies into batches; `feedable` says which canonical addresses may be fed as hops."""

    def __init__(self, feedable: Callable[[str], bool]) -> None:
        self._feedable = feedable
        self._no_news = _Spellings(_MOST_HOPS_CACHED)
        self._targets = _Spellings(_MOST_TARGETS_CACHED)

    def now_known(self, hops: Mapping[str, str]) -> None:
        """The ledger has these addresses: later batches need not offer them as new."""
        self._no_news.add(hops)

    def parse(self, body: bytes, origin: Origin) -> Batch | Mixed | NotResults | TooManyResults:
        """Read a body. One without results is a value, too: an exception would carry the body to another thread.

        One with items that are no results is for `sift`, which takes more memory.
        """
        try:
            if not body.isascii():
                _check_utf8(body)  # msgspec passes over the text of unknown fields
            found: Sequence[PingResult] | None = _decode_all(body)
        except msgspec.ValidationError:
            found = None
        except (ValueError, RecursionError) as error:
            if isinstance(error, RecursionError | UnicodeDecodeError) or _without_lone_surrogates(body) is body:
                return NotResults(_why_not_json(error))
            found = None
        if _has_too_many(body, found):
            return TooManyResults()
        if found is None:
            items = _items(body)
            return items if isinstance(items, NotResults) else Mixed(items)
        return self.gather(found, body, origin)

    def sift(self, mixed: Mixed, body: bytes, origin: Origin) -> Batch:
        """Tell the good items of a body from the bad."""
        return self.gather(list(_decode_each(mixed.items)), body, origin)

    def gather(self, found: Iterable[PingResult | Rejected], body: bytes, origin: Origin) -> Batch:
        """The batch of what was found in a body, by whichever reader; its results are such by their values, too."""
        batch = Batch(origin.received_at, node=origin.node, key=origin.key, text_bytes=text_bytes(body))
        self._add_rows(batch, found, body, origin.horizon)
        if batch.rejected:
            batch.rejected_by_field = Counter(_without_index(reject.field) for reject in batch.rejected)
        if batch.accepted or batch.rejected:
            batch.digest = hashlib.sha256(body).digest()
        return batch

    def _add_rows(self, batch: Batch, found: Iterable[PingResult | Rejected], body: bytes, horizon: str) -> None:
        pings, traceroutes, hops, spreads = batch.pings, batch.traceroutes, batch.hops, batch.spreads
        no_news, hop_text, new_hops = self._no_news.get, self._hop_text, batch.new_hops
        targets, stored = self._targets.get, timestamps.stored
        created_at = batch.received_at
        place = successful = 0
        items: Sequence[bytes | msgspec.Raw] | NotResults = ()
        for index, result in enumerate(found):
            if isinstance(result, Rejected):
                batch.rejected.append(result)
                continue
            ip = targets(result.ip) or self._target(result.ip)
            timestamp = stored(result.timestamp)
            sent, received, loss = result.sent, result.received, result.packet_loss
            if loss is None:
                loss = max(0.0, 100.0 * (sent - received) / sent) if sent else 100.0
            elif loss < 0.0 and received > sent:
                loss = 0.0
            if ip is None or timestamp is None or loss < 0.0:
                items = items or _items(body)
                assert not isinstance(items, NotResults), "it was read once"
                batch.rejected.append(_rejected_by_value(index, ip, timestamp, bytes(items[index])))
                continue
            if received:
                successful += 1
            rtt = result.avg_rtt
            pings += (None, ip, sent, received, loss, None if rtt == -1 else rtt, timestamp, result.error, created_at)
            if result.min_rtt is not None or result.max_rtt is not None or result.stddev_rtt is not None:
                spread = [None if rtt == -1 else rtt for rtt in (result.min_rtt, result.max_rtt, result.stddev_rtt)]
                if spread != [None, None, None]:
                    spreads += (place, *spread)
            traceroute = result.traceroute
            if traceroute is not None:
                completed = traceroute.completed
                traceroutes += (
                    None, place, traceroute.method, None if completed is None else int(completed), traceroute.error,
                )  # fmt: skip
                for hop in traceroute.hops or ():
                    text, rtt, silent = hop.ip, hop.rtt, 1 if hop.timeout else 0
                    text = no_news(text) or hop_text(text, silent, new_hops) if text else None
                    hops += (place, hop.ttl, text, None if rtt == -1 else rtt, silent)
            place += 1
        batch.accepted, batch.successful = place, successful
        times = pings[6 :: Batch.PING_COLUMNS]
        latest = max(times, default="")
        if latest > horizon:
            batch.ahead = latest
            latest = max((time for time in times if time <= horizon), default="")
        batch.latest = latest if latest >= "1970" else ""

    def _target(self, text: str) -> str | None:
        ip = canonical(text)
        if ip is not None:
            ip = text if ip == text else ip  # one object for both
            self._targets.add({text: ip})
        return ip

    def _hop_text(self, text: str, silent: int, new_hops: dict[str, str]) -> str:
        ip = canonical(text)
        if ip is None:
            return text[:_MOST_HOP_TEXT_CHARACTERS]
        ip = text if ip == text else ip
        if not self._feedable(ip):
            self._no_news.add({text: ip})
        elif not silent:
            new_hops[text] = ip
        return ip


_decode_all = msgspec.json.Decoder(list[PingResult]).decode
_decode_one = msgspec.json.Decoder(PingResult).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Up to an escape of half a UTF-16 pair without its other half, which is legal in JSON and no text; Python writes it.
_UP_TO_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).?)*+", re.DOTALL
)
_ESCAPE_BYTES = len(rb"\ud800")
_INDEX = re.compile(r"\[\d+\]")
_WHERE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field `(\w+)`$")


def _check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError where a body is no UTF-8. In steps: all of it in one may take four times as much."""
    at, view = 0, memoryview(body)
    while at < len(body):
        step = view[at : at + _UTF8_STEP_BYTES]
        try:
            at += codecs.utf_8_decode(step, "strict", at + len(step) == len(body))[1]
        except UnicodeDecodeError as error:
            raise UnicodeDecodeError("utf-8", b"", at + error.start, at + error.end, error.reason) from None


def _items(body: bytes) -> Sequence[bytes | msgspec.Raw] | NotResults:
    mended = _without_lone_surrogates(body)
    try:
        items = _decode_items(mended)
    except (ValueError, RecursionError) as error:
        return NotResults(_why_not_json(error))
    return items if mended is body else list(_as_sent(body, mended, items))


def _without_lone_surrogates(body: bytes) -> bytes | bytearray:
    """The body with U+FFFD, which has an escape of the same length, in the place of each; the same one without any."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    mended = None
    at = 0
    while (end := _UP_TO_LONE_SURROGATE.match(body, at).end()) < len(body):  # type: ignore[union-attr]  # it may be empty
        mended = mended or bytearray(body)
        at = end + _ESCAPE_BYTES
        mended[end:at] = rb"\ufffd"
    return mended or body


def _as_sent(body: bytes, mended: bytes | bytearray, items: Sequence[msgspec.Raw]) -> Iterator[bytes]:
    """The items of a body as they stand in it, each where it stands in the mended one."""
    end = 0
    for item in items:
        text = bytes(item)
        start = mended.index(text, end)
        end = start + len(text)
        yield body[start:end]


def _has_too_many(body: bytes, found: Sequence[object] | None) -> bool:
    """Whether a body has more than MOST_RESULTS items, which are not made for that: four million would take 300 MiB."""
    if found is not None or body.count(b",") < MOST_RESULTS:
        return found is not None and len(found) > MOST_RESULTS
    begin = ARRAY_BEGIN.match(body)
    depth, items = 1, 0
    for token in STRUCTURE.finditer(body, begin.end()) if begin else ():
        start, end = token.span()
        sign = body[start:end] if end - start == 1 else b"value"
        if sign in b"[{":
            depth += 1
        elif sign in b"]}":
            depth -= 1
        elif sign == b"," and depth == 1:
            items += 1
            if items >= MOST_RESULTS:
                return True
    return False


def _decode_each(items: Sequence[bytes | msgspec.Raw]) -> Iterator[PingResult | Rejected]:
    for index, item in enumerate(items):
        try:
            yield _decode_one(item)
        except msgspec.ValidationError as error:
            yield _rejected_by_type(index, str(error), bytes(item))
        except msgspec.DecodeError:
            yield Rejected(index, "", "a lone surrogate (\\ud800 to \\udfff) is no text", bytes(item)[:MOST_RAW_BYTES])


def _rejected_by_type(index: int, message: str, raw: bytes) -> Rejected:
    return Rejected(index, *_field_and_reason(message), raw[:MOST_RAW_BYTES])


@lru_cache(maxsize=256)
def _field_and_reason(message: str) -> tuple[str, str]:
    """What msgspec says of an item; the same text is the same object, since many items may have it."""
    where = _WHERE.search(message)
    path = where[1] if where else ""
    reason = message[: where.start()] if where else message
    if missing := _MISSING.search(reason):
        path = f"{path}.{missing[1]}" if path else missing[1]
        reason = "required"
    return path, _lower_first(reason)[:MOST_REASON_CHARACTERS]


def _rejected_by_value(index: int, ip: str | None, timestamp: str | None, raw: bytes) -> Rejected:
    if ip is None:
        name, reason = "ip", "not an IPv4 or IPv6 address"
    elif timestamp is None:
        name, reason = "timestamp", "not an RFC 3339 time with a zone, in the years 0001-9999 and without leap second"
    else:
        name, reason = "packet_loss", "expected a percentage >= 0"
    return Rejected(index, name, reason, raw[:MOST_RAW_BYTES])


@lru_cache(maxsize=256)
def _without_index(field: str) -> str:
    return _INDEX.sub("", field) or "item"


def _lower_first(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _why_not_json(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):  # the outermost value is of another type
        return f"expected a JSON array of results: {_lower_first(str(error))}"
    if isinstance(error, RecursionError):
        return "expected a JSON array of results: nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"expected a JSON array of results: not UTF-8 (byte {error.start})"
    return f"expected a JSON array of results: {_lower_first(str(error))}"
