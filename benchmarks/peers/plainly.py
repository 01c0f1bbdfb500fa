"""The chain in plain Polars and Parquet: a partition computed from what it reads, and nothing else.

Belongs here: reading deliveries, running a declared transform on the partitions that it reads, one Parquet file per
partition. Used by the contenders on Dagster and by the rebuild that everybody's content is compared with. Does not
belong here: when to compute what. Invariant: no check, version, archive or ledger takes part.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from sh_core.columns import FILE, LINE
from sh_core.graph import Graph
from sh_core.mapping import mapped
from sh_core.partitions import WHOLE
from sh_core.table import Table

Read = Callable[[str, str], pl.LazyFrame | None]
"""Rows of an upstream table's partition; None if there is no such partition."""


def partitions_of(graph: Graph) -> Iterator[tuple[Table, str]]:
    """Every partition of the chain, inputs first."""
    for table in graph.tables:
        for key in table.partitions.keys():  # noqa: SIM118  # no mapping
            yield table, key


def delivered(landing: Path, table: Table, key: str) -> Path:
    """The file that a raw table's partition comes from."""
    if table.feed is None:
        raise AssertionError(table)
    return landing / table.feed.name / table.feed.expected_file(key)


def compute(graph: Graph, table: Table, key: str, landing: Path, read: Read) -> pl.DataFrame:
    """The rows of one partition: its contract's columns, and file and line of raw tables."""
    if table.transform is None:
        rows = pl.read_csv(delivered(landing, table, key), infer_schema=False)
        period = [] if key == WHOLE else [pl.lit(date.fromisoformat(key)).alias("date")]
        named = rows.with_row_index(LINE, 2).with_columns(pl.col(LINE).cast(pl.Int64), pl.lit(key).alias(FILE), *period)
        return named.select(*table.contract.columns, FILE, LINE)
    handed = {}
    for given in table.inputs:
        upstream = graph[given.table]
        keys = mapped(given.window, table.partitions, upstream.partitions, key, datetime.now(UTC))
        frames = [rows for rows in (read(given.table, k) for k in keys) if rows is not None]
        handed[given.name] = pl.concat(frames)
    computed = table.transform(**handed).select(table.contract.columns)
    return computed.collect()


def content_version(table: Table, rows: pl.DataFrame) -> str:
    """A hash of the rows in any order."""
    seen = rows.select(table.contract.columns)
    return hashlib.sha256(seen.sort(seen.columns).write_csv().encode()).hexdigest()


class Parquets:
    """One Parquet file per partition, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, table: str, key: str) -> Path:
        return self._folder / table / f"{key}.parquet"

    def write(self, table: str, key: str, rows: pl.DataFrame) -> None:
        """Replace a partition."""
        path = self._path(table, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(path)

    def read(self, table: str, key: str) -> pl.LazyFrame | None:
        """A partition; None if it was never written."""
        path = self._path(table, key)
        return pl.scan_parquet(path) if path.is_file() else None
