"""Periods: partition sets whose partitions follow each other in time.

Belongs here: what all of them have in common. Does not belong here: the kinds (``days``, ``hours``), sets that are
lists (``fixed``), combinations (``multi``). Invariant: periods are half-open spans of instants that
neither overlap nor leave a gap; they are numbered in order, the number depends on the calendar and the set's clock
only, and not on where the set begins; keys are spelled as Dagster spells them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
import polars as pl

from sh_core.errors import DeclarationError
from sh_core.partitions.zones import zone

Instants = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Microseconds since 1970 (UTC)."""

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Numbers of periods, or places in a list."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, repr=False)
class PeriodSet(ABC):
    """Periods without gaps, each named by when it begins.

    Attributes:
        start: First day of the first period, on the set's own clock.
        end: Last day of the last period; None for a set without end.
        column: Column that holds the beginning of the period in every table partitioned by this set.
        timezone: IANA name of the zone whose clock is meant.
        minute_offset: Minutes past the hour at which periods begin, 0 to 59.
    """

    start: date
    end: date | None = None
    column: str = "date"
    timezone: str = "UTC"
    minute_offset: int = 0

    NAME: ClassVar[str]
    KEY: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse an empty span, a clock that there is not, and periods that are cut off."""
        for name, day in (("start", self.start), ("end", self.end)):
            if not isinstance(day, date | None) or isinstance(day, datetime) or (name == "start" and day is None):
                msg = f"{name} of {self.NAME} partitions is a date such as date(2026, 1, 5), not {day!r}"
                raise DeclarationError(msg)
        if self.end is not None and self.end < self.start:
            msg = f"{self.NAME} partitions end on {self.end}, before they start on {self.start}"
            raise DeclarationError(msg)
        zone(self.timezone)
        for name, most in (("minute_offset", 59), ("hour_offset", 23)):
            offset = getattr(self, name, 0)
            if type(offset) is not int or not 0 <= offset <= most:
                msg = f"{name} of {self.NAME} partitions is a whole number from 0 to {most}, not {offset!r}"
                raise DeclarationError(msg)
        self._refuse_cut_off()

    def __repr__(self) -> str:
        """As declared; a clock is named where it is not UTC's midnight."""
        said = [f"{name}={getattr(self, name)!r}" for name in ("start", "end", "column")]
        said += [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.name in ("timezone", "hour_offset", "minute_offset") and getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(said)})"

    # ---- one kind of period, by number

    @abstractmethod
    def _refuse_cut_off(self) -> None:
        """Refuse a span that is not one of whole periods of this kind."""

    @abstractmethod
    def numbers_of(self, first: date, last: date) -> tuple[int, int]:
        """Numbers of the first and the last period that lie on some days of the set's own calendar."""

    @abstractmethod
    def begin(self, number: int) -> datetime:
        """The instant (UTC) at which a period begins, whether or not it belongs to the set."""

    @abstractmethod
    def number_at(self, at: datetime) -> int:
        """The number of the period that an instant is in, whether or not it belongs to the set."""

    @abstractmethod
    def begins(self, first: int, last: int) -> Instants:
        """The instants at which periods begin, from one number to another, the last one included."""

    @abstractmethod
    def numbers_at(self, at: Instants) -> Numbers:
        """The number of the period that each of some instants is in."""

    @abstractmethod
    def spell(self, number: int) -> str:
        """The key of a period."""

    @abstractmethod
    def read(self, key: str) -> int | None:
        """The number of the period that a key means, also if it is not in the set; None if it is spelled otherwise."""

    @abstractmethod
    def stored(self, key: str) -> dict[str, str]:
        """The value of the partition column, as a table's log and folders hold it."""

    @abstractmethod
    def key_of(self, stored: dict[str, str]) -> str:
        """The key whose stored value this is; the value itself, where the set has changed since."""

    @abstractmethod
    def value(self, key: str) -> date | datetime:
        """What the partition column holds in a partition.

        Raises:
            DeclarationError: If the key is not one of this set.
        """

    @property
    @abstractmethod
    def dtype(self) -> pl.DataType:
        """Dtype of the partition column."""

    # ---- the set

    @cached_property
    def clock(self) -> tzinfo:
        """The zone's clock."""
        return zone(self.timezone)

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The partition column with its dtype."""
        return {self.column: self.dtype}

    def values(self, key: str) -> dict[str, date | datetime]:
        """What the partition column holds in a partition, by name."""
        return {self.column: self.value(key)}

    @property
    def example(self) -> str:
        """The first key."""
        return self.spell(self.first)

    @cached_property
    def first(self) -> int:
        """Number of the first period."""
        return self.numbers_of(self.start, self.start)[0]

    @cached_property
    def last(self) -> int | None:
        """Number of the last period; None for a set without end."""
        return None if self.end is None else self.numbers_of(self.end, self.end)[1]

    def same_periods(self, other: "PeriodSet") -> bool:
        """Whether another set cuts time at the same instants, wherever the two begin and end."""
        return self.cut == other.cut

    @cached_property
    def cut(self) -> tuple[object, ...]:
        """At which instants it cuts time: equal for sets that do it at the same ones."""
        return (type(self), self.timezone, getattr(self, "hour_offset", 0), self.minute_offset)

    def size(self, now_utc: datetime) -> int:
        """How many partitions are declared, see ``declared``."""
        last = self.last if self.last is not None else self.number_at(now_utc)
        return max(0, last - self.first + 1)

    def spelled(self, first: int, last: int) -> Sequence[str]:
        """Keys of those periods of the set that are numbered from first to last."""
        last = last if self.last is None else min(last, self.last)
        return tuple(map(self.spell, range(max(first, self.first), last + 1)))

    def keys(self) -> Sequence[str]:
        """Every key in order.

        Raises:
            DeclarationError: If the set has no end.
        """
        if self.last is None:
            msg = f"{self.NAME} partitions from {self.start} have no end: ask for those between two days"
            raise DeclarationError(msg)
        return _all(self, self.first, self.last)

    def declared(self, now_utc: datetime) -> Sequence[str]:
        """Every key in order; of a set without end, those of periods that have begun by now."""
        return self.keys() if self.last is not None else self.begun(now_utc)

    def begun(self, now_utc: datetime, since: date | None = None) -> Sequence[str]:
        """Keys of the periods that have begun by now, from a day on (on the set's own calendar) if one is given."""
        first = self.first if since is None else max(self.first, self.numbers_of(since, since)[0])
        return _all(self, first, self.number_at(now_utc))

    def between(self, first: date, last: date) -> Sequence[str]:
        """Keys of the periods of this set that lie on a day from first to last, on its own calendar.

        A period that begins at six belongs to the day on which it begins.
        """
        return self.spelled(*self.numbers_of(first, last)) if first <= last else ()

    def number(self, key: str) -> int:
        """The number of the period that a key of this set means.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        number = self.read(key)
        if number is None or number < self.first or (self.last is not None and number > self.last):
            until = f"to {self.end}" if self.end is not None else "on"
            msg = f"{key!r} is no {self.NAME} partition from {self.start} {until}; write it like {self.example}"
            raise DeclarationError(msg)
        return number

    def after(self, key: str) -> str:
        """The key of the period that follows, which may be past the end."""
        return self.spell(self.number(key) + 1)

    def check(self, key: str) -> None:
        """Accept a key of this set.

        Raises:
            DeclarationError: If it is not one.
        """
        self.number(key)

    def has_begun(self, key: str, now_utc: datetime) -> bool:
        """Whether a partition's period has begun.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        return self.begin(self.number(key)) <= now_utc


@lru_cache(maxsize=256)
def _all(periods: PeriodSet, first: int, last: int) -> Sequence[str]:
    """Spelled once for everybody who goes through all of a set."""
    return periods.spelled(first, last)


def micros(at: datetime) -> int:
    """Microseconds since 1970 (UTC)."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at_us: int) -> datetime:
    """The instant that so many microseconds since 1970 mean."""
    return _EPOCH + timedelta(microseconds=at_us)
