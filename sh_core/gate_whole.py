"""Judging a partition as a whole: exact copies, uniqueness, number of rows, and the user's table rules.

Belongs here: rules that need every row of one partition. Does not belong here: single rows (``gate_rows``), verdicts
and policy (``gate``). Invariant: rows are compared by value; hashes only say which rows need comparing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from sh_core.columns import LINEAGE, RULES
from sh_core.contract import ROWS_MAX, ROWS_MIN, Contract, TableRule
from sh_core.gate_rows import Crash, rule_lists
from sh_core.masking import sample
from sh_core.verdict import SAMPLE_ROWS, Level, RuleBreach


@dataclass(frozen=True, eq=False)
class WholeFindings:
    """What the rules about the whole say of one partition.

    Attributes:
        rows: Rows that hold, copies dropped, and that share no unique value with another.
        conflicting: Rows that do, and ``_rules``.
        copies: Exact copies that were dropped.
        breaches: Table-level breaches.
        crashes: Per rule that could not be asked, why.
    """

    rows: pl.DataFrame
    conflicting: pl.DataFrame
    copies: pl.DataFrame
    breaches: tuple[RuleBreach, ...]
    crashes: Mapping[str, Crash]


def judge_whole(rows: pl.DataFrame, contract: Contract) -> WholeFindings:
    """Put the rules about the whole to one partition.

    Args:
        rows: Rows that hold every row-level rule.
        contract: The contract.

    Returns:
        What was found. The number of rows and the user's table rules speak of ``rows`` without copies.
    """
    copies = rows.clear()
    if contract.drop_duplicates:
        again = _later_copies(rows, contract)
        if again is not None:
            rows, copies = rows.filter(~again), rows.filter(again)
    shared = {name: mask for name, columns in contract.unique.items() if (mask := _sharing(rows, columns)) is not None}
    breaches = [_unique_breach(name, rows.filter(mask), contract) for name, mask in shared.items()]
    breaches += _counted(rows.height, contract)
    crashes: dict[str, Crash] = {}
    says = {rule.name: rule.description for rule in contract.rules}
    for rule in contract.table_rules if rows.height else ():
        answer = _ask(rule, rows, contract)
        if isinstance(answer, Crash):
            crashes[rule.__name__] = answer
        elif not answer:
            breaches.append(RuleBreach(rule.__name__, Level.TABLE, 1, f"it does not hold: {says[rule.__name__]}"))
    conflicting = rows.clear().with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias(RULES))
    if shared:
        masks = pl.DataFrame(shared)
        conflicts = masks.select(pl.any_horizontal(pl.all())).to_series()
        conflicting = rows.filter(conflicts).with_columns(rule_lists(masks.filter(conflicts)))
        rows = rows.filter(~conflicts)
    return WholeFindings(rows, conflicting, copies, tuple(breaches), crashes)


def _sharing(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series | None:
    """Which rows are equal to another in these columns; None if there are none."""
    values = rows.select(columns)
    # Polars hashes equal values alike within one process, and counts hashes many times faster than it compares rows.
    hashes = values.hash_rows()
    if hashes.n_unique() == values.height:
        return None
    at = hashes.is_duplicated().arg_true()
    equal = at.filter(values[at].is_duplicated())
    return _mask(rows.height, equal) if len(equal) else None


def _later_copies(rows: pl.DataFrame, contract: Contract) -> pl.Series | None:
    """Which rows are exact copies of one that was delivered before them; None if there are none."""
    if contract.key and _sharing(rows, contract.key) is None:
        return None  # copies share their key, and that is cheaper to see
    equal = _sharing(rows, contract.columns)
    if equal is None:
        return None
    at = equal.arg_true()
    by_delivery = rows[at].with_columns(at.alias(RULES)).sort([c for c in LINEAGE if c in rows.columns] or RULES)
    first = by_delivery.unique(subset=contract.columns, keep="first", maintain_order=True)
    return equal & ~_mask(rows.height, first[RULES])


def _mask(height: int, at: pl.Series) -> pl.Series:
    return pl.arange(height, eager=True).is_in(at.cast(pl.Int64).implode())


def _unique_breach(name: str, sharing: pl.DataFrame, contract: Contract) -> RuleBreach:
    columns = contract.unique[name]
    detail = f"{sharing.height} rows share {', '.join(columns)} with another row"
    shown = sharing.sort([*columns, *(c for c in LINEAGE if c in sharing.columns)]).head(SAMPLE_ROWS)
    return RuleBreach(name, Level.TABLE, 1, detail, sample(shown, contract.pii))


def _counted(rows: int, contract: Contract) -> list[RuleBreach]:
    found = []
    if rows < contract.min_rows:
        found.append(
            RuleBreach(ROWS_MIN, Level.TABLE, 1, f"{rows} rows hold, at least {contract.min_rows} are expected")
        )
    if contract.max_rows is not None and rows > contract.max_rows:
        found.append(
            RuleBreach(ROWS_MAX, Level.TABLE, 1, f"{rows} rows hold, at most {contract.max_rows} are expected")
        )
    return found


def _ask(rule: TableRule, rows: pl.DataFrame, contract: Contract) -> bool | Crash:
    try:
        answer = rule(rows.select(contract.columns).lazy())
        said = answer.collect().item() if isinstance(answer, pl.LazyFrame) else answer
    # A user's rule may raise anything; a panic inside Polars is no Exception.
    except (Exception, pl.exceptions.PanicException) as raised:  # noqa: BLE001
        return Crash.of(raised, contract)
    if not isinstance(said, bool):
        return Crash(f"it returned {type(said).__name__}, neither true nor false")
    return said
