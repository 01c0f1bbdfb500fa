"""Errands: books that somebody reads for another purpose than automation's.

Belongs here: looking without a trace, a person's insistence, and keeping to some partitions. Does not belong here:
deciding (``watch``), facts (the book underneath). Invariant: they narrow what a watch sees or asks for and invent
nothing; so a plan, and the repair that carries it out, decide as automation does.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sh_core.book import Book, Changes, Keys, LastLook, Place, Request, Tries
from sh_core.links import Flags
from sh_core.policy import Held, Policy
from sh_core.staleness import Look, Stale
from sh_core.suspects import Standing


class _Relay:
    """Answers as the book underneath does."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def changes(self, after: int | None) -> Changes:
        """What was confirmed after a serial; None asks for the present serial only."""
        return self._book.changes(after)

    def standings(self, table: str) -> Iterable[Standing]:
        """Every settled partition of a table."""
        return self._book.standings(table)

    def arrivals(self, feed: str) -> Iterable[tuple[str, int]]:
        """Per partition of a feed for which a file came, the serial of the newest."""
        return self._book.arrivals(feed)

    def astray(self, table: str) -> Collection[str]:
        """Partitions of a table of which readers see something else than was published."""
        return self._book.astray(table)

    def recipe(self, table: str) -> int:
        """The present recipe of a table."""
        return self._book.recipe(table)

    def look(self, table: str, keys: Collection[str]) -> Look:
        """What partitions of a table are now."""
        return self._book.look(table, keys)

    def leased(self) -> Keys:
        """Partitions that some process is working on."""
        return self._book.leased()

    def paused(self) -> Collection[str]:
        """Tables that nothing is to be requested of."""
        return self._book.paused()

    def tries(self, wanted: Mapping[Place, Stale]) -> Mapping[Place, Tries]:
        """How often partitions were requested under these traces since they were last settled, if they were."""
        return self._book.tries(wanted)

    def request(self, requests: Collection[Request], by: str, now_utc: datetime) -> int:
        """Note what is being requested, before it is."""
        return self._book.request(requests, by, now_utc)

    def today(self, now_utc: datetime) -> datetime:
        """What day and time it is for vendors, and so which periods have begun."""
        return self._book.today(now_utc)

    def late(self, table: str, today: datetime) -> Flags:
        """Which declared partitions of a table are past their deadline, whether or not they are there, by place."""
        return self._book.late(table, today)

    def looks(self, places: Collection[Place]) -> Mapping[Place, LastLook]:
        """How partitions were last looked at; those of which nothing was ever decided are left out."""
        return self._book.looks(places)


class Onlooker(_Relay):
    """Requests nothing, and remembers what it was told on the way.

    The book underneath must not note what was looked at either.

    Attributes:
        seen: What the ledger says of each table, by name.
        arrived: Serials of the files of each feed, by partition.
        waiting: What was found to lack an input, and which, by table.
        occupied: What some process is working on.
    """

    def __init__(self, book: Book) -> None:
        """Look over the shoulder of whoever reads this book."""
        super().__init__(book)
        self.seen: dict[str, list[Standing]] = {}
        self.arrived: dict[str, list[tuple[str, int]]] = {}
        self.waiting: dict[str, dict[str, tuple[str, ...]]] = {}
        self.occupied: Keys = {}

    def standings(self, table: str) -> Iterable[Standing]:
        """Every settled partition of a table."""
        self.seen[table] = list(super().standings(table))
        return self.seen[table]

    def arrivals(self, feed: str) -> Iterable[tuple[str, int]]:
        """Per partition of a feed for which a file came, the serial of the newest."""
        self.arrived[feed] = list(super().arrivals(feed))
        return self.arrived[feed]

    def look(self, table: str, keys: Collection[str]) -> Look:
        """What partitions of a table are now."""
        look = super().look(table, keys)
        self.waiting.setdefault(table, {}).update(look.waiting)
        return look

    def leased(self) -> Keys:
        """Partitions that some process is working on."""
        self.occupied = super().leased()
        return self.occupied

    def request(self, requests: Collection[Request], by: str, now_utc: datetime) -> int:
        """Nothing is requested."""
        del requests, by, now_utc
        return self.changes(None).serial


@dataclass(frozen=True)
class Insistence:
    """What a person asks for by name: it is tried again now, however often it has failed.

    Attributes:
        named: The partitions, by table.
        resumed: Paused tables of which partitions are to be requested all the same.
    """

    named: Keys = field(default_factory=dict)
    resumed: frozenset[str] = frozenset()


class Insisting(_Relay):
    """A book for a person who insists. What was requested through it counts as tried from then on.

    Attributes:
        overridden: Partitions that automation would not request now, and why not.
    """

    def __init__(self, book: Book, insistence: Insistence, policy: Policy, now_utc: datetime) -> None:
        """Read a book with a person's insistence.

        Args:
            book: The book.
            insistence: On what.
            policy: By which automation would hold things back.
            now_utc: When the person asks.
        """
        super().__init__(book)
        self._insistence, self._policy, self._now_utc = insistence, policy, now_utc
        self._named = {name: frozenset(keys) for name, keys in insistence.named.items()}
        self._requested: set[Place] = set()
        self.overridden: dict[Place, Held] = {}

    def paused(self) -> Collection[str]:
        """Tables that nothing is to be requested of."""
        return frozenset(super().paused()) - self._insistence.resumed

    def tries(self, wanted: Mapping[Place, Stale]) -> Mapping[Place, Tries]:
        """How often partitions were requested; what is insisted on and was not requested since was never tried."""
        found = dict(super().tries(wanted))
        for table, key in found.keys() - self._requested:
            if key in self._named.get(table, ()):
                held = self._policy.held(found.pop((table, key)), self._now_utc)
                if held is not None:
                    self.overridden[table, key] = held
        return found

    def request(self, requests: Collection[Request], by: str, now_utc: datetime) -> int:
        """Note what is being requested, before it is."""
        serial = super().request(requests, by, now_utc)
        self._requested.update((request.table, request.partition) for request in requests)
        return serial


class Errand(_Relay):
    """A book for one errand: partitions that do not belong to it are neither looked at nor requested."""

    def __init__(self, book: Book, steps: Keys) -> None:
        """Keep to some partitions, by table."""
        super().__init__(book)
        self._steps = {name: frozenset(keys) for name, keys in steps.items()}

    def look(self, table: str, keys: Collection[str]) -> Look:
        """What partitions of a table are now; those beyond the errand are left as they are."""
        return super().look(table, [key for key in keys if key in self._steps.get(table, ())])
