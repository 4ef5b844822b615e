"""Where rows of a result file stand that no index tells: ids of hops and batches rise with those of their results."""

from __future__ import annotations


def first_above(result: str, table: str, column: str, low: str | None = None) -> str:
    """SQL for the least id of a table whose rows from there on have a `column` above `result`, by bisection in C.

    `table` has its schema, `column` rises with the id (or is NULL), `low` is an id at or below the one that is sought.
    An id beyond the last one says that there is none, NULL that the table is empty.
    """
    middle = "((low + high) / 2)"
    owner = f"(SELECT {column} FROM {table} WHERE id >= {middle} AND {column} IS NOT NULL ORDER BY id LIMIT 1)"
    is_below = f"coalesce({owner} <= {result}, 0)"
    return (
        f"(WITH RECURSIVE span(low, high) AS (SELECT {low or f'(SELECT min(id) FROM {table})'},"
        f" (SELECT max(id) + 1 FROM {table}) UNION ALL"
        f" SELECT iif({is_below}, {middle} + 1, low), iif({is_below}, high, {middle}) FROM span WHERE low < high)"
        " SELECT low FROM span WHERE low >= high)"
    )


def first_hop(result: str, schema: str = "f") -> str:
    """SQL for the least id of the hops of this result and later ones."""
    return first_above(f"({result} - 1)", f"{schema}.traceroute_hops", "traceroute_id")


def batch_of(result: str, schema: str = "f") -> str:
    """SQL for the id of the batch that this result came in."""
    return first_above(f"({result} - 1)", f"{schema}.batches", "last_id")


NODES_OF_CHOSEN = f"""
(SELECT * FROM f.batches WHERE id >= {batch_of("(SELECT min(id) FROM temp.chosen)")}
   AND id <= {batch_of("(SELECT max(id) FROM temp.chosen)")}) b
CROSS JOIN temp.chosen c ON c.id BETWEEN b.first_id AND b.last_id
"""
"""SQL of a join: each chosen result of a file (temp.chosen c) with its batch (b)."""
