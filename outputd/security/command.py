"""The command `outputd-token`: makes a token, shown once, and the line that lets it in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from outputd.security.access import MOST_NAME, OPERATOR, ROLES, Holder, is_name, line_of, new_token


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a new token and its line of the tokens file. The token is kept nowhere."""
    parser = argparse.ArgumentParser(prog="outputd-token", description=__doc__)
    new = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "new", help="make a token for a node or an operator", description=main.__doc__
    )
    new.add_argument("name", metavar="NAME", help="who has it; the results of a node bear it")
    new.add_argument("--role", choices=ROLES, required=True, help=f"a node posts results, an {OPERATOR} does all else")
    asked = parser.parse_args(arguments)
    if not is_name(asked.name):
        new.error(f"NAME must have 1 to {MOST_NAME} printable ASCII characters and no space, not {asked.name!r}")
    token = new_token()
    print(f"token, shown only now:         {token}")
    print(f"line for the tokens file:      {line_of(Holder(asked.role, asked.name), token)}")


if __name__ == "__main__":
    main()
