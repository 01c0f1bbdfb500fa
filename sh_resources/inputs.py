"""Inputs: what a transform is handed, and the trace of exactly that.

Belongs here: reading mapped partitions of upstream tables, limited to the declared columns plus key. Does not belong
here: running the transform (``engine``). Invariant: a transform sees nothing that its trace does not record, and the
versions in the trace are those of the files that were read, not of whatever is current a moment later.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from sh_core.columns import LINEAGE
from sh_core.errors import StoreError
from sh_core.records import Snapshot
from sh_core.table import Input, Table
from sh_core.trace import Read
from sh_resources.delta import DataFile
from sh_resources.ledger import Ledger
from sh_resources.store import Store


@dataclass(frozen=True)
class Sighting:
    """The live partitions of a table's inputs at one moment.

    Attributes:
        files: Per input table, per partition that has something published: its file.
        snapshots: Per input table, per partition: the snapshot that the file is.
    """

    files: Mapping[str, Mapping[str, DataFile]]
    snapshots: Mapping[str, Mapping[str, Snapshot]]

    def missing(self, table: Table, partition: str) -> tuple[str, ...]:
        """Inputs of a partition that have nothing published, in words."""
        return tuple(f"{i.table}[{partition}]" for i in table.inputs if partition not in self.files[i.table])


def look(store: Store, ledger: Ledger, upstream: Mapping[str, Table], partitions: Collection[str]) -> Sighting:
    """See which input partitions are published.

    Args:
        store: Where tables are.
        ledger: Where their versions are known.
        upstream: Input tables by name.
        partitions: Partition keys wanted of each.
    """
    files, snapshots = {}, {}
    for name, table in upstream.items():
        live = store.table(table).state().files
        wanted = {p: live[p] for p in partitions if p in live}
        known = ledger.publications.by_path(name, [f.path for f in wanted.values()])
        # Committed but not yet confirmed: its run is between the two steps, or died there and is recovered by the next
        # claim. Until then it is treated as not there, so that no trace ever names a version that the ledger may lack.
        files[name] = {p: f for p, f in wanted.items() if f.path in known}
        snapshots[name] = {p: known[f.path] for p, f in files[name].items()}
    return Sighting(files, snapshots)


def reads(table: Table, upstream: Mapping[str, Table], sighting: Sighting, partition: str) -> frozenset[Read]:
    """The part of a trace that says what one partition's transform is handed.

    Args:
        table: The table to compute.
        upstream: Its input tables by name.
        sighting: What was seen; every input must be there.
        partition: Which partition.
    """
    found = set[Read]()
    for given in table.inputs:
        version = sighting.snapshots[given.table][partition].version
        columns = tuple(sorted(handed_over(given, upstream[given.table], lineage=False)))
        found.add(Read(given.table, partition, columns, version.of(columns)))
    return frozenset(found)


def handed_over(given: Input, source: Table, *, lineage: bool) -> list[str]:
    """Columns of an upstream table that a transform gets.

    Args:
        given: The input as declared.
        source: The upstream table.
        lineage: Whether file and line come along: for staged tables, which must pass them on. They are in no version,
        so no
            other transform may see them.

    Returns:
        The declared columns plus the key, or all of them, in the contract's order.
    """
    wanted = source.contract.columns if given.columns is None else {*given.columns, *source.contract.key}
    return [*(c for c in source.contract.columns if c in wanted), *(LINEAGE if lineage else ())]


def load(
    table: Table, upstream: Mapping[str, Table], store: Store, sighting: Sighting, partitions: Iterable[str]
) -> dict[str, dict[str, pl.DataFrame]]:
    """Read the inputs of many partitions, each file once.

    Returns:
        Per partition, per input table, the rows of that input partition with the columns of ``handed_over``.

    Raises:
        StoreError: If a file does not hold as many rows as were published in it.
    """
    keys = list(partitions)
    loaded: dict[str, dict[str, pl.DataFrame]] = {key: {} for key in keys}
    for given in table.inputs:
        source = upstream[given.table]
        wanted = handed_over(given, source, lineage=table.keeps_lineage)
        files = [sighting.files[given.table][key] for key in keys]
        rows = store.table(source).scan(files, wanted).collect()
        if rows.height != sum(file.rows for file in files):
            msg = f"{given.table}: its files hold {rows.height} rows, which is not what its log says of them"
            raise StoreError(msg)
        start = 0
        for key, file in zip(keys, files, strict=True):  # a scan keeps the order of files
            loaded[key][given.table] = rows.slice(start, file.rows)
            start += file.rows
    return loaded
