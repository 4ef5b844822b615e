"""What an engine reads in an archive: `python tests/system/engines.py ENGINE ENDPOINT PATH KEY SECRET`, by any Python.

A line for each result: instance, id, target, and the MD5 of what was measured (`tests.system.shipments.words` says it).
"""

from __future__ import annotations

import importlib
import importlib.resources
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_DUCKDB = """
SELECT instance, id, ip, md5(concat_ws('|', ip, sent, received, coalesce(avg_rtt_ns::VARCHAR, ''),
    epoch_us(timestamp) * 1000 + timestamp_ns, coalesce(error, ''), coalesce(traceroute.method, ''),
    coalesce(traceroute.completed::INT::VARCHAR, ''), coalesce(traceroute.error, ''),
    coalesce(array_to_string(list_transform(traceroute.hops, lambda hop: concat_ws(
        ':', hop.ttl, coalesce(hop.ip, ''), coalesce(hop.rtt_ns::VARCHAR, ''), hop.timeout::INT)), ','), '')))
FROM read_parquet('s3://{path}/results/*/*.parquet', hive_partitioning = true)
"""
_CLICKHOUSE = """
SELECT instance, id, ip, lower(hex(MD5(concatWithSeparator('|', ip, toString(sent), toString(received),
    ifNull(toString(avg_rtt_ns), ''), toString(toUnixTimestamp64Micro(timestamp) * 1000 + timestamp_ns),
    ifNull(error, ''), ifNull(traceroute.method, ''), ifNull(toString(toUInt8(traceroute.completed)), ''),
    ifNull(traceroute.error, ''),
    arrayStringConcat(arrayMap(hop -> concatWithSeparator(':', toString(hop.ttl), ifNull(hop.ip, ''),
        ifNull(toString(hop.rtt_ns), ''), toString(toUInt8(hop.timeout))), traceroute.hops), ',')))))
FROM s3('{endpoint}/{path}/results/*/*.parquet', '{key}', '{secret}', 'Parquet')
"""


def duckdb(endpoint: str, path: str, key: str, secret: str) -> Iterable[Sequence[Any]]:
    """By DuckDB and its httpfs."""
    (extension,) = importlib.resources.files("duckdb_extension_httpfs").joinpath("extensions").glob("*/*")  # type: ignore[attr-defined]  # it is a Path
    db = importlib.import_module("duckdb").connect()
    db.execute("SET enable_progress_bar = false")  # it is printed among the lines
    db.execute(f"LOAD '{extension}'")
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{endpoint.removeprefix('http://')}',"
        " URL_STYLE 'path', USE_SSL false)"
    )
    rows: Iterable[Sequence[Any]] = db.execute(_DUCKDB.format(path=path)).fetchall()
    return rows


def clickhouse(endpoint: str, path: str, key: str, secret: str) -> Iterable[Sequence[Any]]:
    """By the engine of ClickHouse, in chdb."""
    query = _CLICKHOUSE.format(endpoint=endpoint, path=path, key=key, secret=secret)
    answer = importlib.import_module("chdb").query(query, "TabSeparated")
    return [line.split("\t") for line in str(answer).splitlines()]


ENGINES = {"duckdb": duckdb, "clickhouse": clickhouse}

if __name__ == "__main__":
    for row in ENGINES[sys.argv[1]](*sys.argv[2:]):
        print(*row, sep="\t")
