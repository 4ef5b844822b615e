"""The command `outputd-token`: makes a token, shown once, and its line for the tokens file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from outputd.security.access import MOST_NAME, ROLES, Holder, is_name, line_of, new_token


def parser() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The options of the command, and those of `new`."""
    whole = argparse.ArgumentParser(prog="outputd-token", description="Makes tokens for --tokens-file.")
    new = whole.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "new",
        help="make a token for a node, a reader or an operator",
        description="Prints a new token and its line for the tokens file. The token itself is stored nowhere.",
    )
    new.add_argument("name", metavar="NAME", help="name of the holder; the results of a node are stored under it")
    new.add_argument(
        "--role",
        choices=ROLES,
        required=True,
        help="a node may post results; a reader may open pages, ask questions and read metrics; an operator may also"
        " export, download and rotate files",
    )
    return whole, new


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a new token and its line of the tokens file. The token is kept nowhere."""
    whole, new = parser()
    asked = whole.parse_args(arguments)
    if not is_name(asked.name):
        new.error(f"NAME must have 1 to {MOST_NAME} printable ASCII characters and no space, not {asked.name!r}")
    token = new_token()
    print(f"token, shown only now:         {token}")
    print(f"line for the tokens file:      {line_of(Holder(asked.role, asked.name), token)}")


if __name__ == "__main__":
    main()
