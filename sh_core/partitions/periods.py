"""Periods: partition sets whose partitions follow each other in time.

Belongs here: hours, days, weeks and months, which instants each of them covers, and how it is called. Does not belong
here: sets that are lists (``fixed``), combinations (``multi``). Invariant: periods are half-open spans of instants that
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
from sh_core.partitions.zones import instant, zone

Instants = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Microseconds since 1970 (UTC)."""

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Numbers of periods, or places in a list."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR_US = 3_600_000_000
_HOUR_S = 3600
_LOOKED_AHEAD = timedelta(days=731)
"""How far a set without end is searched for changes of the clock."""


@dataclass(frozen=True, repr=False)
class _Periods(ABC):
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

    def same_periods(self, other: "_Periods") -> bool:
        """Whether another set cuts time at the same instants, wherever the two begin and end."""
        return type(self) is type(other) and all(
            getattr(self, name, 0) == getattr(other, name, 0) for name in ("timezone", "hour_offset", "minute_offset")
        )

    def size(self, now_utc: datetime) -> int:
        """How many partitions are declared, see ``declared``."""
        last = self.last if self.last is not None else self.number_at(now_utc)
        return max(0, last - self.first + 1)

    def spelled(self, first: int, last: int) -> Sequence[str]:
        """Keys of those periods of the set that are numbered from first to last."""
        last = last if self.last is None else min(last, self.last)
        return _spelled(self, max(first, self.first), last)

    def keys(self) -> Sequence[str]:
        """Every key in order.

        Raises:
            DeclarationError: If the set has no end.
        """
        if self.last is None:
            msg = f"{self.NAME} partitions from {self.start} have no end: ask for those between two days"
            raise DeclarationError(msg)
        return self.spelled(self.first, self.last)

    def declared(self, now_utc: datetime) -> Sequence[str]:
        """Every key in order; of a set without end, those of periods that have begun by now."""
        return self.keys() if self.last is not None else self.begun(now_utc)

    def begun(self, now_utc: datetime, since: date | None = None) -> Sequence[str]:
        """Keys of the periods that have begun by now, from a day on (on the set's own calendar) if one is given."""
        first = self.first if since is None else max(self.first, self.numbers_of(since, since)[0])
        return self.spelled(first, self.number_at(now_utc))

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
def _spelled(periods: _Periods, first: int, last: int) -> tuple[str, ...]:
    return tuple(periods.spell(number) for number in range(first, last + 1))


# ------------------------------------------------------------------------------------------- days, weeks and months


@dataclass(frozen=True, repr=False)
class _Days(_Periods):
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
        first, last = self.number_at(_moment(int(at.min()))), self.number_at(_moment(int(at.max())))
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


# ----------------------------------------------------------------------------------------------------------- hours


@dataclass(frozen=True, repr=False)
class Hourly(_Periods):
    """One partition per hour, named by its beginning on the set's own clock, as ``2026-01-05-13:00``.

    The first hour begins with the day ``start``, the last one ends with the day ``end``. When clocks are put back an
    hour comes twice, and the second is named with its distance from UTC, as ``2026-11-01-01:00-0500``; when they are
    put forward, one is missing. The partition column holds the instant at which the hour begins (UTC).
    """

    column: str = "hour"

    NAME: ClassVar[str] = "hourly"
    KEY: ClassVar[str] = "the beginning of the hour"

    @property
    def dtype(self) -> pl.DataType:
        """Dtype of the partition column."""
        return pl.Datetime("us", "UTC")

    def _refuse_cut_off(self) -> None:
        """Refuse a clock that is put forward by half an hour: hours before it and after it do not fit together."""
        until = self.end or self.start + _LOOKED_AHEAD
        for days in range((until - self.start).days + 2):
            day = self.start + timedelta(days=days)
            if self._phase_on(day) != self._phase:
                msg = (
                    f"the clock of {self.timezone} is changed by a part of an hour before {day}, and the hours before "
                    "and after do not fit together: take timezone='UTC' for hourly partitions"
                )
                raise DeclarationError(msg)

    def _phase_on(self, day: date) -> int:
        """Microseconds after the full hour (UTC) at which hours begin."""
        return micros(instant(day, 0, self.minute_offset, self.clock)) % _HOUR_US

    @cached_property
    def _phase(self) -> int:
        return self._phase_on(self.start)

    def numbers_of(self, first: date, last: date) -> tuple[int, int]:
        """Numbers of the first hour that begins on the first of some days, and of the last that begins on the last."""
        midnights = (instant(day, 0, 0, self.clock) for day in (first, last + timedelta(days=1)))
        begin, end = (-((self._phase - micros(midnight)) // _HOUR_US) for midnight in midnights)
        return begin, end - 1

    def begin(self, number: int) -> datetime:
        """The instant (UTC) at which an hour begins."""
        return _moment(self._phase + number * _HOUR_US)

    def number_at(self, at: datetime) -> int:
        """The number of the hour that an instant is in."""
        return (micros(at) - self._phase) // _HOUR_US

    def begins(self, first: int, last: int) -> Instants:
        """The instants at which hours begin."""
        return self._phase + np.arange(first, last + 1, dtype=np.int64) * _HOUR_US

    def numbers_at(self, at: Instants) -> Numbers:
        """The number of the hour that each of some instants is in."""
        return (at - self._phase) // _HOUR_US

    def spell(self, number: int) -> str:
        """The beginning of the hour on the set's own clock; with its distance from UTC if it is the second of two."""
        local = self.begin(number).astimezone(self.clock)
        return f"{local:%Y-%m-%d-%H:%M%z}" if local.fold else f"{local:%Y-%m-%d-%H:%M}"

    def read(self, key: str) -> int | None:
        """The number of the hour that begins at a time."""
        try:
            said = datetime.fromisoformat(f"{key[:10]}T{key[11:]}")
        except ValueError:
            return None
        local = said if said.tzinfo is not None else said.replace(tzinfo=self.clock)
        number = self.number_at(local)
        return number if self.spell(number) == key else None

    def value(self, key: str) -> datetime:
        """The instant (UTC) at which the hour begins.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        return self.begin(self.number(key))

    def stored(self, key: str) -> dict[str, str]:
        """The instant as Delta writes one."""
        return {self.column: f"{self.value(key):{_STORED}}"}

    def key_of(self, stored: dict[str, str]) -> str:
        """The hour that begins at a stored instant."""
        said = stored[self.column]
        begin = datetime.strptime(said, _STORED).replace(tzinfo=UTC)
        number = self.number_at(begin)
        return self.spell(number) if self.begin(number) == begin else said


_STORED = "%Y-%m-%d %H:%M:%S.%f"


def micros(at: datetime) -> int:
    """Microseconds since 1970 (UTC)."""
    return (at - _EPOCH) // _MICROSECOND


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


Periods = Hourly | Daily | Weekly | Monthly
"""Those sets whose partitions are periods of time."""
