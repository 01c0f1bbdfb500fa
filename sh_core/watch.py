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

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np

from sh_core.book import Book, Changes, Keys, Place, Request, Tries
from sh_core.graph import Graph
from sh_core.links import Flags, Numbers, places
from sh_core.partitions import Partitions
from sh_core.policy import Held, Hold, Policy
from sh_core.staleness import Look, Stale
from sh_core.suspects import linked, named, serials, standings, suspects
from sh_core.table import Table

Within = Callable[[str, str], bool]
"""Whether a partition of a table is meant."""


@dataclass(frozen=True)
class Decision:
    """What a tick has decided, by table; tables of which nothing is stale are left out.

    Attributes:
        due: What is to be computed now, and why.
        held: What is stale and not to be computed now.
        stale: Of everything in either, why it is stale.
        swept: Whether everything was searched for suspects.
        looked: How many suspects were looked at.
        unlooked: How many the next ticks will look at.
    """

    due: Mapping[str, Mapping[str, Stale]]
    held: Mapping[str, Mapping[str, Held]]
    stale: Mapping[str, Mapping[str, Stale]]
    swept: bool = False
    looked: int = 0
    unlooked: int = 0


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
    _day: datetime | None = None
    _late_then: tuple[int, ...] = ()
    _stale: dict[str, dict[str, Stale]] = field(default_factory=dict)
    _unlooked: dict[str, set[str]] = field(default_factory=dict)
    _without: dict[str, set[str]] = field(default_factory=dict)
    _compared: int = 0
    _waits_since: dict[Place, datetime] = field(default_factory=dict)
    _tried: dict[Place, tuple[str, Tries | None]] = field(default_factory=dict)
    _tried_serial: int | None = None
    _asked: dict[Place, tuple[int, datetime]] = field(default_factory=dict)
    _recipes: dict[str, set[int]] = field(default_factory=dict)

    def tick(
        self,
        now_utc: datetime,
        busy: Keys,
        by: str,
        tables: Collection[str] | None = None,
        *,
        within: Within | None = None,
        sweep: bool = False,
    ) -> Decision:
        """Decide what is to be requested now, and note it.

        Args:
            now_utc: Current time, aware.
            busy: Partitions requested of Dagster, or running there; not to be requested twice.
            by: Who asks, for the record.
            tables: Of which tables something may be requested now; the others wait for their turn, and what reads them
                for them. None for all.
            within: Whether a partition of a table counts; what lies outside is left as it is, and nobody waits for it.
                None for everything.
            sweep: Look at everything, whatever is remembered.
        """
        today = self.book.today(now_utc)
        swept = sweep or self._is_to_sweep(now_utc, today)
        if not swept and self._is_quiet():
            return Decision({}, {}, {})
        # Who works on what comes first: whoever ends after that is held back once more, and whoever ended before it
        # has left its decision among the changes. The other way round, what was settled in between would be asked for
        # again.
        occupied = _together(busy, self.book.leased())
        late = self._late(today)
        changes = self.book.changes(None if swept else self._serial)
        self._unlooked = self._sweep(today) if swept else _together(self._unlooked, self._changed(changes, today))
        looked = self._look(today)
        self._serial = changes.serial
        if swept:
            self._swept_utc, self._day, self._late_then = now_utc, today, late
            self._forget(now_utc)
        decision = self._decide(now_utc, today, occupied, frozenset(tables) if tables is not None else None, within)
        requests = [Request(t, key, s) for t, found in decision.due.items() for key, s in found.items()]
        if requests:
            serial = self.book.request(requests, by, now_utc)
            self._asked.update({(r.table, r.partition): (serial, now_utc) for r in requests})
            for name in decision.due:
                self._own(name)
        unlooked = sum(map(len, self._unlooked.values()))
        return replace(decision, swept=swept, looked=looked, unlooked=unlooked)

    # ---- what is looked at

    def _is_quiet(self) -> bool:
        """Whether nothing is stale and nothing has happened since: it takes one question."""
        if any(self._stale.values()) or any(self._unlooked.values()):
            return False
        return self.book.changes(self._serial).serial == self._serial

    def _is_to_sweep(self, now_utc: datetime, today: datetime) -> bool:
        """Whether it is time to look at everything: now and then, when a period has begun, and when one is late.

        Nothing is confirmed then, and still there are new partitions, some read others than before, and placeholders
        may stand in.
        """
        last = self._swept_utc
        # A clock that was set back would otherwise put off the next sweep by as much.
        if last is None or not timedelta() <= now_utc - last < timedelta(seconds=self.policy.sweep_s):
            return True
        day = self._day or today
        return any(p.size(today) != p.size(day) for p in self._sets) or self._late(today) != self._late_then

    def _late(self, today: datetime) -> tuple[int, ...]:
        """How many partitions are past their deadline, of each table of which something may stand in for those."""
        return tuple(int(self.book.late(t.name, today).sum()) for t in self.graph.tables if t.if_late is not None)

    @cached_property
    def _sets(self) -> frozenset[Partitions]:
        return frozenset(table.partitions for table in self.graph.tables)

    def _sweep(self, today: datetime) -> dict[str, set[str]]:
        """Everything that may be stale; what was remembered is looked at again."""
        # Serials do not tell of what somebody else did to a table, and only some tables are compared now.
        found = _together(self._stale, self._unlooked)
        self._stale.clear()
        contents: dict[str, Numbers] = {}

        def content(name: str) -> Numbers:
            return contents[name]

        for table in self.graph.tables:
            if table.feed is not None:
                arrived = self.book.arrivals(table.feed.name)
                contents[table.feed.name] = serials(table.partitions, today, arrived)
            own = standings(table.partitions, today, list(self.book.standings(table.name)))
            contents[table.name] = own.content
            late = self.book.late(table.name, today) if table.if_late is not None else None
            flags = suspects(table, own, self.book.recipe(table.name), content, self.graph, today, late)
            if flags.any():
                found.setdefault(table.name, set()).update(named(table.partitions, today, flags))
        for table in self._to_compare():
            astray = self.book.astray(table.name)
            if astray:
                found.setdefault(table.name, set()).update(astray)
        return found

    def _to_compare(self) -> list[Table]:
        """The tables whose files it is time to compare with the ledger: so many of them, one after the other."""
        tables, begin = self.graph.tables, self._compared
        count = min(self.policy.compared, len(tables))
        self._compared = (begin + count) % max(1, len(tables))
        return [tables[(begin + n) % len(tables)] for n in range(count)]

    def _changed(self, changes: Changes, today: datetime) -> dict[str, set[str]]:
        """What was decided, and what reads what changed."""
        found = {name: set(keys) for name, keys in changes.settled.items() if name in self.graph}
        flags = {
            name: _flags(self.graph[name], keys, today) for name, keys in changes.content.items() if name in self.graph
        }
        for table in self.graph.tables:
            if table.feed is not None and table.feed.name in changes.arrived:
                found.setdefault(table.name, set()).update(changes.arrived[table.feed.name])
            if table.name in flags:  # something earlier may stand in for them now
                found.setdefault(table.name, set()).update(self._without.get(table.name, ()))
            for given in table.reads:
                if given.table in flags:
                    reading = linked(table, given, self.graph, today).reading(flags[given.table])
                    found.setdefault(table.name, set()).update(named(table.partitions, today, reading))
        return found

    def _look(self, today: datetime) -> int:
        """Look at suspects, inputs first, and remember which are stale; returns how many were looked at."""
        left = self.policy.most_looks
        for table in self.graph.tables:
            if table.name not in self._unlooked:
                continue
            place = places(table.partitions, today)
            wanted = sorted(key for key in self._unlooked[table.name] if key in place)
            keys, later = wanted[:left], wanted[left:]
            look = self.book.look(table.name, keys) if keys else Look()
            self._unlooked[table.name] = set(later)  # not before: where the ledger fails, the next tick looks
            left -= len(keys)
            remembered, without = self._stale.setdefault(table.name, {}), self._without.setdefault(table.name, set())
            for key in keys:
                remembered.pop(key, None)
            remembered.update(look.stale)
            without.difference_update(keys)
            if table.if_late is not None:
                without.update(look.waiting)
        return self.policy.most_looks - left

    # ---- what is decided

    def _decide(
        self,
        now_utc: datetime,
        today: datetime,
        occupied: Keys,
        tables: frozenset[str] | None,
        within: Within | None,
    ) -> Decision:
        stale = {
            name: {key: why for key, why in found.items() if within is None or within(name, key)}
            for name, found in self._stale.items()
            if found
        }
        paused = frozenset(self.book.paused() if any(stale.values()) else ())
        patience = timedelta(seconds=self.policy.patience_s)
        free = {
            (name, key): why
            for name, found in stale.items()
            if name not in paused
            for key, why in found.items()
            if key not in occupied.get(name, ())
        }
        tries = self._tries(free)
        elsewhere = self._elsewhere(free)
        due: dict[str, dict[str, Stale]] = {}
        held: dict[str, dict[str, Held]] = {}
        unsettled: dict[str, Flags] = {}
        waiting: dict[Place, datetime] = {}
        for table in self.graph.tables:
            name = table.name
            found, busy = stale.get(name, {}), occupied.get(name, ())
            unlooked = self._unlooked.get(name, set())
            behind = self._behind(table, unsettled, today)
            if not found and not busy and not unlooked and behind is None:
                continue
            blocking = unlooked.union(busy)
            place = places(table.partitions, today)
            for key, why in sorted(found.items()):
                if key in unlooked:
                    continue  # what is remembered of it may be over
                tried, asked_utc = tries.get((name, key)), elsewhere.get((name, key))
                hold = self._hold(tried, asked_utc, now_utc, busy=key in busy, paused=name in paused)
                if hold is None and behind is not None and behind[place[key]]:
                    since = self._waits_since.get((name, key), now_utc)
                    if now_utc - since < patience:
                        waiting[name, key] = since
                        hold = Held(Hold.ANCESTOR, since + patience)
                if hold is None:
                    if tables is None or name in tables:
                        due.setdefault(name, {})[key] = why
                else:
                    held.setdefault(name, {})[key] = hold
                if hold is None or hold.hold in (Hold.ANCESTOR, Hold.BUSY, Hold.REQUESTED):
                    blocking.add(key)
            flags = _flags(table, blocking, today)
            unsettled[name] = flags if behind is None else flags | behind
        # Who waits no more is forgotten: to wait again later is another wait.
        self._waits_since = waiting
        return Decision(due, held, stale)

    def _behind(self, table: Table, unsettled: Mapping[str, Flags], today: datetime) -> Flags | None:
        """Partitions that read something which is due itself, worked on, or behind such a one."""
        behind: Flags | None = None
        for given in table.reads:
            if given.table in unsettled:
                reading = linked(table, given, self.graph, today).reading(unsettled[given.table])
                behind = reading if behind is None else behind | reading
        return behind if behind is not None and behind.any() else None

    def _tries(self, free: Mapping[Place, Stale]) -> dict[Place, Tries]:
        """How often partitions were requested in vain. Without a new serial nobody has requested or settled anything.

        The serial is this tick's, and was read before: what is told may be newer, and is then asked for once more.
        """
        if self._serial != self._tried_serial:
            self._tried, self._tried_serial = {}, self._serial
        known = {place: self._tried[place] for place in free.keys() & self._tried.keys()}
        new = {p: why for p, why in free.items() if p not in known or known[p][0] != why.trace}
        told = self.book.tries(new) if new else {}
        self._tried.update({place: (why.trace, told.get(place)) for place, why in new.items()})
        return {place: tries for place in free if (tries := self._tried[place][1]) is not None}

    def _own(self, name: str) -> set[int]:
        """Every recipe of a table that this watch has had: with some, each day has its own."""
        own = self._recipes.setdefault(name, set())
        own.add(self.book.recipe(name))
        return own

    def _elsewhere(self, free: Collection[Place]) -> dict[Place, datetime]:
        """What this watch requested and other code then looked at, with the time of the request.

        It is stale here all the same. So whoever runs what is requested has newer code, and to request it again and
        again would change nothing; or an older process was late, and to request it once more repairs it.
        """
        asked = [place for place in free if place in self._asked]
        seen = self.book.looks(asked) if asked else {}
        own = {name: self._own(name) for name in {name for name, _ in seen}}
        return {
            place: self._asked[place][1]
            for place, sight in seen.items()
            if sight.looked >= self._asked[place][0] and sight.recipe not in own[place[0]]
        }

    def _forget(self, now_utc: datetime) -> None:
        """Forget requests by which nothing is held back any more."""
        kept = now_utc - timedelta(seconds=self.policy.longest_pause_s)
        self._asked = {
            (name, key): asked
            for (name, key), asked in self._asked.items()
            if asked[1] > kept or key in self._unlooked.get(name, ()) or key in self._stale.get(name, ())
        }

    def _hold(
        self, tries: Tries | None, asked_utc: datetime | None, now_utc: datetime, *, busy: bool, paused: bool
    ) -> Held | None:
        if busy:
            return Held(Hold.BUSY)
        if paused:
            return Held(Hold.PAUSED)
        hold = None if tries is None else self.policy.held(tries, now_utc)
        return hold if asked_utc is None else self.policy.held_elsewhere(asked_utc, hold, now_utc)


def _flags(table: Table, keys: Iterable[str], today: datetime) -> Flags:
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
