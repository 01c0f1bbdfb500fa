"""What if: the reach of a change that was not made, by columns.

Belongs here: which partitions would be computed again, and in which columns they could differ then. Does not belong
here: what has changed (``staleness``), finding column lineage out (``lineage``). Invariant: nothing that the change
could reach is left out; a column is named where nobody can tell that it stays the same.

A table is computed again if a column that it is handed changes. Of what it makes, those columns can differ that its
lineage derives from the changed ones: filters, keys of joins and groups are in the lineage of every column. A changed
key is another row, so every column differs. Where keys by which rows are looked up change, other rows are handed over.
A rule that refers to another table judges anew; that changes content only where the partition is withheld now.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from sh_core.graph import Graph
from sh_core.inputs import Input
from sh_core.lineage import Lineage
from sh_core.links import Flags, places
from sh_core.reading import handed_over
from sh_core.suspects import enough, linked
from sh_core.table import Table

LineageOf = Callable[[Table], Lineage | None]
"""Per column of a table, the arguments and columns that it is computed from; None if nobody can tell."""


@dataclass(frozen=True, eq=False)
class Touched:
    """What a change does to one table.

    Attributes:
        computed: Partitions that would be computed again, shape (keys,).
        columns: Per column that could differ then, in which partitions.
    """

    computed: Flags
    columns: Mapping[str, Flags] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Present:
    """How things are: what a reach depends on beside the declarations.

    Attributes:
        decided: Per table, partitions that were ever decided about.
        there: Per table, partitions that have content.
        withheld: Per table, partitions of which newer content is withheld.
    """

    decided: Mapping[str, Flags]
    there: Mapping[str, Flags]
    withheld: Mapping[str, Flags]


def reach(
    graph: Graph,
    now_utc: datetime,
    changed: Mapping[str, Collection[str]],
    columns: Collection[str] | None,
    lineage: LineageOf,
    present: Present,
) -> dict[str, Touched]:
    """What a change would do to the tables downstream.

    Args:
        graph: The tables.
        now_utc: Until when sets without end are declared.
        changed: Which partitions change, of one table.
        columns: In which columns; None for all.
        lineage: Tells what columns are computed from.
        present: How things are.

    Returns:
        By table in order, those that the change starts in included; tables that it does not reach are left out.
    """
    touched: dict[str, Touched] = {}
    for table in graph.tables:
        if table.name in changed:
            place = places(table.partitions, now_utc)
            flags = np.zeros(len(place), np.bool_)
            flags[[place[key] for key in changed[table.name]]] = True
            named = table.contract.columns if columns is None else columns
            touched[table.name] = Touched(flags, _rows_too(table, dict.fromkeys(named, flags)))
        else:
            found = _Reaching(graph, now_utc, table, touched, present).touched(lineage)
            if found.computed.any():
                touched[table.name] = found
    return touched


class _Reaching:
    """One table, and what reaches it."""

    def __init__(
        self, graph: Graph, now_utc: datetime, table: Table, upstream: Mapping[str, Touched], present: Present
    ) -> None:
        self._graph, self._now_utc, self._table, self._upstream = graph, now_utc, table, upstream
        self._present, self._size = present, len(places(table.partitions, now_utc))

    def touched(self, lineage: LineageOf) -> Touched:
        arriving = {given.name: self._arriving(given) for given in self._table.inputs}
        for given in self._table.inputs:
            self._look_up_anew(given, arriving)
        judged = self._any(flags for given in self._table.consulted for flags in self._arriving(given).values())
        handed = {(argument, column): flags for argument, by in arriving.items() for column, flags in by.items()}
        able = self._able()
        computed = self._any((judged, *handed.values())) & able
        if not computed.any():
            return Touched(computed)
        let_through = judged & self._present.withheld[self._table.name]
        derives = lineage(self._table)
        columns: dict[str, Flags] = {}
        for column in self._table.contract.columns:
            origins = handed.keys() if derives is None else derives.get(column, frozenset())
            differs = self._any((let_through, *(handed[o] for o in origins if o in handed))) & able
            if differs.any():
                columns[column] = differs
        return Touched(computed, _rows_too(self._table, columns))

    def _any(self, several: Iterable[Flags]) -> Flags:
        found = np.zeros(self._size, np.bool_)
        for flags in several:
            found |= flags
        return found

    def _arriving(self, given: Input) -> dict[str, Flags]:
        """Per column handed over that changes, the partitions that read it."""
        source = self._upstream.get(given.table)
        if source is None:
            return {}
        of = linked(self._table, given, self._graph, self._now_utc)
        handed = handed_over(given, self._graph[given.table])
        return {column: of.reading(flags) for column, flags in source.columns.items() if column in handed}

    def _look_up_anew(self, given: Input, arriving: dict[str, dict[str, Flags]]) -> None:
        """Other keys to look up by: all columns of the rows that are looked up may be others."""
        if given.lookup is None:
            return
        for column in given.lookup.columns:
            driven = arriving[given.lookup.driver].get(column)
            if driven is not None:
                for handed in handed_over(given, self._graph[given.table]):
                    before = arriving[given.name].get(handed, np.zeros(self._size, np.bool_))
                    arriving[given.name][handed] = before | driven

    def _able(self) -> Flags:
        """Partitions that were computed before, or could be then."""
        ready = np.ones(self._size, np.bool_)
        for given in self._table.reads:
            there, change = self._present.there[given.table], self._upstream.get(given.table)
            there = there if change is None else there | change.computed
            ready &= enough(given, linked(self._table, given, self._graph, self._now_utc), there)
        return np.asarray(self._present.decided[self._table.name] | ready, np.bool_)


def _rows_too(table: Table, columns: dict[str, Flags]) -> dict[str, Flags]:
    """Where a key changes, so do all columns: it is another row."""
    keys = [flags for column, flags in columns.items() if column in table.contract.key]
    if not keys:
        return columns
    other = np.logical_or.reduce(keys)
    return {c: columns.get(c, np.zeros(len(other), np.bool_)) | other for c in table.contract.columns}
