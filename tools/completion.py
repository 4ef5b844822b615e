"""`python -m tools.completion FILE`: the completion of all commands for bash, made from their options."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.commands import Command, Flag, all_commands

_HEAD = """\
# Completion of outputd's commands for bash. Made from their options.
"""
_FUNCTION = """\
_{function}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    if [[ $before == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $word == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD-1]}} word=
    fi
    case $before in
{cases}    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '{flags}' -- "$word")
        return
    fi
{words}}}
complete -o filenames -F _{function} {name}
"""


def script(commands: tuple[Command, ...]) -> str:
    """What bash sources."""
    return "\n".join([_HEAD, *(_of(command) for command in commands)])


def _of(command: Command) -> str:
    words = ""
    if command.takes_files:
        words = '    mapfile -t COMPREPLY < <(compgen -f -- "$word")\n'
    elif command.name == "outputd-token":
        words = '    [[ $COMP_CWORD != 1 ]] || mapfile -t COMPREPLY < <(compgen -W new -- "$word")\n'
    return _FUNCTION.format(
        function=command.name.replace("-", "_"),
        name=command.name,
        cases="".join(_case(flag) for flag in command.flags if flag.value),
        flags=" ".join(name for flag in command.flags for name in (flag.name, flag.short) if name),
        words=words,
    )


def _case(flag: Flag) -> str:
    if flag.choices:
        found = f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(flag.choices)}' -- \"$word\")"
    elif flag.takes_path:
        kind = "-d" if flag.value == "DIR" else "-f"
        found = f'mapfile -t COMPREPLY < <(compgen {kind} -- "$word")'
    else:
        found = "COMPREPLY=()"
    return f"        {flag.name})\n            {found}\n            return ;;\n"


def main() -> None:
    """Write the script."""
    Path(sys.argv[1]).write_text(script(all_commands()), encoding="utf-8")


if __name__ == "__main__":
    main()
