"""The watch: what is due, tick by tick.

Belongs here: from what changed to what is requested; the memory between two ticks. Does not belong here: finding facts
(a ``Book`` has them), running anything, Dagster. Invariant: what is requested is stale, has its inputs, and nobody
works on it; and what is stale is requested sooner or later, whatever was changed, killed or forgotten in between: the
memory only narrows what a tick looks at. A watch that has none, or one that is wrong, sweeps, and asks for the same.

One tick:

    what has changed since the last one (or, now and then, everything)     suspects
    → look at those: stale, waiting or settled                             staleness
    → of the stale ones, hold back those whose turn it is not              Hold
    → the others are due
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np

from sh_core.book import Book, Changes, Keys, Request, Tries
from sh_core.graph import Graph
from sh_core.links import Flags, Numbers, places
from sh_core.policy import Held, Hold, Policy
from sh_core.staleness import Stale
from sh_core.suspects import linked, named, serials, standings, suspects
from sh_core.table import Table


@dataclass(frozen=True)
class Decision:
    """What a tick has decided, by table; tables of which nothing is stale are left out.

    Attributes:
        due: What is to be computed now, and why.
        held: What is stale and not to be computed now.
        stale: Of everything in either, why it is stale.
        swept: Whether everything was looked at.
        suspected: How many partitions were looked at.
    """

    due: Mapping[str, Mapping[str, Stale]]
    held: Mapping[str, Mapping[str, Held]]
    stale: Mapping[str, Mapping[str, Stale]]
    swept: bool
    suspected: int


@dataclass
class Watch:
    """Watches the tables of one graph.

    Attributes:
        graph: The tables.
        book: Where the facts are.
        policy: When what failed is tried again.
    """

    graph: Graph
    book: Book
    policy: Policy = field(default_factory=Policy)
    _serial: int | None = None
    _swept_utc: datetime | None = None
    _stale: dict[str, dict[str, Stale]] = field(default_factory=dict)
    _asked: dict[str, set[str]] = field(default_factory=dict)
    _waits_since: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def tick(
        self, now_utc: datetime, busy: Keys, by: str, tables: Collection[str] | None = None, *, sweep: bool = False
    ) -> Decision:
        """Decide what is to be requested now, and note it.

        Args:
            now_utc: Current time, aware.
            busy: Partitions requested of Dagster, or running there; not to be requested twice.
            by: Who asks, for the record.
            tables: Of which tables something may be requested; None for all.
            sweep: Look at everything, whatever is remembered.
        """
        due_again = self._swept_utc is None or now_utc - self._swept_utc >= timedelta(seconds=self.policy.sweep_s)
        swept = sweep or due_again
        changes = self.book.changes(None if swept else self._serial)
        suspected = self._sweep(now_utc.date()) if swept else self._changed(changes, now_utc.date())
        occupied = _together(busy, self.book.leased())
        looked = self._look(_together(suspected, self._returned(occupied)), now_utc.date())
        self._serial = changes.serial
        if swept:
            self._swept_utc = now_utc
        decision = self._decide(now_utc, occupied, frozenset(tables) if tables is not None else None)
        requests = [Request(t, key, s) for t, found in decision.due.items() for key, s in found.items()]
        if requests:
            self.book.request(requests, by, now_utc)
        for request in requests:
            self._asked.setdefault(request.table, set()).add(request.partition)
        return replace(decision, swept=swept, suspected=looked)

    # ---- what is looked at

    def _sweep(self, today: date) -> dict[str, set[str]]:
        """Everything that may be stale; what was remembered is forgotten."""
        self._stale.clear()
        self._asked.clear()
        contents: dict[str, Numbers] = {}

        def content(name: str) -> Numbers:
            return contents[name]

        found: dict[str, set[str]] = {}
        for table in self.graph.tables:
            if table.feed is not None:
                arrived = self.book.arrivals(table.feed.name)
                contents[table.feed.name] = serials(table.partitions, today, arrived)
            own = standings(table.partitions, today, list(self.book.standings(table.name)))
            contents[table.name] = own.content
            flags = suspects(table, own, self.book.recipe(table.name), content, self.graph, today)
            if flags.any():
                found[table.name] = set(named(table.partitions, today, flags))
        return found

    def _changed(self, changes: Changes, today: date) -> dict[str, set[str]]:
        """What was decided, and what reads what changed."""
        found = {name: set(keys) for name, keys in changes.settled.items() if name in self.graph}
        flags = {
            name: _flags(self.graph[name], keys, today) for name, keys in changes.content.items() if name in self.graph
        }
        for table in self.graph.tables:
            if table.feed is not None and table.feed.name in changes.arrived:
                found.setdefault(table.name, set()).update(changes.arrived[table.feed.name])
            for given in table.reads:
                if given.table in flags:
                    reading = linked(table, given, self.graph, today).reading(flags[given.table])
                    found.setdefault(table.name, set()).update(named(table.partitions, today, reading))
        return found

    def _returned(self, occupied: Keys) -> dict[str, set[str]]:
        """What was requested and is not worked on any more: decided meanwhile, or its run failed."""
        returned: dict[str, set[str]] = {}
        for name, keys in self._asked.items():
            over = keys.difference(occupied.get(name, ()))
            if over:
                returned[name] = over
        for name, over in returned.items():
            self._asked[name] -= over
        return returned

    def _look(self, suspected: Keys, today: date) -> int:
        """Look at suspects and remember which are stale; returns how many were looked at."""
        count = 0
        for table in self.graph.tables:
            place = places(table.partitions, today)
            keys = [key for key in suspected.get(table.name, ()) if key in place]
            if not keys:
                continue
            count += len(keys)
            look = self.book.look(table.name, sorted(keys))
            remembered = self._stale.setdefault(table.name, {})
            for key in keys:
                remembered.pop(key, None)
            remembered.update(look.stale)
        return count

    # ---- what is decided

    def _decide(self, now_utc: datetime, occupied: Keys, tables: frozenset[str] | None) -> Decision:
        today, paused = now_utc.date(), frozenset(self.book.paused())
        stale = {name: found for name, found in self._stale.items() if found}
        free = {
            (name, key): why
            for name, found in stale.items()
            if name not in paused
            for key, why in found.items()
            if key not in occupied.get(name, ())
        }
        tries = self.book.tries(free) if free else {}
        due: dict[str, dict[str, Stale]] = {}
        held: dict[str, dict[str, Held]] = {}
        unsettled: dict[str, Flags] = {}
        for table in self.graph.tables:
            name = table.name
            found, busy = stale.get(name, {}), occupied.get(name, ())
            behind = self._behind(table, unsettled, today)
            if not found and not busy and behind is None:
                continue
            blocking = set(busy)
            place = places(table.partitions, today)
            for key, why in sorted(found.items()):
                hold = self._hold(tries.get((name, key)), now_utc, busy=key in busy, paused=name in paused)
                if hold is None and behind is not None and behind[place[key]] and self._patient(name, key, now_utc):
                    hold = Held(Hold.ANCESTOR)
                if hold is None:
                    self._waits_since.pop((name, key), None)
                    if tables is None or name in tables:
                        due.setdefault(name, {})[key] = why
                else:
                    held.setdefault(name, {})[key] = hold
                if hold is None or hold.hold in (Hold.ANCESTOR, Hold.BUSY):
                    blocking.add(key)
            flags = _flags(table, blocking, today)
            unsettled[name] = flags if behind is None else flags | behind
        return Decision(due, held, stale, swept=False, suspected=0)

    def _behind(self, table: Table, unsettled: Mapping[str, Flags], today: date) -> Flags | None:
        """Partitions that read something which is due itself, worked on, or behind such a one."""
        behind: Flags | None = None
        for given in table.reads:
            if given.table in unsettled:
                reading = linked(table, given, self.graph, today).reading(unsettled[given.table])
                behind = reading if behind is None else behind | reading
        return behind if behind is not None and behind.any() else None

    def _hold(self, tries: Tries | None, now_utc: datetime, *, busy: bool, paused: bool) -> Held | None:
        if busy:
            return Held(Hold.BUSY)
        if paused:
            return Held(Hold.PAUSED)
        return None if tries is None else self.policy.held(tries, now_utc)

    def _patient(self, name: str, key: str, now_utc: datetime) -> bool:
        since = self._waits_since.setdefault((name, key), now_utc)
        return now_utc - since < timedelta(seconds=self.policy.patience_s)


def _flags(table: Table, keys: Iterable[str], today: date) -> Flags:
    place = places(table.partitions, today)
    flags = np.zeros(len(place), np.bool_)
    flags[[place[key] for key in keys if key in place]] = True
    return flags


def _together(*several: Keys) -> dict[str, set[str]]:
    joined: dict[str, set[str]] = {}
    for one in several:
        for name, keys in one.items():
            joined.setdefault(name, set()).update(keys)
    return joined
