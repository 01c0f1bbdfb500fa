"""Shapes: a graph of tables as plain data, from which real tables are declared and which the reference reads.

Belongs here: what a table of a drawn world is. Does not belong here: drawing one (``drawing``), the real declarations
(``declared``), which partitions a window means. Invariant: nothing here imports the project, so that the reference,
which imports this, imports nothing of what it judges.
"""

from dataclasses import dataclass, field
from datetime import date

RAW, STAGED, MART = "raw", "staged", "mart"
"""Stations, as far as they matter here."""

KEY = "k"
"""The key column of every keyed table, and the first of its columns."""

WHOLE = "all"
"""The one partition of a table without partitions."""


@dataclass(frozen=True)
class Span:
    """A set of partitions.

    Attributes:
        kind: ``hourly``, ``daily``, ``weekly``, ``monthly``, ``static`` (a list of keys), ``multi`` (a combination) or
            ``whole`` (one partition).
        start: First day, of periods.
        end: Last day; None for a set without end.
        of: Keys of a list.
        dims: Sets of a combination by name, in the order of names.
    """

    kind: str
    start: date | None = None
    end: date | None = None
    of: tuple[str, ...] = ()
    dims: tuple[tuple[str, "Span"], ...] = ()

    @property
    def parts(self) -> dict[str, "Span"]:
        """Its dimensions by name; one without a name if it is no combination, none if it is one partition."""
        if self.kind == "whole":
            return {}
        return dict(self.dims) if self.kind == "multi" else {"": self}


@dataclass(frozen=True)
class Given:
    """One input of a table.

    Attributes:
        argument: Name of the transform's argument.
        table: Table that is read.
        columns: Columns that are read beside the key; None for all.
        first: Upstream periods by which the window's beginning is moved.
        last: The same for its end.
        every: ``all`` or ``last`` where the whole set is read, or its newest partition; empty for the window.
        least: How many partitions must be there; None if all must.
        by: Argument and column in which the keys of looked-up rows occur; None if all rows are read.
    """

    argument: str
    table: str
    columns: tuple[str, ...] | None = None
    first: int = 0
    last: int = 0
    every: str = ""
    least: int | None = None
    by: tuple[str, str] | None = None


@dataclass(frozen=True)
class Pick:
    """How one output column is computed.

    Attributes:
        argument: Input that it comes from.
        column: Column of it.
        how: ``min``, ``max``, ``sum`` or ``count``.
        by: What the result is divided by, the rest forgotten.
    """

    argument: str
    column: str
    how: str
    by: int


@dataclass(frozen=True)
class Code:
    """A transform.

    Attributes:
        main: Argument whose rows are grouped.
        modulus: Rows are grouped by the rest of their key.
        picks: One per column beside the key.
        plus: Added to every value.
        idle: Changes nothing; an edit of it is an edit all the same.
    """

    main: str
    modulus: int
    picks: tuple[Pick, ...]
    plus: int = 0
    idle: int = 0


@dataclass(frozen=True)
class Gate:
    """What rows must satisfy.

    Attributes:
        limit: Greatest value that the second column may have.
        share: Share of rows that may exceed it and be set aside; None if one of them withholds the partition.
        refers: Table in whose keys the values of the second column must occur, if any.
        lost: Share of rows whose value may be missing there.
    """

    limit: int
    share: float | None = None
    refers: str | None = None
    lost: float = 0.0


@dataclass(frozen=True)
class Shape:
    """One table.

    Attributes:
        name: Its name.
        station: ``raw``, ``staged`` or ``mart``.
        span: Its partitions.
        columns: Its columns in order, the partition column aside.
        gate: What its rows must satisfy.
        reads: Its inputs.
        code: Its transform; None for raw and staged tables, which take rows as they are.
        feed: Feed of a raw table.
    """

    name: str
    station: str
    span: Span
    columns: tuple[str, ...]
    gate: Gate
    reads: tuple[Given, ...] = ()
    code: Code | None = None
    feed: str | None = None

    @property
    def keyed(self) -> bool:
        """Whether rows have an identity."""
        return self.station != RAW

    @property
    def code_text(self) -> str:
        """What stands for its code version."""
        return f"{self.station}, {self.code}"

    @property
    def everything_read(self) -> tuple[Given, ...]:
        """Its inputs, and the keys that its gate looks at."""
        consulted = () if self.gate.refers is None else (Given(f"@{self.gate.refers}", self.gate.refers, ()),)
        return (*self.reads, *consulted)


Row = tuple[int, ...]
"""One row, in the order of its table's columns."""

Rows = tuple[Row, ...]
"""Rows of a partition, sorted."""


@dataclass(frozen=True)
class File:
    """A delivered file.

    Attributes:
        rows: Its rows in order.
        salt: Bytes that say nothing: two files with the same rows may differ in them.
    """

    rows: Rows
    salt: int = 0


@dataclass
class World:
    """What can be changed from outside.

    Attributes:
        shapes: Tables by name; inputs come before those who read them.
        files: Newest file per feed and partition.
        today: Until when sets without end are declared.
        paused: Tables of which nothing is requested.
    """

    shapes: dict[str, Shape]
    today: date
    files: dict[tuple[str, str], File] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
