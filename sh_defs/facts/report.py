"""The report: what the state folder holds, as plain facts.

Belongs here: gathering accounts, tables, breaches, quarantine and incidents from the ledger and the store. Does not
belong here: showing them (``sh_defs.shown``), running anything.
Invariant: every figure is read back from what is stored when the report is made; nothing is carried over from the run
that made it so. Partition keys are sorted text here, whatever they stand for.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sh_core.accounts import RowAccount
from sh_core.graph import Graph
from sh_core.records import About, Action, Incident, Settlement
from sh_core.table import Station, Table
from sh_core.verdict import Broken, Level, Unknown
from sh_defs.facts import lateness
from sh_defs.facts.evidence import Quarantined, Specimen, by_rule, specimens
from sh_defs.facts.saying import rule_of, why
from sh_defs.facts.standings import TableStanding, marked_in, standings_of
from sh_resources.ledger import Activity, Ledger
from sh_resources.ledger.requests import Pause
from sh_resources.store import Store

CRASHED = "crashed"
"""Level of a ``Breach`` whose rule could not be evaluated, beside ``row`` and ``table``."""


@dataclass(frozen=True)
class FeedAccount:
    """Where the rows of one feed are.

    Attributes:
        feed: Its name.
        arrivals: Files ingested, superseded ones included.
        unread: Arrivals whose rows nobody has counted yet.
        rows: The account, summed over the arrivals.
        by_partition: The account per partition of the feed, in order; sums up to ``rows``.
    """

    feed: str
    arrivals: int
    unread: int
    rows: RowAccount
    by_partition: Mapping[str, RowAccount]


@dataclass(frozen=True)
class Breach:
    """One rule that current judgements found broken.

    Attributes:
        table: The judged table.
        rule: The rule.
        level: ``row``, ``table``, or ``crashed`` if it could not be evaluated.
        says: What the rule says, in one sentence.
        rows: Rows that break it; 0 unless the level is ``row``.
        partitions: Partitions in which it is broken.
        withheld: Those of them that are withheld.
    """

    table: str
    rule: str
    level: str
    says: str
    rows: int
    partitions: int
    withheld: int


@dataclass(frozen=True)
class Fault:
    """An open incident, and what its partition's last judgement found, in sentences.

    Attributes:
        incident: The incident.
        says: What is wrong.
        has_last_good: Of withheld content, whether readers see older content meanwhile.
    """

    incident: Incident
    says: tuple[str, ...]
    has_last_good: bool


@dataclass(frozen=True)
class Run:
    """One Dagster run that was made.

    Attributes:
        run_id: Dagster's id.
        table: The table.
        first: First partition.
        last: Last partition; all between are in it too.
        outcomes: Number of partitions per outcome (``published``, ``withheld``, …).
        seconds: How long it took.
    """

    run_id: str
    table: str
    first: str
    last: str
    outcomes: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class Report:
    """Everything that ``report.json`` and ``report.html`` say."""

    made_utc: datetime
    span: Sequence[str]
    feeds: tuple[FeedAccount, ...]
    quarantined: tuple[Quarantined, ...]
    breaches: tuple[Breach, ...]
    specimens: tuple[Specimen, ...]
    tables: tuple[TableStanding, ...]
    faults: tuple[Fault, ...]
    activity: tuple[Activity, ...]
    runs: tuple[Run, ...]
    seconds: Mapping[str, float]
    pauses: tuple[Pause, ...] = ()
    late: Mapping[str, Any] = field(default_factory=dict)
    reconciled: Sequence[Mapping[str, Any]] = ()

    @property
    def total(self) -> FeedAccount:
        """All feeds together."""
        return total_of(self.feeds)

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Open incidents, the oldest first."""
        return tuple(fault.incident for fault in self.faults)


def feed_accounts(graph: Graph, ledger: Ledger) -> tuple[FeedAccount, ...]:
    """Where every delivered row is, feed by feed."""
    found = []
    for table in graph.tables:
        if table.feed is None:
            continue
        staged = next((t.name for t in graph.downstream(table.name) if t.station is Station.STAGED), None)
        accounts = ledger.accounts(table.feed.name, table.name, staged)
        by_partition: defaultdict[str, RowAccount] = defaultdict(RowAccount)
        for account in accounts:
            by_partition[account.arrival.partition] += account.account
        rows = sum(by_partition.values(), RowAccount())
        unread = sum(not account.is_read for account in accounts)
        found.append(FeedAccount(table.feed.name, len(accounts), unread, rows, dict(sorted(by_partition.items()))))
    return tuple(found)


def total_of(feeds: Iterable[FeedAccount]) -> FeedAccount:
    """All feeds together, under the name ``total``."""
    every = tuple(feeds)
    by_partition: defaultdict[str, RowAccount] = defaultdict(RowAccount)
    for feed in every:
        for partition, account in feed.by_partition.items():
            by_partition[partition] += account
    rows = sum((f.rows for f in every), RowAccount())
    arrivals, unread = sum(f.arrivals for f in every), sum(f.unread for f in every)
    return FeedAccount("total", arrivals, unread, rows, dict(sorted(by_partition.items())))


def gather(
    graph: Graph,
    store: Store,
    ledger: Ledger,
    *,
    now_utc: datetime,
    span: Sequence[str] = (),
    runs: Iterable[Run] = (),
    seconds: Mapping[str, float] | None = None,
    late: Mapping[str, Any] | None = None,
) -> Report:
    """Read back everything that the report says.

    Args:
        graph: The declared tables.
        store: Their content and quarantine.
        ledger: What is known of them.
        now_utc: Time of the report.
        span: Partition keys that were asked for.
        runs: Runs that were made.
        seconds: How long each part took.
        late: What is late (``lateness.late``).
    """
    settled = {t.name: ledger.publications.settlements(t.name) for t in graph.tables}
    feeds = feed_accounts(graph, ledger)
    activity = tuple(ledger.publications.activity())
    evidence = {t.name: store.quarantined(t) for t in graph.tables}
    quarantined = tuple(q for t in graph.tables for q in by_rule(t, evidence[t.name]))
    delivered = [key for f in feeds for key in f.by_partition]
    tables = standings_of(graph, store, settled, activity, delivered, now_utc, marked_in(graph, ledger))
    return Report(
        made_utc=now_utc,
        span=span,
        feeds=feeds,
        quarantined=quarantined,
        breaches=tuple(b for t in graph.tables for b in _breaches(t, settled[t.name].values())),
        specimens=specimens(graph, quarantined, evidence),
        tables=tables,
        faults=_faults(ledger, settled, tables),
        activity=activity,
        runs=tuple(runs),
        seconds=dict(seconds or {}),
        pauses=tuple(ledger.requests.pauses()),
        late=late or {},
        reconciled=lateness.reconciliations(ledger),
    )


def _breaches(table: Table, settled: Iterable[Settlement]) -> list[Breach]:
    """What the current judgements of a table found broken, rules in the contract's order."""
    rows: defaultdict[tuple[str, str], int] = defaultdict(int)
    partitions: defaultdict[tuple[str, str], int] = defaultdict(int)
    withheld: defaultdict[tuple[str, str], int] = defaultdict(int)
    for settlement in settled:
        match settlement.verdict:
            case Broken(breaches, _):
                found = {(b.rule, b.level.value): b.count if b.level is Level.ROW else 0 for b in breaches}
            case Unknown(rule, _):
                found = {(rule, CRASHED): 0}
            case _:
                continue
        for key, count in found.items():
            rows[key] += count
            partitions[key] += 1
            withheld[key] += settlement.action is Action.WITHHOLD
    order = {rule.name: number for number, rule in enumerate(table.contract.rules)}
    told = []
    for rule, level in sorted(partitions, key=lambda key: (order.get(key[0], len(order)), key)):
        declared = rule_of(table, rule)
        says = declared.description if declared is not None else "The transform computes the partition"
        key = (rule, level)
        told.append(Breach(table.name, rule, level, says, rows[key], partitions[key], withheld[key]))
    return told


def _faults(
    ledger: Ledger,
    settled: Mapping[str, Mapping[str, Settlement]],
    tables: Iterable[TableStanding],
) -> tuple[Fault, ...]:
    published = {t.table: t.roots for t in tables}
    told = []
    for incident in ledger.incidents.open():
        name, partition = incident.table, incident.partition
        if incident.about is not About.CONTENT:
            told.append(Fault(incident, lateness.says(incident), has_last_good=False))
            continue
        # A table that is no longer declared may have left one open: nobody judges it any more.
        settlement = settled.get(name, {}).get(partition)
        says = why(settlement.verdict) if settlement is not None else ()
        told.append(Fault(incident, says, partition in published.get(name, {})))
    return tuple(told)
