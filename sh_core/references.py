"""References: values that must occur as the key of another table.

Belongs here: finding the partitions in which too many do not. Does not belong here: the declaration
(``contract.Reference``), reading the other table (``sh_resources.inputs``). Invariant: a breach speaks of the partition
as a whole; no row is ever set aside because another table is behind.
"""

from collections.abc import Collection, Mapping

import polars as pl

from sh_core.columns import FILE, LINE
from sh_core.contract import Reference
from sh_core.masking import MASK, sample
from sh_core.verdict import SAMPLE_ROWS, Level, RuleBreach

_LINEAGE = [FILE, LINE]
_PARTITION = "_sh_partition"


def unmatched(
    reference: Reference, returned: Mapping[str, pl.DataFrame], known: pl.DataFrame, pii: Collection[str]
) -> dict[str, RuleBreach]:
    """Find the partitions in which too many rows refer to a key that is not there: one pass over all of them.

    Args:
        reference: What refers to what, and how much may be missing.
        returned: Per partition, what the transform returned.
        known: The keys that are there: columns in the order of the other table's key.
        pii: Columns to mask in the sample.

    Returns:
        A breach of the reference's rule, with a sample of the rows, for each partition that breaks it. A missing or
        wrongly typed column is not judged here (rule ``schema``).
    """
    columns = list(reference.columns)
    judged = {p: rows for p, rows in returned.items() if [rows.schema.get(c) for c in columns] == known.dtypes}
    if not judged:
        return {}
    rows = pl.concat([rows.select(pl.lit(p).alias(_PARTITION), *columns) for p, rows in judged.items()])
    lost = rows.drop_nulls(columns).join(known, left_on=columns, right_on=known.columns, how="anti")
    return {
        partition: _breach(reference, judged[partition], known, pii)
        for partition, count in lost.group_by(_PARTITION).len().iter_rows()
        if count / judged[partition].height > reference.max_missing
    }


def _breach(reference: Reference, rows: pl.DataFrame, known: pl.DataFrame, pii: Collection[str]) -> RuleBreach:
    columns = list(reference.columns)
    lost = rows.drop_nulls(columns).join(known, left_on=columns, right_on=known.columns, how="anti")
    order = [c for c in _LINEAGE if c in lost.columns] or columns
    lost = lost.sort(order, nulls_last=True)
    values = _shown(lost.row(0, named=True), columns, pii)
    detail = f"{lost.height} of {rows.height} rows refer to a key that {reference.table} lacks, e.g. {values}"
    shown = sample(lost.head(SAMPLE_ROWS), frozenset(pii))
    return RuleBreach(reference.rule.name, Level.TABLE, 1, detail, shown)


def _shown(row: Mapping[str, object], columns: list[str], pii: Collection[str]) -> str:
    return " ".join(MASK if column in pii else str(row[column]) for column in columns)
