"""Overdue: incidents about what is late are opened and closed, and kept right.

Belongs here: comparing what is owed with what the ledger has, and the incidents that follow. Does not belong here: when
something is owed, and what it holds up (``sh_core.lateness``), the rows of incidents (``ledger.late``), telling Dagster
(``on_time``). Invariant: what is done follows from declarations, ledger and calendar alone. So it may be done twice, by
two processes, after any pause; and whoever has a clock that jumps back finds nothing to do: an incident stays until
what was awaited is there, or is owed no more.

One fault is one incident: a file that is late has one, with everything that it holds up in it. A table that misses a
deadline of its own has one only if nothing late upstream explains it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import numpy as np

from sh_core.due import Deadline, deadline
from sh_core.errors import DeclarationError, FeedError
from sh_core.graph import Graph
from sh_core.lateness import Overdue, Span, expected, held_up, spans
from sh_core.links import Numbers, places
from sh_core.records import About
from sh_core.table import Table
from sh_resources.engine import Engine
from sh_resources.ledger.late import CLOSED, WITHDRAWN, Late, Opened

AT_ONCE = 100
"""Incidents that are opened in one go, the longest overdue first: of a vendor who was silent for years, the next go
opens more."""

SPANS, TABLES = 5, 60
"""Of what an incident holds up: how many spans per table, and how many tables, it writes down."""

_ASKED = 2_000
"""Partitions up to which one asks for those by name; beyond, for all of the feed."""


@dataclass(frozen=True)
class State:
    """What is late at a time.

    Attributes:
        files: Files that should have arrived and have not, by feed and partition key; those that lie in the landing
            zone and were not taken in are among them.
        tables: Partitions that missed a deadline of their own which nothing late upstream explains, by table.
        opened: The open incidents about what is late.
    """

    files: Mapping[str, Mapping[str, Overdue]]
    tables: Mapping[str, Mapping[str, Deadline]]
    opened: Mapping[Late, Opened]


@dataclass(frozen=True)
class Kept:
    """What was done about incidents.

    Attributes:
        opened: How many were opened.
        closed: How many were closed, since what was awaited is there.
        withdrawn: How many were closed since nothing is owed any more.
        left: How many are still to be opened, in the next go.
    """

    opened: int = 0
    closed: int = 0
    withdrawn: int = 0
    left: int = 0


@dataclass
class Watchman:
    """Looks what is late, for one engine; remembers what has arrived, which never changes again.

    Attributes:
        engine: Where everything is.
    """

    engine: Engine
    _arrived: dict[str, set[str]] = field(default_factory=dict)
    _met: dict[str, set[str]] = field(default_factory=dict)

    # ---- looking

    def look(self, now_utc: datetime) -> State:
        """What is late; nothing is written.

        Args:
            now_utc: Current time on the engine's clock.

        Raises:
            LedgerError: If the ledger cannot be reached.
        """
        opened = self.engine.ledger.late.standing()
        files = self.engine.deadlines.overdue(self.arrived, now_utc)
        return State(files, self._tables(files, opened, now_utc), opened)

    def arrived(self, feed: str, keys: Collection[str]) -> set[str]:
        """Of some partitions of a feed, those of which anything was recorded, and all others known of."""
        known = self._arrived.setdefault(feed, set())
        asked = [key for key in keys if key not in known]
        if asked:
            known.update(self.engine.ledger.arrivals.first(feed, asked if len(asked) <= _ASKED else None))
        if not known:  # it may have delivered what is not due yet, and files are owed from its first one on
            known.update(self.engine.ledger.arrivals.first(feed, None))
        return known

    def met(self, table: str, keys: Collection[str]) -> set[str]:
        """Of some partitions of a table, those of which the truth was published, and all others known of."""
        known = self._met.setdefault(table, set())
        asked = [key for key in keys if key not in known]
        if asked:
            shown = self.engine.ledger.publications.shown(table, asked if len(asked) <= _ASKED else None)
            known.update(key for key, found in shown.items() if not found.marks)
        return known

    def held_up(self, opened: Iterable[Opened], now_utc: datetime) -> dict[str, Numbers]:
        """What open incidents hold up, per table and by place: the number of the newest of them, or 0."""
        by: dict[str, dict[str, int]] = {}
        for incident in opened:
            for name in self._named(incident):
                by.setdefault(name, {})[incident.partition] = incident.id
        return held_up(self.engine.graph, by, now_utc)

    def _named(self, incident: Opened) -> list[str]:
        """The table that an incident begins at, if it is declared."""
        graph = self.engine.graph
        if incident.about is About.FILE:
            return [t.name for t in graph.tables if t.feed is not None and t.feed.name == incident.name]
        return [incident.name] if incident.name in graph else []

    def _tables(
        self, files: Mapping[str, Mapping[str, Overdue]], opened: Mapping[Late, Opened], now_utc: datetime
    ) -> dict[str, dict[str, Deadline]]:
        """Partitions that missed a deadline of their own, but for those that something late upstream explains."""
        graph, found = self.engine.graph, dict[str, dict[str, Deadline]]()
        slos = [table for table in graph.tables if table.due is not None]
        if not slos:
            return {}
        raws = {t.feed.name: t.name for t in graph.tables if t.feed is not None}
        by: dict[str, dict[str, int]] = {raws[feed]: dict.fromkeys(keys, 1) for feed, keys in files.items()}
        for about, name, key in opened:
            if about is About.FILE and name in raws:
                by.setdefault(raws[name], {})[key] = 1
        explained = held_up(graph, by, now_utc)
        for table in slos:
            missed = self.engine.deadlines.missed(table.name, partial(self.met, table.name), now_utc)
            late = _and_not(missed, table, explained.get(table.name), now_utc)
            owed = {key: own for key in late if (own := _own_deadline(table, key))}
            if owed:
                found[table.name] = owed
                by.setdefault(table.name, {}).update(dict.fromkeys(owed, 1))
                explained = held_up(graph, by, now_utc)
        return found

    # ---- keeping incidents

    def keep(self, now_utc: datetime, at_once: int = AT_ONCE) -> Kept:
        """Close incidents whose file is there or owed no more, and open those that are due.

        Args:
            now_utc: Current time on the engine's clock.
            at_once: How many to open at most.

        Raises:
            LedgerError: If the ledger cannot be reached.
        """
        late = self.engine.ledger.late
        there, dropped = self._ended(late.standing().values())
        closed, withdrawn = late.close(there, CLOSED, now_utc), late.close(dropped, WITHDRAWN, now_utc)
        state = self.look(now_utc)
        files = [o for keys in state.files.values() for o in keys.values()]
        due: dict[Late, Deadline] = {(About.FILE, o.feed, o.partition): o.deadline for o in files}
        due |= {(About.DEADLINE, name, k): own for name, keys in state.tables.items() for k, own in keys.items()}
        waiting = sorted((own.late_utc, about) for about, own in due.items() if about not in state.opened)
        landed = self._landed([about for _, about in waiting], now_utc)
        wanted = [about for _, about in waiting if about not in landed]
        opened = late.open(self._details(wanted[:at_once], due, now_utc), now_utc)
        return Kept(len(opened), len(closed), len(withdrawn), max(0, len(wanted) - at_once))

    def _ended(self, opened: Collection[Opened]) -> tuple[dict[int, dict[str, object]], dict[int, dict[str, object]]]:
        """Which open incidents are over: with when it came, or because nothing is owed any more."""
        there, dropped = dict[int, dict[str, object]](), dict[int, dict[str, object]]()
        grouped: dict[tuple[About, str], dict[str, Opened]] = {}
        for incident in opened:
            grouped.setdefault((incident.about, incident.name), {})[incident.partition] = incident
        for (about, name), of in grouped.items():
            if about is About.FILE:
                came, owing = self.engine.ledger.arrivals.first(name, of), _owing_file(self.engine.graph, name)
            else:
                came, owing = self._published(name, of), _owing_partition(self.engine.graph, name)
            for key, incident in of.items():
                owed = owing(key)
                if key in came:
                    there[incident.id] = self._came(came[key], owed)
                elif owed is None:
                    dropped[incident.id] = {"why": "it is owed no more: the declaration has changed"}
        return there, dropped

    def _published(self, table: str, keys: Collection[str]) -> dict[str, datetime]:
        shown = self.engine.ledger.publications.shown(table, keys)
        return {key: self.engine.calendar.at(s.published_utc) for key, s in shown.items() if not s.marks}

    @staticmethod
    def _came(there: datetime, owed: Deadline | None) -> dict[str, object]:
        late = {} if owed is None else {"late_by_s": max(0.0, (there - owed.due_utc).total_seconds())}
        return {"came_utc": there.isoformat(), **late}

    def _landed(self, wanted: Collection[Late], now_utc: datetime) -> set[Late]:
        """Of files that nobody has taken in, those that have landed: as a rule, while everything stood still."""
        asked: dict[str, list[str]] = {}
        for about, name, key in wanted:
            if about is About.FILE:
                asked.setdefault(name, []).append(key)
        found = set[Late]()
        for table in self.engine.graph.tables:
            if table.feed is not None and table.feed.name in asked:
                try:
                    seen = self.engine.landed(now_utc, {table.name: asked[table.feed.name]})
                except FeedError:
                    continue  # what cannot be seen has not arrived; taking in says what is wrong
                found |= {(About.FILE, table.feed.name, key) for key in seen.get(table.name, {})}
        return found

    def _details(
        self, wanted: Iterable[Late], due: Mapping[Late, Deadline], now_utc: datetime
    ) -> dict[Late, dict[str, object]]:
        """What is written down of each: due since when, which file, what it holds up, which other incident is why."""
        graph, noticed = self.engine.graph, self.engine.calendar.at(now_utc)
        feeds, raws = {f.name: f for f in graph.feeds}, {t.feed.name: t.name for t in graph.tables if t.feed}
        faults = None
        found: dict[Late, dict[str, object]] = {}
        for late in wanted:
            about, name, key = late
            owed, table = due[late], raws[name] if about is About.FILE else name
            detail: dict[str, object] = {
                "due_utc": owed.due_utc.isoformat(),
                "late_utc": owed.late_utc.isoformat(),
                "noticed_utc": noticed.isoformat(),
                "holds_up": as_json(graph, held_up(graph, {table: {key: 1}}, now_utc), now_utc),
            }
            if about is About.FILE:
                detail["file"] = feeds[name].expected_file(key)
            else:
                if faults is None:
                    faults = self._faults(now_utc)
                place = places(graph[name].partitions, now_utc)[key]
                because = int(faults[name][place]) if name in faults else 0
                detail |= {"because_of": because} if because else {}
            found[late] = detail
        return found

    def _faults(self, now_utc: datetime) -> dict[str, Numbers]:
        """What is downstream of withheld partitions, by the number of their incident."""
        by: dict[str, dict[str, int]] = {}
        for incident in self.engine.ledger.incidents.open():
            if incident.about is About.CONTENT and incident.table in self.engine.graph:
                by.setdefault(incident.table, {})[incident.partition] = incident.id
        return held_up(self.engine.graph, by, now_utc)


def holding_up(graph: Graph, held: Mapping[str, Numbers], now_utc: datetime) -> dict[str, tuple[int, list[Span]]]:
    """What is held up: per table how many partitions, and which, those that follow each other as one."""
    return {
        name: (int(np.count_nonzero(numbers)), spans(graph[name].partitions, numbers > 0, now_utc))
        for name, numbers in held.items()
    }


def as_json(graph: Graph, held: Mapping[str, Numbers], now_utc: datetime) -> dict[str, object]:
    """What is held up as plain JSON values, bounded: ``partitions`` counts, ``spans`` are the first of them."""
    every = holding_up(graph, held, now_utc)
    tables = {
        name: {"partitions": count, "spans": [list(span) for span in found[:SPANS]]}
        for name, (count, found) in list(every.items())[:TABLES]
    }
    more = len(every) - len(tables)
    return {"tables": tables, **({"more_tables": more} if more else {})}


def _and_not(keys: Collection[str], table: Table, explained: Numbers | None, now_utc: datetime) -> list[str]:
    if explained is None:
        return list(keys)
    place = places(table.partitions, now_utc)
    return [key for key in keys if not explained[place[key]]]


def _own_deadline(table: Table, key: str) -> Deadline | None:
    return None if table.due is None else deadline(table.due, table.partitions, key)


Owing = Callable[[str], Deadline | None]
"""What is owed of a partition by the declarations of today; None if nothing."""


def _owing_file(graph: Graph, name: str) -> Owing:
    feed = next((f for f in graph.feeds if f.name == name), None)

    def owing(key: str) -> Deadline | None:
        try:
            owed = None if feed is None else expected(feed, key)
        except DeclarationError:  # it is no partition of the feed any more
            return None
        return None if owed is None else owed.deadline

    return owing


def _owing_partition(graph: Graph, name: str) -> Owing:
    def owing(key: str) -> Deadline | None:
        try:
            return _own_deadline(graph[name], key) if name in graph else None
        except DeclarationError:
            return None

    return owing
