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


def unmatched(
    reference: Reference, returned: Mapping[str, pl.DataFrame], known: Mapping[str, pl.DataFrame], pii: Collection[str]
) -> dict[str, RuleBreach]:
    """Find the partitions in which too many rows refer to a key that is not there.

    Args:
        reference: What refers to what, and how much may be missing.
        returned: Per partition, what the transform returned.
        known: Per partition, the keys that are there: columns in the order of the other table's key.
        pii: Columns to mask in the sample.

    Returns:
        A breach of the reference's rule, with a sample of the rows, for each partition that breaks it.
    """
    breaches: dict[str, RuleBreach] = {}
    columns = list(reference.columns)
    for partition, frame in returned.items():
        keys = known[partition]
        if any(
            frame.schema.get(mine) != keys.schema[theirs] for mine, theirs in zip(columns, keys.columns, strict=True)
        ):
            continue  # a missing or wrongly typed column is not judged here (rule ``schema``)
        lost = frame.drop_nulls(columns).join(keys, left_on=columns, right_on=keys.columns, how="anti")
        if lost.height and lost.height / frame.height > reference.max_missing:
            order = [c for c in _LINEAGE if c in lost.columns] or columns
            lost = lost.sort(order, nulls_last=True)
            values = ", ".join(_shown(row, columns, pii) for row in lost.head(1).iter_rows(named=True))
            where = f" ({lost[FILE][0]} line {lost[LINE][0]})" if order == _LINEAGE else ""
            detail = (
                f"{lost.height} of {frame.height} rows refer to a key that {reference.table} lacks, "
                f"the first being {values}{where}"
            )
            breaches[partition] = RuleBreach(
                reference.rule.name, Level.TABLE, 1, detail, sample(lost.head(SAMPLE_ROWS), frozenset(pii))
            )
    return breaches


def _shown(row: Mapping[str, object], columns: list[str], pii: Collection[str]) -> str:
    return " ".join(MASK if column in pii else str(row[column]) for column in columns)
