"""Ruling: a person's word on the files of a partition that are held.

Belongs here: finding what the person means. Does not belong here: keeping the word (``ledger.arrivals``), publishing
what follows from it (automation, or a run). Invariant: what is ambiguous is refused, never guessed.
"""

import getpass
from typing import Any

from sh_core.errors import RulingError
from sh_core.records import Said
from sh_defs.facts.naming import UnknownNameError, alike, meant
from sh_resources.engine import Engine

Facts = dict[str, Any]


def rule(engine: Engine, feed_name: str, key: str, arrival: int | None, why: str, *, accepts: bool) -> Facts:
    """Accept one of the held files of a partition, or reject them all.

    Args:
        engine: On the state.
        feed_name: The feed.
        key: Partition key.
        arrival: Number of the held arrival to accept; None for the only one.
        why: For what reason.
        accepts: Whether one is accepted.

    Returns:
        What counts from now on, and in ``says`` the same in a sentence.

    Raises:
        UnknownNameError: If there is no such feed.
        DeclarationError: If it has no such partition.
        RulingError: If nothing is held, or it is not clear which file is meant.
    """
    feeds = {feed.name: feed for feed in engine.graph.feeds}
    if feed_name not in feeds:
        raise UnknownNameError(
            f"there is no feed {feed_name!r}{meant(alike(feed_name, feeds))}. There are {', '.join(sorted(feeds))}"
        )
    feed = feeds[feed_name]
    feed.partitions.check(key)
    held = {a.id: a for a in engine.ledger.arrivals.held(feed.name, [key]).get(key, ())}
    if not held:
        raise RulingError(f"feed {feed.name}: no file is held for {key}, so there is nothing to decide")
    which = ", ".join(f"{a.id} ({a.file_name})" for a in held.values())
    if accepts and arrival is None and len(held) > 1:
        raise RulingError(f"feed {feed.name} {key}: {len(held)} files are held, {which}: say which with --arrival")
    if arrival is not None and arrival not in held:
        raise RulingError(f"feed {feed.name} {key}: arrival {arrival} is not held for it; held is {which}")
    before = engine.ledger.arrivals.current(feed.name, [key])[key]
    chosen = (arrival if arrival is not None else next(iter(held))) if accepts else None
    said = Said(_who(), why)
    now = engine.ledger.arrivals.rule(feed.name, key, held.keys(), chosen, said, engine.now_utc())
    rejected = sorted(a.file_name for a in held.values() if a.id != chosen)
    counts = f"instead of {before.file_name}" if accepts else "as before"
    less = f" Rejected: {', '.join(rejected)}." if rejected else ""
    return {
        "feed": feed.name,
        "partition": key,
        "counts": {"file": now.file_name, "sha256": now.sha256, "arrival": now.id},
        "rejected": rejected,
        "says": f"{feed.name} {key}: {now.file_name} counts {counts}.{less} raw_{feed.name} {key} is due.",
    }


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "somebody"
