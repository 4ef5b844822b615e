"""The command `outputd-merge`: makes one database of the result files of any instances."""

from __future__ import annotations

import argparse
import errno
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from outputd import __version__
from outputd.merge.making import aside_of, make
from outputd.merge.plan import Step, plan
from outputd.merge.source import NotMerged, Source, look
from outputd.process.log import in_one_line
from outputd.process.trouble import Kind, Unusable
from outputd.sqlite.errors import kind_of

MERGED, NOT_MERGED, INVALID, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
_DESCRIPTION = """\
Merges result files of any instances into one new database. Files may be given in any order, overlap, or be copies of
each other: every result is stored once. Ids are kept where they do not collide; the table merged says where rows come
from. Files are never changed. If it was interrupted, the same command resumes."""


class Options(argparse.Namespace):
    """The command line."""

    out: Path
    files: list[Path]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="outputd-merge", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 merged; 1 not merged; 2 invalid arguments; 130 interrupted",
    )  # fmt: skip
    made.add_argument("out", metavar="OUT", type=Path, help="the database to make, which must not exist")
    made.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a closed result file, or a copy by /dump")
    made.add_argument("--version", action="version", version=f"outputd-merge {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Merge files, and end the process."""
    sys.exit(run(parser().parse_args(arguments, Options())))


def run(chosen: Options) -> int:
    """Merge them; an exit code."""
    # what an index is sorted in needs room like the file itself, which /tmp may not have
    os.environ.setdefault("SQLITE_TMPDIR", str(chosen.out.absolute().parent))
    if os.path.lexists(chosen.out):
        return _cannot(INVALID, f"{in_one_line(str(chosen.out))} exists already")
    try:
        return _merge(chosen.out, chosen.files)
    except (NotMerged, Unusable) as error:
        return _cannot(NOT_MERGED, str(error))
    except (OSError, sqlite3.Error) as error:
        return _cannot(NOT_MERGED, _reason(error, chosen.out))
    except KeyboardInterrupt:
        return _cannot(INTERRUPTED, "interrupted; the same command resumes")


def _merge(out: Path, files: Sequence[Path]) -> int:
    found = [_look(path) for path in files]
    steps = plan([source for source in found if source is not None])
    if not steps:
        raise NotMerged("there are no results in these files")

    def tell(number: int, step: Step) -> None:
        print(f"{number} of {len(steps)}: {in_one_line(step.source.info.path.name)}", file=sys.stderr)

    make(out, steps, tell)
    instances = len({step.source.instance for step in steps if step.runs})
    print(f"{in_one_line(str(out))}: {len(files)} files of {instances} instances")
    return MERGED


def _look(path: Path) -> Source | None:
    name = in_one_line(str(path))
    try:
        return look(path)
    except NotMerged as error:
        raise NotMerged(f"{name}: {in_one_line(str(error))}") from None
    except OSError as error:
        raise NotMerged(f"{name}: {error.strerror}") from None


def _reason(error: Exception, out: Path) -> str:
    aside = in_one_line(str(aside_of(out)))
    if kind_of(error) is Kind.FULL:
        return f"no room for {aside} on the disk; once there is, the same command resumes"
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{aside} is being made by another outputd-merge"
    if isinstance(error, OSError):
        if error.errno == errno.EEXIST:
            return f"{in_one_line(str(out))} exists already"
        return f"{in_one_line(str(error.filename or out))}: {error.strerror}"
    return f"{aside}: {error}"


def _cannot(code: int, reason: str) -> int:
    print(f"outputd-merge: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
