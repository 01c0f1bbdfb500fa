"""Judging single rows: which rule each row of a batch breaks, by Pandera's own checks.

Belongs here: rounding, the schema of a batch, row-level rules, and the boundary behind which a user's check may crash.
Does not belong here: partitions, verdicts, policy (``gate``). Invariant: what is said of a row depends on that row
alone, so a batch may hold the rows of many partitions, or some rows of one.

Checks are called one by one, and not through ``schema.validate``: that throws away what passing checks returned (which
is how a check that answers for the whole frame gives itself away), builds a report that nobody reads, and passes
everything when ``PANDERA_VALIDATION_ENABLED`` is off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandera.polars as pa
import polars as pl

from sh_core.columns import FILE, LINE, RULES, TEXT, UNPARSED, WHOLE_LINE, is_system
from sh_core.contract import PARSE, Contract
from sh_core.gate_rules import RowRule
from sh_core.masking import raised_as_text

SYSTEM: Mapping[str, pl.DataType] = {
    FILE: pl.String(),
    LINE: pl.Int64(),
    UNPARSED: pl.List(pl.String()),
    TEXT: pl.String(),
}
"""System columns that may come along with a batch, and their types."""


@dataclass(frozen=True)
class Crash:
    """A user's check could not be asked.

    Attributes:
        cause: Exception type and message, one line.
    """

    cause: str

    @classmethod
    def of(cls, raised: BaseException, contract: Contract) -> "Crash":
        """What was raised, in one line; without its message if the contract holds personal data."""
        return cls(raised_as_text(raised, contract.pii))


@dataclass(frozen=True)
class RowBreaches:
    """What the row-level rules say of one batch.

    Attributes:
        broken: Per rule that some row breaks, in the contract's order: a boolean per row, true where it does.
        crashes: Per rule that could not be asked, why.
    """

    broken: Mapping[str, pl.Series]
    crashes: Mapping[str, Crash]


def misfit(schema: pl.Schema, contract: Contract) -> str:
    """How a frame's schema differs from the declared one, in one sentence; empty if it does not."""
    expected = {**contract.schema, **{name: dtype for name, dtype in SYSTEM.items() if name in schema}}
    faults = [f"column {name} is missing" for name in expected if name not in schema]
    faults += [
        f"column {name} is {schema[name]}, declared as {dtype}"
        for name, dtype in expected.items()
        if name in schema and schema[name] != dtype
    ]
    faults += [f"column {name} is not declared" for name in schema if name not in expected and not is_system(name)]
    return "; ".join(faults)


def quantise(frame: pl.DataFrame, quanta: Mapping[str, float]) -> pl.DataFrame:
    """Round floats to their quantum, halves to even; rounding twice changes nothing.

    Args:
        frame: Rows that hold the named columns as floats.
        quanta: Rounding step per column, in the column's unit.

    Returns:
        The same frame. NaN, infinities and values too large to hold a fraction of the quantum stay; -0.0 becomes 0.0.
    """
    return frame.with_columns(_rounded(name, frame.schema[name], quantum) for name, quantum in quanta.items())


def _rounded(name: str, dtype: pl.DataType, quantum: float) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64)
    decimals = round(-math.log10(quantum))
    if decimals >= 0 and math.isclose(10.0**-decimals, quantum, rel_tol=1e-12):
        # Yields the float that is written 33.98. Dividing 3398 by 100 does not: Polars multiplies by 0.01 instead.
        rounded = value.round(decimals, mode="half_to_even")
    else:
        rounded = (value / quantum).round(mode="half_to_even") * quantum
    exact_steps = 2.0**22 if dtype == pl.Float32 else 2.0**50
    return pl.when(value.abs() < exact_steps * quantum).then((rounded + 0.0).cast(dtype)).otherwise(name).alias(name)


def judge_rows(frame: pl.DataFrame, contract: Contract) -> RowBreaches:
    """Put every row-level rule to every row.

    Args:
        frame: Rows whose schema fits the contract, already rounded; system columns may come along.
        contract: The contract.

    Returns:
        Which rows break which rule. A rule is not put to values that could not be read: they break ``parse`` alone.
    """
    values = frame.select(contract.columns)
    unread = _Unread(frame)
    broken: dict[str, pl.Series] = {}
    crashes: dict[str, Crash] = {}
    if unread.rows is not None:
        broken[PARSE] = unread.rows
    for rule in contract.row_rules if values.height else ():
        answer = _ask(rule, values, contract)
        if isinstance(answer, Crash):
            crashes[rule.rule.name] = answer
        elif answer is not None:
            breaks = unread.excuse(answer, rule.column)
            if breaks.any():
                broken[rule.rule.name] = breaks
    return RowBreaches(broken, crashes)


def rule_lists(breaches: pl.DataFrame) -> pl.Series:
    """The names of the columns that are true, per row.

    Args:
        breaches: One boolean column per rule.

    Returns:
        A column ``_rules`` of type List[String].
    """
    names = [pl.when(pl.nth(i)).then(pl.lit(name)) for i, name in enumerate(breaches.columns)]
    return breaches.select(pl.concat_list(names).list.drop_nulls().alias(RULES)).to_series()


class _Unread:
    """Which values of a batch could not be read from text."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._columns = frame[UNPARSED] if UNPARSED in frame.columns else None
        rows = None if self._columns is None else (self._columns.list.len() > 0).fill_null(value=False)
        self.rows = rows if rows is not None and rows.any() else None

    def excuse(self, breaks: pl.Series, column: str | None) -> pl.Series:
        """Leave out rows whose value could not be read; for a rule that looks across columns, any of its values."""
        if self.rows is None or self._columns is None:
            return breaks
        if column is None:
            return breaks & ~self.rows
        listed = self._columns.list
        unread = listed.contains(column) | listed.contains(WHOLE_LINE)
        return breaks & ~unread.fill_null(value=False)


def _ask(rule: RowRule, values: pl.DataFrame, contract: Contract) -> pl.Series | Crash | None:
    """A boolean per row, true where it breaks the rule; None if none does."""
    if rule.check is None:
        column = values[rule.rule.columns[0]]
        missing = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
        return missing if missing.any() else None
    try:
        answers = _answers(rule.check, values, rule.column)
        if rule.built_in is None:
            fault = _not_row_by_row(rule.check, values, rule.column, answers)
            if fault is not None:
                return Crash(f"{fault}: a check judges each row by itself; make it a table rule")
    # A user's check may raise anything; a panic inside Polars is no Exception.
    except (Exception, pl.exceptions.PanicException) as raised:  # noqa: BLE001
        return Crash.of(raised, contract)
    return None if answers.all() else ~answers


def _answers(check: pa.Check, values: pl.DataFrame, column: str | None) -> pl.Series:
    """Pandera's answer: true where the check holds, or may be ignored on a null."""
    answers: pl.Series = check(values.lazy(), column).check_output.collect().to_series()
    if answers.dtype != pl.Boolean:
        raise TypeError(f"the check returned {answers.dtype}, not booleans")
    return answers


_PROBED = 8


def _not_row_by_row(check: pa.Check, values: pl.DataFrame, column: str | None, answers: pl.Series) -> str | None:
    """Why a user's check does not judge rows one by one, as far as can be seen; None if it seems to.

    A few rows that hold, and a few that do not, each twice and without the others, must get the answers that they got
    among all: one answer for a whole frame, ``is_unique`` or a comparison with the mean give themselves away.
    """
    if len(answers) != values.height:
        return f"it gave {len(answers)} answer(s) for {values.height} rows"
    for picked in (answers.arg_true().head(_PROBED), (~answers).arg_true().head(_PROBED)):
        twice = pl.concat([picked, picked])
        if len(twice) and not _answers(check, values[twice], column).equals(answers.gather(twice)):
            return "its answer for a row depends on other rows"
    return None
