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
from outputd.merge.pull import Access, NotPulled, pull, pulled
from outputd.merge.source import NotMerged, Source, look
from outputd.process.log import in_one_line
from outputd.process.trouble import Kind, Unusable
from outputd.security.pem import token_of
from outputd.sqlite.errors import kind_of

MERGED, NOT_MERGED, INVALID, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""
_DESCRIPTION = """\
Merges result files of any instances into one new database. Files may be given in any order, overlap, or be copies of
each other: every result is stored once. Ids are kept where they do not collide; the table merged says where rows come
from. Files are never changed. If it was interrupted, the same command resumes.

With --pull it first takes all files of running instances, but those that are there already."""


class Options(argparse.Namespace):
    """The command line."""

    out: Path
    files: list[Path]
    pull: list[str]
    into: Path
    token_file: Path | None
    ca: Path | None


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="outputd-merge", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 merged; 1 not merged; 2 invalid arguments; 130 interrupted",
    )  # fmt: skip
    made.add_argument("out", metavar="OUT", type=Path, help="the database to make, which must not exist")
    made.add_argument("files", metavar="FILE", nargs="*", type=Path, help="a closed result file, or a copy by /dump")
    made.add_argument(
        "--pull", metavar="URL", action="append", default=[],
        help="port for results of a running instance, such as http://localhost:8081; may be given several times",
    )  # fmt: skip
    made.add_argument(
        "--into", metavar="DIR", type=Path, default=Path("pulled"),
        help="directory for files that are pulled; each instance has one in it (%(default)s)",
    )  # fmt: skip
    made.add_argument("--token-file", metavar="FILE", type=Path, help="file with an operator's token, for --pull")
    made.add_argument(
        "--ca", metavar="FILE", type=Path, help="CA (PEM) of the instances' certificates; default: the system's CAs"
    )
    made.add_argument("--version", action="version", version=f"outputd-merge {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Merge files, and end the process."""
    asked = parser()
    options = asked.parse_intermixed_args(arguments, Options())
    if not options.files and not options.pull:
        asked.error("name files, or instances by --pull")
    sys.exit(run(options))


def run(chosen: Options) -> int:
    """Merge them; an exit code."""
    # what an index is sorted in needs room like the file itself, which /tmp may not have
    os.environ.setdefault("SQLITE_TMPDIR", str(chosen.out.absolute().parent))
    if os.path.lexists(chosen.out):
        return _cannot(INVALID, f"{in_one_line(str(chosen.out))} exists already")
    try:
        return _merge(chosen.out, [*chosen.files, *_pulled(chosen)])
    except (NotMerged, NotPulled, Unusable) as error:
        return _cannot(NOT_MERGED, str(error))
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return _interrupted()
        return _cannot(NOT_MERGED, _reason(error, chosen.out))
    except KeyboardInterrupt:
        return _interrupted()


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


def _pulled(chosen: Options) -> list[Path]:
    """The files of the instances, taken now, unless a merge of those taken before was interrupted."""
    if aside_of(chosen.out).exists():
        return [path for url in chosen.pull for path in pulled(url, chosen.into)]
    token = None if chosen.token_file is None or not chosen.pull else token_of(chosen.token_file)
    found: list[Path] = []
    for url in chosen.pull:
        found += pull(url, chosen.into, Access(token, chosen.ca), _tell_of)
    return found


def _tell_of(path: Path) -> None:
    print(f"pulled {in_one_line(str(path))}", file=sys.stderr)


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


def _interrupted() -> int:
    return _cannot(INTERRUPTED, "interrupted; the same command resumes")


def _cannot(code: int, reason: str) -> int:
    print(f"outputd-merge: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
