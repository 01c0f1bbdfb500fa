"""Undoing: what a partition can return to, and what keeps its content away, as plain JSON values.

Belongs here: gathering it. Does not belong here: rolling back (``sh_defs.undoing``), how it looks
(``shown.undone``). Invariant: reads only.
"""

from typing import Any

from sh_core.bars import Bar
from sh_core.errors import RollbackError
from sh_core.records import Snapshot
from sh_core.rollback import choose, returnable
from sh_core.table import Table
from sh_resources.engine import Engine

Facts = dict[str, Any]


def outlook(engine: Engine, of: Table, key: str, to: str | None) -> Facts:
    """What a rollback of a partition would do.

    Args:
        engine: Who knows its snapshots.
        of: The table.
        key: Partition key.
        to: How a snapshot's attempt id or root begins; None for the newest earlier content.

    Returns:
        ``from`` and ``to`` are snapshots; ``to`` is None if there is nothing to do.

    Raises:
        RollbackError: If it cannot be returned to that.
    """
    publications = engine.ledger.publications
    current = publications.current(of.name, [key]).get(key)
    if current is None:
        msg = f"nothing of {of.name} {key} is published, so there is nothing to return from"
        raise RollbackError(msg)
    history = publications.history(of.name, key, limit=None)
    good = choose(history, current, engine.ledger.bars.standing(of.name, [key]).get(key, ()), to)
    return {
        "table": of.name,
        "partition": key,
        "from": _snapshot(current),
        "to": None if good is None else _snapshot(good),
        "downstream": [t.name for t in engine.graph.downstream(of.name)],
        "done": False,
    }


def returns(engine: Engine, of: Table, key: str) -> list[Facts]:
    """The snapshots that a partition can return to, newest first; with whether each was rolled back before."""
    current = engine.ledger.publications.current(of.name, [key]).get(key)
    if current is None:
        return []
    barred = {bar.root for bar in engine.ledger.bars.standing(of.name, [key]).get(key, ())}
    history = engine.ledger.publications.history(of.name, key, limit=None)
    return [{**_snapshot(s), "barred": s.version.root in barred} for s in returnable(history, current)]


def bars(engine: Engine, of: Table, key: str) -> list[Facts]:
    """The bars in force on a partition, oldest first."""
    return [_bar(bar) for bar in engine.ledger.bars.standing(of.name, [key]).get(key, ())]


def _snapshot(snapshot: Snapshot) -> Facts:
    return {
        "attempt": snapshot.attempt_id,
        "root": snapshot.version.root,
        "rows": snapshot.version.rows,
        "published_utc": snapshot.published_utc.isoformat(),
    }


def _bar(bar: Bar) -> Facts:
    return {
        "root": bar.root,
        "made_utc": None if bar.made_utc is None else bar.made_utc.isoformat(),
        "by": bar.made_by,
        "why": bar.why,
        "attempt": bar.attempt_id,
        "keeps_away": [
            {"component": " ".join(component), "version": version}
            for component, version in sorted(bar.components.items())
        ],
    }
