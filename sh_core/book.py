"""The book: the facts that decide what is due.

Belongs here: the port, and the facts as data. Does not belong here: deciding (``watch``), keeping facts (the ledger has
a book, and so has the oracle in memory; one suite of tests holds for both). Invariant: serials only grow, and whoever
has seen everything up to one misses nothing by asking for what came after it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sh_core.links import Flags
from sh_core.staleness import Look, Stale
from sh_core.suspects import Standing

Keys = Mapping[str, Collection[str]]
"""Partition keys by table."""

Place = tuple[str, str]
"""A table and a partition of it."""


@dataclass(frozen=True)
class Tries:
    """How often a partition was requested under one trace without being settled.

    Attributes:
        count: How often.
        last_utc: The last time.
    """

    count: int
    last_utc: datetime


@dataclass(frozen=True)
class LastLook:
    """How a partition was last looked at and found settled, or decided about.

    Attributes:
        looked: Serial that was read before.
        recipe: Recipe of whoever looked.
    """

    looked: int
    recipe: int


@dataclass(frozen=True)
class Changes:
    """What the ledger confirmed after some serial.

    Attributes:
        serial: Up to which serial this is everything.
        settled: Partitions that were decided, by table, whatever was decided.
        content: Those of them that show other content, by table.
        arrived: Partitions for which a file came, by feed.
    """

    serial: int
    settled: Keys = field(default_factory=dict)
    content: Keys = field(default_factory=dict)
    arrived: Keys = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One partition that was requested, and why.

    Attributes:
        table: Table.
        partition: Partition key.
        stale: What it was found to be.
    """

    table: str
    partition: str
    stale: Stale


class Book(Protocol):
    """The facts that a watch asks for. Every call is bounded by what it is asked about."""

    def changes(self, after: int | None) -> Changes:
        """What was confirmed after a serial; None asks for the present serial only."""

    def standings(self, table: str) -> Iterable[Standing]:
        """Every settled partition of a table."""

    def arrivals(self, feed: str) -> Iterable[tuple[str, int]]:
        """Per partition of a feed for which a file came, the serial of the newest."""

    def astray(self, table: str) -> Collection[str]:
        """Partitions of a table of which readers see something else than was published, if anybody wrote to it."""

    def recipe(self, table: str) -> int:
        """The present recipe of a table."""

    def look(self, table: str, keys: Collection[str]) -> Look:
        """What partitions of a table are now. Those that are settled are noted as looked at."""

    def leased(self) -> Keys:
        """Partitions that some process is working on."""

    def paused(self) -> Collection[str]:
        """Tables that nothing is to be requested of."""

    def tries(self, wanted: Mapping[Place, Stale]) -> Mapping[Place, Tries]:
        """How often partitions were requested under these traces since they were last settled, if they were."""

    def request(self, requests: Collection[Request], by: str, now_utc: datetime) -> int:
        """Note what is being requested, before it is.

        Returns:
            A serial of its own: whoever looks at inputs after this looks as of this serial, or a later one.
        """

    def today(self, now_utc: datetime) -> datetime:
        """What day and time it is for vendors, and so which periods have begun."""

    def late(self, table: str, today: datetime) -> Flags:
        """Which declared partitions of a table are past their deadline, whether or not they are there, by place."""

    def looks(self, places: Collection[Place]) -> Mapping[Place, LastLook]:
        """How partitions were last looked at; those of which nothing was ever decided are left out.

        A run that finds a partition settled has looked at it, too.
        """
