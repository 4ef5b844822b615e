"""The commands of outputd and their options, read from the parsers themselves."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import cast

from outputd.export.command import parser as export_parser
from outputd.merge.command import parser as merge_parser
from outputd.security.command import parser as token_parser
from outputd.sender.command import parser as send_parser
from outputd.store.command import parser as restore_parser
from outputd.tap import Options

_PATHS = ("cert", "key", "ca", "file", "dir", "credentials")
_VALUES = {
    "input-url": "URL", "archive": "URL", "feed": "all|public", "trusted-proxies": "LIST", "instance": "NAME",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flag:
    """One option of a command."""

    name: str
    """As it is typed, with its dashes."""
    short: str
    value: str
    """What stands for its value; empty for a flag without one."""
    default: str
    meaning: str
    choices: tuple[str, ...] = ()
    takes_path: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets the same."""
        return f"OUTPUTD_{self.name.lstrip('-').replace('-', '_').upper()}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it does, and how it is called."""

    name: str
    what: str
    synopsis: str
    description: str
    flags: tuple[Flag, ...]
    takes_files: bool = False
    verbs: tuple[str, ...] = ()
    """What its first word may be."""
    ending: str = ""
    """What stands below the flags in its help."""


def outputd() -> Command:
    """The service."""
    parameters = cast(list[tuple[str, None, str, str]], Options.optParameters)
    switches = cast(list[tuple[str, str | None, str]], Options.optFlags)
    flags = [
        Flag(f"--{name}", "", _value(name), default or "", _sentence(meaning), _choices(name), _is_path(name))
        for name, _, default, meaning in parameters
    ]
    flags += [Flag(f"--{name}", f"-{short}" if short else "", "", "", meaning) for name, short, meaning in switches]
    return Command(
        "outputd", "collect the results of ping and traceroute nodes", "outputd [OPTION]...", Options.longdesc,
        (*flags, Flag("--version", "", "", "", "Print the version."), Flag("--help", "", "", "", "Print the options.")),
    )  # fmt: skip


def _value(name: str) -> str:
    if _is_path(name):
        return "DIR" if name.endswith("dir") else "FILE"
    if name.endswith("port"):
        return "PORT"
    return _VALUES.get(name, "N")


def _is_path(name: str) -> bool:
    return name.rpartition("-")[2] in _PATHS


def _choices(name: str) -> tuple[str, ...]:
    return ("all", "public") if name == "feed" else ()


def send() -> Command:
    """The command that posts files."""
    parser = send_parser()
    return Command(
        "outputd-send", "post files of results to outputd", "outputd-send [OPTION]... FILE...",
        parser.description or "", _flags(parser), takes_files=True, ending=parser.epilog or "",
    )  # fmt: skip


def restore() -> Command:
    """The command that puts copies of result files back."""
    parser = restore_parser()
    return Command(
        "outputd-restore", "put copies of result files back into the directory of a stopped service",
        "outputd-restore [OPTION]... FILE...", parser.description or "", _flags(parser), takes_files=True,
        ending=parser.epilog or "",
    )  # fmt: skip


def merge() -> Command:
    """The command that makes one database of result files."""
    parser = merge_parser()
    return Command(
        "outputd-merge", "merge result files of any instances into one database",
        "outputd-merge [OPTION]... OUT [FILE]...",
        parser.description or "", _flags(parser), takes_files=True, ending=parser.epilog or "",
    )  # fmt: skip


def export() -> Command:
    """The command that makes Parquet or NDJSON of result files."""
    parser = export_parser()
    return Command(
        "outputd-export", "export results from result files to Parquet or NDJSON",
        "outputd-export [OPTION]... FILE... --to FILE",
        parser.description or "", _flags(parser), takes_files=True, ending=parser.epilog or "",
    )  # fmt: skip


def token() -> Command:
    """The command that makes tokens."""
    parser, new = token_parser()
    return Command(
        "outputd-token", "make a token for a node, a reader or an operator", "outputd-token new NAME --role ROLE",
        new.description or parser.description or "", _flags(new), verbs=("new",),
    )  # fmt: skip


def all_commands() -> tuple[Command, ...]:
    """All that an installation puts into bin."""
    return outputd(), send(), restore(), merge(), export(), token()


def _flags(parser: argparse.ArgumentParser) -> tuple[Flag, ...]:
    found = []
    for action in parser._actions:  # noqa: SLF001  # argparse has no public way to list its options
        if not action.option_strings:
            continue
        *short, name = action.option_strings
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        given = "" if action.default in (None, "", False, [], argparse.SUPPRESS) else str(action.default)
        meaning = (
            (action.help or "")
            .replace("show program's version number and exit", "print the version")
            .replace(" (%(default)s)", "")
        )
        found.append(
            Flag(
                name,
                short[0] if short else "",
                value,
                given,
                _sentence(meaning),
                tuple(action.choices or ()),
                value in ("FILE", "DIR"),
            )
        )
    return tuple(found)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
