"""Surveys: what automation would do now, found out without doing any of it.

Belongs here: asking a watch that has nothing to lose. Does not belong here: what follows for a plan (``planning``).
Invariant: nothing is requested and nothing noted; what is found to be due is what automation would find.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sh_core.book import Book, Keys
from sh_core.errand import Insistence, Insisting, Onlooker
from sh_core.graph import Graph
from sh_core.links import Flags
from sh_core.policy import Held, Policy
from sh_core.suspects import serials, standings
from sh_core.watch import Decision, Watch


@dataclass(frozen=True, eq=False)
class Survey:
    """What is found of a whole graph at one moment, nothing of it changed.

    Attributes:
        now_utc: When.
        today: The same as vendors have it (``Book.today``).
        decision: What automation would request, and hold back.
        decided: Per table, which partitions were ever decided about.
        there: Per table and feed, which partitions have content, or a file.
        waiting: What was looked at and lacks an input, by table.
        occupied: What some process is working on.
        paused: Tables that nothing is requested of.
        landed: Files that were not taken in yet, per raw table by partition.
        overridden: What is due only because a person insists, and why it would not be.
    """

    now_utc: datetime
    today: datetime
    decision: Decision
    decided: Mapping[str, Flags]
    there: Mapping[str, Flags]
    waiting: Mapping[str, Mapping[str, tuple[str, ...]]]
    occupied: Keys
    paused: frozenset[str]
    landed: Mapping[str, Mapping[str, str]]
    overridden: Mapping[tuple[str, str], Held]


def survey(
    graph: Graph,
    book: Book,
    now_utc: datetime,
    *,
    landed: Mapping[str, Mapping[str, str]],
    insistence: Insistence | None = None,
    policy: Policy | None = None,
) -> Survey:
    """Find out what automation would do now, without doing any of it.

    Args:
        graph: The tables.
        book: A book that notes nothing when it is looked into.
        now_utc: Current time, aware.
        landed: Files that were not taken in yet, per raw table by partition.
        insistence: What a person insists on; None for what automation does by itself.
        policy: By which it holds things back.
    """
    policy = (policy or Policy()).without_bounds()
    insisting = Insisting(book, insistence or Insistence(), policy, now_utc)
    onlooker = Onlooker(insisting)
    decision = Watch(graph, onlooker, policy).tick(now_utc, {}, "nobody", sweep=True)
    today = book.today(now_utc)
    decided, there = dict[str, Flags](), dict[str, Flags]()
    for table in graph.tables:
        own = standings(table.partitions, today, onlooker.seen[table.name])
        decided[table.name], there[table.name] = own.looked >= 0, own.content > 0
        if table.feed is not None:
            there[table.feed.name] = serials(table.partitions, today, onlooker.arrived[table.feed.name]) > 0
    return Survey(
        now_utc,
        today,
        decision,
        decided,
        there,
        onlooker.waiting,
        onlooker.occupied,
        frozenset(insisting.paused()),
        landed,
        insisting.overridden,
    )
