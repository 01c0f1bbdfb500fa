"""Fixed sets: partition sets whose keys are a list that no clock changes.

Belongs here: the table that is one partition, and lists of keys. Does not belong here: periods (``periods``),
combinations (``multi``). Invariant: a key can be a folder's name, part of a file's name and a partition in Dagster.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import ClassVar
from urllib.parse import quote

import polars as pl

from sh_core.errors import DeclarationError

WHOLE = "all"
"""The one key of an unpartitioned table or feed."""

LONGEST = 200
"""Bytes that a key may have as a folder's name, in which what is no letter or digit of English takes three or more."""

DELIMITER = "|"
"""Between the keys of the dimensions of a combined partition, as Dagster writes them."""

_NAMED = 10
"""Keys that a message names."""

_RESERVED = {
    WHOLE: "is the name of a table without partitions",
    ".": "is no name of a folder",
    "..": "is no name of a folder",
    "__HIVE_DEFAULT_PARTITION__": "means a missing value to readers of Delta tables",
}


@dataclass(frozen=True)
class Unpartitioned:
    """One partition, which is the whole table: reference data that is delivered as a whole snapshot."""

    column: ClassVar[None] = None

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """No partition column."""
        return {}

    @property
    def example(self) -> str:
        """The one key."""
        return WHOLE

    def values(self, key: str) -> dict[str, str]:
        """Nothing: there is no partition column."""
        del key
        return {}

    def stored(self, key: str) -> dict[str, str]:
        """Nothing: there is no partition column."""
        del key
        return {}

    def key_of(self, stored: dict[str, str]) -> str:
        """The one key."""
        del stored
        return WHOLE

    def keys(self) -> Sequence[str]:
        """The one key."""
        return (WHOLE,)

    def between(self, first: date, last: date) -> Sequence[str]:
        """The one key, whatever the days: a snapshot belongs to all of them."""
        del first, last
        return (WHOLE,)

    def declared(self, now_utc: datetime) -> Sequence[str]:
        """The one key, at any time."""
        del now_utc
        return (WHOLE,)

    def begun(self, now_utc: datetime, since: date | None = None) -> Sequence[str]:
        """The one key, at any time."""
        del now_utc, since
        return (WHOLE,)

    def size(self, now_utc: datetime) -> int:
        """One."""
        del now_utc
        return 1

    def has_begun(self, key: str, now_utc: datetime) -> bool:
        """Always.

        Raises:
            DeclarationError: If it is another key.
        """
        del now_utc
        self.check(key)
        return True

    def check(self, key: str) -> None:
        """Accept the one key.

        Raises:
            DeclarationError: If it is another one.
        """
        if key != WHOLE:
            msg = f"{key!r} is no partition of a table without partitions; its whole content is called {WHOLE!r}"
            raise DeclarationError(msg)


@dataclass(frozen=True, init=False)
class Static:
    """One partition per key of a list: a region, a branch, a first letter.

    Attributes:
        of: The keys, in the order in which they are shown and run.
        column: Column that holds the key in every table partitioned by this set (dtype String).
    """

    of: tuple[str, ...]
    column: str

    NAME: ClassVar[str] = "static"
    KEY: ClassVar[str] = "the key"

    def __init__(self, keys: Sequence[str], *, column: str) -> None:
        """Declare the list.

        Args:
            keys: The keys, in order.
            column: Column that holds them.

        Raises:
            DeclarationError: If a key is there twice, or can be no name of a folder, file or partition.
        """
        if isinstance(keys, str):
            raise DeclarationError(f'the keys of static partitions are a tuple of texts, ("{keys}",) with a comma')
        object.__setattr__(self, "of", tuple(keys))
        object.__setattr__(self, "column", column)
        if not self.of:
            raise DeclarationError(f"static partitions of {column} have no key: name at least one")
        for key in self.of:
            why = _why_no_key(key)
            if why is not None:
                raise DeclarationError(f"{key!r} cannot be a static partition of {column}: it {why}")
        twice = [key for key, times in Counter(self.of).items() if times > 1]
        if twice:
            raise DeclarationError(f"static partitions of {column} name {', '.join(twice)} twice: name each once")

    @property
    def dtype(self) -> pl.DataType:
        """Dtype of the partition column."""
        return pl.String()

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The partition column with its dtype."""
        return {self.column: self.dtype}

    @property
    def example(self) -> str:
        """The first key."""
        return self.of[0]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.of)}

    def values(self, key: str) -> dict[str, str]:
        """What the partition column holds: the key."""
        self.check(key)
        return {self.column: key}

    def stored(self, key: str) -> dict[str, str]:
        """What a table's log holds: the key."""
        return {self.column: key}

    def key_of(self, stored: dict[str, str]) -> str:
        """What is stored is the key."""
        return stored[self.column]

    def keys(self) -> Sequence[str]:
        """Every key in order."""
        return self.of

    def between(self, first: date, last: date) -> Sequence[str]:
        """Every key, whatever the days."""
        del first, last
        return self.of

    def declared(self, now_utc: datetime) -> Sequence[str]:
        """Every key, at any time."""
        del now_utc
        return self.of

    def begun(self, now_utc: datetime, since: date | None = None) -> Sequence[str]:
        """Every key, at any time."""
        del now_utc, since
        return self.of

    def size(self, now_utc: datetime) -> int:
        """How many keys there are."""
        del now_utc
        return len(self.of)

    def number(self, key: str) -> int:
        """The place of a key in the list.

        Raises:
            DeclarationError: If it is not in it.
        """
        place = self._places.get(key)
        if place is None:
            more = f" and {len(self.of) - _NAMED} more" if len(self.of) > _NAMED else ""
            known = ", ".join(self.of[:_NAMED]) + more
            raise DeclarationError(f"{key!r} is no partition of {self.column}; there are {known}")
        return place

    def check(self, key: str) -> None:
        """Accept a key of the list.

        Raises:
            DeclarationError: If it is not in it.
        """
        self.number(key)

    def has_begun(self, key: str, now_utc: datetime) -> bool:
        """Always.

        Raises:
            DeclarationError: If the key is not in the list.
        """
        del now_utc
        self.check(key)
        return True


def _why_no_key(key: object) -> str | None:
    """Why a value can be no key, in words that follow 'it'; None if it can."""
    if not isinstance(key, str):
        return f"is a {type(key).__name__}, not a text"
    if key in _RESERVED:
        return _RESERVED[key]
    if not key or key != key.strip() or key.startswith("."):
        return "is empty, or begins or ends with what is easily overlooked (a space, a dot)"
    odd = sorted({c for c in key if not c.isprintable() or c in "/\\" + DELIMITER + ",[]"})
    if odd or "..." in key:
        said = " ".join(ascii(c) for c in odd) or "..."
        return f"has {said} in it, which file names or Dagster's ranges of partitions cannot hold"
    size = len(quote(key, safe=""))
    return f"takes {size} bytes as a folder's name, of {LONGEST}" if size > LONGEST else None
