"""What fping prints of each target at its end: the JSON of -J, the texts of -c and of -C -q. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from outputd.formats.counts import MOST_ITEM_BYTES, count, rtt_ns
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Reader, Refused, Unread, timed, unread
from outputd.results.addresses import canonical
from outputd.results.model import MOST_RESULTS, PingResult

_LINE = re.compile(rb"[^\n]++")
_KIND = re.compile(rb'\s*+\{\s*+"(\w++)"\s*+:')
_PASSED_OVER_KINDS = (b"resp", b"timeout", b"intSum", b"stats")
_TIME = rb"(-?\d{1,15}(?:\.\d{1,6})?(?:e[+-]\d\d)?)"  # "%.3e" from a million ms on; below 0 when a clock was set
_SUMMARY = re.compile(
    rb"\s*+xmt/rcv/%(?:loss|return) = (\d{1,19})/(\d{1,19})/\d{1,21}%(?:, outage\(ms\) = \d++)?"
    rb"(?:, min/avg/max = " + _TIME + b"/" + _TIME + b"/" + _TIME + rb")?\s*+"
)
_VALUES = re.compile(rb"(?:\s++(?:-(?!\S)|" + _TIME + rb"(?!\S)))++\s*+")
_JSON_VALUES = re.compile(
    rb"\[\s*+(?:(?:null|-?\d{1,20}+(?:\.\d{1,20}+)?(?:[eE][+-]?\d{1,3}+)?)\s*+(?:,\s*+|(?=\])))*+\]"
)
_VALUE = re.compile(rb"[^\s,\[\]]++")
_LOST = (b"-", b"null")
_OF_ONE_PROBE = re.compile(rb"\s*+(?:\[\d++\], |duplicate for \[)")
_ERROR_OF_ONE_PROBE = re.compile(rb"ICMP .*+")
_STATISTIC = re.compile(  # of -s
    rb"\s++[\d.e+]++ (?:targets|alive|unreachable|unknown addresses|timeouts .*+|ICMP .*+|other .*+|ms .*+|sec .*+)"
)
_INTERVAL = re.compile(rb"\[\d\d:\d\d:\d\d\]\s*+")
_BEGINNING_BYTES = 16 * 1024
_ANY_LINE = re.compile(
    rb'(?:\A|\n)[ \t]*+(?:\{\s*+"(?:resp|timeout|summary|vSum|intSum|stats)"|\[\d\d:|[^\n{"]{1,600} : ?)'
)
_CLAIMED = re.compile(
    rb'\s*+(?:\{\s*+"(?:resp|timeout|summary|vSum|intSum)"\s*+:\s*+\{\s*+(?:"time"\s*+:[^,]++,\s*+)?"host"\s*+:'
    rb"|(?:\[\d++\.\d++\] )?[^\s:{\[][^\n:{]{0,600}? *+: (?:xmt/rcv/%(?:loss|return) = |\[\d++\], )"
    rb"|[\d.]{7,15} *+:(?: (?:-|\d++(?:\.\d++)?))++ *+(?:\n|\Z))"
)
_MOST_LINES = 4 * MOST_RESULTS  # those of fping are not so short that a body would have more
_NAME_AND_ADDRESS = re.compile(r"[^ ]++ \(([^ ()]++)\)")
_NOTHING_TO_READ = "no summary of a target: run fping with -c N, or with -C N -q"


class _Summary(msgspec.Struct, gc=False):
    host: str
    xmt: Decimal
    rcv: Decimal
    least_ms: Decimal | None = msgspec.field(name="rttMin", default=None)
    average_ms: Decimal | None = msgspec.field(name="rttAvg", default=None)
    most_ms: Decimal | None = msgspec.field(name="rttMax", default=None)


class _Values(msgspec.Struct, gc=False):
    host: str
    values: msgspec.Raw


class _JsonLine(msgspec.Struct, gc=False):
    summary: _Summary | None = None
    all_values: _Values | None = msgspec.field(name="vSum", default=None)


_decode = msgspec.json.Decoder(_JsonLine).decode


def claims(body: bytes) -> bool:
    """Whether a body that nobody named begins as fping's output does."""
    return _CLAIMED.match(body, 0, _BEGINNING_BYTES) is not None


def read(body: bytes) -> Iterator[PingResult | Unread]:
    """One result for each target of each run."""
    if not _ANY_LINE.search(body, 0, _BEGINNING_BYTES):
        raise NotOfThisFormat("no line of it is one of fping's")
    found = False
    for line in _summaries(body):
        found = True
        try:
            if len(line) > MOST_ITEM_BYTES:
                raise Refused("longer than any line of fping")
            yield _from_json(line) if _KIND.match(line) else _from_text(line)
        except (Refused, ValueError, RecursionError) as error:
            yield unread(error, line)
    if not found:
        yield Unread(_NOTHING_TO_READ, body)


def _summaries(body: bytes) -> Iterator[bytes]:
    """The lines that sum a target up, and those of which nothing is known.

    Behind the last interval of -Q the targets come once more, with their totals: from where the first one comes again.
    """
    in_interval, first = False, None
    for number, match in enumerate(_LINE.finditer(body)):
        if number == _MOST_LINES:
            raise NotOfThisFormat(f"more than {_MOST_LINES:,} lines")
        line = match[0].rstrip()
        if _INTERVAL.fullmatch(line):
            in_interval, first = True, None
        elif not line or _is_passed_over(line):
            continue
        elif in_interval and (first is None or not line.startswith(first)):
            first = first or line[: line.find(b" :") + 2]
        else:
            in_interval = False
            yield line


def _is_passed_over(line: bytes) -> bool:
    """Whether a line is of one probe or of all targets: what it counts, a summary counts, too."""
    if kind := _KIND.match(line):
        return kind[1] in _PASSED_OVER_KINDS
    if _STATISTIC.fullmatch(line) or _ERROR_OF_ONE_PROBE.fullmatch(line):
        return True
    return _OF_ONE_PROBE.match(line.partition(b" :")[2]) is not None


def _from_text(line: bytes) -> PingResult:
    host, colon, rest = line.partition(b" :")
    ip = _address(host.decode("utf-8", "replace")) if colon else ""
    if summary := _SUMMARY.fullmatch(rest):
        sent, received, least, average, most = (
            Decimal(group.decode()) if group else None for group in summary.groups()
        )
        return _result(ip, sent or Decimal(), received or Decimal(), least, average, most)
    if _VALUES.fullmatch(rest):
        return _result_of_values(ip, (value[0] for value in _VALUE.finditer(rest)))
    raise Refused("not a line that fping prints of a target at its end")


def _from_json(line: bytes) -> PingResult:
    found = _decode(line)
    if found.summary is not None:
        said = found.summary
        return _result(_address(said.host), said.xmt, said.rcv, said.least_ms, said.average_ms, said.most_ms)
    if found.all_values is None:
        raise Refused("not a kind of object that fping prints")
    raw = bytes(found.all_values.values)
    if not _JSON_VALUES.fullmatch(raw):
        raise Refused("expected numbers and nulls", "vSum.values")
    return _result_of_values(_address(found.all_values.host), (value[0] for value in _VALUE.finditer(raw)))


def _result(
    ip: str, sent: Decimal, received: Decimal, least: Decimal | None, average: Decimal | None, most: Decimal | None
) -> PingResult:
    return timed(PingResult(
        ip, count(sent, "xmt"), count(received, "rcv"), NO_TIME,
        avg_rtt=_rtt(average, "avg"), min_rtt=_rtt(least, "min"), max_rtt=_rtt(most, "max"),
    ))  # fmt: skip


def _rtt(milliseconds: Decimal | None, field: str) -> int | None:
    """A time below 0 is none: the clock was set meanwhile."""
    return None if milliseconds is None or milliseconds.is_signed() else rtt_ns(milliseconds, field)


def _result_of_values(ip: str, values: Iterable[bytes]) -> PingResult:
    """A target of which each probe is listed."""
    sent = received = timed = 0
    total = best = worst = Decimal()
    for value in values:
        sent += 1
        if value in _LOST:
            continue
        received += 1
        milliseconds = Decimal(value.decode())
        if milliseconds.is_signed():
            continue
        best = min(best, milliseconds) if timed else milliseconds
        worst = max(worst, milliseconds)
        total += milliseconds
        timed += 1
    if not timed:
        return PingResult(ip, sent, received, NO_TIME)
    return _result(ip, Decimal(sent), Decimal(received), best, total / timed, worst)


def _address(host: str) -> str:
    """The address of a target, which stands in brackets behind its name with -n -A."""
    both = _NAME_AND_ADDRESS.fullmatch(host.strip())
    ip = canonical(both[1] if both else host.strip())
    if ip is None:
        raise Refused("a name, not an address: run fping with -A", "host")
    return ip


FPING = Reader(
    "fping", 1, ("application/vnd.outputd.fping",),
    "the first line is an object of one key `resp`, `timeout`, `summary`, `vSum` or `intSum` with a `host`,"
    " or a text line of a target: `: xmt/rcv/%loss = `, `: [0], 64 bytes, `, or an address with ` : ` and times",
    claims, read,
)  # fmt: skip
"""fping."""
