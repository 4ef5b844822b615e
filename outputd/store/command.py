"""The command `outputd-restore`: puts copies of result files back into the directory of a service that is stopped."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from outputd import __version__
from outputd.process.log import in_one_line
from outputd.process.trouble import Unusable
from outputd.store.directory import DataDir
from outputd.store.restore import NotRestored, restore

ALL_RESTORED, NOT_ALL_RESTORED, CANNOT_START = 0, 1, 2
"""Exit codes."""
_DESCRIPTION = """\
Puts copies of result files back into the directory of a service that is stopped. Each is checked first: it must be
outputd's, whole, and of the same instance. A damaged file, or one that holds less, makes room for its copy; it is
renamed to NAME.replaced, and nothing is ever deleted."""


class Options(argparse.Namespace):
    """The command line."""

    files: list[Path]
    db_dir: Path


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="outputd-restore", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 all were restored; 1 not all; 2 the directory cannot be used, or is in use",
    )  # fmt: skip
    made.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a copy of a result file, as /dump makes it")
    made.add_argument(
        "--db-dir", metavar="DIR", type=Path, default=Path(os.environ.get("OUTPUTD_DB_DIR") or "output_data"),
        help="directory of the service, or OUTPUTD_DB_DIR (%(default)s)",
    )  # fmt: skip
    made.add_argument("--version", action="version", version=f"outputd-restore {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Restore files, and end the process."""
    sys.exit(run(parser().parse_args(arguments, Options())))


def run(chosen: Options) -> int:
    """Restore one after the other; an exit code."""
    directory = DataDir(chosen.db_dir)
    if not chosen.db_dir.is_dir():
        return _cannot(f"{directory.name} is no directory")
    try:
        directory.take()
    except Unusable as error:
        return _cannot(str(error))
    try:
        return max([_restore(directory, file) for file in chosen.files])
    finally:
        directory.release()


def _restore(directory: DataDir, file: Path) -> int:
    name = in_one_line(str(file))
    try:
        done = restore(directory, file)
    except (NotRestored, Unusable, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(f"{name}: not restored: {in_one_line(reason)}", file=sys.stderr)
        return NOT_ALL_RESTORED
    instead = "" if done.set_aside is None else f", instead of what is now {done.set_aside.name}"
    print(f"{name}: restored as {done.path.name}{instead}; --keep-files must be {done.files} or more to keep all files")
    return ALL_RESTORED


def _cannot(reason: str) -> int:
    print(f"outputd-restore: {reason}", file=sys.stderr)
    return CANNOT_START


if __name__ == "__main__":
    main()
