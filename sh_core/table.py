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
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import polars as pl

from sh_core.conservation import CONSERVES_ROWS, IN_PARTITION
from sh_core.contract import Contract, raw_contract
from sh_core.due import Due, refuse_due
from sh_core.errors import DeclarationError, refuse_other_kinds
from sh_core.feed import Feed
from sh_core.inputs import Input, refuse_text
from sh_core.partitions import KINDS, Partitions
from sh_core.placeholder import Placeholder

Transform = Callable[..., pl.LazyFrame]
"""A pure function: one LazyFrame per input, by argument name; returns the rows of one partition."""


class Station(StrEnum):
    """Where in the life of a row a table stands."""

    RAW = "raw"
    STAGED = "staged"
    JOINED = "joined"
    MART = "mart"
    FEATURE = "feature"


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
        due: When a partition is owed to its readers; None takes the latest of what it reads.
        if_late: What stands in for a partition that is late; None waits.
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
    due: Due | None = None
    if_late: Placeholder | None = None

    def __post_init__(self) -> None:
        """Refuse an incomplete declaration."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            msg = f"table {self.name!r}: a name is lower case letters, digits and underscores"
            raise DeclarationError(msg)
        owner = self.contract.owner
        if owner and not re.fullmatch(r"team:.+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
            msg = f"table {self.name}: an owner is a mail address or team:<name>, not {owner!r}"
            raise DeclarationError(msg)
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.group):
            msg = f"table {self.name}: a group is letters, digits and underscores, not {self.group!r}"
            raise DeclarationError(msg)
        refuse_other_kinds(
            f"table {self.name}",
            {
                "partitions": (self.partitions, Partitions, KINDS),
                "station": (self.station, Station, "one of Station.STAGED, .JOINED, .MART, .FEATURE"),
                "if_late": (self.if_late, Placeholder | None, "Placeholder('previous') or Placeholder('same_weekday')"),
            },
        )
        if (self.transform is None) == (self.feed is None):
            msg = f"table {self.name}: exactly one of a transform and a feed makes its rows"
            raise DeclarationError(msg)
        if self.transform is not None and not self.inputs:
            msg = f"table {self.name}: its transform needs at least one upstream table as argument"
            raise DeclarationError(msg)
        why = refuse_due(self.due, self.partitions) or self._refuse_placeholder()
        if why is not None:
            raise DeclarationError(f"table {self.name}: {why}")
        for column, must in self.partitions.columns.items():
            if self.transform is not None and column not in self.contract.columns:
                msg = f"table {self.name}: the contract lacks the partition column {column!r}"
                raise DeclarationError(msg)
            has = self.contract.schema[column]
            if has != must:
                msg = f"table {self.name}: the partition column {column!r} must be {must}; in the contract it is {has}"
                raise DeclarationError(msg)

    def _refuse_placeholder(self) -> str | None:
        """Why what is declared cannot stand in for a late partition, in words; None if it can."""
        if self.if_late is None:
            return None
        if self.transform is None or self.station is Station.FEATURE:
            return "nothing may stand in for delivered text, nor for features: declare if_late between the two"
        return self.if_late.refused(self.partitions, self.contract.schema)

    @cached_property
    def consulted(self) -> tuple[Input, ...]:
        """Tables that the contract's references look at: their keys only, and the transform does not see them."""
        tables = dict.fromkeys(reference.table for reference in self.contract.references)
        return tuple(Input(name, (), argument=f"@{name}") for name in tables)

    @property
    def reads(self) -> tuple[Input, ...]:
        """Everything upstream that decides its content: the transform's inputs, and what is consulted."""
        return (*self.inputs, *self.consulted)

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
    reads: Mapping[str, Sequence[str] | Input] | None = None,
    group: str = "default",
    name: str | None = None,
    due: Due | None = None,
    if_late: Placeholder | None = None,
) -> Callable[[Transform], Table]:
    """Declare a table by the function that computes one partition of it.

    Args:
        contract: What every published row satisfies.
        partitions: Its partition keys.
        station: Where in the life of a row it stands.
        reads: Per argument of the function, the columns of the upstream table of that name that it needs (the key comes
            along), or an ``Input`` that says more: another table, other partitions, looked-up rows, what may be
            missing. What is not named is not handed over, and a change in it recomputes nothing. Arguments left out
            are upstream tables handed over whole, same partition.
        group: Heading under which people find it.
        name: Name of the table if not that of the function.
        due: When a partition is owed to its readers; without, when the latest of what it reads is.
        if_late: What stands in for a partition that is late, marked, until the truth is there; without, readers wait.

    Returns:
        A decorator that turns the function into a ``Table``; the function's docstring becomes its description.

    Raises:
        DeclarationError: At import, if the declaration is incomplete or contradictory.
    """
    declared = dict(reads or {})
    for argument, said in declared.items():
        refuse_text(said, f"the columns that {argument} reads")

    def declare(function: Transform) -> Table:
        called = name or function.__name__
        refuse_other_kinds(f"table {called}", {"contract": (contract, Contract, "Contract(Model, key=(…))")})
        parameters = inspect.signature(function).parameters
        unknown = sorted(set(declared) - set(parameters))
        if unknown:
            msg = f"table {called}: reads names {', '.join(unknown)}, which is no argument of it"
            raise DeclarationError(msg)
        return Table(
            name=called,
            contract=contract.with_rules(
                *([IN_PARTITION] if partitions.columns else []),
                *([CONSERVES_ROWS] if station is Station.STAGED else []),
            ),
            partitions=partitions,
            station=station,
            inputs=tuple(_input(p, declared.get(p)) for p in parameters),
            transform=function,
            group=group,
            description=inspect.getdoc(function) or contract.description,
            due=due,
            if_late=if_late,
        )

    return declare


def _input(argument: str, said: Sequence[str] | Input | None) -> Input:
    if isinstance(said, Input):
        return replace(said, argument=argument)
    return Input(argument, None if said is None else tuple(said), argument=argument)
