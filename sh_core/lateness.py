"""Lateness: what should have been there by now, and what that holds up.

Belongs here: the deadline of every partition of a graph, what of it has passed, what an overdue file makes late. Does
not belong here: due times as declared (``due``), what has arrived (the ledger), telling anybody. Invariant: all of it
is a function of declarations, of what has arrived and of the time asked about. So a clock that jumps back, a tick that
is lost and one that comes twice change nothing.

A table's deadline is the one it was given, or else the latest of everything that it reads: nobody can have it earlier.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache

import numpy as np

from sh_core.due import Deadline, Due, deadline
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.links import Flags, Numbers, declared, places
from sh_core.partitions import Partitions
from sh_core.partitions.periods import micros, moment
from sh_core.suspects import linked
from sh_core.table import Table

NEVER = 0
"""In arrays of deadlines: nothing is owed, or not all that is read is declared yet."""

Span = tuple[str, str]
"""The first and the last of partitions that follow each other."""

Arrived = Callable[[str, Collection[str]], Collection[str]]
"""Of a feed's partitions, those of which anything has arrived, whether or not it was published."""


def _same(now_utc: datetime) -> datetime:
    return now_utc


@dataclass(frozen=True)
class Overdue:
    """A file that should be there.

    Attributes:
        feed: The feed.
        partition: Partition key.
        file_name: Name of the file that is expected.
        deadline: When it was due, and from when on it is late.
    """

    feed: str
    partition: str
    file_name: str
    deadline: Deadline


@dataclass
class Deadlines:
    """The deadlines of a graph's partitions, kept from one look to the next.

    Attributes:
        graph: The tables.
        calendar: What day and time it is for vendors when it is a given time here, or there already. The same, unless
            somebody replays what happened earlier (``sh_resources.clock``).
    """

    graph: Graph
    calendar: Callable[[datetime], datetime] = _same
    _known: dict[str, Numbers] = field(default_factory=dict)
    _sizes: tuple[int, ...] = ()

    def of(self, name: str, now_utc: datetime) -> Numbers:
        """From when on each declared partition of a table is late: microseconds since 1970 by place, or ``NEVER``.

        Args:
            name: Table.
            now_utc: Up to when periods of sets without end are declared.
        """
        sizes = tuple(partitions.size(now_utc) for partitions in self._sets)
        if sizes != self._sizes:
            self._known, self._sizes = {}, sizes
        if name not in self._known:
            table = self.graph[name]
            self._known[name] = self._made(table, [self.of(given.table, now_utc) for given in table.reads], now_utc)
        return self._known[name]

    @cached_property
    def _sets(self) -> tuple[Partitions, ...]:
        return tuple({table.partitions: None for table in self.graph.tables})

    def _made(self, table: Table, inputs: Collection[Numbers], now_utc: datetime) -> Numbers:
        due = table.due if table.feed is None or table.due is not None else table.feed.due
        if due is not None:
            return _declared(due, table.partitions, now_utc)
        found = np.zeros(table.partitions.size(now_utc), np.int64)
        for given, theirs in zip(table.reads, inputs, strict=True):
            of = linked(table, given, self.graph, now_utc)
            # Of a month on its second day nobody knows yet when its last day is owed.
            whole = of.counted(np.ones(of.n_up, np.bool_)) == of.widths
            found = np.maximum(found, np.where(whole, of.newest(theirs, none=NEVER), np.iinfo(np.int64).max))
        return np.where(found == np.iinfo(np.int64).max, NEVER, found)

    def passed(self, name: str, now_utc: datetime) -> Flags:
        """Which declared partitions of a table are late now, if they are not there, by place.

        Args:
            name: Table.
            now_utc: Current time.
        """
        found = self.of(name, now_utc)
        return np.asarray((found > NEVER) & (found <= micros(self.calendar(now_utc))), np.bool_)

    def is_late(self, name: str, key: str, now_utc: datetime) -> bool:
        """Whether a partition is past its deadline.

        Args:
            name: Table.
            key: Partition key.
            now_utc: Current time.
        """
        late_utc = self.late_utc(name, key, now_utc)
        return late_utc is not None and late_utc <= self.calendar(now_utc)

    def late_utc(self, name: str, key: str, now_utc: datetime) -> datetime | None:
        """From when on a partition is late; None if that is never, or not known yet.

        Args:
            name: Table.
            key: Partition key.
            now_utc: Current time.
        """
        place = places(self.graph[name].partitions, now_utc).get(key)
        at_us = NEVER if place is None else int(self.of(name, now_utc)[place])
        return None if at_us == NEVER else moment(at_us)

    def _passed(self, late: Numbers, partitions: Partitions, now_utc: datetime) -> dict[str, int]:
        """Of deadlines by place those that have passed, by key."""
        keys, today = declared(partitions, now_utc), micros(self.calendar(now_utc))
        places_of = np.flatnonzero((late > NEVER) & (late <= today)).tolist()
        return {keys[at]: int(late[at]) for at in places_of}

    def missed(self, name: str, there: Callable[[Collection[str]], Collection[str]], now_utc: datetime) -> list[str]:
        """Partitions of a table that are past their deadline and not there, from the first one on that ever was.

        Args:
            name: Table.
            there: Of some partitions, those that are there; asked about those only that are past their deadline.
            now_utc: Current time.
        """
        passed = self._passed(self.of(name, now_utc), self.graph[name].partitions, now_utc)
        return _owing(passed, there(list(passed))) if passed else []

    def overdue(self, arrived: Arrived, now_utc: datetime) -> dict[str, dict[str, Overdue]]:
        """Files that should have arrived by now and have not, by feed and partition key.

        A vendor owes files from the first one on that it ever delivered: whoever declares a feed that begins years ago,
        and has the files of last month, is not told of all the others. Of one that never delivered it is the last file
        that is overdue.

        Args:
            arrived: Asked about those only that are past their deadline.
            now_utc: Current time.
        """
        found: dict[str, dict[str, Overdue]] = {}
        for table in self.graph.tables:
            feed = table.feed
            if feed is None or feed.due is None:
                continue
            passed = self._passed(_declared(feed.due, feed.partitions, now_utc), feed.partitions, now_utc)
            there = arrived(feed.name, list(passed)) if passed else ()
            missing = {key: owed for key in _owing(passed, there) if (owed := expected(feed, key)) is not None}
            if missing:
                found[feed.name] = missing
        return found


def _owing(passed: Mapping[str, int], there: Collection[str]) -> list[str]:
    """Those past their deadline that are not there, from the first one on that is; else those of the last deadline."""
    known = [passed[key] for key in there if key in passed]
    if not passed or (there and not known):
        return []
    since = min(known) if known else max(passed.values())
    found = frozenset(there)
    return [key for key, at in passed.items() if at >= since and key not in found]


def expected(feed: Feed, key: str) -> Overdue | None:
    """What a feed owes of a partition; None if nothing."""
    owed = deadline(feed.due, feed.partitions, key) if feed.due is not None else None
    return None if owed is None else Overdue(feed.name, key, feed.expected_file(key), owed)


def held_up(graph: Graph, by: Mapping[str, Mapping[str, int]], now_utc: datetime) -> dict[str, Numbers]:
    """What is held up by partitions that are not there, and by which of them.

    Args:
        graph: The tables.
        by: Per table and partition key a number, at least 1, of whatever is the matter with it. Keys that are not
            declared at this time hold nothing up.
        now_utc: Up to when periods of sets without end are declared.

    Returns:
        Per table that anything of is held up: by place, the greatest number among everything that the partition is made
        of, itself included; 0 where that is all there.
    """
    held: dict[str, Numbers] = {}
    for table in graph.tables:
        numbers = np.zeros(table.partitions.size(now_utc), np.int64)
        own = by.get(table.name)
        if own:
            place = places(table.partitions, now_utc)
            for key, number in own.items():
                if key in place:
                    numbers[place[key]] = number
        for given in table.reads:
            if given.table in held:
                of = linked(table, given, graph, now_utc)
                numbers = np.maximum(numbers, of.newest(held[given.table], none=0))
        if numbers.any():
            held[table.name] = numbers
    return held


def spans(partitions: Partitions, flags: Flags, now_utc: datetime) -> list[Span]:
    """The flagged partitions, those that follow each other as one: the first and the last key.

    Args:
        partitions: The set.
        flags: By place.
        now_utc: Up to when periods of sets without end are declared.
    """
    keys = declared(partitions, now_utc)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(keys[first], keys[behind - 1]) for first, behind in edges.reshape(-1, 2).tolist()]


def owed(graph: Graph) -> frozenset[str]:
    """Tables that have deadlines: their own, or that of a feed which they are made of."""
    found = set[str]()
    for table in graph.tables:
        of_feed = table.feed is not None and table.feed.due is not None
        if table.due is not None or of_feed or any(given.table in found for given in table.reads):
            found.add(table.name)
    return frozenset(found)


def _declared(due: Due, partitions: Partitions, now_utc: datetime) -> Numbers:
    return _late_us(due, partitions, tuple(declared(partitions, now_utc)))


@lru_cache(maxsize=256)
def _late_us(due: Due, partitions: Partitions, keys: tuple[str, ...]) -> Numbers:
    """From when on partitions are late, in the order of their keys."""
    owed = (deadline(due, partitions, key) for key in keys)
    return np.fromiter((NEVER if d is None else micros(d.late_utc) for d in owed), np.int64, len(keys))
