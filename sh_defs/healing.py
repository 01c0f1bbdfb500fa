"""Healing: deciding what is due and running it, in turn, until nothing is.

Belongs here: the loop. Does not belong here: what is due (``sh_core.watch``), how a run is made (``running``), what is
shown meanwhile. Invariant: whatever a decision names is run before the next one is asked for, inputs first; and the
loop ends: with nothing due, or after waiting so long for others' work.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from sh_core.graph import Graph
from sh_core.policy import Hold
from sh_core.staleness import Stale
from sh_core.table import Table
from sh_core.watch import Decision
from sh_resources.clock import Clock

Decide = Callable[[], Decision]
"""Says what is to be run now. What was run since the last time is settled, or counts as tried (``sh_core.policy``)."""

Run = Callable[[Table, Mapping[str, Stale]], None]
"""Runs partitions of one table, each with why; returns when all of them are done, whatever became of them."""

LOOK_AGAIN_S = 1.0
"""Seconds between looks at partitions that another process works on."""


def heal(graph: Graph, decide: Decide, run: Run, clock: Clock, *, patience_s: float) -> Decision:
    """Run what is due, hop by hop, until nothing is.

    Args:
        graph: The tables, in whose order a decision is run.
        decide: A tick of a watch, say, with whatever is to be taken in before.
        run: Runs what it decided.
        clock: Time.
        patience_s: How long to wait for others' work on what is stale, when there is nothing else to do.

    Returns:
        The last decision: nothing is due in it, and what it holds back needs time or a person.
    """
    waits_since = None
    while True:
        decision = decide()
        if decision.due:
            for table in graph.tables:
                if table.name in decision.due:
                    run(table, decision.due[table.name])
            waits_since = None
            continue
        now = clock.now_utc()
        waits_since = waits_since or now
        if not _others_work(decision) or now - waits_since >= timedelta(seconds=patience_s):
            return decision
        clock.sleep(LOOK_AGAIN_S)


def _others_work(decision: Decision) -> bool:
    return any(held.hold is Hold.BUSY for found in decision.held.values() for held in found.values())
