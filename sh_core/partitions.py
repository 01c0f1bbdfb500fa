"""Partition sets: which keys a table or feed has, and the value each key has in the data.

Belongs here: the enumeration of keys, the typed value of a key, the days that it covers. Does not belong here: which
partitions of one set another one reads (``mapping``), Dagster's definitions (``sh_assets`` derives those from these).
Invariant: ``keys()`` is ordered and unique, ``value`` is injective on it, and the periods of one set neither overlap
nor leave a gap.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import ClassVar

import polars as pl

from sh_core.errors import DeclarationError

WHOLE = "all"
"""The one key of an unpartitioned table or feed."""


@dataclass(frozen=True)
class Unpartitioned:
    """One partition, which is the whole table: reference data that is delivered as a whole snapshot."""

    column: ClassVar[None] = None

    def keys(self) -> Sequence[str]:
        """The one key."""
        return (WHOLE,)

    def between(self, first: date, last: date) -> Sequence[str]:
        """The one key, whatever the days: a snapshot belongs to all of them."""
        del first, last
        return (WHOLE,)

    def declared(self, today: date) -> Sequence[str]:
        """The one key, whatever the day."""
        del today
        return (WHOLE,)

    def check(self, key: str) -> None:
        """Accept the one key.

        Raises:
            DeclarationError: If it is another one.
        """
        if key != WHOLE:
            msg = f"{key!r} is no partition of a table without partitions; its whole content is called {WHOLE!r}"
            raise DeclarationError(msg)


@dataclass(frozen=True)
class _Periods(ABC):
    """Calendar periods without gaps, each named by its first day.

    Attributes:
        start: First day of the first period.
        end: Last day of the last period; None for a set without end.
        column: Column that holds the first day of the period in every table partitioned by this set (dtype Date).
    """

    start: date
    end: date | None = None
    column: str = "date"

    NAME: ClassVar[str]
    KEY: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse an empty span, and periods that are cut off."""
        for name, day in (("start", self.start), ("end", self.end)):
            if not isinstance(day, date | None) or isinstance(day, datetime) or (name == "start" and day is None):
                msg = f"{name} of {self.NAME} partitions is a date such as date(2026, 1, 5), not {day!r}"
                raise DeclarationError(msg)
        if self.end is not None and self.end < self.start:
            msg = f"{self.NAME} partitions end on {self.end}, before they start on {self.start}"
            raise DeclarationError(msg)
        first = self.floor(self.start)
        if first != self.start:
            msg = f"{self.NAME} partitions cannot start on {self.start}, within a period: take {first}"
            raise DeclarationError(msg)
        if self.end is not None and self.last_day(self.floor(self.end)) != self.end:
            whole = self.last_day(self.floor(self.end))
            msg = f"{self.NAME} partitions cannot end on {self.end}, within a period: take {whole}"
            raise DeclarationError(msg)

    @abstractmethod
    def floor(self, day: date) -> date:
        """First day of the period that a day is in, whether or not that period belongs to the set."""

    @abstractmethod
    def shift(self, first_day: date, periods: int) -> date:
        """First day of the period that is so many periods later (earlier, if negative) than the one given.

        Raises:
            OverflowError: If the calendar does not reach that far.
        """

    def last_day(self, first_day: date) -> date:
        """Last day of the period that starts on a day."""
        return self.shift(first_day, 1) - timedelta(days=1)

    @property
    def dtype(self) -> pl.DataType:
        """Dtype of the partition column."""
        return pl.Date()

    @cached_property
    def _all(self) -> tuple[str, ...]:
        if self.end is None:
            msg = f"{self.NAME} partitions from {self.start} have no end: ask for those between two days"
            raise DeclarationError(msg)
        return tuple(self._span(self.start, self.end))

    def keys(self) -> Sequence[str]:
        """Every key in order: the ISO date of the period's first day.

        Raises:
            DeclarationError: If the set has no end.
        """
        return self._all

    def declared(self, today: date) -> Sequence[str]:
        """Every key in order; of a set without end, those up to the period that a day is in."""
        return self._all if self.end is not None else self.between(self.start, today)

    def between(self, first: date, last: date) -> Sequence[str]:
        """Keys of the periods of this set in which at least one of the days from first to last lies."""
        last = last if self.end is None else min(last, self.end)
        return tuple(self._span(max(first, self.start), last))

    def _span(self, first: date, last: date) -> list[str]:
        day, found = self.floor(first), list[str]()
        while day <= last and first <= last:
            found.append(day.isoformat())
            day = self.shift(day, 1)
        return found

    def value(self, key: str) -> date:
        """The first day of the period that a key stands for.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        day = _day(key)
        if day is None or day < self.start or (self.end is not None and day > self.end) or self.floor(day) != day:
            until = f"to {self.end}" if self.end is not None else "on"
            msg = f"{key!r} is no {self.NAME} partition from {self.start} {until}; write it like {self.start}"
            raise DeclarationError(msg)
        return day

    def after(self, key: str) -> str:
        """The key of the period that follows, which may be past the end."""
        return self.shift(self.value(key), 1).isoformat()

    def check(self, key: str) -> None:
        """Accept a key of this set.

        Raises:
            DeclarationError: If it is not one.
        """
        self.value(key)


@lru_cache(maxsize=100_000)
def _day(key: str) -> date | None:
    try:
        day = date.fromisoformat(key)
    except ValueError:
        return None
    return day if day.isoformat() == key else None  # Python reads other spellings of a date too


@dataclass(frozen=True)
class Daily(_Periods):
    """One partition per calendar day."""

    NAME: ClassVar[str] = "daily"
    KEY: ClassVar[str] = "the day"

    def floor(self, day: date) -> date:
        """The day itself."""
        return day

    def shift(self, first_day: date, periods: int) -> date:
        """So many days later."""
        return first_day + timedelta(days=periods)


@dataclass(frozen=True)
class Weekly(_Periods):
    """One partition per week, Monday to Sunday (ISO 8601), named by its Monday."""

    column: str = "week"

    NAME: ClassVar[str] = "weekly"
    KEY: ClassVar[str] = "the Monday of the week"

    def floor(self, day: date) -> date:
        """The Monday of the day's week."""
        return day - timedelta(days=day.weekday())

    def shift(self, first_day: date, periods: int) -> date:
        """So many weeks later."""
        return first_day + timedelta(weeks=periods)


@dataclass(frozen=True)
class Monthly(_Periods):
    """One partition per calendar month, named by its first day."""

    column: str = "month"

    NAME: ClassVar[str] = "monthly"
    KEY: ClassVar[str] = "the first day of the month"

    def floor(self, day: date) -> date:
        """The first of the day's month."""
        return day.replace(day=1)

    def shift(self, first_day: date, periods: int) -> date:
        """The first of the month that is so many months later."""
        years, month = divmod(first_day.year * 12 + first_day.month - 1 + periods, 12)
        return date(years, month + 1, 1)


Partitions = Daily | Weekly | Monthly | Unpartitioned
"""The closed union of partition sets."""

Periods = Daily | Weekly | Monthly
"""Those whose partitions are periods of the calendar."""
