"""`python -m tools.manpages DIR`: a man page for each command, made from its options."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from outputd import __version__
from tools.commands import Command, Flag, all_commands

_FILES = """\
.SH FILES
.TP
.I /etc/default/outputd
environment variables of the service under systemd
.TP
.I /var/lib/outputd
its files under systemd
.SH SIGNALS
.TP
.B SIGTERM, SIGINT
answer what is in flight, close the files, exit within 10 seconds
.TP
.B SIGHUP
read the tokens file, the certificates and \\-\\-input\\-token\\-file again
.SH EXIT STATUS
0 after SIGTERM or SIGINT; 1 if it could not start, or if something hung while it stopped.
"""


def page(command: Command) -> str:
    """The man page of a command, section 1."""
    return "\n".join(_lines(command)) + "\n"


def _lines(command: Command) -> Iterator[str]:
    yield f'.TH {command.name.upper()} 1 "{_today()}" "outputd {__version__}" "User Commands"'
    yield f".SH NAME\n{_plain(command.name)} \\- {_plain(command.what)}"
    yield f".SH SYNOPSIS\n.B {_plain(command.synopsis)}"
    yield f".SH DESCRIPTION\n{_plain(command.description)}"
    if command.name == "outputd":
        yield "An empty variable counts as unset."
    yield ".SH OPTIONS"
    for flag in command.flags:
        yield from _option(command, flag)
    if command.name == "outputd":
        yield _FILES.rstrip("\n")
    elif command.ending:
        title, _, text = command.ending.partition(": ")
        yield f".SH {title.upper()}\n{_plain(text)}"
    others = ", ".join(f".BR {_plain(other.name)} (1)" for other in all_commands() if other.name != command.name)
    yield ".SH SEE ALSO\n" + others.replace(", .BR", ",\n.BR").replace("(1),", "(1),")


def _option(command: Command, flag: Flag) -> Iterator[str]:
    value = f"=\\fI{_plain(flag.value)}\\fR" if flag.value else ""
    names = ", ".join(f"\\fB{_plain(name)}\\fR" for name in (flag.short, flag.name) if name)
    yield f".TP\n{names}{value}"
    yield _plain(flag.meaning)
    if flag.choices:
        yield f"One of: {', '.join(flag.choices)}."
    if flag.default:
        yield f"Default: {_plain(flag.default)}."
    if command.name == "outputd" and flag.name not in ("--help", "--version"):
        yield f"Environment: \\fB{flag.variable}\\fR."


def _today() -> str:
    """The day of the build; SOURCE_DATE_EPOCH says another, so that equal sources make equal packages."""
    return datetime.fromtimestamp(float(os.environ.get("SOURCE_DATE_EPOCH", time.time())), UTC).date().isoformat()


def _plain(text: str) -> str:
    """Text in which nothing is a command of roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def main() -> None:
    """Write the pages into a directory."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for command in all_commands():
        (directory / f"{command.name}.1").write_text(page(command), encoding="utf-8")


if __name__ == "__main__":
    main()
