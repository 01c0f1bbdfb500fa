"""Rollback: which earlier snapshot of a partition somebody means.

Belongs here: choosing among a partition's snapshots. Does not belong here: publishing it again
(``sh_resources.rollback``), what may not come back (``bars``). Invariant: what is chosen still has its file and is not
what readers see; what is ambiguous is refused, never guessed.
"""

from collections.abc import Collection, Sequence
from itertools import islice

from sh_core.bars import Bar, refusing
from sh_core.errors import RollbackError
from sh_core.records import Snapshot

SHOWN = 5
"""Snapshots that a message names."""

SHORT = 12
"""Characters of an attempt's id by which a snapshot is named in a message."""


def returnable(history: Sequence[Snapshot], current: Snapshot) -> list[Snapshot]:
    """Earlier snapshots that a partition can return to, newest first; of those with the same content the newest."""
    found: dict[str, Snapshot] = {}
    for snapshot in history:
        if snapshot.tidied_utc is None and snapshot.version.root != current.version.root:
            found.setdefault(snapshot.version.root, snapshot)
    return list(found.values())


def choose(history: Sequence[Snapshot], current: Snapshot, bars: Collection[Bar], to: str | None) -> Snapshot | None:
    """The snapshot to return to.

    Args:
        history: Every snapshot of the partition, newest first.
        current: The one that readers see.
        bars: Those in force.
        to: How a snapshot's attempt id or root begins; None for the newest one with content that is neither what
            readers see nor was rolled back.

    Returns:
        None if there is nothing to do: readers see that content already; or, where nothing is named, what they see was
        put there by a rollback.

    Raises:
        RollbackError: If there is no such snapshot, several with different content, or its file was tidied away.
    """
    where = f"{current.table} {current.partition}"
    if to is None:
        if any(bar.attempt_id == current.attempt_id for bar in bars):
            return None
        chosen = next((s for s in returnable(history, current) if refusing(bars, s.version.root) is None), None)
        if chosen is None:
            msg = f"{where} has no earlier content to return to; {options(history, current)}"
            raise RollbackError(msg)
        return chosen
    meant = [s for s in history if _is_named(s, to)] if to else []
    roots = dict.fromkeys(s.version.root for s in meant)
    if not roots:
        msg = f"{where} has no snapshot whose id or version begins with {to!r}; {options(history, current)}"
        raise RollbackError(msg)
    if len(roots) > 1:
        ids = ", ".join(s.attempt_id for s in meant[:SHOWN])
        msg = f"{to!r} may be any of {len(meant)} snapshots of {where} ({ids}): name more characters"
        raise RollbackError(msg)
    if current.version.root in roots:
        return None
    kept = [s for s in meant if s.tidied_utc is None]
    if not kept:
        msg = (
            f"the file of snapshot {meant[0].attempt_id} of {where} was tidied away on {meant[0].tidied_utc:%Y-%m-%d}; "
            f"{options(history, current)}"
        )
        raise RollbackError(msg)
    return kept[0]


def options(history: Sequence[Snapshot], current: Snapshot) -> str:
    """What a partition can return to, in words."""
    found = returnable(history, current)
    if not found:
        return "there is nothing that it can return to"
    named = (
        f"{s.attempt_id[:SHORT]} ({s.version.rows:,} rows, published {s.published_utc:%Y-%m-%d %H:%M} UTC)"
        for s in islice(found, SHOWN)
    )
    more = f" and {len(found) - SHOWN:,} older ones" if len(found) > SHOWN else ""
    return f"it can return to {', '.join(named)}{more}"


def _is_named(snapshot: Snapshot, to: str) -> bool:
    root = snapshot.version.root
    return any(name.startswith(to) for name in (snapshot.attempt_id, root, root.partition("-")[2]))
