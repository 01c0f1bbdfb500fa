"""Tables: what a user declares, in the manner of ``@dg.asset``.

Belongs here: the declaration of one table and the decorator that makes it. Does not belong here: running it, or telling
Dagster of it (``sh_assets.build``). Invariant: a declared table is complete and consistent, or its module fails to
import.

    @table(contract=DELAYS, partitions=DAYS, station=Station.MART)
    def mart_daily_delays(stg_flights: pl.LazyFrame) -> pl.LazyFrame:
        "One row per day, origin and carrier."
        return stg_flights.group_by("date", "origin", "carrier").agg(...)
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from sh_core.conservation import CONSERVES_ROWS, IN_PARTITION
from sh_core.contract import Contract, raw_contract
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.partitions import Partitions

Transform = Callable[..., pl.LazyFrame]
"""A pure function: one LazyFrame per input, by argument name, for one partition; returns that partition's rows."""


class Station(StrEnum):
    """Where in the life of a row a table stands."""

    RAW = "raw"
    STAGED = "staged"
    JOINED = "joined"
    MART = "mart"
    FEATURE = "feature"


@dataclass(frozen=True)
class Input:
    """One upstream table of a transform, same partition.

    Attributes:
        table: Its name, also the transform's argument name.
        columns: Columns handed to the transform (its key is always added); None hands over all of them.
    """

    table: str
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """One asset with a contract.

    Attributes:
        name: Lower-case identifier, unique in the graph; folder, asset key and SQL name alike.
        contract: What every published row satisfies.
        partitions: Its partition keys.
        station: Where in the life of a row it stands.
        inputs: Upstream tables, in the order of the transform's arguments; empty for a raw table.
        transform: The pure function; None for a raw table, whose rows come from its feed.
        feed: The feed of a raw table; None otherwise.
        group: Heading under which people find it.
        description: One or more sentences for people.
    """

    name: str
    contract: Contract
    partitions: Partitions
    station: Station
    inputs: tuple[Input, ...] = ()
    transform: Transform | None = None
    feed: Feed | None = None
    group: str = "default"
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse an incomplete declaration."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            msg = f"table {self.name!r}: a name is lower case letters, digits and underscores"
            raise DeclarationError(msg)
        if (self.transform is None) == (self.feed is None):
            msg = f"table {self.name}: exactly one of a transform and a feed makes its rows"
            raise DeclarationError(msg)
        if self.transform is not None and not self.inputs:
            msg = f"table {self.name}: its transform needs at least one upstream table as argument"
            raise DeclarationError(msg)
        if self.transform is not None and self.partitions.column not in self.contract.columns:
            msg = f"table {self.name}: the contract lacks the partition column {self.partitions.column!r}"
            raise DeclarationError(msg)

    @property
    def keeps_lineage(self) -> bool:
        """Whether its rows carry file and line, one row per delivered row (raw and staged tables)."""
        return self.station in (Station.RAW, Station.STAGED)


def raw_table(feed: Feed, *, group: str = "raw") -> Table:
    """The table of a feed's rows as they came: text, file and line, under the name ``raw_<feed>``."""
    return Table(
        name=f"raw_{feed.name}",
        contract=raw_contract(feed),
        partitions=feed.partitions,
        station=Station.RAW,
        feed=feed,
        group=group,
        description=feed.description or f"Rows of {feed.name} as they came.",
    )


def table(
    *,
    contract: Contract,
    partitions: Partitions,
    station: Station,
    reads: Mapping[str, Sequence[str]] | None = None,
    group: str = "default",
    name: str | None = None,
) -> Callable[[Transform], Table]:
    """Declare a table by the function that computes one partition of it.

    Args:
        contract: What every published row satisfies.
        partitions: Its partition keys.
        station: Where in the life of a row it stands.
        reads: Per upstream table, the columns that the function needs (its key comes along). What is not named is not
            handed over, and a change in it recomputes nothing. Upstream tables left out are handed over whole.
        group: Heading under which people find it.
        name: Name of the table if not that of the function.

    Returns:
        A decorator that turns the function into a ``Table``; the function's docstring becomes its description.

    Raises:
        DeclarationError: At import, if the declaration is incomplete or contradictory.
    """
    narrowed = {upstream: tuple(columns) for upstream, columns in (reads or {}).items()}

    def declare(function: Transform) -> Table:
        parameters = inspect.signature(function).parameters
        unknown = sorted(set(narrowed) - set(parameters))
        if unknown:
            msg = f"table {name or function.__name__}: reads names {', '.join(unknown)}, which is no argument of it"
            raise DeclarationError(msg)
        return Table(
            name=name or function.__name__,
            contract=contract.with_rules(IN_PARTITION, *([CONSERVES_ROWS] if station is Station.STAGED else [])),
            partitions=partitions,
            station=station,
            inputs=tuple(Input(p, narrowed.get(p)) for p in parameters),
            transform=function,
            group=group,
            description=inspect.getdoc(function) or contract.description,
        )

    return declare
