"""On time: of every partition that was late, that it is; and of each in the end, that it is there.

Belongs here: which partitions are late now, which of that was told before, and so what is new. Does not belong here:
incidents (``overdue`` keeps them, and they decide here what is late), Dagster's words (``sh_assets.on_time``).
Invariant: what is told is a difference between two states, that of now and the one told last. Whoever has lost the
latter is told again what is late, and of everything that ever was, that it is there.

A partition is late if an open incident holds it up, its own deadline has passed, and the truth is not published: what
can do without the late file is on time, and a placeholder is not the truth.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from sh_core.due import Deadline, deadline
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.lateness import expected, owed, spans
from sh_core.links import declared, places
from sh_core.partitions import Partitions
from sh_core.records import About
from sh_core.suspects import named
from sh_core.table import Table
from sh_resources.ledger import Ledger
from sh_resources.ledger.late import Opened
from sh_resources.overdue import Watchman

AT_ONCE = 300
"""What is told in one go; the rest is told in the next."""

REMEMBERED = 1_000
"""Incidents, and arrivals, the newest, of which is told again by whoever has lost what was told."""

Subject = tuple[About, str]
"""A feed (``FILE``) or a table (``DEADLINE``), by name."""

Late = Mapping[Subject, Mapping[str, int]]
"""Per subject the partitions that are late, each with the number of an incident that is why."""


@dataclass(frozen=True)
class Remark:
    """That a partition is late, or that it is there.

    Attributes:
        about: Of a feed's file, or of a table's partition.
        name: The feed's or the table's.
        partition: Partition key.
        passed: Whether it is there, or not late yet.
        due_utc: When it was due; None where only the latest of what it reads says so, or nothing is owed.
        late_utc: From when on it is late; None if nothing is owed.
        came_utc: When it came, by the vendors' calendar; None if it is not there.
        now_utc: Now, by that calendar.
        file_name: The file that it is, or that it waits for.
        incident: The number of the open incident; None if there is none.
    """

    about: About
    name: str
    partition: str
    passed: bool
    due_utc: datetime | None
    late_utc: datetime | None
    came_utc: datetime | None
    now_utc: datetime
    file_name: str | None = None
    incident: int | None = None

    @property
    def late_by_s(self) -> float:
        """By how much it is late, or was, in seconds; 0 for what is, or came, on time."""
        due, there = self.due_utc or self.late_utc, self.came_utc or self.now_utc
        if due is None or (self.came_utc is None and self.passed):
            return 0.0
        return max(0.0, (there - due).total_seconds())


@dataclass(frozen=True)
class Told:
    """What was told, as a cursor keeps it.

    Attributes:
        late: Partitions of which it was told that they are late, and not yet that they are there: spans.
        arrival: Number of the newest arrival of which it was told that it is there.
    """

    late: Mapping[Subject, tuple[tuple[str, str], ...]]
    arrival: int

    def encoded(self) -> str:
        """As text; ``of`` gives it back."""
        late = {f"{about.value}:{name}": [list(span) for span in found] for (about, name), found in self.late.items()}
        return json.dumps({"late": late, "arrival": self.arrival}, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> "Told | None":
        """What a cursor says; None if it is none of ours: then everything is told again."""
        try:
            said = json.loads(text)
            late = {
                (About(key.partition(":")[0]), key.partition(":")[2]): tuple((str(a), str(b)) for a, b in found)
                for key, found in said["late"].items()
            }
            return cls(late, int(said["arrival"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass
class OnTime:
    """Tells what is late and what is there.

    Attributes:
        watchman: Who knows it.
    """

    watchman: Watchman

    def changes(self, cursor: str | None, now_utc: datetime, at_once: int = AT_ONCE) -> tuple[list[Remark], str]:
        """What is new since something was told.

        Args:
            cursor: What was told; None if nothing, or nobody knows.
            now_utc: Current time on the engine's clock.
            at_once: How much to tell at most.

        Returns:
            What to tell, and the cursor for when it was told.

        Raises:
            LedgerError: If the ledger cannot be reached.
        """
        late, told = self.late(now_utc), None if cursor is None else Told.of(cursor)
        if told is None:
            before, arrival = self._ever(late, now_utc), max(0, self._ledger.arrivals.newest() - REMEMBERED)
        else:
            before, arrival = self._keys(told, now_utc), told.arrival
        remarks, left = self._ended(before, late, now_utc, at_once)
        for subject, keys in late.items():
            new = [key for key in keys if key not in left.get(subject, ())][: max(0, at_once - len(remarks))]
            remarks += self.remarks(subject, new, now_utc, keys)
            left.setdefault(subject, set()).update(new)
        came, arrival = self._came(arrival, now_utc, max(0, at_once - len(remarks)))
        found = {subject: tuple(self._spans(subject, keys, now_utc)) for subject, keys in left.items() if keys}
        # A file that was late, or is found to be while it comes, is told of as that and as an arrival: once is enough.
        once = {(r.about, r.name, r.partition): r for r in remarks + came}
        return list(once.values()), Told(found, arrival).encoded()

    def late(self, now_utc: datetime) -> Late:
        """Everything that is late now, feeds first, tables after what they read."""
        opened = list(self.watchman.engine.ledger.late.standing().values())
        found: dict[Subject, dict[str, int]] = {}
        for incident in opened:
            subject = (About.FILE, incident.name)
            if incident.about is About.FILE and self._is_declared(subject):
                found.setdefault(subject, {})[incident.partition] = incident.id
        graph, deadlines = self.watchman.engine.graph, self.watchman.engine.deadlines
        for name, numbers in self.watchman.held_up(opened, now_utc).items():
            table = graph[name]
            keys = named(table.partitions, now_utc, (numbers > 0) & deadlines.passed(name, now_utc))
            met = self.watchman.met(name, keys) if keys else set[str]()
            place = places(table.partitions, now_utc)
            still = {key: int(numbers[place[key]]) for key in keys if key not in met}
            if still:
                found[About.DEADLINE, name] = still
        return found

    def remarks(
        self, of: Subject, keys: Collection[str], now_utc: datetime, late: Mapping[str, int] | None = None
    ) -> list[Remark]:
        """What is to be said of some partitions now.

        Args:
            of: A feed or a table of the graph.
            keys: Partition keys of it.
            now_utc: Current time on the engine's clock.
            late: Those of them that are late, with the number of an incident; None to find that out.
        """
        if not keys:
            return []
        about, name = of
        late = self.late(now_utc).get(of, {}) if late is None else late
        came = self._there(of, keys)
        calendar, files = self.watchman.engine.calendar, self._files({late[key] for key in keys if key in late})
        found = []
        for key in keys:
            due_utc, late_utc = self._owed(of, key, now_utc)
            number = late.get(key)
            own = self._feed(name).expected_file(key) if about is About.FILE else None
            found.append(
                Remark(
                    about=about,
                    name=name,
                    partition=key,
                    # Without an incident: late all the same, if its time has passed (the next look opens one).
                    passed=key in came or (number is None and not self._passed(late_utc, now_utc)),
                    due_utc=due_utc,
                    late_utc=late_utc,
                    came_utc=came.get(key),
                    now_utc=calendar.at(now_utc),
                    file_name=own if own is not None or number is None else files.get(number),
                    incident=None if key in came else number,
                )
            )
        return found

    # ---- what was told

    def _ended(
        self, before: Mapping[Subject, set[str]], late: Late, now_utc: datetime, at_once: int
    ) -> tuple[list[Remark], dict[Subject, set[str]]]:
        """Of what was late when it was told: what to say now, and what goes on being late, or cannot be told yet."""
        remarks, left = list[Remark](), dict[Subject, set[str]]()
        for subject, keys in before.items():
            still = keys & late.get(subject, {}).keys()
            left[subject] = still
            gone = sorted(keys - still)
            if not gone or not self._is_declared(subject):
                continue
            there = self._there(subject, gone)
            over = [key for key in gone if key in there or self._is_withdrawn(subject, key)]
            over = over[: max(0, at_once - len(remarks))]
            remarks += self.remarks(subject, over, now_utc, {})
            still.update(set(gone).difference(over))
        return remarks, left

    def _came(self, after: int, now_utc: datetime, at_once: int) -> tuple[list[Remark], int]:
        """First files for partitions, and the number of the last arrival looked at."""
        if not at_once:
            return [], after
        news = self._ledger.arrivals.since(after, at_once)
        by_feed: dict[str, list[str]] = {}
        for arrival in news:
            by_feed.setdefault(arrival.feed, []).append(arrival.partition)
        first = {name: self._ledger.arrivals.first(name, keys) for name, keys in by_feed.items()}
        due = {feed.name for feed in self.watchman.engine.graph.feeds if feed.due is not None}
        keys: dict[str, list[str]] = {}
        for arrival in news:
            if arrival.feed in due and first[arrival.feed][arrival.partition] == arrival.arrived_utc:
                keys.setdefault(arrival.feed, []).append(arrival.partition)
        remarks = [r for name, of in keys.items() for r in self.remarks((About.FILE, name), of, now_utc, {})]
        return remarks, news[-1].id if news else after

    def _ever(self, late: Late, now_utc: datetime) -> dict[Subject, set[str]]:
        """What may have been told to be late by whoever has forgotten it; what is late now is to be told again."""
        opened = self._ledger.late.newest(REMEMBERED)
        found: dict[Subject, set[str]] = {}
        for incident in opened:
            if incident.about is About.FILE:
                found.setdefault((About.FILE, incident.name), set()).add(incident.partition)
        for name, numbers in self.watchman.held_up(opened, now_utc).items():
            partitions = self.watchman.engine.graph[name].partitions
            flags = (numbers > 0) & self.watchman.engine.deadlines.passed(name, now_utc)
            found[About.DEADLINE, name] = set(named(partitions, now_utc, flags))
        return {subject: keys.difference(late.get(subject, ())) for subject, keys in found.items()}

    def _keys(self, told: Told, now_utc: datetime) -> dict[Subject, set[str]]:
        found: dict[Subject, set[str]] = {}
        for subject, pairs in told.late.items():
            if not self._is_declared(subject):
                continue  # neither its partitions nor their check are there any more
            partitions = self._partitions(subject)
            keys, place = declared(partitions, now_utc), places(partitions, now_utc)
            own = found.setdefault(subject, set())
            for first, last in pairs:
                if first in place and last in place:
                    own.update(keys[place[first] : place[last] + 1])
                else:  # by a clock that jumped back they are not declared yet
                    own.update((first, last))
        return found

    def _spans(self, subject: Subject, keys: Collection[str], now_utc: datetime) -> list[tuple[str, str]]:
        partitions = self._partitions(subject)
        place = places(partitions, now_utc)
        flags = np.zeros(len(place), np.bool_)
        flags[[place[key] for key in keys if key in place]] = True
        return [*spans(partitions, flags, now_utc), *((key, key) for key in sorted(keys) if key not in place)]

    # ---- facts

    @property
    def _ledger(self) -> Ledger:
        return self.watchman.engine.ledger

    def _feed(self, name: str) -> Feed:
        return next(feed for feed in self.watchman.engine.graph.feeds if feed.name == name)

    def _is_declared(self, subject: Subject) -> bool:
        about, name = subject
        graph = self.watchman.engine.graph
        return name in (owed(graph) if about is About.DEADLINE else {f.name for f in graph.feeds if f.due is not None})

    def _partitions(self, subject: Subject) -> Partitions:
        about, name = subject
        return self._feed(name).partitions if about is About.FILE else self.watchman.engine.graph[name].partitions

    def _there(self, subject: Subject, keys: Collection[str]) -> dict[str, datetime]:
        """When the partitions that are there came, by the vendors' calendar."""
        about, name = subject
        if about is About.FILE:
            return self._ledger.arrivals.first(name, keys)
        shown = self._ledger.publications.shown(name, keys)
        calendar = self.watchman.engine.calendar
        return {key: calendar.at(found.published_utc) for key, found in shown.items() if not found.marks}

    def _owed(self, subject: Subject, key: str, now_utc: datetime) -> tuple[datetime | None, datetime | None]:
        """When a partition was due, and from when on it is late."""
        about, name = subject
        try:
            if about is About.FILE:
                file = expected(self._feed(name), key)
                own = None if file is None else file.deadline
            else:
                own = _own(self.watchman.engine.graph[name], key)
        except DeclarationError:  # it is no partition any more
            return None, None
        if own is not None:
            return own.due_utc, own.late_utc
        if about is About.FILE:
            return None, None
        return None, self.watchman.engine.deadlines.late_utc(name, key, now_utc)

    def _is_withdrawn(self, subject: Subject, key: str) -> bool:
        """Whether nothing is owed of a partition by the declarations of today, at whatever time it is asked."""
        about, name = subject
        try:
            if about is About.FILE:
                return expected(self._feed(name), key) is None
            table = self.watchman.engine.graph[name]
            table.partitions.check(key)
            return table.due is not None and _own(table, key) is None
        except DeclarationError:
            return True

    def _passed(self, late_utc: datetime | None, now_utc: datetime) -> bool:
        return late_utc is not None and late_utc <= self.watchman.engine.calendar.at(now_utc)

    def _files(self, incidents: Collection[int]) -> dict[int, str]:
        """The files that incidents are about, by their number."""
        opened: Iterable[Opened] = self._ledger.late.standing().values() if incidents else ()
        feeds = {feed.name: feed for feed in self.watchman.engine.graph.feeds}
        return {
            i.id: feeds[i.name].expected_file(i.partition)
            for i in opened
            if i.id in incidents and i.about is About.FILE and i.name in feeds
        }


def _own(table: Table, key: str) -> Deadline | None:
    due = table.due if table.feed is None or table.due is not None else table.feed.due
    return None if due is None else deadline(due, table.partitions, key)
