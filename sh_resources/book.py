"""The ledger's book: the facts that decide what is due, from ledger, store and landing zone.

Belongs here: answering a watch. Does not belong here: deciding (``sh_core.watch``), SQL (``ledger``), what a partition
would be computed from (``engine``). Invariant: what is noted as looked at was looked at with the ledger as it was at
that serial, or later.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sh_core.book import Changes, Keys, LastLook, Place, Request, Tries
from sh_core.errors import DeclarationError, FeedError, StoreError
from sh_core.graph import Graph
from sh_core.links import Flags
from sh_core.staleness import Look, Stale
from sh_core.suspects import Standing
from sh_resources.clock import Clock
from sh_resources.delta_files import Stamp, stamp_of
from sh_resources.engine import Engine
from sh_resources.ledger.requests import Pause
from sh_resources.registers import Registers

MOST_FAILED = 100
"""Looks at parts of a table that may fail before the rest of it counts as unreadable, too."""

_log = logging.getLogger(__name__)
_NEVER: Stamp = ("", 0, 0)
"""Stamp of a table of which it is not known that it agrees with the ledger."""


class LedgerBook:
    """The book of one engine's ledger. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, engine: Engine, clock: Clock, *, writes: bool = True) -> None:
        """Read the ledger of an engine.

        Args:
            engine: The engine.
            clock: Time.
            writes: Without, looking takes in no file and notes nothing.
        """
        self._engine, self._ledger, self._clock, self._writes = engine, engine.ledger, clock, writes
        self.registers = Registers(engine)
        self._stamps: dict[str, Stamp | None] = {}

    def changes(self, after: int | None) -> Changes:
        """What was confirmed after a serial; None asks for the present serial only."""
        changes = self._ledger.serials.changes(after)
        if after is not None:
            self.registers.hear(after, changes)
        return changes

    def standings(self, table: str) -> Iterable[Standing]:
        """Every settled partition of a table."""
        self.registers.see(table)
        return self._ledger.serials.standings(table)

    def arrivals(self, feed: str) -> Iterable[tuple[str, int]]:
        """Per partition of a feed for which a file came, the serial of the newest."""
        return self._ledger.serials.arrivals(feed)

    def astray(self, table: str) -> Collection[str]:
        """Partitions of a table of which readers see something else than was published.

        Compared only if the table has another version than when the two last agreed.
        """
        stamp = stamp_of(self._engine.store.table(self._engine.graph[table]).folder)
        if self._stamps.get(table, _NEVER) == stamp:
            return ()
        try:
            found = self._engine.astray(table)
        except (StoreError, DeclarationError) as unreadable:
            _log.warning("%s cannot be compared with the ledger: %s", table, unreadable)
            return ()
        if not found:  # until they agree again, no serial would tell that it is still to be repaired
            self._stamps[table] = stamp
        return found

    def recipe(self, table: str) -> int:
        """The present recipe of a table."""
        return self._engine.recipe(table)

    def look(self, table: str, keys: Collection[str]) -> Look:
        """What partitions of a table are now. Those that are settled are noted as looked at.

        What cannot be looked at, because files or the landing zone cannot be read, waits until it can: it must not
        keep other tables and partitions from being looked at.
        """
        # Serial and recipe first: what changes during the look is then looked at once more.
        before, recipe = self._ledger.serials.now(), self.recipe(table)
        try:
            clear = self.registers.unconcerned(table, keys, self._engine.today_utc())
        except (StoreError, DeclarationError):
            clear = frozenset()  # a closer look will say what is wrong
        look = self._readable(table, [key for key in keys if key not in clear])
        settled = look.settled | clear
        if settled and self._writes:
            looked_up = self._engine.graph.registers(self._engine.graph[table])
            self._ledger.serials.acknowledge(table, settled, before, recipe, looked_up)
        return replace(look, settled=settled)

    def _readable(self, table: str, keys: Sequence[str]) -> Look:
        """Look at partitions; those that cannot be looked at are told from the others by halves."""
        stale, waiting, settled = dict[str, Stale](), dict[str, tuple[str, ...]](), set[str]()
        left, failed = [keys], 0
        while left:
            some = left.pop()
            try:
                look = self._engine.look(table, some, ingest=self._writes)
            except (StoreError, FeedError, DeclarationError) as unreadable:
                failed += 1
                if len(some) > 1 and failed < MOST_FAILED:
                    left += [some[: len(some) // 2], some[len(some) // 2 :]]
                    continue
                _log.warning("%s %s to %s cannot be looked at: %s", table, some[0], some[-1], unreadable)
                look = Look(waiting=dict.fromkeys(some, (str(unreadable),)))
            stale |= look.stale
            waiting |= look.waiting
            settled |= look.settled
        return Look(stale, waiting, frozenset(settled))

    def leased(self) -> Keys:
        """Partitions that some process is working on."""
        held: dict[str, list[str]] = {}
        for lease in self._ledger.leases.held(None, self._clock.now_utc()):
            held.setdefault(lease.table, []).append(lease.partition)
        return held

    def paused(self) -> Collection[str]:
        """Tables that nothing is to be requested of."""
        return paused(self._engine.graph, self._ledger.requests.pauses())

    def tries(self, wanted: Mapping[Place, Stale]) -> Mapping[Place, Tries]:
        """How often partitions were requested under these traces since they were last settled, if they were."""
        return self._ledger.requests.tries(wanted)

    def request(self, requests: Collection[Request], by: str, now_utc: datetime) -> int:
        """Note what is being requested, before it is."""
        return self._ledger.requests.note(requests, by, now_utc)

    def today(self, now_utc: datetime) -> datetime:
        """What day and time it is for vendors, and so which periods have begun."""
        return self._engine.calendar.at(now_utc)

    def late(self, table: str, today: datetime) -> Flags:
        """Which declared partitions of a table are past their deadline, whether or not they are there, by place."""
        return self._engine.deadlines.passed(table, today)

    def looks(self, places: Collection[Place]) -> Mapping[Place, LastLook]:
        """How partitions were last looked at; those of which nothing was ever decided are left out."""
        by_table: dict[str, list[str]] = {}
        for table, key in places:
            by_table.setdefault(table, []).append(key)
        return {
            (table, key): sight
            for table, keys in by_table.items()
            for key, sight in self._ledger.serials.looks(table, keys).items()
        }


def paused(graph: Graph, pauses: Iterable[Pause]) -> frozenset[str]:
    """The tables that pauses hold: those named, and all downstream of those that are paused with their subtree."""
    found = set[str]()
    below = set[str]()
    for pause in pauses:
        (below if pause.downstream else found).add(pause.table)
    for table in graph.tables:
        if table.name in below or any(given.table in below for given in table.reads):
            below.add(table.name)
    return frozenset(found | below)
