"""`python -m tools.reference`: brings the parts of the reference pages that are made from the code up to date."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from outputd.api.checks import DECLARED, NAMES
from outputd.api.gauges import gauges
from outputd.api.metrics import Metrics
from outputd.formats.formats import READERS
from outputd.intake.counters import Stats
from outputd.web.doors import Doors
from tools import commands, openapi
from tools.dictionary import COLUMNS, EXPORTED, REJECTED, TABLES

TOP = Path(__file__).resolve().parent.parent
DOCS = TOP / "docs"
_REGION = re.compile(r"(<!-- made from the code: (?P<name>[\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def service_options() -> str:
    """The flags of the service with their variables."""
    rows = [
        [
            f"`{flag.name}`" + (f", `{flag.short}`" if flag.short else ""),
            "" if flag.name in ("--help", "--version") else f"`{flag.variable}`",
            f"`{flag.default}`" if flag.default else "",
            flag.meaning,
        ]
        for flag in commands.outputd().flags
    ]
    return table(("flag", "environment variable", "default", "meaning"), rows)


def options_of(command: Callable[[], commands.Command]) -> Callable[[], str]:
    """The flags of another command."""

    def made() -> str:
        rows = [
            [f"`{flag.name}`", f"`{flag.default}`" if flag.default else "", flag.meaning] for flag in command().flags
        ]
        return table(("flag", "default", "meaning"), rows)

    return made


def metrics() -> str:
    """Every metric of /metrics."""
    made = Metrics(Stats(rejected=cast(Any, {"ip": 0})))
    made.show_doors({"results": Doors("the port for results", lambda: 0.0)})
    made.show_archive(None)
    made.show_webhook(None)
    nobody = [cast(Any, None)] * len(inspect.signature(gauges).parameters)  # they are read only when somebody scrapes
    made.show({name: (text, lambda: 0.0) for name, (text, _) in gauges(*nobody).items()})
    return table(("metric", "type", "labels", "meaning"), sorted(_families(made.text().decode())))


def _families(text: str) -> Iterable[list[str]]:
    kinds = dict(re.findall(r"(?m)^# TYPE (\S+) (\w+)$", text))
    for name, meaning in re.findall(r"(?m)^# HELP (\S+?(?<!_created)) (.*)$", text):
        labels = {
            label
            for sample in re.findall(rf"(?m)^{name}(?:_bucket)?\{{(.*)\}} ", text)
            for label in re.findall(r'(\w+)="', sample)
        }
        yield [f"`{name}`", kinds[name], ", ".join(f"`{label}`" for label in sorted(labels)), meaning]


def checks() -> str:
    """The checks of /health."""
    rows = [
        [
            f"`{check.name}`", check.what, ", ".join(check.statuses),
            ", ".join(f"`{figure}`" for figure in (*check.always, *check.at_times)),
        ]
        for check in (*DECLARED, NAMES)
    ]  # fmt: skip
    return table(("check", "says", "can be", "figures"), rows)


def schema_of(package: str) -> Callable[[], str]:
    """The data dictionary of one kind of database."""

    def made() -> str:
        newest = max((TOP / "outputd" / package / "schema").glob("[0-9].sql"))
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(newest.read_text(encoding="utf-8"))
            return "\n".join(_table_of(db, package, name) for name in _names(db))

    return made


def _names(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")]


def _table_of(db: sqlite3.Connection, package: str, name: str) -> str:
    rows = [
        [f"`{column}`", kind, "" if needed or is_key else "yes", _meaning(package, name, column)]
        for _, column, kind, needed, _, is_key in db.execute(f"PRAGMA table_info({name})")
    ]
    indexes = [
        ", ".join(f"`{column}`" for (column,) in db.execute(f"SELECT name FROM pragma_index_info('{index}')"))
        for _, index, _, origin, *_ in db.execute(f"PRAGMA index_list({name})")
        if origin == "c"
    ]
    ending = f"\nIndexes: {'; '.join(reversed(indexes))}.\n" if indexes else ""
    columns = table(("column", "type", "may be NULL", "meaning"), rows)
    return f"### `{name}`\n\n{TABLES[package].get(name, '')}\n\n{columns}{ending}"


def _meaning(package: str, name: str, column: str) -> str:
    try:
        return COLUMNS[package][name][column]
    except KeyError:
        raise SystemExit(f"tools/dictionary.py does not say what {name}.{column} of {package} means") from None


def columns_of_export() -> str:
    """What is exported of a result."""
    rows = [
        [f"`{name}`", kind, "yes" if is_optional else "", f"`{json}`" if json else "", meaning]
        for name, (kind, is_optional, json, meaning) in EXPORTED.items()
    ]
    return table(("Parquet", "type", "may be null", "NDJSON", "meaning"), rows)


def columns_of_rejected() -> str:
    """What the archive has of an item that was rejected."""
    return table(("column", "type", "meaning"), [[f"`{name}`", *about] for name, about in REJECTED.items()])


def formats() -> str:
    """The formats of other tools that are read."""
    rows = [
        [f"`{reader.name}`", ", ".join(f"`{kind}`" for kind in reader.media_types), reader.signature]
        for reader in READERS
    ]
    return table(("`format`", "media type", "told by"), rows)


REGIONS: dict[str, Callable[[], str]] = {
    "options of outputd": service_options,
    "options of outputd-send": options_of(commands.send),
    "options of outputd-restore": options_of(commands.restore),
    "options of outputd-merge": options_of(commands.merge),
    "options of outputd-export": options_of(commands.export),
    "columns of an export": columns_of_export,
    "columns of rejected items": columns_of_rejected,
    "formats": formats,
    "metrics": metrics,
    "checks": checks,
    "tables of a result file": schema_of("store"),
    "tables of the ledger": schema_of("ledger"),
    "operations": openapi.operations,
    "schemas": openapi.schemas,
}


def updated(page: str) -> str:
    """The text of a page with its regions made anew."""
    return _REGION.sub(lambda found: f"{found[1]}\n{REGIONS[found['name']]()}\n{found[3]}", page)


def main() -> None:
    """Write the pages that have changed."""
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        if (after := updated(before)) != before:
            path.write_text(after, encoding="utf-8")
            print(path.relative_to(TOP))


if __name__ == "__main__":
    main()
