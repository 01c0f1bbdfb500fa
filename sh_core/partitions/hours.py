"""Hours, on any clock.

Belongs here: which hours there are, and how each is called. Does not belong here: longer periods (``days``). Invariant:
hours are as long as each other and are named once each, also when a clock is put back.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl

from sh_core.errors import DeclarationError
from sh_core.partitions.periods import Instants, Numbers, PeriodSet, micros, moment
from sh_core.partitions.zones import instant

_HOUR_US = 3_600_000_000
_LOOKED_AHEAD = timedelta(days=731)
"""How far a set without end is searched for changes of the clock."""


@dataclass(frozen=True, repr=False)
class Hourly(PeriodSet):
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
        return moment(self._phase + number * _HOUR_US)

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
