"""Naming: the table, partition or rule that somebody meant.

Belongs here: finding what was typed, and saying what looks like it. Does not belong here: anything about what was
found. Invariant: a name that does not exist is never guessed, only suggested.
"""

from bisect import bisect
from collections.abc import Collection, Sequence
from datetime import datetime
from difflib import get_close_matches

from sh_core.errors import SelfHealError
from sh_core.graph import Graph
from sh_core.table import Table
from sh_defs.facts.standings import is_date


class UnknownNameError(SelfHealError):
    """Somebody named a table, partition or rule that does not exist."""


def address(graph: Graph, text: str, now_utc: datetime) -> tuple[Table, str | None]:
    """The table, and the partition if one is named, of ``TABLE[:PARTITION]``.

    Args:
        graph: The declared tables.
        text: What was typed.
        now_utc: Up to when partitions without end exist.

    Raises:
        UnknownNameError: If there is no such table or partition; with those that look like it.
    """
    name, colon, key = text.partition(":")
    table = table_named(graph, name)
    if not colon:
        return table, None
    keys = table.partitions.declared(now_utc)
    if key not in keys:
        span = f"{len(keys):,} partitions, {keys[0]} to {keys[-1]}" if len(keys) > 1 else f"one partition, {keys[0]}"
        near = _neighbours(key, keys) if is_date(keys[0]) else alike(key, keys)
        raise UnknownNameError(f"{table.name} has no partition {key!r}{meant(near)}. It has {span}")
    return table, key


def table_named(graph: Graph, name: str) -> Table:
    """The table of that name.

    Raises:
        UnknownNameError: If there is none; with those that look like it.
    """
    names = [t.name for t in graph.tables]
    if name not in names:
        raise UnknownNameError(f"there is no table {name!r}{meant(alike(name, names))}. There are {', '.join(names)}")
    return graph[name]


def alike(name: str, names: Collection[str]) -> list[str]:
    """At most three names that look like one, or hold it."""
    parts = [n for n in names if name and name in n]
    return [*parts, *(n for n in get_close_matches(name, names) if n not in parts)][:3]


def _neighbours(key: str, keys: Sequence[str]) -> Sequence[str]:
    """The keys before and after, were it one of them."""
    after = bisect(keys, key)
    return keys[max(0, after - 1) : after + 1]


def meant(names: Sequence[str]) -> str:
    """A question to put behind a name that does not exist."""
    return f" (did you mean {' or '.join(names)}?)" if names else ""
