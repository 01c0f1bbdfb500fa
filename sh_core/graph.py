"""The graph of tables: declarations joined and checked against each other.

Belongs here: names, edges, order. Does not belong here: state of any kind. Invariant: every input names a table of the
graph, columns that are read exist, there is no cycle, and ``tables`` is in an order in which inputs come first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from sh_core.contract import Reference
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.inputs import Input, refuse_lookup
from sh_core.mapping import SAME, refuse
from sh_core.partitions import Unpartitioned
from sh_core.table import Station, Table


@dataclass(frozen=True, eq=False)
class Graph:
    """All declared tables. Build it with ``Graph.of``."""

    tables: tuple[Table, ...]

    @classmethod
    def of(cls, tables: Iterable[Table]) -> "Graph":
        """Join declarations into a graph.

        Raises:
            DeclarationError: On a name used twice, an input or column that does not exist, or a cycle.
        """
        by_name: dict[str, Table] = {}
        for table in tables:
            if table.name in by_name:
                msg = f"two tables are called {table.name}"
                raise DeclarationError(msg)
            by_name[table.name] = table
        for table in by_name.values():
            _check_inputs(table, by_name)
        try:
            order = TopologicalSorter({t.name: [i.table for i in t.reads] for t in by_name.values()}).static_order()
            return cls(tuple(by_name[name] for name in order))
        except CycleError as cycle:
            msg = f"tables need each other in a circle: {' → '.join(cycle.args[1])}"
            raise DeclarationError(msg) from cycle

    @cached_property
    def _by_name(self) -> dict[str, Table]:
        return {t.name: t for t in self.tables}

    def __getitem__(self, name: str) -> Table:
        """The table of that name.

        Raises:
            DeclarationError: If there is none; the message lists those that exist.
        """
        try:
            return self._by_name[name]
        except KeyError:
            msg = f"there is no table {name!r}; there are {', '.join(sorted(self._by_name))}"
            raise DeclarationError(msg) from None

    def __contains__(self, name: object) -> bool:
        """Whether there is a table of that name."""
        return name in self._by_name

    def registers(self, table: Table) -> frozenset[str]:
        """Tables without partitions in which a table looks rows up."""
        return frozenset(
            i.table for i in table.inputs if i.lookup and isinstance(self[i.table].partitions, Unpartitioned)
        )

    @cached_property
    def marked(self) -> frozenset[str]:
        """Tables whose content may rest on placeholders: those that have them, and what reads those."""
        found = set[str]()
        for t in self.tables:
            reading = any(i.table in found for i in t.reads) and t.station is not Station.FEATURE
            if t.if_late is not None or reading:
                found.add(t.name)
        return frozenset(found)

    @cached_property
    def feeds(self) -> tuple[Feed, ...]:
        """Every feed, in the order of its raw table."""
        return tuple(t.feed for t in self.tables if t.feed is not None)

    @cached_property
    def stations(self) -> tuple[tuple[Table, ...], ...]:
        """Tables by their distance from the feeds: each station needs only earlier ones."""
        depth: dict[str, int] = {}
        for t in self.tables:
            depth[t.name] = 1 + max((depth[i.table] for i in t.reads), default=-1)
        deepest = max(depth.values(), default=-1)
        return tuple(tuple(t for t in self.tables if depth[t.name] == d) for d in range(deepest + 1))

    def downstream(self, name: str) -> tuple[Table, ...]:
        """Tables that read this one directly."""
        return tuple(t for t in self.tables if any(i.table == name for i in t.reads))


def _check_inputs(table: Table, by_name: dict[str, Table]) -> None:
    for given in table.reads:
        if given.table not in by_name:
            msg = f"table {table.name} reads {given.table}, which is not declared; there are {', '.join(by_name)}"
            raise DeclarationError(msg)
        source = by_name[given.table]
        missing = sorted(c for c in given.columns or () if c not in source.contract.columns)
        if missing:
            msg = (
                f"table {table.name} reads {', '.join(missing)} of {given.table}, which has no such column; "
                f"it has {', '.join(source.contract.columns)}"
            )
            raise DeclarationError(msg)
        why = refuse(given.window, table.partitions, source.partitions) or _refuse_lookup(table, given, by_name)
        if why is not None:
            msg = f"table {table.name} reads {given.table}, which {why}"
            raise DeclarationError(msg)
        if table.station is Station.STAGED and given in table.inputs and _picks(table, given, source):
            msg = f"staged table {table.name} must read {given.table} as it is, same partition: every row counts once"
            raise DeclarationError(msg)
        if table.station is Station.STAGED and given in table.inputs and not source.keeps_lineage:
            msg = f"staged table {table.name} reads {given.table}, whose rows have no file and line: read a raw table"
            raise DeclarationError(msg)
    for reference in table.contract.references:
        _check_reference(table, reference, by_name[reference.table])


def _check_reference(table: Table, reference: Reference, source: Table) -> None:
    refers = f"table {table.name}: {', '.join(reference.columns)} refers to {reference.table}"
    key, theirs, mine = source.contract.key, source.contract.schema, table.contract.schema
    if len(key) != len(reference.columns):
        msg = f"{refers}, whose key is {', '.join(key) or 'nothing'}: name a column for each"
        raise DeclarationError(msg)
    differ = [
        f"{m} is {mine[m]}, {k} is {theirs[k]}"
        for m, k in zip(reference.columns, key, strict=True)
        if mine[m] != theirs[k]
    ]
    if differ:
        msg = f"{refers}, but their types differ ({'; '.join(differ)}): nothing would ever match"
        raise DeclarationError(msg)


def _picks(table: Table, given: Input, source: Table) -> bool:
    """Whether rows of an input may be left out, or go into several partitions."""
    return source.partitions != table.partitions or given.window != SAME or given.lookup is not None


def _refuse_lookup(table: Table, given: Input, by_name: dict[str, Table]) -> str | None:
    if given.lookup is None:
        return None
    driving = next((i for i in table.inputs if i.name == given.lookup.driver and i is not given), None)
    return refuse_lookup(given, by_name[given.table], by_name[driving.table] if driving else None, driving)
