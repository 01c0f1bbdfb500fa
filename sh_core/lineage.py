"""Column lineage: which input columns each column of a table is computed from, found out and not declared.

Belongs here: asking a transform's plan. Does not belong here: versions of what was read (``trace``), telling Dagster of
it (``sh_assets``). Invariant: if a column's content can change because a column of an input changes, the pair is in the
lineage; where that cannot be told, there is no lineage at all rather than a wrong one.

Nothing is declared twice: the transform is handed inputs without rows that write down which columns Polars' optimizer
asks of them for one output column at a time. Keys of joins and groups, filters and sort keys are asked for and count,
since the content depends on them. Polars asks for more than that where it does not push a projection through: all
fields of a struct for one of them, all columns unpivoted or exploded together, and some column of an input of which
only the number of rows matters (``pl.len()``, a literal, a horizontal concat).
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import polars as pl
from polars.io.plugins import register_io_source

from sh_core.columns import is_system
from sh_core.table import Table, Transform

Origin = tuple[str, str]
"""An input (a table, or the feed of a raw table) and one of its columns."""

Lineage = Mapping[str, frozenset[Origin]]
"""Per column of a table the columns that it is computed from; empty for a constant, or what a file's name says."""


def column_lineage(table: Table, inputs: Mapping[str, pl.Schema]) -> Lineage | None:
    """Find out which columns each column of a table is computed from.

    Args:
        table: The table. A raw table's columns come from those of its feed, under the same names.
        inputs: Per input table, the columns handed to the transform and their types, the framework's included.

    Returns:
        An entry per column, the framework's left out; None if it cannot be told (see ``of_transform``).
    """
    if table.transform is not None:
        return of_transform(table.transform, inputs)
    delivered = {(feed.name, c) for feed in (table.feed,) if feed is not None for c in feed.columns}
    return {c: frozenset(origin for origin in delivered if origin[1] == c) for c in table.contract.columns}


def of_transform(transform: Transform, inputs: Mapping[str, pl.Schema]) -> Lineage | None:
    """Find out which columns each column that a transform returns is computed from.

    Args:
        transform: What to ask; it is run once on inputs without rows, and its plan once per column (about 1 ms each).
        inputs: Per argument, its columns and their types.

    Returns:
        An entry per column, the framework's left out. None if the transform crashes on inputs without rows, looks at
        rows before it returns, or returns no LazyFrame.
    """
    asked = _Asked()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whatever they are about, the real run tells of it
            made: object = transform(**{name: asked.input(name, schema) for name, schema in inputs.items()})
            if asked.scans or not isinstance(made, pl.LazyFrame):
                return None  # what it saw without rows may not be what it would do with them
            return {c: asked.of(made, c) for c in made.collect_schema().names() if not is_system(c)}
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001  # the boundary around user code
        return None


@dataclass
class _Asked:
    """What was asked of the inputs.

    Attributes:
        origins: Columns, since the last question.
        scans: How often anything was asked at all.
    """

    origins: set[Origin] = field(default_factory=set)
    scans: int = 0

    def input(self, name: str, schema: pl.Schema) -> pl.LazyFrame:
        """An input without rows that writes down what is asked of it."""
        return register_io_source(partial(self._scan, name, schema), schema=schema)

    def of(self, rows: pl.LazyFrame, column: str) -> frozenset[Origin]:
        """What one column asks for."""
        self.origins.clear()
        rows.select(column).collect(engine="in-memory")
        return frozenset(self.origins)

    def _scan(self, name: str, schema: pl.Schema, columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        wanted = schema.names() if columns is None else columns  # those of a pushed-down filter among them
        self.scans += 1
        self.origins.update((name, c) for c in wanted if not is_system(c))
        yield pl.DataFrame(schema={c: schema[c] for c in wanted})
