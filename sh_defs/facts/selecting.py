"""Selecting: the partitions that somebody meant by ``TABLE[:PARTITION[..PARTITION]]``.

Belongs here: names and ranges into partition keys. Does not belong here: what is done with them. Invariant: a name that
does not exist is never guessed, only suggested; a range names the partitions of the table between its ends, both
included, in the order in which they are declared.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sh_core.graph import Graph
from sh_core.plan import Selection
from sh_defs.facts.naming import UnknownNameError, address, table_named

BETWEEN = ".."
"""Stands between the ends of a range."""


def selected(graph: Graph, said: Sequence[str], now_utc: datetime, *, downstream: bool) -> Selection | None:
    """What was asked for; None for everything.

    Args:
        graph: The declared tables.
        said: As typed, ``TABLE``, ``TABLE:PARTITION`` or ``TABLE:FIRST..LAST`` each.
        now_utc: Day (UTC) up to which partitions without end exist.
        downstream: Whether all that is downstream of it is meant, too.

    Raises:
        UnknownNameError: If there is no such table or partition; with those that look like it.
    """
    if not said:
        return None
    named: dict[str, dict[str, None]] = {}
    for text in said:
        table, keys = keys_of(graph, text, now_utc)
        named.setdefault(table, {}).update(dict.fromkeys(keys))
    return Selection({table: tuple(keys) for table, keys in named.items()}, downstream)


def keys_of(graph: Graph, text: str, now_utc: datetime) -> tuple[str, Collection[str]]:
    """The table, and those of its partitions that were named: all, if none was."""
    name, colon, wanted = text.partition(":")
    if not colon:
        table = table_named(graph, name)
        return table.name, table.partitions.declared(now_utc)
    first, dots, last = wanted.partition(BETWEEN)
    if not dots:
        table, key = address(graph, text, now_utc)
        return table.name, (key,) if key is not None else ()
    table, begin = address(graph, f"{name}:{first}", now_utc)
    _, end = address(graph, f"{name}:{last}", now_utc)
    keys = table.partitions.declared(now_utc)
    span = keys[keys.index(begin or "") : keys.index(end or "") + 1]
    if not span:
        raise UnknownNameError(f"{wanted} is no range: {first} comes after {last}")
    return table.name, span
