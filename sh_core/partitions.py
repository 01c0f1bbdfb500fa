"""Partition sets: which keys a table or feed has, and the value each key has in the data.

Belongs here: the enumeration of keys and the typed value of a key. Does not belong here: mappings between sets of
different grain, Dagster's definitions (``sh_assets`` derives those from these).
Invariant: ``keys()`` is ordered and unique, and ``value`` is injective on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import polars as pl

from sh_core.errors import DeclarationError


@dataclass(frozen=True)
class Daily:
    """One partition per calendar day.

    Attributes:
        start: First day.
        end: Last day, included.
        column: Column that holds the day in every table partitioned by this set (dtype Date).
    """

    start: date
    end: date
    column: str = "date"

    def __post_init__(self) -> None:
        """Refuse an empty span."""
        if self.end < self.start:
            msg = f"daily partitions end on {self.end}, before they start on {self.start}"
            raise DeclarationError(msg)

    @property
    def dtype(self) -> pl.DataType:
        """Dtype of the partition column."""
        return pl.Date()

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        days = (self.end - self.start).days + 1
        return tuple((self.start + timedelta(days=i)).isoformat() for i in range(days))

    def keys(self) -> Sequence[str]:
        """Every key in order, ISO dates."""
        return self._keys

    def value(self, key: str) -> date:
        """The day that a key stands for.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        try:
            day = date.fromisoformat(key)
        except ValueError:
            day = None
        if day is None or not self.start <= day <= self.end or day.isoformat() != key:
            msg = f"{key!r} is no partition of the days {self.start} to {self.end}; write it like {self.start}"
            raise DeclarationError(msg)
        return day


Partitions = Daily
"""The closed union of partition sets (weekly, monthly and static ones join it with the mappings)."""
