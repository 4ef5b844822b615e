"""`python -m tools.completion SHARE`: completion for bash, zsh and fish, where Debian's /usr/share has it."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.commands import Command, Flag, all_commands

_HEAD = "# Completion of outputd's commands for {shell}. Made from their options.\n"
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


def bash(commands: tuple[Command, ...]) -> str:
    """What bash sources."""
    return "\n".join([_HEAD.format(shell="bash"), *(_bash_function(command) for command in commands)])


def _bash_function(command: Command) -> str:
    words = ""
    if command.takes_files:
        words = '    mapfile -t COMPREPLY < <(compgen -f -- "$word")\n'
    elif command.verbs:
        verbs = " ".join(command.verbs)
        words = f"    [[ $COMP_CWORD != 1 ]] || mapfile -t COMPREPLY < <(compgen -W '{verbs}' -- \"$word\")\n"
    return _FUNCTION.format(
        function=command.name.replace("-", "_"),
        name=command.name,
        cases="".join(_bash_case(flag) for flag in command.flags if flag.value),
        flags=" ".join(name for flag in command.flags for name in (flag.name, flag.short) if name),
        words=words,
    )


def _bash_case(flag: Flag) -> str:
    if flag.choices:
        found = f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(flag.choices)}' -- \"$word\")"
    elif flag.takes_path:
        kind = "-d" if flag.value == "DIR" else "-f"
        found = f'mapfile -t COMPREPLY < <(compgen {kind} -- "$word")'
    else:
        found = "COMPREPLY=()"
    return f"        {flag.name})\n            {found}\n            return ;;\n"


def zsh(commands: tuple[Command, ...]) -> str:
    """What compinit of zsh finds as `_outputd`."""
    names = " ".join(command.name for command in commands)
    cases = "".join(f"{command.name})\n    _arguments {_zsh_specs(command)} ;;\n" for command in commands)
    return f"#compdef {names}\n{_HEAD.format(shell='zsh')}\ncase $service in\n{cases}esac\n"


def _zsh_specs(command: Command) -> str:
    specs = [_zsh_spec(flag) for flag in command.flags]
    if command.verbs:
        specs += [f"1:command:({' '.join(command.verbs)})", "2:name: "]
    if command.takes_files:
        specs.append("*:file:_files")
    return " \\\n        ".join(map(_quoted, specs))


def _zsh_spec(flag: Flag) -> str:
    meaning = flag.meaning.replace("[", r"\[").replace("]", r"\]")
    if not flag.value:
        return f"{flag.name}[{meaning}]"  # the short names add nothing that has to be completed
    if flag.choices:
        found = f"({' '.join(flag.choices)})"
    elif flag.takes_path:
        found = "_files -/" if flag.value == "DIR" else "_files"
    else:
        found = " "
    return f"{flag.name}=[{meaning}]:{flag.value.lower()}:{found}"


def fish(command: Command) -> str:
    """What fish reads once this command is typed."""
    begin = f"complete -c {command.name}"
    lines = [] if command.takes_files else [f"{begin} -f"]
    lines += [f"{begin} -n __fish_use_subcommand -a {verb}" for verb in command.verbs]
    lines += [f"{begin} -l {flag.name[2:]}{_fish_value(flag)} -d {_quoted(flag.meaning)}" for flag in command.flags]
    return _HEAD.format(shell="fish") + "\n".join(lines) + "\n"


def _fish_value(flag: Flag) -> str:
    short = f" -s {flag.short[1:]}" if flag.short else ""
    if not flag.value:
        return short
    if flag.choices:
        return f"{short} -x -a {_quoted(' '.join(flag.choices))}"
    if flag.value == "DIR":
        return f"{short} -x -a '(__fish_complete_directories)'"
    return f"{short} -r -F" if flag.takes_path else f"{short} -x"


def _quoted(text: str) -> str:
    """One word of any of these shells."""
    return "'" + text.replace("'", "'\\''") + "'"


def write(share: Path) -> None:
    """Write all of them."""
    commands = all_commands()
    first, *others = commands
    place = share / "bash-completion/completions"
    _put(place / first.name, bash(commands))
    for command in others:
        (place / command.name).symlink_to(first.name)
    _put(share / f"zsh/vendor-completions/_{first.name}", zsh(commands))
    for command in commands:
        _put(share / f"fish/vendor_completions.d/{command.name}.fish", fish(command))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """See write."""
    write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
