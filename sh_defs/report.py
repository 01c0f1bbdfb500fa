"""The report: what the state folder holds, as plain facts.

Belongs here: gathering accounts, tables, quarantine and incidents from the ledger and the store, and their JSON form
(``docs/report.md``). Does not belong here: showing them (``show``), running anything. Invariant: every figure is read
back from what is stored when the report is made; nothing is carried over from the run that made it so.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from sh_core.accounts import RowAccount
from sh_core.graph import Graph
from sh_core.records import Action, Incident
from sh_core.table import Station, Table
from sh_resources.ledger import Ledger
from sh_resources.publisher import root_of
from sh_resources.store import Store

SCHEMA = 1
"""Raised whenever a key of the JSON form changes its meaning or goes away; new keys do not raise it."""

_PACKAGES = ("selfheal", "dagster", "polars", "pandera", "deltalake", "sqlalchemy")


@dataclass(frozen=True)
class FeedAccount:
    """Where the rows of one feed are.

    Attributes:
        feed: Its name.
        arrivals: Files ingested, superseded ones included.
        unread: Arrivals whose rows nobody has counted yet.
        rows: The account, summed over the arrivals.
    """

    feed: str
    arrivals: int
    unread: int
    rows: RowAccount


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


@dataclass(frozen=True)
class TableStanding:
    """What readers of one table see.

    Attributes:
        table: Its name.
        station: Where in the life of a row it stands.
        withheld: Partitions whose newest content is withheld, in order; some may show older content.
        rows: Published rows.
        quarantined: Rows in quarantine.
        roots: Content root per published partition.
    """

    table: str
    station: Station
    withheld: tuple[str, ...]
    rows: int
    quarantined: int
    roots: Mapping[str, str]

    @property
    def root(self) -> str:
        """One digest over all published partitions: equal if and only if every partition's root is."""
        text = "".join(f"{partition}={root}\n" for partition, root in sorted(self.roots.items()))
        return hashlib.blake2b(text.encode(), digest_size=16, person=b"sh-table-1").hexdigest()


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
    """Everything that ``report.json`` says."""

    made_utc: datetime
    span: Sequence[str]
    feeds: tuple[FeedAccount, ...]
    quarantined: tuple[Quarantined, ...]
    tables: tuple[TableStanding, ...]
    incidents: tuple[Incident, ...]
    runs: tuple[Run, ...]
    seconds: Mapping[str, float]

    @property
    def total(self) -> FeedAccount:
        """All feeds together."""
        return total_of(self.feeds)


def feed_accounts(graph: Graph, ledger: Ledger) -> tuple[FeedAccount, ...]:
    """Where every delivered row is, feed by feed."""
    found = []
    for table in graph.tables:
        if table.feed is None:
            continue
        staged = next((t.name for t in graph.downstream(table.name) if t.station is Station.STAGED), None)
        accounts = ledger.accounts(table.feed.name, table.name, staged)
        rows = sum((a.account for a in accounts), RowAccount())
        found.append(FeedAccount(table.feed.name, len(accounts), sum(not a.is_read for a in accounts), rows))
    return tuple(found)


def total_of(feeds: Iterable[FeedAccount]) -> FeedAccount:
    """All feeds together, under the name ``total``."""
    every = tuple(feeds)
    rows = sum((f.rows for f in every), RowAccount())
    return FeedAccount("total", sum(f.arrivals for f in every), sum(f.unread for f in every), rows)


def gather(
    graph: Graph,
    store: Store,
    ledger: Ledger,
    *,
    now_utc: datetime,
    span: Sequence[str],
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
    return Report(
        made_utc=now_utc,
        span=span,
        feeds=feed_accounts(graph, ledger),
        quarantined=tuple(q for t in graph.tables for q in _by_rule(t, store)),
        tables=tuple(_standing(t, store, ledger) for t in graph.tables),
        incidents=tuple(ledger.incidents.open()),
        runs=tuple(runs),
        seconds=dict(seconds or {}),
    )


def specimens(graph: Graph, store: Store, most: int = 3) -> list[Specimen]:
    """Examples of quarantined rows: one for each of the rules that are broken most rarely."""
    rules = sorted((q for t in graph.tables for q in _by_rule(t, store)), key=lambda q: (q.rows, q.table, q.rule))
    return [_specimen(graph[q.table], q.rule, store) for q in rules[:most]]


def _specimen(table: Table, rule: str, store: Store) -> Specimen:
    evidence = store.quarantined(table).filter(pl.col("rules").list.contains(rule))
    row = evidence.sort(table.partitions.column, "file", "line").row(0, named=True)
    # ``parse:dep_time`` is the rule ``parse``, broken by one column.
    broken = {name: rule for name in row["rules"] for rule in table.contract.rules if rule.name == name.split(":")[0]}
    looked_at = {c for name, rule in broken.items() for c in (name.split(":")[1:] or rule.columns)}
    return Specimen(
        table=table.name,
        partition=str(row[table.partitions.column]),
        rules={name: rule.description for name, rule in broken.items()},
        file=row["file"],
        line=row["line"],
        row=json.loads(row["row"]),
        suspects=frozenset(looked_at if len(looked_at) < len(table.contract.columns) else ()),
    )


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; see ``docs/report.md``."""
    span = list(report.span)
    return {
        "schema": SCHEMA,
        "made_utc": report.made_utc.isoformat(),
        "versions": {"python": platform.python_version(), **{p: metadata.version(p) for p in _PACKAGES}},
        "span": {"first": span[0], "last": span[-1], "days": len(span)} if span else None,
        "accounts": {"feeds": [account_as_json(f) for f in report.feeds], "total": account_as_json(report.total)},
        "quarantined": [asdict(q) for q in report.quarantined],
        "tables": [_table_as_json(t) for t in report.tables],
        "incidents": [
            {
                "id": i.id,
                "cause": i.cause_key,
                "table": i.table,
                "partition": i.partition,
                "opened_utc": i.opened_utc.isoformat(),
            }
            for i in report.incidents
        ],
        "runs": [{**asdict(r), "seconds": round(r.seconds, 3)} for r in report.runs],
        "seconds": {part: round(s, 3) for part, s in report.seconds.items()},
    }


def account_as_json(account: FeedAccount) -> dict[str, Any]:
    """A feed's account as plain JSON values."""
    terms = {f.name: getattr(account.rows, f.name) for f in fields(RowAccount)}
    return {
        "feed": account.feed,
        "arrivals": account.arrivals,
        "unread": account.unread,
        **terms,
        "missing": account.rows.missing,
    }


def write(report: Report, path: Path) -> None:
    """Put the report where it belongs, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def _by_rule(table: Table, store: Store) -> list[Quarantined]:
    rules = store.quarantined(table).select(pl.col("rules").explode().alias("rule")).drop_nulls()
    counted = rules.group_by("rule").len().sort("rule")
    return [Quarantined(table.name, rule, rows) for rule, rows in counted.iter_rows()]


def _standing(table: Table, store: Store, ledger: Ledger) -> TableStanding:
    files = store.table(table).state().files
    aside = store.quarantine(table).state().files
    settled = ledger.publications.settlements(table.name)
    return TableStanding(
        table=table.name,
        station=table.station,
        withheld=tuple(sorted(p for p, s in settled.items() if s.action is Action.WITHHOLD)),
        rows=sum(f.rows for f in files.values()),
        quarantined=sum(f.rows for f in aside.values()),
        roots={p: root_of(f.path) for p, f in sorted(files.items())},
    )


def _table_as_json(standing: TableStanding) -> dict[str, Any]:
    return {
        "table": standing.table,
        "station": standing.station.value,
        "published": len(standing.roots),
        "withheld": list(standing.withheld),
        "rows": standing.rows,
        "quarantined": standing.quarantined,
        "root": standing.root,
        "roots": dict(standing.roots),
    }
