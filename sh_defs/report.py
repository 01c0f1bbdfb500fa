"""The report: what the state folder holds, as plain facts.

Belongs here: gathering accounts, tables, breaches, quarantine and incidents from the ledger and the store. Does not
belong here: their JSON form (``report_json``), their page (``report_page``), showing them (``show``), running anything.
Invariant: every figure is read back from what is stored when the report is made; nothing is carried over from the run
that made it so. Partition keys are sorted text here, whatever they stand for.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import polars as pl

from sh_core.accounts import RowAccount
from sh_core.graph import Graph
from sh_core.records import Action, Incident, Settlement
from sh_core.table import Station, Table
from sh_core.verdict import Broken, Level, Unknown
from sh_defs.saying import rule_of, why
from sh_resources.ledger import Activity, Ledger
from sh_resources.publisher import root_of
from sh_resources.store import Store

CRASHED = "crashed"
"""Level of a ``Breach`` whose rule could not be evaluated, beside ``row`` and ``table``."""

SPECIMENS = 12
"""Examples of quarantined rows in a report, one for a rule: the others of a rule look alike."""


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
class Quarantined:
    """How many rows in quarantine break one rule; a row that breaks two is counted under both.

    Attributes:
        table: The table that the rows were meant for.
        rule: The broken rule.
        rows: How many.
    """

    table: str
    rule: str
    rows: int


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
class Specimen:
    """One quarantined row, shown as an example, PII masked.

    Attributes:
        table: The table that it was meant for.
        partition: Its partition.
        rules: Every rule that it broke, and what the rule says.
        file: ``<feed>/<file name>`` that brought it; None where the table does not keep that.
        line: Its line in that file.
        row: Its cells.
        suspects: Columns that the broken rules look at; empty if they look at all of them.
    """

    table: str
    partition: str
    rules: Mapping[str, str]
    file: str | None
    line: int | None
    row: Mapping[str, Any]
    suspects: frozenset[str]


class Visible(StrEnum):
    """What readers see of one partition. In order of how much it should worry: the last one most."""

    PUBLISHED = "published"
    """Its newest content."""
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


@dataclass(frozen=True)
class Fault:
    """An open incident, and what its partition's last judgement found, in sentences.

    Attributes:
        incident: The incident.
        says: What is wrong.
        has_last_good: Whether readers see older content meanwhile.
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
    """
    settled = {t.name: ledger.publications.settlements(t.name) for t in graph.tables}
    feeds = feed_accounts(graph, ledger)
    activity = tuple(ledger.publications.activity())
    evidence = {t.name: store.quarantined(t) for t in graph.tables}
    quarantined = tuple(q for t in graph.tables for q in _by_rule(t, evidence[t.name]))
    tables = _standings(graph, store, settled, activity, [key for f in feeds for key in f.by_partition])
    return Report(
        made_utc=now_utc,
        span=span,
        feeds=feeds,
        quarantined=quarantined,
        breaches=tuple(b for t in graph.tables for b in _breaches(t, settled[t.name].values())),
        specimens=_specimens(graph, quarantined, evidence),
        tables=tables,
        faults=_faults(graph, ledger, settled, tables),
        activity=activity,
        runs=tuple(runs),
        seconds=dict(seconds or {}),
    )


def standings(graph: Graph, store: Store, ledger: Ledger) -> tuple[TableStanding, ...]:
    """What readers of every table see, inputs first."""
    settled = {t.name: ledger.publications.settlements(t.name) for t in graph.tables}
    delivered = {key for feed in graph.feeds for key in ledger.arrivals.current(feed.name)}
    return _standings(graph, store, settled, ledger.publications.activity(), delivered)


def specimen(table: Table, rule: str, evidence: pl.DataFrame) -> Specimen:
    """The first row in quarantine that breaks a rule.

    Args:
        table: The table.
        rule: A rule that some row of the evidence breaks.
        evidence: From ``Store.quarantined``, so masked.
    """
    column = partition_column(table)
    broken = evidence.filter(pl.col("rules").list.contains(rule))
    row = broken.sort(*([column] if column in broken.columns else []), "file", "line").row(0, named=True)
    rules = {name: rule_of(table, name) for name in row["rules"]}
    looked_at = {c for name, r in rules.items() if r is not None for c in (name.split(":")[1:] or r.columns)}
    return Specimen(
        table=table.name,
        partition=partition_in(row, column),
        rules={name: r.description if r is not None else "no rule of today's contract" for name, r in rules.items()},
        file=row["file"],
        line=row["line"],
        row=json.loads(row["row"]),
        suspects=frozenset(looked_at if len(looked_at) < len(table.contract.columns) else ()),
    )


def partition_column(table: Table) -> str | None:
    """Column that holds the partition; None for a table that is one partition."""
    return table.partitions.column


def partition_in(row: Mapping[str, Any], column: str | None) -> str:
    """Partition key that a row of a quarantine is of; ``all`` where a table is one partition."""
    return str(row[column]) if column in row else "all"


def _by_rule(table: Table, evidence: pl.DataFrame) -> list[Quarantined]:
    rules = evidence.select(pl.col("rules").explode().alias("rule")).drop_nulls()
    counted = rules.group_by("rule").len().sort("rule")
    return [Quarantined(table.name, rule, rows) for rule, rows in counted.iter_rows()]


def _specimens(
    graph: Graph, quarantined: Iterable[Quarantined], evidence: Mapping[str, pl.DataFrame]
) -> tuple[Specimen, ...]:
    """Examples of the rules that are broken most rarely; a row that would show twice shows once."""
    shown: list[Specimen] = []
    for q in sorted(quarantined, key=lambda q: (q.rows, q.table, q.rule)):
        example = specimen(graph[q.table], q.rule, evidence[q.table])
        if example not in shown:
            shown.append(example)
        if len(shown) == SPECIMENS:
            break
    return tuple(shown)


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
    graph: Graph,
    ledger: Ledger,
    settled: Mapping[str, Mapping[str, Settlement]],
    tables: Iterable[TableStanding],
) -> tuple[Fault, ...]:
    published = {t.table: t.roots for t in tables}
    told = []
    for incident in ledger.incidents.open():
        name, partition = incident.table, incident.partition
        # A table that is no longer declared may have left one open: nobody judges it any more.
        settlement = settled.get(name, {}).get(partition)
        says = why(graph, graph[name], settlement.verdict) if settlement is not None else ()
        told.append(Fault(incident, says, partition in published.get(name, {})))
    return tuple(told)


def _standings(
    graph: Graph,
    store: Store,
    settled: Mapping[str, Mapping[str, Settlement]],
    activity: Iterable[Activity],
    delivered: Collection[str],
) -> tuple[TableStanding, ...]:
    files = {t.name: store.table(t).state().files for t in graph.tables}
    published = {a.table: a.at_utc for a in activity if a.action is Action.PUBLISH}  # the last one of each stays
    known = {*delivered, *(key for t in graph.tables for key in (*settled[t.name], *files[t.name]))}
    dates = sorted(key for key in known if is_date(key))
    found = []
    for table in graph.tables:
        live, decided = files[table.name], settled[table.name]
        withheld = tuple(sorted(p for p, s in decided.items() if s.action is Action.WITHHOLD))
        keys = tuple(table.partitions.keys())
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
                visible={k: _visible(published=k in live, withheld=k in withheld) for k in window},
                published_utc=published.get(table.name),
            )
        )
    return tuple(found)


def is_date(key: str) -> bool:
    """Whether a partition key is an ISO date, as those of days, weeks and months are."""
    try:
        return date.fromisoformat(key).isoformat() == key
    except ValueError:
        return False


def _visible(*, published: bool, withheld: bool) -> Visible:
    if published:
        return Visible.LAST_GOOD if withheld else Visible.PUBLISHED
    return Visible.WITHHELD if withheld else Visible.MISSING
