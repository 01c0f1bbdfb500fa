"""Inputs: what a transform is handed, and the trace of exactly that.

Belongs here: finding and reading the upstream partitions that a declaration means, limited to its columns plus key, and
to looked-up rows where it says so. Does not belong here: the declarations (``sh_core.inputs``), running the transform
(``computing``). Invariant: a transform sees nothing that its trace does not record, and the versions in the trace are
those of the files that were read, not of whatever is current a moment later.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from sh_core.columns import LINEAGE
from sh_core.errors import StoreError
from sh_core.inputs import Input
from sh_core.reading import Reading, handed_over, usable, wanted
from sh_core.table import Table
from sh_core.trace import Read
from sh_core.version import Version, digest_groups, with_marks
from sh_resources.ledger import Ledger
from sh_resources.partition_files import DataFile
from sh_resources.store import Store

Frames = Mapping[str, pl.DataFrame]
"""Rows per argument of a transform."""


@dataclass(frozen=True, eq=False)
class Picked:
    """The looked-up rows of one input, for many partitions.

    Attributes:
        rows: Those of the first (partition, input partition), then those of the second, and so on.
        spans: Where in ``rows`` those of each (partition, input partition) are: start and height.
        digests: The version of exactly these rows.
    """

    rows: pl.DataFrame
    spans: Mapping[tuple[str, str], tuple[int, int]]
    digests: Mapping[tuple[str, str], str]


@dataclass(frozen=True, eq=False)
class Sighting:
    """What the inputs of some partitions of a table are at one moment.

    Attributes:
        reading: What they would read.
        store: Where the rows are.
        files: Per input table, per partition that has something published: its file.
        missing: Per partition that cannot be computed now: what is not there, in words.
        picked: Per argument that is looked up, its rows.
    """

    reading: Reading
    store: Store
    files: Mapping[str, Mapping[str, DataFile]]
    missing: Mapping[str, tuple[str, ...]]
    picked: dict[str, Picked] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The table to compute."""
        return self.reading.table

    @property
    def upstream(self) -> Mapping[str, Table]:
        """Its input tables by name."""
        return self.reading.upstream

    @property
    def wanted(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Per argument, per partition to compute, the input partitions that it reads."""
        return self.reading.wanted

    def reads(self, partition: str) -> frozenset[Read]:
        """The part of a trace that says what one partition's transform is handed."""
        return self.reading.reads(partition, lambda given, key, p: self.picked[given.name].digests[key, p])

    def load(self, partitions: Collection[str], only: Collection[Input] | None = None) -> dict[str, Frames]:
        """Read the inputs of many partitions, each file once.

        Args:
            partitions: Partitions to compute.
            only: Which of the inputs; None reads all.

        Returns:
            Per partition, per argument (and per table that is consulted), the rows with the columns of ``handed_over``.

        Raises:
            StoreError: If a file does not hold as many rows as were published in it.
        """
        loaded: dict[str, dict[str, pl.DataFrame]] = {key: {} for key in partitions}
        for given in self.table.reads if only is None else only:
            picked = self.picked.get(given.name)
            if picked is not None:
                for key in partitions:
                    slices = [picked.rows.slice(*picked.spans[key, p]) for p in self.reading.present(given, key)]
                    loaded[key][given.name] = _joined(slices, picked.rows)
            else:
                source = self.upstream[given.table]
                columns = handed_over(given, source)
                if self.table.keeps_lineage and given in self.table.inputs:
                    columns += LINEAGE
                for key, frame in self._load(given, columns, partitions).items():
                    loaded[key][given.name] = frame
        return dict(loaded)

    def _load(self, given: Input, columns: Sequence[str], partitions: Collection[str]) -> dict[str, pl.DataFrame]:
        """Per partition all rows of one input."""
        present = {key: self.reading.present(given, key) for key in partitions}
        needed = list(dict.fromkeys(p for found in present.values() for p in found))
        rows, spans = self.read(given.table, needed, columns)
        return {key: _joined([rows.slice(*spans[p]) for p in found], rows) for key, found in present.items()}

    def read(
        self, name: str, partitions: Sequence[str], columns: Sequence[str]
    ) -> tuple[pl.DataFrame, dict[str, tuple[int, int]]]:
        """Rows of published partitions of an input table, and where those of each one start and how many they are.

        Raises:
            StoreError: If a file cannot be read, or does not hold as many rows as were published in it.
        """
        files = [self.files[name][p] for p in partitions]
        try:
            rows = self.store.table(self.upstream[name]).scan(files, columns).collect()
        except (OSError, pl.exceptions.PolarsError) as lost:
            msg = f"{name}: one of its files, of {partitions[0]} to {partitions[-1]}, cannot be read: {lost}"
            raise StoreError(msg) from lost
        heights = [file.rows for file in files]
        if rows.height != sum(heights):
            msg = f"{name}: its files hold {rows.height} rows, which is not what its log says of them"
            raise StoreError(msg)
        starts = np.cumsum([0, *heights]).tolist()  # a scan keeps the order of files
        return rows, {p: (starts[i], heights[i]) for i, p in enumerate(partitions)}


def look(
    table: Table,
    upstream: Mapping[str, Table],
    store: Store,
    ledger: Ledger,
    keys: Collection[str],
    now_utc: datetime,
) -> Sighting:
    """See what some partitions of a table would be computed from.

    Args:
        table: The table to compute.
        upstream: Its input tables by name, those that its contract consults included.
        store: Where tables are.
        ledger: Where their versions are known.
        keys: Partitions to compute.
        now_utc: Up to when partitions of a set without end are declared.
    """
    mapped = wanted(table, upstream, keys, now_utc)
    files: dict[str, dict[str, DataFile]] = {}
    versions: dict[str, dict[str, Version]] = {}
    for name, source in upstream.items():
        asked = {p for given in table.reads if given.table == name for ps in mapped[given.name].values() for p in ps}
        found = store.table(source).files(asked)
        # Committed but not yet confirmed: its run is between the two steps, or died there and is recovered by the next
        # claim. Until then it is treated as not there, so that no trace ever names a version that the ledger may lack.
        known = ledger.publications.versions(name, [f.path for f in found.values()])
        files[name] = {p: f for p, f in found.items() if f.path in known and usable(table, source, known[f.path])}
        versions[name] = {p: known[f.path] for p, f in files[name].items()}
    reading = Reading(table, upstream, mapped, versions)
    missing = {key: gap for key in keys if (gap := reading.missing(key))}
    sighting = Sighting(reading, store, files, missing)
    ready = [key for key in keys if key not in missing]
    for given in table.inputs:
        if given.lookup is not None:
            sighting.picked[given.name] = pick(sighting, given, ready)
    return sighting


def _joined(slices: Sequence[pl.DataFrame], like: pl.DataFrame) -> pl.DataFrame:
    """Rows one after the other; none, if nothing of what may be missing is there."""
    return slices[0] if len(slices) == 1 else pl.concat(slices) if slices else like.clear()


_KEY, _PARTITION, _PAIR, _ROW = "_sh_key", "_sh_partition", "_sh_pair", "_sh_row"
"""Columns beside the user's while rows are looked up: the partition to compute, the input partition, both together, and
the looked-up row."""


def pick(sighting: Sighting, given: Input, keys: Sequence[str]) -> Picked:
    """The looked-up rows of one input, for partitions whose inputs are all there: one pass over all of them."""
    source = sighting.upstream[given.table]
    columns = handed_over(given, source)
    present = {key: sighting.reading.present(given, key) for key in keys}
    pairs = [(key, p) for key in keys for p in present[key]]
    needed = list(dict.fromkeys(p for _, p in pairs))
    rows, spans = sighting.read(given.table, needed, columns)
    rows = rows.with_columns(_numbered(_PARTITION, [spans[p][1] for p in needed]))
    rows = rows.sort(_PARTITION, *source.contract.key).with_row_index(
        _ROW
    )  # so that numbers are sorted below, not keys
    occurring = _occurring(sighting, given, keys)
    found = (
        occurring.join(_paired(pairs, keys, needed).with_row_index(_PAIR), on=_KEY)
        .join(rows, on=[_PARTITION, *source.contract.key])
        .sort(_PAIR, _ROW)
    )
    group = found[_PAIR]
    found = found.select(columns)
    heights = np.bincount(group.to_numpy(), minlength=len(pairs)).tolist()
    starts = np.cumsum([0, *heights]).tolist()
    digests = digest_groups(found, source.contract.key, group, len(pairs))
    return Picked(
        rows=found,
        spans={pair: (starts[i], heights[i]) for i, pair in enumerate(pairs)},
        digests={
            pair: with_marks(digest.finish().root, sighting.reading.versions[given.table][pair[1]].marks)
            for pair, digest in zip(pairs, digests, strict=True)
        },
    )


def _occurring(sighting: Sighting, given: Input, keys: Sequence[str]) -> pl.DataFrame:
    """Per partition to compute, every key of the looked-up table that occurs in the driving columns.

    Under the names of that key, so that nothing of the driver can be taken for a column of the looked-up table.
    """
    lookup, key_columns = given.lookup, sighting.upstream[given.table].contract.key
    driving = next(i for i in sighting.table.inputs if lookup is not None and i.name == lookup.driver)
    on = dict(zip(key_columns, lookup.columns if lookup is not None else (), strict=True))
    pairs = [(key, p) for key in keys for p in sighting.reading.present(driving, key)]
    needed = list(dict.fromkeys(p for _, p in pairs))
    rows, spans = sighting.read(driving.table, needed, list(dict.fromkeys(on.values())))
    # Each input partition once, however many windows hold it.
    once = rows.select(
        _numbered(_PARTITION, [spans[p][1] for p in needed]), *(pl.col(c).alias(k) for k, c in on.items())
    )
    once = once.drop_nulls().unique()
    return once.join(_paired(pairs, keys, needed), on=_PARTITION).drop(_PARTITION).unique()


def _paired(pairs: Sequence[tuple[str, str]], keys: Sequence[str], needed: Sequence[str]) -> pl.DataFrame:
    """Which partition to compute reads which input partition, each by its place."""
    place, number = {p: i for i, p in enumerate(needed)}, {key: i for i, key in enumerate(keys)}
    return pl.DataFrame(
        {_KEY: [number[key] for key, _ in pairs], _PARTITION: [place[p] for _, p in pairs]},
        schema={_KEY: pl.UInt32(), _PARTITION: pl.UInt32()},
    )


def _numbered(name: str, heights: Sequence[int]) -> pl.Series:
    """0 as often as the first height says, then 1, and so on."""
    return pl.Series(name, np.repeat(np.arange(len(heights), dtype=np.uint32), heights), pl.UInt32())
