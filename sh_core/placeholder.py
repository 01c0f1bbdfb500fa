"""Placeholders: what stands in for a partition that is late.

Belongs here: the declaration, which partition stands in, moving its rows in time, and the mark that they carry. Does
not belong here: when something is late (``lateness``), the mark's part in a version (``version``), publishing.
Invariant: a placeholder is earlier published rows of the same table and nothing else, with their dates and times moved;
it is never made of another placeholder, and whatever is computed from it carries its mark.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from sh_core.errors import DeclarationError
from sh_core.inputs import refuse_text
from sh_core.partitions import Daily, Hourly, Monthly, Partitions, Periods, Weekly
from sh_core.partitions.zones import zone

PLACEHOLDER = "placeholder"
"""How the code version of a placeholder's trace begins."""

_BACK: Mapping[str, int] = {"previous": 62, "same_weekday": 8}
"""How many steps back one looks for a partition that can stand in: two months of days, eight weeks."""


NO_PERIODS = "a placeholder needs partitions in time: Hourly, Daily, Weekly or Monthly"


@dataclass(frozen=True)
class Placeholder:
    """Stand in for a late partition with an earlier one.

    Attributes:
        of: ``previous``: the last one before it that is real; ``same_weekday``: the last real one a whole number of
            weeks before.
        shift: Columns that hold dates or instants, and move with the partition; None takes all that the contract has.
            Partition columns always do.
        timezone: On whose clock instants move: eight in the morning stays eight in the morning, also where the clock
            was changed in between.
    """

    of: Literal["previous", "same_weekday"]
    shift: tuple[str, ...] | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse what names no partition, column or clock."""
        said: object = self.of
        if said not in _BACK:
            raise DeclarationError(f"write Placeholder('previous') or Placeholder('same_weekday'), not {said!r}")
        refuse_text(self.shift, "the columns that move with a placeholder")
        zone(self.timezone)

    def refused(self, partitions: Partitions, schema: Mapping[str, pl.DataType]) -> str | None:
        """Why a table cannot have it, in words; None if it can.

        Args:
            partitions: The table's.
            schema: The contract's columns.
        """
        if not isinstance(partitions, Periods):
            return NO_PERIODS
        if self.of == "same_weekday" and not isinstance(partitions, Daily | Hourly):
            return "the same weekday is that of a day or an hour: take Placeholder('previous')"
        for column in self.shift or ():
            if column not in schema or not schema[column].is_temporal() or column in partitions.columns:
                return f"shift names {column}, which is no column of dates or instants beside the partition's"
        return None

    @property
    def version(self) -> str:
        """What a trace has in the place of a code version."""
        return f"{PLACEHOLDER}:{self.of}:{self.timezone}:{'*' if self.shift is None else ','.join(self.shift)}"

    def candidates(self, periods: Periods, key: str) -> list[str]:
        """Partitions that could stand in for one, the first choice first.

        Args:
            periods: The table's partitions.
            key: The late one.
        """
        number, step = periods.number(key), self._step(periods)
        back = (number - step * n for n in range(1, _BACK[self.of] + 1))
        return [periods.spell(n) for n in back if n >= periods.first]

    def _step(self, periods: Periods) -> int:
        if self.of == "previous":
            return 1
        return 7 if isinstance(periods, Daily) else 7 * 24


@dataclass(frozen=True, order=True)
class Mark:
    """That content is not, or does not rest on, the truth.

    Attributes:
        table: Table of the placeholder.
        partition: The partition that is late.
        source: The partition whose rows stand in.
    """

    table: str
    partition: str
    source: str

    def __str__(self) -> str:
        """As a version keeps it, and as people read it."""
        return f"{self.table}[{self.partition}] from {self.source}"


def periods_of(partitions: Partitions) -> Periods:
    """The partitions of a table that has placeholders, which are periods.

    Raises:
        DeclarationError: If they are not.
    """
    if isinstance(partitions, Periods):
        return partitions
    raise DeclarationError(NO_PERIODS)


def of_itself(marks: Collection[str], table: str, partition: str) -> bool:
    """Whether marks say that a partition is a placeholder itself, and does not only rest on some."""
    return any(mark.startswith(f"{table}[{partition}] ") for mark in marks)


def moved(rows: pl.DataFrame, placeholder: Placeholder, periods: Periods, source: str, key: str) -> pl.DataFrame:
    """Rows of one partition as if they were of a later one.

    Args:
        rows: All columns of the published partition.
        placeholder: What is declared.
        periods: The table's partitions.
        source: Partition that the rows are of.
        key: Partition that they are to stand in for.

    Returns:
        The same rows in the same order: the partition column holds the later partition's value, declared columns are as
        much later; nothing else has changed.
    """
    by = _by(periods, source, key)
    chosen = placeholder.shift
    if chosen is None:
        chosen = tuple(c for c, dtype in rows.schema.items() if dtype.is_temporal() and c not in periods.columns)
    changed = [_later(column, rows.schema[column], by, placeholder.timezone) for column in chosen]
    own = [pl.lit(value, periods.columns[name]).alias(name) for name, value in periods.values(key).items()]
    return rows.with_columns(*changed, *own)


def _by(periods: Periods, source: str, key: str) -> str:
    """How much later a partition is, as Polars spells it."""
    count = periods.number(key) - periods.number(source)
    match periods:
        case Hourly():
            return f"{count}h"
        case Daily():
            return f"{count}d"
        case Weekly():
            return f"{count * 7}d"
        case Monthly():
            return f"{count}mo"


def _later(column: str, dtype: pl.DataType, by: str, timezone: str) -> pl.Expr:
    own = pl.col(column)
    if not isinstance(dtype, pl.Datetime):
        return own if by.endswith("h") else own.dt.offset_by(by)  # an hour later is the same date, as a rule
    if dtype.time_zone is None or by.endswith("h"):
        return own.dt.offset_by(by)
    wall = own.dt.convert_time_zone(timezone).dt.replace_time_zone(None).dt.offset_by(by)
    then = wall.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    # A time that the clock skips is as long after the last one as in the source.
    return pl.coalesce(then.dt.convert_time_zone(dtype.time_zone), own.dt.offset_by(by)).alias(column)


def is_placeholder(code: str) -> bool:
    """Whether a trace's code version is a placeholder's."""
    return code.partition(":")[0] == PLACEHOLDER
