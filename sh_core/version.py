"""Versions: the content of a partition as a hash, per column and as a root.

Belongs here: what makes two partitions equal, in one piece, in batches or many at once. Does not belong here: how one
cell is hashed (``cells_sh1``), or what a version is compared with (``trace``). Invariant: equal versions mean the same
rows (in any order), the same column names and the same logical types; how the rows were batched never shows.

Per column the hashes of (primary key, value) are added up, so that batches merge and order does not count, while two
rows that exchange a value, or one that occurs twice, do. Columns of the framework (``columns.is_system``) never count.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from sh_core.cells_sh1 import NOTHING, Cells, Lanes, hash_column, mix
from sh_core.columns import is_system
from sh_core.errors import DeclarationError
from sh_core.fingerprint import fingerprint

ALGORITHMS: Mapping[str, Callable[[pl.Series], Cells]] = {"sh1": hash_column}
"""How one column becomes cells, by tag. Entries are only ever added: a recorded version names the one that made it."""

CURRENT = "sh1"
"""The algorithm of new versions."""


@dataclass(frozen=True)
class Version:
    """Content version of one partition.

    Attributes:
        root: ``sh1-<32 hex digits>``: the whole content; the same as ``of`` all columns.
        columns: Per column ``sh1-<32 hex digits>``. Without a primary key a row is its own key, so that a change of any
            cell shows in every column.
        key: Primary-key columns, sorted.
        rows: Row count.
        marks: Of which placeholders it is made, sorted; none where all of it is real. They are part of the root and of
            every digest: the truth is never equal to what stood in for it.
    """

    root: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    rows: int
    marks: tuple[str, ...] = ()

    def of(self, columns: Iterable[str]) -> str:
        """Digest of exactly these columns plus the key, ``sh1-<32 hex digits>``, whatever their order.

        Columns of the framework are passed over, as everywhere.

        Raises:
            DeclarationError: If the partition has no such column.
        """
        wanted = {c for c in columns if not is_system(c)} | set(self.key)
        _require(wanted, self.columns, "the version was asked for")
        algorithm, _, _ = self.root.partition("-")
        return with_marks(_root(algorithm, {c: self.columns[c] for c in wanted}, self.key, self.rows), self.marks)

    def marked(self, marks: Iterable[str]) -> "Version":
        """The version of the same rows as content that rests on placeholders."""
        ordered = tuple(sorted(set(marks)))
        algorithm, _, _ = self.root.partition("-")
        return replace(
            self, root=with_marks(_root(algorithm, self.columns, self.key, self.rows), ordered), marks=ordered
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives the same version back."""
        said = {"root": self.root, "columns": dict(self.columns), "key": list(self.key), "rows": self.rows}
        return {**said, "marks": list(self.marks)} if self.marks else said

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Version":
        """The version that ``to_json`` wrote."""
        marks = tuple(value.get("marks", ()))
        return cls(value["root"], dict(value["columns"]), tuple(value["key"]), value["rows"], marks)


class ColumnSum(NamedTuple):
    """What is known of one column so far.

    Attributes:
        family: Its logical type (see ``cells_sh1.Cells``).
        lanes: Sums, modulo 2^64, of its rows' hashes in two independent lanes.
    """

    family: str
    lanes: tuple[int, int]


@dataclass(frozen=True)
class PartialVersion:
    """The part of a version that one batch of a partition contributes.

    Parts merge in any order and grouping; ``PartialVersion()`` changes nothing.

    Attributes:
        key: Primary-key columns, sorted.
        rows: Row count.
        columns: Per column its sum.
        algorithm: Key of ``ALGORITHMS``.
    """

    key: tuple[str, ...] = ()
    rows: int = 0
    columns: Mapping[str, ColumnSum] = field(default_factory=dict)
    algorithm: str = CURRENT

    def merge(self, other: "PartialVersion") -> "PartialVersion":
        """The part that both batches contribute together.

        Raises:
            DeclarationError: If they cannot be batches of one table: other columns, types, key or algorithm.
        """
        for nothing, part in ((self, other), (other, self)):
            if not nothing.rows and not nothing.columns:
                return part
        if (self.algorithm, self.key, self.columns.keys()) != (other.algorithm, other.key, other.columns.keys()):
            said = "; ".join(f"{p.algorithm}, {p.key}, {sorted(p.columns)}" for p in (self, other))
            msg = f"batches of one partition must agree on algorithm, key and columns: {said}"
            raise DeclarationError(msg)
        columns = {name: _add(name, mine, other.columns[name]) for name, mine in self.columns.items()}
        return PartialVersion(self.key, self.rows + other.rows, columns, self.algorithm)

    def finish(self) -> Version:
        """The version, once every batch is merged."""
        columns = {
            name: _tagged(self.algorithm, "sh-column-1", (name, part.family, str(self.rows), *map(str, part.lanes)))
            for name, part in sorted(self.columns.items())
        }
        return Version(_root(self.algorithm, columns, self.key, self.rows), columns, self.key, self.rows)


@dataclass(frozen=True, eq=False)
class RowHashes:
    """Every cell of a frame, hashed once: for versions, and for whoever must tell rows apart.

    Attributes:
        key: Primary-key columns, sorted.
        keys: Per row the 128-bit hash of its primary key (of the whole row if there is none), shape (2, rows).
        rows: Per row the 128-bit hash of all its columns but the framework's, shape (2, rows).
        cells: Per column its cells.
        algorithm: Key of ``ALGORITHMS``.
    """

    key: tuple[str, ...]
    keys: Lanes
    rows: Lanes
    cells: Mapping[str, Cells]
    algorithm: str

    def digest(self) -> PartialVersion:
        """The part that all rows contribute to one partition."""
        return self.digest_groups(np.zeros(self.rows.shape[1], np.int64), 1)[0]

    def digest_groups(self, group: pl.Series | npt.NDArray[np.integer[Any]], n_groups: int) -> list[PartialVersion]:
        """The part that each group of rows contributes to its own partition.

        Args:
            group: Per row the index of its group, or a negative number to leave it out (a quarantined row, say),
                shape (rows,).
            n_groups: Number of groups; those without rows are there too.

        Returns:
            One part per group, in the order of their indices.
        """
        index = np.asarray(group, np.int64)
        kept = np.flatnonzero(index >= 0)
        index = index[kept]
        keys = self.keys[:, kept]
        sums: dict[str, list[ColumnSum]] = {}
        for name, cells in self.cells.items():
            lanes = np.zeros((2, n_groups), np.uint64)
            for lane, addends in zip(lanes, mix(cells.lanes[:, kept] + keys), strict=True):
                np.add.at(lane, index, addends)
            sums[name] = [ColumnSum(cells.family, pair) for pair in zip(*lanes.tolist(), strict=True)]
        counts = np.bincount(index, minlength=n_groups).tolist()
        return [
            PartialVersion(self.key, count, {name: column[g] for name, column in sums.items()}, self.algorithm)
            for g, count in enumerate(counts)
        ]


def row_hashes(frame: pl.DataFrame, key: Sequence[str], *, algorithm: str = CURRENT) -> RowHashes:
    """Hash every cell of a frame; rows, columns and key may come in any order.

    Args:
        frame: Rows of any number of partitions.
        key: Primary-key columns; empty if there is none.
        algorithm: Key of ``ALGORITHMS``.

    Raises:
        DeclarationError: If a key column is missing or a column's type has no canonical content.
    """
    hashed = ALGORITHMS[algorithm]
    cells = {column.name: hashed(column) for column in frame if not is_system(column.name)}
    _require(key, cells, "the primary key names")
    rows = _together(cells.values(), frame.height)
    keys = _together((cells[c] for c in key), frame.height) if key else rows
    return RowHashes(tuple(sorted(key)), keys, rows, cells, algorithm)


def digest(frame: pl.DataFrame, key: Sequence[str]) -> PartialVersion:
    """The part that a batch of one partition contributes to its version; see ``row_hashes``."""
    return row_hashes(frame, key).digest()


def digest_groups(
    frame: pl.DataFrame, key: Sequence[str], group: pl.Series | npt.NDArray[np.integer[Any]], n_groups: int
) -> list[PartialVersion]:
    """The parts that a batch of many partitions contributes; see ``row_hashes`` and ``RowHashes.digest_groups``."""
    return row_hashes(frame, key).digest_groups(group, n_groups)


def with_marks(digest: str, marks: tuple[str, ...]) -> str:
    """A digest of content that rests on placeholders; without any the digest itself."""
    algorithm, _, _ = digest.partition("-")
    return _tagged(algorithm, "sh-marked-1", (digest, *marks)) if marks else digest


def _together(cells: Iterable[Cells], rows: int) -> Lanes:
    # Each column brings its own seeds, so the order in which they are added up is of no account.
    lanes = np.zeros((2, rows), np.uint64)
    for column in cells:
        lanes += column.lanes
    return mix(lanes)


def _add(name: str, a: ColumnSum, b: ColumnSum) -> ColumnSum:
    families = {a.family, b.family} - {NOTHING} or {NOTHING}
    if len(families) > 1:
        msg = f"column {name!r} is {a.family} in one batch and {b.family} in another"
        raise DeclarationError(msg)
    return ColumnSum(families.pop(), ((a.lanes[0] + b.lanes[0]) % 2**64, (a.lanes[1] + b.lanes[1]) % 2**64))


def _require(wanted: Iterable[str], columns: Mapping[str, object], who: str) -> None:
    missing = sorted(set(wanted) - columns.keys())
    if missing:
        msg = f"{who} {', '.join(missing)}, but the columns are {', '.join(sorted(columns))}"
        raise DeclarationError(msg)


def _root(algorithm: str, columns: Mapping[str, str], key: tuple[str, ...], rows: int) -> str:
    named = (text for name in sorted(columns) for text in (name, columns[name]))
    return _tagged(algorithm, "sh-root-1", (str(rows), str(len(key)), *key, *named))


def _tagged(algorithm: str, purpose: str, texts: Iterable[str]) -> str:
    return f"{algorithm}-{fingerprint(purpose, texts).hex()}"
