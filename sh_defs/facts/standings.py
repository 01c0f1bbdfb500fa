"""Standings: what readers of each table see now, and which partitions they miss.

Belongs here: bringing together declared, published and withheld partitions. Does not belong here: rows by outcome,
breaches and incidents (``report``). Invariant: what is published is what Delta shows, what is withheld is what the
ledger says; partition keys are sorted text, whatever they stand for.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sh_core.graph import Graph
from sh_core.records import Action, Settlement
from sh_core.table import Station
from sh_resources.ledger import Activity, Ledger
from sh_resources.publisher import root_of
from sh_resources.store import Store


class Visible(StrEnum):
    """What readers see of one partition. In order of how much it should worry: the last one most."""

    PUBLISHED = "published"
    """Its newest content."""
    STANDS_IN = "placeholder"
    """A placeholder for something late, or what rests on one."""
    MISSING = "missing"
    """Nothing, and nothing was decided: an input, or the delivery, is not there."""
    LAST_GOOD = "last good"
    """Older content: the newest is withheld."""
    WITHHELD = "withheld"
    """Nothing: its only content is withheld."""


@dataclass(frozen=True)
class TableStanding:
    """What readers of one table see.

    Attributes:
        table: Its name.
        station: Where in the life of a row it stands.
        owner: Who to ask.
        declared: Partitions that it has by its declaration.
        withheld: Partitions whose newest content is withheld, in order; some may show older content.
        rows: Published rows per published partition, in order.
        quarantined: Rows in quarantine.
        roots: Content root per published partition.
        visible: What readers see per partition, in order, from the first key that any table knows of to the last.
        published_utc: When new content was last published; None if never.
        stood_in: Published partitions that are, or rest on, placeholders, in order.
    """

    table: str
    station: Station
    owner: str
    declared: int
    withheld: tuple[str, ...]
    rows: Mapping[str, int]
    quarantined: int
    roots: Mapping[str, str]
    visible: Mapping[str, Visible]
    published_utc: datetime | None
    stood_in: tuple[str, ...] = ()

    @property
    def total_rows(self) -> int:
        """Published rows."""
        return sum(self.rows.values())

    @property
    def never(self) -> int:
        """Declared partitions of which readers see nothing, withheld ones included."""
        return max(0, self.declared - len(self.roots))

    @property
    def root(self) -> str:
        """One digest over all published partitions: equal if and only if every partition's root is."""
        text = "".join(f"{partition}={root}\n" for partition, root in sorted(self.roots.items()))
        return hashlib.blake2b(text.encode(), digest_size=16, person=b"sh-table-1").hexdigest()


def standings(graph: Graph, store: Store, ledger: Ledger, now_utc: datetime) -> tuple[TableStanding, ...]:
    """What readers of every table see, inputs first; partitions without end are counted up to now."""
    settled = {t.name: ledger.publications.settlements(t.name) for t in graph.tables}
    delivered = {key for feed in graph.feeds for key in ledger.arrivals.current(feed.name)}
    activity = ledger.publications.activity()
    return standings_of(graph, store, settled, activity, delivered, now_utc, marked_in(graph, ledger))


def marked_in(graph: Graph, ledger: Ledger) -> dict[str, frozenset[str]]:
    """Partitions that rest on placeholders, for each table that has any."""
    found = {}
    for name in sorted(graph.marked):
        keys = frozenset(key for key, seen in ledger.publications.shown(name).items() if seen.marks)
        if keys:
            found[name] = keys
    return found


def standings_of(
    graph: Graph,
    store: Store,
    settled: Mapping[str, Mapping[str, Settlement]],
    activity: Iterable[Activity],
    delivered: Collection[str],
    now_utc: datetime,
    marked: Mapping[str, Collection[str]],
) -> tuple[TableStanding, ...]:
    """What readers of every table see, given what the ledger says.

    Args:
        graph: The declared tables.
        store: Their content.
        settled: Per table, the last decision per partition.
        activity: Everything that was ever decided, oldest first.
        delivered: Partition keys of delivered files.
        now_utc: Up to when partitions without end are counted.
        marked: Per table, partitions that rest on placeholders.
    """
    files = {t.name: store.table(t).state().files for t in graph.tables}
    published = {a.table: a.at_utc for a in activity if a.action is Action.PUBLISH}  # the last one of each stays
    known = {*delivered, *(key for t in graph.tables for key in (*settled[t.name], *files[t.name]))}
    dates = sorted(key for key in known if is_date(key))
    found = []
    for table in graph.tables:
        live, decided = files[table.name], settled[table.name]
        stood_in = frozenset(live).intersection(marked.get(table.name, ()))
        withheld = tuple(sorted(p for p, s in decided.items() if s.action is Action.WITHHOLD))
        keys = tuple(table.partitions.declared(now_utc))
        window = [k for k in keys if not is_date(k) or (dates and dates[0] <= k <= dates[-1])]
        found.append(
            TableStanding(
                table=table.name,
                station=table.station,
                owner=table.contract.owner,
                declared=len(keys),
                withheld=withheld,
                rows={p: file.rows for p, file in sorted(live.items())},
                quarantined=sum(f.rows for f in store.quarantine(table).state().files.values()),
                roots={p: root_of(file.path) for p, file in sorted(live.items())},
                visible={k: _visible(k in live, k in withheld, k in stood_in) for k in window},
                published_utc=published.get(table.name),
                stood_in=tuple(sorted(stood_in)),
            )
        )
    return tuple(found)


def is_date(key: str) -> bool:
    """Whether a partition key is an ISO date, as those of days, weeks and months are."""
    try:
        return date.fromisoformat(key).isoformat() == key
    except ValueError:
        return False


def _visible(published: bool, withheld: bool, stood_in: bool) -> Visible:  # noqa: FBT001
    if published:
        there = Visible.STANDS_IN if stood_in else Visible.PUBLISHED
        return Visible.LAST_GOOD if withheld else there
    return Visible.WITHHELD if withheld else Visible.MISSING
