"""Currency: whether what readers see of a partition is what would be computed of it now, and if not, why not.

Belongs here: looking at one partition and at all that it is computed from. Does not belong here: what would be done
about it, and when (``planning``), everything else that is known of it (``inspecting``). Invariants: nothing is written;
nothing is told only of a partition of which itself and all that it is computed from could be looked at, and is neither
stale nor has a file that was not taken in.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from sh_assets.deciding import words
from sh_core.errors import FeedError
from sh_core.graph import Graph
from sh_core.links import Flags, places
from sh_core.staleness import Look
from sh_core.suspects import linked, named
from sh_core.table import Table
from sh_defs.facts.pausing import pause_facts
from sh_resources.book import LedgerBook, paused
from sh_resources.clock import Clock
from sh_resources.engine import Engine
from sh_resources.ledger.requests import Pause

Facts = dict[str, Any]


def currency(engine: Engine, of: Table, key: str, clock: Clock) -> Facts:
    """Whether a partition is current, and if not, why not.

    Args:
        engine: Where everything is.
        of: Its table.
        key: The partition.
        clock: Time.

    Returns:
        ``stale``: why it would be computed now, in words; ``landed``: a file of its own that was not taken in yet, or
        null; ``first``: of what it is computed from, ``table`` and ``partitions`` that are stale or have such a file
        themselves; ``waiting``: what keeps it, or what it is computed from, from being looked at, and it from being
        computed; ``paused``: what keeps it from being requested, as in plans.
    """
    graph, now_utc = engine.graph, engine.today_utc()
    book, read = LedgerBook(engine, clock, writes=False), _read(engine.graph, of, key, now_utc)
    landed, unlisted = _landed(engine, read, now_utc)
    own, first, unseen = Look(), list[Facts](), list[str]()
    for table in graph.tables:
        keys = read.get(table.name, [])
        look = book.look(table.name, keys) if keys else Look()
        if table.name == of.name:
            own = look
            continue
        if opened := look.stale.keys() | landed.get(table.name, {}).keys():
            first.append({"table": table.name, "partitions": [k for k in keys if k in opened]})
        # What was never there may be missing; what was, cannot be looked at.
        settled = engine.ledger.serials.looks(table.name, look.waiting) if look.waiting else {}
        unseen += [f"{table.name} {k}: {why}" for k in settled for why in look.waiting[k]]
    return {
        "stale": list(words(own.stale[key])) if key in own.stale else [],
        "landed": landed.get(of.name, {}).get(key),
        "first": first,
        "waiting": [*own.waiting.get(key, ()), *unlisted, *unseen],
        "paused": pause_facts(_holding(graph, of, engine.ledger.requests.pauses())),
    }


def _read(graph: Graph, of: Table, key: str, now_utc: datetime) -> dict[str, list[str]]:
    """The partition itself and everything that it is computed from, however indirectly, by table."""
    flags: dict[str, Flags] = {t.name: np.zeros(len(places(t.partitions, now_utc)), np.bool_) for t in graph.tables}
    if key in places(of.partitions, now_utc):
        flags[of.name][places(of.partitions, now_utc)[key]] = True
    for table in reversed(graph.tables):
        for given in table.reads if flags[table.name].any() else ():
            flags[given.table] |= linked(table, given, graph, now_utc).read(flags[table.name])
    return {t.name: named(t.partitions, now_utc, flags[t.name]) for t in graph.tables if flags[t.name].any()}


def _landed(
    engine: Engine, read: Mapping[str, list[str]], now_utc: datetime
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Files of these partitions that were not taken in, by raw table; and where that cannot be seen, why not."""
    found, unlisted = dict[str, dict[str, str]](), list[str]()
    for name, keys in read.items():
        try:
            found |= engine.landed(now_utc, {name: keys})
        except FeedError as error:
            unlisted.append(str(error))
    return found, unlisted


def _holding(graph: Graph, of: Table, pauses: Iterable[Pause]) -> list[Pause]:
    """Those pauses that hold a table."""
    return [pause for pause in pauses if of.name in paused(graph, [pause])]
