"""Numbers of nodes, by which the summary says who saw something, and the names behind them.

They are named in Python, a page at once: to unite lists, SQLite takes them apart in several times that.
"""

from __future__ import annotations

import msgspec

from outputd.queries.session import Session

_LISTS = msgspec.json.Decoder(list[set[int]]).decode
_PAIRS = msgspec.json.Decoder(list[tuple[int, str]]).decode
_PAIRS_OF = """
SELECT json_group_array(json_array(id, node)) FROM {names} WHERE id IN (SELECT value FROM json_each(:numbers))
"""


def named(session: Session, lists: str, names: str) -> str:
    """Lists of numbers, in JSON, as lists of names, each in order: `[[2,1,2]]` becomes `[["a","b"]]`.

    `names` is the table that has them.
    """
    each = _LISTS(lists)
    numbers = msgspec.json.encode(set().union(*each)).decode()
    name_of = dict(_PAIRS(session.value(_PAIRS_OF.format(names=names), {"numbers": numbers})))
    return msgspec.json.encode([sorted(map(name_of.__getitem__, some)) for some in each]).decode()
