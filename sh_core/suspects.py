"""Suspects: which partitions may be stale, found without looking at a single trace.

Belongs here: narrowing down, in bulk, by the ledger's serials. Does not belong here: whether a suspect is stale
(``staleness``; whoever is suspected is looked at), serials themselves (the ledger). Invariant: every stale partition
whose inputs are there is a suspect; not every suspect is stale.

Each time the ledger confirms something, it counts one up: that count is a *serial*. A partition remembers the serial at
which its content last changed (``content``), and the serial up to which its inputs were last looked at (``looked``).
So a partition's inputs can have changed only if one of those that it reads has content newer than ``looked``. It is a
comparison of states, not of events: it finds whatever a tick, a killed process or a lost cursor has missed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from sh_core.graph import Graph
from sh_core.inputs import Input, Partial, Required
from sh_core.links import Flags, Links, Numbers, declared, links, places
from sh_core.partitions import Partitions
from sh_core.table import Table

Standing = tuple[str, int, int, int]
"""What the ledger says of a settled partition: key, content (0 if nothing is published), looked, recipe."""


@dataclass(frozen=True, eq=False)
class Standings:
    """Where the declared partitions of one table stand, each by its place among the declared keys.

    Attributes:
        content: Serial at which the content last changed; 0 if nothing is published, shape (keys,).
        looked: Serial up to which the inputs were looked at; -1 if nothing was ever decided, shape (keys,).
        recipe: Recipe under which it was looked at, shape (keys,).
    """

    content: Numbers
    looked: Numbers
    recipe: Numbers


def standings(partitions: Partitions, now_utc: datetime, rows: Sequence[Standing]) -> Standings:
    """Put what the ledger says of a table in the order of its declared keys; other keys are left out."""
    place = places(partitions, now_utc)
    found = Standings(np.zeros(len(place), np.int64), np.full(len(place), -1), np.zeros(len(place), np.int64))
    if not rows:
        return found
    keys, *columns = zip(*rows, strict=True)
    at: slice | Numbers = slice(None)
    if keys != tuple(place):  # as a rule all are settled, and come in order: nothing needs to be sought
        known = [row for row in rows if row[0] in place]
        keys, *columns = zip(*known, strict=True) if known else ((), (), (), ())
        at = np.fromiter(map(place.__getitem__, keys), np.int64, len(known))
    for array, column in zip((found.content, found.looked, found.recipe), columns, strict=True):
        array[at] = column
    return found


def serials(partitions: Partitions, now_utc: datetime, rows: Iterable[tuple[str, int]]) -> Numbers:
    """Serials of something by partition, in the order of the declared keys; 0 where there is none."""
    place = places(partitions, now_utc)
    found = np.zeros(len(place), np.int64)
    for key, serial in rows:
        if key in place:
            found[place[key]] = serial
    return found


def named(partitions: Partitions, now_utc: datetime, flags: Flags) -> list[str]:
    """The keys of flagged partitions, in order."""
    if not flags.any():
        return []
    keys = declared(partitions, now_utc)
    return [keys[place] for place in np.flatnonzero(flags).tolist()]


def linked(table: Table, given: Input, graph: Graph, now_utc: datetime) -> Links:
    """How a table reads one of its inputs."""
    return links(given.window, table.partitions, graph[given.table].partitions, now_utc)


def suspects(
    table: Table,
    own: Standings,
    recipe: int,
    contents: Callable[[str], Numbers],
    graph: Graph,
    now_utc: datetime,
    late: Flags | None = None,
) -> Flags:
    """Partitions of a table that may be stale, of all that are declared.

    Args:
        table: The table.
        own: Where its partitions stand.
        recipe: Its recipe as it is now.
        contents: Serials of the contents of an upstream table, or of the files of its feed, by name.
        graph: Its graph.
        now_utc: Up to when periods of sets without end are declared.
        late: Partitions for which a placeholder may stand in by now, although something that they need is missing.
    """
    settled = own.looked >= 0
    changed, ready = settled & (own.recipe != recipe), ~settled
    if table.feed is not None:
        arrived = contents(table.feed.name)
        return np.asarray(changed | (arrived > own.looked) & (arrived > 0), np.bool_)
    for given in table.reads:
        of, serial = linked(table, given, graph, now_utc), contents(given.table)
        changed |= settled & (of.newest(serial, none=0) > own.looked)
        if ready.any():
            ready &= enough(given, of, serial > 0)
    if late is not None:
        ready |= late & ~settled
    return np.asarray(changed | ready, np.bool_)


def enough(given: Input, of: Links, there: Flags) -> Flags:
    """Which partitions have what they need of one input, given which of its partitions are there."""
    present = of.counted(there)
    match given.present:
        case Required():
            return np.asarray(present == of.widths, np.bool_)
        case Partial(min_present):
            return np.asarray(present >= np.minimum(of.widths, min_present), np.bool_)


def readers(changed: Flags, table: Table, given: Input, graph: Graph, now_utc: datetime) -> Flags:
    """Partitions of a table that read one of an input's partitions that have changed."""
    return linked(table, given, graph, now_utc).reading(changed)
