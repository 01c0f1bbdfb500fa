"""Supposing: the reach of a change that was not made, as plain JSON values.

Belongs here: gathering what a reach depends on, and its words. Does not belong here: the reach itself
(``sh_core.whatif``). Invariant: reads only.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from sh_assets.schemas import argument_lineage
from sh_core.graph import Graph
from sh_core.links import Flags
from sh_core.records import Action
from sh_core.suspects import named, serials, standings
from sh_core.table import Table
from sh_core.whatif import Present, Touched, reach
from sh_defs.facts.naming import UnknownNameError, alike, meant
from sh_resources.engine import Engine

Facts = dict[str, Any]

NAMED = 8
"""Columns that a sentence names; ``--json`` has all."""


def supposed(
    engine: Engine, table: str, keys: Sequence[str], columns: Collection[str] | None, now_utc: datetime
) -> Facts:
    """What would be computed if partitions of a table changed.

    Args:
        engine: Where everything is.
        table: The table.
        keys: The partitions.
        columns: In which columns; None for all.
        now_utc: Until when sets without end are declared.

    Raises:
        UnknownNameError: If the table has no such column.
    """
    graph, of = engine.graph, engine.graph[table]
    for column in columns or ():
        if column not in of.contract.columns:
            near = meant(alike(column, of.contract.columns))
            raise UnknownNameError(f"{table} has no column {column!r}{near}. It has {', '.join(of.contract.columns)}")
    touched = reach(
        graph, now_utc, {table: keys}, columns, lambda t: argument_lineage(t, graph), _present(engine, now_utc)
    )
    below = _below(graph, table)
    return {
        "table": table,
        "partition": keys[0] if len(keys) == 1 else f"{keys[0]}..{keys[-1]}",
        "partitions": list(keys),
        "columns": None if columns is None else list(columns),
        "reached": [
            {
                "table": name,
                "partitions": named(graph[name].partitions, now_utc, found.computed),
                "columns": {c: named(graph[name].partitions, now_utc, flags) for c, flags in found.columns.items()},
                "says": _says(graph[name], found),
            }
            for name, found in touched.items()
            if name != table
        ],
        "not_reached": [
            {"table": other.name, "says": _why_not(other, touched)} for other in below if other.name not in touched
        ],
    }


def _present(engine: Engine, now_utc: datetime) -> Present:
    decided, there, withheld = dict[str, Flags](), dict[str, Flags](), dict[str, Flags]()
    for table in engine.graph.tables:
        own = standings(table.partitions, now_utc, engine.ledger.serials.standings(table.name))
        decided[table.name], there[table.name] = own.looked >= 0, own.content > 0
        settled = engine.ledger.publications.settlements(table.name)
        kept = [(key, 1) for key, s in settled.items() if s.action is Action.WITHHOLD]
        withheld[table.name] = np.asarray(serials(table.partitions, now_utc, kept) > 0, np.bool_)
    return Present(decided, there, withheld)


def _below(graph: Graph, name: str) -> list[Table]:
    below = {name}
    for table in graph.tables:
        if any(given.table in below for given in table.reads):
            below.add(table.name)
    return [table for table in graph.tables if table.name in below and table.name != name]


def _says(table: Table, found: Touched) -> str:
    if not found.columns:
        return "computed to the same content again: no column derives from it"
    every = len(found.columns) == len(table.contract.columns)
    return "in any column" if every else f"in {_some(tuple(found.columns))}"


def _why_not(table: Table, touched: Mapping[str, Touched]) -> str:
    """Why a table downstream is not reached."""
    near = [g for g in table.reads if g.table in touched and touched[g.table].columns]
    if not near:
        return "what it reads stays the same"
    read = dict.fromkeys(c for g in near for c in g.columns or ())
    changed = [c for g in near for c in touched[g.table].columns]
    if read and not set(read) & set(changed):
        return f"reads {_some(tuple(read))} of {', '.join(dict.fromkeys(g.table for g in near))}"
    return "reads other partitions, or was never computed"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
