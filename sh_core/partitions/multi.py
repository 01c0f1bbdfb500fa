"""Combinations: partition sets of two dimensions.

Belongs here: the product of two one-dimensional sets. Does not belong here: those sets (``periods``, ``fixed``), what
one combination reads of another (``mapping``). Invariant: the order of dimensions is that of their names, and keys are
spelled and ordered, as Dagster's are: ``2026-01-05|JFK`` for the dimensions ``a_day`` and ``b_airport``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from itertools import product
from typing import ClassVar

import polars as pl

from sh_core.errors import DeclarationError, refuse_other_kinds
from sh_core.partitions.days import Daily, Monthly, Weekly
from sh_core.partitions.fixed import DELIMITER, Static
from sh_core.partitions.hours import Hourly

Periods = Hourly | Daily | Weekly | Monthly
"""Those sets whose partitions are periods of time."""

Dimension = Periods | Static
"""A set of one dimension."""

_DIMENSIONS = 2


@dataclass(frozen=True, init=False, repr=False)
class Multi:
    """One partition per combination of the keys of two sets: ``Multi(airport=Static(…), day=Daily(…))``.

    Attributes:
        of: The dimensions by name, in the order of their names.
    """

    of: tuple[tuple[str, Dimension], ...]

    NAME: ClassVar[str] = "multi-dimensional"

    def __init__(self, **dimensions: Dimension) -> None:
        """Declare the dimensions, each under a name of its own.

        Raises:
            DeclarationError: If there are not two of them, or they share a column.
        """
        refuse_other_kinds(
            "Multi(…)",
            {
                name: (dimension, Dimension, "Hourly(…), Daily(…), Weekly(…), Monthly(…) or Static(…)")
                for name, dimension in dimensions.items()
            },
        )
        if len(dimensions) != _DIMENSIONS:
            said = ", ".join(dimensions) or "none"
            msg = f"Multi(…) takes two dimensions, such as Multi(airport=Static(…), day=Daily(…)); it was given {said}"
            raise DeclarationError(msg)
        object.__setattr__(self, "of", tuple(sorted(dimensions.items())))
        columns = [dimension.column for dimension in dimensions.values()]
        if len(set(columns)) < len(columns):
            msg = (
                f"both dimensions of Multi({', '.join(dimensions)}) are kept in column {columns[0]!r}: give one another"
            )
            raise DeclarationError(msg)

    def __repr__(self) -> str:
        """As declared."""
        return f"Multi({', '.join(f'{name}={dimension!r}' for name, dimension in self.of)})"

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """The dimensions by name, in the order of their names."""
        return dict(self.of)

    @property
    def column(self) -> str:
        """Columns of all dimensions, for people."""
        return ", ".join(self.columns)

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The partition column of each dimension with its dtype."""
        return {dimension.column: dimension.dtype for _, dimension in self.of}

    @property
    def KEY(self) -> str:  # noqa: N802 - beside the other sets' class variables
        """What a key says, for people."""
        return " and ".join(f"{dimension.KEY} ({name})" for name, dimension in self.of)

    @property
    def example(self) -> str:
        """The first key."""
        return DELIMITER.join(dimension.example for _, dimension in self.of)

    def pieces(self, key: str) -> dict[str, str]:
        """The key in each dimension.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        pieces = key.split(DELIMITER)
        if len(pieces) != len(self.of):
            raise DeclarationError(f"{key!r} is no partition of {self.column}; write it like {self.example}")
        for (_, dimension), piece in zip(self.of, pieces, strict=True):
            dimension.check(piece)
        return dict(zip(self.dimensions, pieces, strict=True))

    def joined(self, pieces: dict[str, str]) -> str:
        """The key that is made of a key in each dimension."""
        return DELIMITER.join(pieces[name] for name in self.dimensions)

    def values(self, key: str) -> dict[str, date | datetime | str]:
        """What the partition columns hold."""
        found: dict[str, date | datetime | str] = {}
        for name, piece in self.pieces(key).items():
            found |= self.dimensions[name].values(piece)
        return found

    def stored(self, key: str) -> dict[str, str]:
        """The values of the partition columns, as a table's log and folders hold them."""
        found: dict[str, str] = {}
        for name, piece in self.pieces(key).items():
            found |= self.dimensions[name].stored(piece)
        return found

    def key_of(self, stored: dict[str, str]) -> str:
        """The key whose stored values these are."""
        return self.joined({name: dimension.key_of(stored) for name, dimension in self.of})

    def keys(self) -> Sequence[str]:
        """Every key in order.

        Raises:
            DeclarationError: If a dimension has no end.
        """
        return _product(tuple(tuple(dimension.keys()) for _, dimension in self.of))

    def between(self, first: date, last: date) -> Sequence[str]:
        """Keys whose periods lie on a day from first to last; a dimension without periods is taken whole."""
        return _product(tuple(tuple(dimension.between(first, last)) for _, dimension in self.of))

    def declared(self, now_utc: datetime) -> Sequence[str]:
        """Every key in order; of a dimension without end, those of periods that have begun by now."""
        return _product(tuple(tuple(dimension.declared(now_utc)) for _, dimension in self.of))

    def begun(self, now_utc: datetime, since: date | None = None) -> Sequence[str]:
        """Keys whose periods have begun by now, from a day on if one is given."""
        return _product(tuple(tuple(dimension.begun(now_utc, since)) for _, dimension in self.of))

    def sizes(self, now_utc: datetime) -> tuple[int, ...]:
        """How many partitions are declared in each dimension."""
        return tuple(dimension.size(now_utc) for _, dimension in self.of)

    def size(self, now_utc: datetime) -> int:
        """How many partitions are declared."""
        outer, inner = self.sizes(now_utc)
        return outer * inner

    def check(self, key: str) -> None:
        """Accept a key of this set.

        Raises:
            DeclarationError: If it is not one.
        """
        self.pieces(key)

    def has_begun(self, key: str, now_utc: datetime) -> bool:
        """Whether the periods of a partition have begun.

        Raises:
            DeclarationError: If the key is not one of this set.
        """
        return all(self.dimensions[name].has_begun(piece, now_utc) for name, piece in self.pieces(key).items())


@lru_cache(maxsize=64)
def _product(keys: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(map(DELIMITER.join, product(*keys)))
