"""Labels: what an instance knows of an address beside its results, as further columns of an answer that has addresses.

They are looked up for the rows of a page, once an answer for each address. SQLite joins them while it makes the text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outputd.naming.naming import AS_NAME, ASN, NAME, Naming
from outputd.queries.question import Addresses, Question
from outputd.queries.session import Session
from outputd.queries.tables import ROWS_A_PAGE, Column, Row, Table
from outputd.web.shapes import Schema, count, or_null, text

SCHEMAS: Mapping[str, Schema] = {
    ASN: or_null(count("number of the network (autonomous system) that it belongs to", least=1)),
    AS_NAME: or_null(text("name of that network")),
    NAME: or_null(text("its name in the DNS, as last looked up")),
}
MOST_REMEMBERED = 20_000
"""Addresses that one answer remembers at a time."""
_SCRATCH = """
CREATE TEMP TABLE IF NOT EXISTS label (ip PRIMARY KEY, asn, as_name, name) WITHOUT ROWID;
"""


class Labels:
    """What is known of the addresses in these columns of temp.answer."""

    def __init__(self, session: Session, naming: Naming, addresses: Sequence[Addresses]) -> None:
        self._session = session
        self._naming = naming
        self._addresses = addresses
        self._remembered = 0
        session.run(_SCRATCH)

    @property
    def columns(self) -> Sequence[Column]:
        """The further columns."""
        return labelled(self._naming.labels, self._addresses)

    @property
    def members(self) -> str:
        """SQL of further members of a json_object, each behind a comma: the labels of the address `ip`."""
        return "".join(f", '{name}', (SELECT {name} FROM temp.label l WHERE l.ip = answer.ip)"
                       for name in self._naming.labels)  # fmt: skip

    def show(self) -> None:
        """Make temp.shown, which is temp.answer with the further columns."""
        further, joins = [], []
        for number, each in enumerate(self._addresses):
            for name in self._naming.labels:
                value = f"l{number}.{name}"
                if each.are_lists:
                    value = f"""(SELECT json_group_array(label) FROM (
                      SELECT l.{name} AS label FROM json_each(a."{each.column}") j
                      LEFT JOIN temp.label l ON l.ip = {each.each} ORDER BY j.key
                    ))"""
                further.append(f'{value} AS "{each.prefix}{name}"')
            if not each.are_lists:
                joins.append(f'LEFT JOIN temp.label l{number} ON l{number}.ip = a."{each.column}"')
        self._session.execute(
            f"CREATE TEMP VIEW shown AS SELECT a.rowid AS rowid, a.*, {', '.join(further)}"
            f" FROM temp.answer a {' '.join(joins)}"
        )

    def prepare(self, after: int) -> None:
        """Look up the addresses of the page above this rowid, and forget others when there are many."""
        if self._remembered > MOST_REMEMBERED:
            self._session.execute("DELETE FROM temp.label")
            self._remembered = 0
        self._learn_rows(after)

    def learn_all(self, ip: str) -> None:
        """Look up this address, and those of all rows, which are numbered from 1."""
        self._learn([ip])
        for after in range(0, self._session.value("SELECT count(*) FROM temp.answer"), ROWS_A_PAGE):
            self._learn_rows(after)

    def _learn_rows(self, after: int) -> None:
        columns = ", ".join(f'"{each.column}"' for each in self._addresses)
        page = f"SELECT {columns} FROM temp.answer WHERE rowid > :after ORDER BY rowid LIMIT {ROWS_A_PAGE}"
        each = " UNION ".join(
            f'SELECT {each.each} AS ip FROM page CROSS JOIN json_each("{each.column}") j' if each.are_lists else
            f'SELECT "{each.column}" AS ip FROM page' for each in self._addresses
        )  # fmt: skip
        rows = self._session.execute(
            f"WITH page AS MATERIALIZED ({page}) SELECT ip FROM ({each})"
            " WHERE ip IS NOT NULL AND ip NOT IN (SELECT ip FROM temp.label)", {"after": after},
        )  # fmt: skip
        self._learn([ip for (ip,) in rows])

    def _learn(self, ips: Sequence[str]) -> None:
        origins = self._naming.origins
        of = dict.fromkeys(ips) if origins is None else {ip: origins.of(ip) for ip in ips}
        names = self._names(ips)
        labels = [(ip, *(origin or (None, None)), names.get(ip)) for ip, origin in of.items()]
        self._session.execute(
            "INSERT OR IGNORE INTO temp.label"
            " SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:labels)",
            {"labels": msgspec.json.encode(labels).decode()},
        )
        self._remembered += len(labels)

    def of(self, ip: str) -> Row:
        """The labels of one address that was looked up."""
        names = self._naming.labels
        row = self._session.row(f"SELECT {', '.join(names)} FROM temp.label WHERE ip = :ip", {"ip": ip})
        return dict(zip(names, row, strict=True))

    def _names(self, ips: Sequence[str]) -> Mapping[str, str | None]:
        """The names that are known. Those that are not, or were looked up long ago, are wanted."""
        naming = self._naming
        if naming.lookups is None:
            return {}
        known: dict[str, Any] = {}
        try:
            with self._session.attached(naming.names, "n"):
                rows = self._session.execute(
                    "SELECT n.ip, n.name, n.again_at FROM json_each(:ips) j CROSS JOIN n.name n WHERE n.ip = j.value",
                    {"ips": msgspec.json.encode(ips).decode()},
                )
                known = {ip: (name, again_at) for ip, name, again_at in rows}
        except sqlite3.Error:  # not there yet, or damaged: its writer finds that out
            pass
        naming.look_up([ip for ip in ips if ip not in known or naming.is_due(known[ip][1])])
        return {ip: name for ip, (name, _) in known.items()}


def labelled(labels: Sequence[str], addresses: Sequence[Addresses]) -> Sequence[Column]:
    """The further columns that an answer has for its addresses where these labels are known."""
    return [Column(each.prefix + name, _schema_of(name, each)) for each in addresses for name in labels]


def _schema_of(name: str, addresses: Addresses) -> Schema:
    if not addresses.are_lists:
        return SCHEMAS[name]
    what = f"{SCHEMAS[name]['description']}: of each of `{addresses.column}`, in its order"
    return {"type": "array", "items": SCHEMAS[name], "description": what}


def label(table: Table, question: Question[Any], naming: Naming) -> None:
    """Give an answer the further columns, if it has addresses."""
    if not question.addresses:
        return
    labels = Labels(table.session, naming, question.addresses)
    labels.show()
    table.columns = (*table.columns, *labels.columns)
    table.source = "temp.shown"
    table.prepare = labels.prepare


def schemas_with(labels: Sequence[str], question: Question[Any]) -> Mapping[str, Schema]:
    """The schemas of a question, with the further members of the objects that have addresses."""
    further = {column.name: column.schema for column in labelled(labels, question.addresses)}
    if not further:
        return question.schemas
    return {
        name: schema if name not in (question.row, *question.labelled) else
        {**schema, "properties": {**schema["properties"], **further}, "required": [*schema["required"], *further]}
        for name, schema in question.schemas.items()
    }  # fmt: skip
