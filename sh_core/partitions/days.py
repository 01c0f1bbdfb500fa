"""Days, weeks and months: periods of whole calendar days.

Belongs here: which days each of them has, and when they begin. Does not belong here: hours (``hours``). Invariant: a
period is named by the ISO date of its first day, on the set's own clock.
"""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import ClassVar

import numpy as np
import polars as pl

from sh_core.errors import DeclarationError
from sh_core.partitions.periods import Instants, Numbers, PeriodSet, micros, moment
from sh_core.partitions.zones import instant


@dataclass(frozen=True, repr=False)
class _Days(PeriodSet):
    """Periods of whole calendar days, each named by its first.

    Attributes:
        hour_offset: Hour of the day at which periods begin, 0 to 23: the day of a plant whose shifts change at six.
    """

    hour_offset: int = 0

    @staticmethod
    @abstractmethod
    def number_of(day: date) -> int:
        """Number of the period that a day is in."""

    @staticmethod
    @abstractmethod
    def first_day(number: int) -> date:
        """First day of a period."""

    @property
    def dtype(self) -> pl.DataType:
        """Dtype of the partition column."""
        return pl.Date()

    def floor(self, day: date) -> date:
        """First day of the period that a day is in, whether or not that period belongs to the set."""
        return self.first_day(self.number_of(day))

    def shift(self, first_day: date, periods: int) -> date:
        """First day of the period that is so many periods later (earlier, if negative) than the one given."""
        return self.first_day(self.number_of(first_day) + periods)

    def last_day(self, first_day: date) -> date:
        """Last day of the period that starts on a day."""
        return self.shift(first_day, 1) - timedelta(days=1)

    def _refuse_cut_off(self) -> None:
        first = self.floor(self.start)
        if first != self.start:
            msg = f"{self.NAME} partitions cannot start on {self.start}, within a period: take {first}"
            raise DeclarationError(msg)
        if self.end is not None and self.last_day(self.floor(self.end)) != self.end:
            whole = self.last_day(self.floor(self.end))
            msg = f"{self.NAME} partitions cannot end on {self.end}, within a period: take {whole}"
            raise DeclarationError(msg)

    def numbers_of(self, first: date, last: date) -> tuple[int, int]:
        """Numbers of the periods that the first and the last of some days are in."""
        return self.number_of(first), self.number_of(last)

    def begin(self, number: int) -> datetime:
        """The instant (UTC) at which a period begins."""
        return instant(self.first_day(number), self.hour_offset, self.minute_offset, self.clock)

    def number_at(self, at: datetime) -> int:
        """The number of the period that an instant is in."""
        number = self.number_of(at.astimezone(self.clock).date())
        while self.begin(number) > at:  # the day has begun, its period may not have
            number -= 1
        while self.begin(number + 1) <= at:
            number += 1
        return number

    def begins(self, first: int, last: int) -> Instants:
        """The instants at which periods begin."""
        return np.array([micros(self.begin(number)) for number in range(first, last + 1)], np.int64)

    def numbers_at(self, at: Instants) -> Numbers:
        """The number of the period that each of some instants is in."""
        if not at.size:
            return at
        first, last = self.number_at(moment(int(at.min()))), self.number_at(moment(int(at.max())))
        return first + np.searchsorted(self.begins(first, last + 1), at, side="right") - 1

    def spell(self, number: int) -> str:
        """The ISO date of the period's first day."""
        return self.first_day(number).isoformat()

    def read(self, key: str) -> int | None:
        """The number of the period that starts on a day."""
        day = _day(key)
        return None if day is None or self.floor(day) != day else self.number_of(day)

    def value(self, key: str) -> date:
        """The first day of the period that a key stands for, on the set's own calendar.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        return self.first_day(self.number(key))

    def stored(self, key: str) -> dict[str, str]:
        """The key is what is stored."""
        return {self.column: key}

    def key_of(self, stored: dict[str, str]) -> str:
        """What is stored is the key."""
        return stored[self.column]


@lru_cache(maxsize=100_000)
def _day(key: str) -> date | None:
    try:
        day = date.fromisoformat(key)
    except ValueError:
        return None
    return day if day.isoformat() == key else None  # Python reads other spellings of a date too


@dataclass(frozen=True, repr=False)
class Daily(_Days):
    """One partition per calendar day."""

    NAME: ClassVar[str] = "daily"
    KEY: ClassVar[str] = "the day"

    @staticmethod
    def number_of(day: date) -> int:
        """Days since the year 1."""
        return day.toordinal()

    @staticmethod
    def first_day(number: int) -> date:
        """The day itself."""
        return date.fromordinal(number)


@dataclass(frozen=True, repr=False)
class Weekly(_Days):
    """One partition per week, Monday to Sunday (ISO 8601), named by its Monday."""

    column: str = "week"

    NAME: ClassVar[str] = "weekly"
    KEY: ClassVar[str] = "the Monday of the week"

    @staticmethod
    def number_of(day: date) -> int:
        """Weeks since the year 1, which began on a Monday."""
        return (day.toordinal() - 1) // 7

    @staticmethod
    def first_day(number: int) -> date:
        """The week's Monday."""
        return date.fromordinal(number * 7 + 1)


@dataclass(frozen=True, repr=False)
class Monthly(_Days):
    """One partition per calendar month, named by its first day."""

    column: str = "month"

    NAME: ClassVar[str] = "monthly"
    KEY: ClassVar[str] = "the first day of the month"

    @staticmethod
    def number_of(day: date) -> int:
        """Months since the year 0."""
        return day.year * 12 + day.month - 1

    @staticmethod
    def first_day(number: int) -> date:
        """The first of the month."""
        year, month = divmod(number, 12)
        return date(year, month + 1, 1)
