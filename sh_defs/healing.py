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
from sh_resources.engine import LOOK_AGAIN_S

Decide = Callable[[], Decision]
"""Says what is to be run now. What was run since the last time is settled, or counts as tried (``sh_core.policy``)."""

Run = Callable[[Table, Mapping[str, Stale]], None]
"""Runs partitions of one table, each with why; returns when all of them are done, whatever became of them."""


def decided(decide: Decide, clock: Clock, *, patience_s: float) -> Decision:
    """The next decision that names something, or the last one, if nothing is due and nobody works on what is stale.

    Args:
        decide: Asked again and again while others work.
        clock: Time.
        patience_s: How long to wait for them.
    """
    until_utc = clock.now_utc() + timedelta(seconds=patience_s)
    while True:
        decision = decide()
        busy = any(held.hold is Hold.BUSY for found in decision.held.values() for held in found.values())
        if decision.due or not busy or clock.now_utc() >= until_utc:
            return decision
        clock.sleep(LOOK_AGAIN_S)


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
    while (decision := decided(decide, clock, patience_s=patience_s)).due:
        for table in graph.tables:
            if table.name in decision.due:
                run(table, decision.due[table.name])
    return decision
