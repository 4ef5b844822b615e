"""The command `outputd-export`: makes Parquet or NDJSON of result files."""

from __future__ import annotations

import argparse
import errno
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from outputd import __version__
from outputd.export.asked import Asked
from outputd.export.making import ENDINGS, Names, encoders_of, make
from outputd.export.source import NotExported, in_order, look
from outputd.export.work import Work
from outputd.process.log import in_one_line
from outputd.process.screen import Screen
from outputd.process.trouble import Kind
from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.sqlite.errors import kind_of

EXPORTED, NOT_EXPORTED, INVALID, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
_MIB = 1 << 20
_DESCRIPTION = """\
Exports results from result files to one file: a row per result, with its traceroute, node, batch and instance, in
order of arrival. The name of the file decides what it is: OUT.parquet, OUT.ndjson or OUT.ndjson.gz. Files of several
instances follow one another. A database made by outputd-merge is exported alone, in order of its ids. Files are never
changed, and OUT appears when it is complete."""


class Options(argparse.Namespace):
    """The command line."""

    files: list[Path]
    to: Path
    since: str | None
    until: str | None
    arrived_since: str | None
    arrived_until: str | None
    ip: str | None
    node: str | None
    failed: str | None
    split_mb: int | None

    @property
    def asked(self) -> Asked:
        """Which results are asked for."""
        return Asked(
            self.since, self.until, self.arrived_since, self.arrived_until, self.ip, self.node,
            None if self.failed is None else self.failed == "true",
        )  # fmt: skip

    @property
    def ending(self) -> str | None:
        """What the name of the file says that it is; None when that is nothing we make."""
        return next((ending for ending in ENDINGS if self.to.name.endswith(ending)), None)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="outputd-export", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 exported; 1 not exported; 2 invalid arguments; 130 interrupted",
    )  # fmt: skip
    made.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="a closed result file, a copy by /dump, or a merged database",
    )
    made.add_argument(
        "--to", metavar="FILE", type=Path, required=True,
        help="the file to make, which must not exist: .parquet, .ndjson or .ndjson.gz",
    )  # fmt: skip
    made.add_argument(
        "--since", metavar="TIME", type=_time,
        help="only results measured at this time or later; RFC 3339, such as 2026-01-07T22:30:00Z",
    )  # fmt: skip
    made.add_argument("--until", metavar="TIME", type=_time, help="only results measured before this time")
    made.add_argument(
        "--arrived-since", metavar="TIME", type=_time, help="only results that arrived at this time or later"
    )
    made.add_argument("--arrived-until", metavar="TIME", type=_time, help="only results that arrived before this time")
    made.add_argument("--ip", metavar="ADDRESS", type=_address, help="only results of this target")
    made.add_argument("--node", metavar="NAME", help="only what this node measured")
    made.add_argument(
        "--failed", metavar="true|false", choices=("true", "false"),
        help="only results without any reply (true), or only those with one (false)",
    )  # fmt: skip
    made.add_argument(
        "--split-mb", metavar="MB", type=_size, help="make files of about this size: OUT-00001.parquet and so on"
    )
    made.add_argument("--version", action="version", version=f"outputd-export {__version__}")
    return made


def _time(text: str) -> str:
    stored = timestamps.stored(text)
    if stored is None:
        raise argparse.ArgumentTypeError(f"{in_one_line(text)} is not an RFC 3339 time with a zone")
    return stored


def _address(text: str) -> str:
    ip = canonical(text)
    if ip is None:
        raise argparse.ArgumentTypeError(f"{in_one_line(text)} is not an IPv4 or IPv6 address")
    return ip


def _size(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < _MIB:
        raise argparse.ArgumentTypeError("MB must be a whole number of at least 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export results, and end the process."""
    asked = parser()
    options = asked.parse_intermixed_args(arguments, Options())
    if options.ending is None:
        asked.error(f"the name after --to must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    sys.exit(run(options, options.ending))


def run(chosen: Options, ending: str) -> int:
    """Export them; an exit code."""
    names = Names(chosen.to, ending, chosen.split_mb is not None)
    if (taken := names.taken()) is not None:
        return _cannot(INVALID, f"{in_one_line(str(taken))} exists already")
    try:
        encoders = encoders_of(ending)
        files = in_order(look(path) for path in chosen.files)
        work = Work(files, chosen.asked, Screen(sys.stderr), time.monotonic)
        with work:
            made = make(iter(names), work.pages(), encoders, (chosen.split_mb or math.inf) * _MIB)
    except NotExported as error:
        return _cannot(NOT_EXPORTED, str(error))
    except OSError as error:
        return _cannot(NOT_EXPORTED, _reason(error, chosen.to))
    except KeyboardInterrupt:
        return _cannot(INTERRUPTED, "interrupted; nothing was exported")
    size_mb = sum(path.stat().st_size for path in made) / _MIB
    last = f" to {in_one_line(made[-1].name)}" if len(made) > 1 else ""
    print(f"{in_one_line(str(made[0]))}{last}: {work.results:,} results of {len(chosen.files)} files, {size_mb:.1f} MB")
    return EXPORTED


def _reason(error: OSError, out: Path) -> str:
    if kind_of(error) is Kind.FULL:
        return f"no room on the disk for {in_one_line(str(out))}; nothing was exported"
    if error.errno == errno.EEXIST:
        return f"{in_one_line(str(error.filename2 or out))} exists already"
    return f"{in_one_line(str(out))}: {error.strerror}"


def _cannot(code: int, reason: str) -> int:
    print(f"outputd-export: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
