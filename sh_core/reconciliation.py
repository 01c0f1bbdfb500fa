"""Reconciliation: how far a placeholder was from the truth that replaced it.

Belongs here: comparing the rows of both. Does not belong here: when that is done (``publisher``), keeping it (the
ledger). Invariant: it holds counts and sums, and no value of a row; of personal data it holds no sum.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

MOST_ROWS = 2_000_000
"""Rows, of both together, up to which they are compared one by one; beyond, only counts and sums are."""

Number = int | float | None


@dataclass(frozen=True)
class Differs:
    """One column.

    Attributes:
        rows: In how many of the rows that both have it differs; None if rows were not compared one by one.
        placeholder: Its sum in the placeholder, if it is a number that may be shown.
        truth: Its sum in the truth, likewise.
    """

    rows: int | None
    placeholder: Number = None
    truth: Number = None


@dataclass(frozen=True)
class Reconciliation:
    """The difference between a placeholder and the truth.

    Attributes:
        mark: What stood in, e.g. ``stg_sales[2030-03-26] from 2030-03-25``.
        rows_placeholder: Rows of the placeholder.
        rows_truth: Rows of the truth.
        only_placeholder: Rows whose key the truth does not have (of a table without key: rows); None if they were not
            compared one by one.
        only_truth: Rows whose key the placeholder does not have, likewise.
        differ: Rows that both have and that differ in some column, likewise.
        columns: Columns that differ in some row, and all that have a sum, by name.
    """

    mark: str
    rows_placeholder: int
    rows_truth: int
    only_placeholder: int | None
    only_truth: int | None
    differ: int | None
    columns: Mapping[str, Differs] = field(default_factory=dict)


def reconcile(
    placeholder: pl.DataFrame, truth: pl.DataFrame, key: Sequence[str], mark: str, pii: Collection[str] = ()
) -> Reconciliation:
    """Compare what stood in with what is true.

    Args:
        placeholder: Its rows.
        truth: Its rows; columns that only one of the two has, or has in another type, are passed over.
        key: Primary-key columns; empty if there is none.
        mark: What stood in.
        pii: Columns of which no sum is kept.
    """
    shared = [c for c, dtype in placeholder.schema.items() if truth.schema.get(c) == dtype and not dtype.is_nested()]
    old, new = placeholder.select(shared), truth.select(shared)
    summed = [c for c in shared if old.schema[c].is_numeric() and c not in pii and c not in key]
    sums = {c: (_sum(old[c]), _sum(new[c])) for c in summed}
    counts: tuple[int | None, int | None, int | None] = (None, None, None)
    rows: dict[str, int | None] = dict.fromkeys(sums)
    if old.height + new.height <= MOST_ROWS and set(key) <= set(shared):
        *found, differing = _by_key(old, new, key) if key else _as_a_whole(old, new)
        counts = (found[0], found[1], found[2])
        rows = {**dict.fromkeys(sums, 0), **differing}
    columns = {c: Differs(rows[c], *sums.get(c, (None, None))) for c in shared if c in rows}
    return Reconciliation(mark, old.height, new.height, *counts, columns)


def _by_key(old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str]) -> tuple[int, int, int, dict[str, int]]:
    on = list(key)
    others = [c for c in old.columns if c not in on]
    # Numbered, so that no name of a column can be another one's.
    theirs = new.rename({c: f"{n}" for n, c in enumerate(others)}) if others else new
    mine = old.rename({c: f"-{n}" for n, c in enumerate(others)}) if others else old
    both = mine.join(theirs, on=on, how="inner", nulls_equal=True)
    differs = {c: pl.col(f"-{n}").ne_missing(pl.col(f"{n}")) for n, c in enumerate(others)}
    if not others:
        return old.height - both.height, new.height - both.height, 0, {}
    each = (differ.sum().alias(f"={c}") for c, differ in differs.items())
    counted = both.select(pl.any_horizontal(*differs.values()).sum().alias("any"), *each)
    row = counted.row(0, named=True)
    found = {c: int(row[f"={c}"]) for c in others if row[f"={c}"]}
    return old.height - both.height, new.height - both.height, int(row["any"]), found


def _as_a_whole(old: pl.DataFrame, new: pl.DataFrame) -> tuple[int, int, int, dict[str, int]]:
    """Without a key a row is its own: it is in both, or it is not."""
    if not old.columns:
        return 0, 0, 0, {}
    signs = (frame.with_columns(pl.lit(sign, pl.Int64).alias("")) for frame, sign in ((old, 1), (new, -1)))
    signed = pl.concat(signs)
    balance = signed.group_by(old.columns).agg(pl.col("").sum())[""]
    return int(balance.clip(lower_bound=0).sum()), int(-balance.clip(upper_bound=0).sum()), 0, {}


def _sum(column: pl.Series) -> Number:
    total = column.sum()
    if isinstance(total, Decimal):
        total = float(total)
    if isinstance(total, float) and not math.isfinite(total):
        return None
    return total if isinstance(total, int | float) else None
