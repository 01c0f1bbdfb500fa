"""Outcomes in Dagster's events.

Belongs here: materializations and check evaluations, made of outcomes and of what the ledger knows of them, and their
order. Does not belong here: deciding anything; declarations (``describing``), sentences (``wording``).

Invariant: every requested partition whose verdict is known is told of in every run, also where nothing was computed.
Dagster plans a materialization and all checks of each partition when a run starts. A planned check that is not heard of
counts as skipped, and a planned materialization as failed as soon as anything else in the run fails. So what a killed
process published and did not live to tell is told by the next run, and nobody has to look for gaps.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import dagster as dg

from sh_assets import wording
from sh_assets.dagster_events import one_transaction
from sh_assets.dagster_private import Target, latest_data_versions, latest_ids, latest_materializations
from sh_assets.describing import spec_version
from sh_assets.keys import feed_key, partition_name, table_key
from sh_core.feed import Feed
from sh_core.mapping import SAME
from sh_core.masking import sample
from sh_core.outcome import Busy, Fenced, Outcome, Published, Reused, Waiting, Withheld
from sh_core.records import Action, ArrivalShare
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown, Verdict
from sh_resources.ledger import Ledger

Tags = Mapping[str, str]


@dataclass(frozen=True)
class Told:
    """What Dagster is told of one partition.

    Attributes:
        partition: Partition key.
        attempt: The attempt that settled it.
        verdict: What the gate said of its newest content.
        version: Root of that content; None if it is withheld.
        last_good: Where it is withheld, the root of what readers see instead; None if they see nothing.
        facts: Figures for people, for the materialization.
    """

    partition: str
    attempt: str
    verdict: Verdict
    version: str | None
    last_good: str | None
    facts: Mapping[str, Any]


# ---- what there is to tell


def settled(outcomes: Iterable[Outcome], table: Table, ledger: Ledger) -> list[Told]:
    """What there is to tell of those partitions whose verdict is known."""
    told: list[Told] = []
    reused: dict[str, Reused] = {}
    for outcome in outcomes:
        match outcome:
            case Published(partition=key, attempt_id=attempt, verdict=verdict, version=version):
                told.append(Told(key, attempt, verdict, version.root, None, _published(outcome)))
            case Withheld(partition=key, attempt_id=attempt, verdict=verdict, last_good=last_good):
                told.append(Told(key, attempt, verdict, None, last_good, {}))
            case Reused(partition=key):
                reused[key] = outcome
            case Waiting() | Busy() | Fenced():
                pass  # nothing was judged
            case _:
                assert_never(outcome)
    return told + [t for t in recorded(reused, table, ledger) if t.version == reused[t.partition].root or not t.version]


def recorded(partitions: Collection[str], table: Table, ledger: Ledger) -> list[Told]:
    """What the ledger knows of those partitions that were ever settled."""
    if not partitions:
        return []
    snapshots = ledger.publications.current(table.name, partitions)
    told = []
    for key, settlement in ledger.publications.settlements(table.name, partitions).items():
        facts: dict[str, Any] = {}
        version, last_good, snapshot = None, None, snapshots.get(key)
        if snapshot is not None and settlement.action is Action.WITHHOLD:
            last_good = snapshot.version.root
        elif snapshot is not None:
            version = snapshot.version.root
            facts = _figures(snapshot.version.rows, version, settlement.quarantined, settlement.shares)
            facts["executed"] = False
        told.append(Told(key, settlement.attempt_id, settlement.verdict, version, last_good, facts))
    return told


def _published(outcome: Published) -> dict[str, Any]:
    rows = sample(outcome.preview, frozenset())  # masked already
    return {
        **_figures(outcome.version.rows, outcome.version.root, outcome.quarantined, outcome.shares),
        "rows_judged": outcome.rows_judged,
        "rows_duplicate": outcome.duplicates,
        "executed": True,
        "content_unchanged": outcome.refreshed,
        **({"preview": _as_table(rows)} if rows else {}),
    }


def _figures(rows: int, root: str, quarantined: int, shares: Sequence[ArrivalShare]) -> dict[str, Any]:
    arrived = {"rows_arrived": sum(s.arrived for s in shares)} if shares else {}
    return {"dagster/partition_row_count": rows, **arrived, "rows_quarantined": quarantined, "version": root}


# ---- telling it


def input_tags(instance: dg.DagsterInstance, table: Table, partitions: Collection[str]) -> dict[str, dict[str, str]]:
    """The tags that Dagster's staleness marks read: per partition, which code and which inputs its content comes from.

    To be taken before the inputs are read: should one of them change in between, the mark errs towards stale.
    """
    version = spec_version(table)
    tags: dict[str, dict[str, str]] = {p: {"dagster/code_version": version} for p in partitions}
    for source in table.reads:
        if source.window != SAME:
            continue
        key = table_key(source.table)
        ids, versions = latest_ids(instance, key, partitions), latest_data_versions(instance, key, partitions)
        for p in partitions:
            tags[p] |= _input_tags(key, versions.get(p, "NULL"), str(ids.get(p, "NULL")))
    if table.feed is not None:
        for p in partitions:
            tags[p] |= _input_tags(feed_key(table.feed), "INITIAL", "NULL")
    return tags


def _input_tags(key: dg.AssetKey, version: str, pointer: str) -> dict[str, str]:
    name = key.to_user_string()
    return {f"dagster/input_data_version/{name}": version, f"dagster/input_event_pointer/{name}": pointer}


def tell(
    context: dg.AssetExecutionContext, table: Table, told: Collection[Told], tags: Mapping[str, Tags], ledger: Ledger
) -> None:
    """Log materializations of what readers see, then the checks, which point to them.

    Args:
        context: Of the running step; what is not selected in it is not logged.
        table: The table.
        told: What to tell.
        tags: Per partition, from ``input_tags``.
        ledger: Where a feed's arrivals are known.
    """
    key = table_key(table.name)
    with one_transaction(context.instance):
        if context.selected_asset_keys:
            if table.feed is not None:
                _tell_arrivals(context, table.feed, [t.partition for t in told], ledger)
            for t in told:
                if t.version is not None:
                    named = partition_name(table.partitions, t.partition)
                    context.log_event(_materialization(key, named, t, t.version, tags[t.partition]))
        wanted = {check.name for check in context.selected_asset_check_keys}
        newest = latest_materializations(context.instance, key, [t.partition for t in told]) if wanted else {}
        for t in told:
            for evaluation in _evaluations(table, t, newest.get(t.partition)):
                if evaluation.check_name in wanted:
                    context.log_event(evaluation)


def _tell_arrivals(context: dg.AssetExecutionContext, feed: Feed, partitions: Collection[str], ledger: Ledger) -> None:
    """Let the feed's own asset show which files have come, each content once."""
    key, arrivals = feed_key(feed), ledger.arrivals.current(feed.name, partitions)
    shown = latest_data_versions(context.instance, key, partitions)
    for partition, arrival in arrivals.items():
        if shown.get(partition) != arrival.sha256:
            metadata: dict[str, Any] = {
                "file_name": arrival.file_name,
                "size_bytes": arrival.size_bytes,
                "arrived": dg.MetadataValue.timestamp(arrival.arrived_utc.timestamp()),
                "sha256": arrival.sha256,
            }
            tags = {"dagster/data_version": arrival.sha256}
            named = partition_name(feed.partitions, partition)
            context.log_event(dg.AssetMaterialization(key, partition=named, metadata=metadata, tags=tags))


def _materialization(
    key: dg.AssetKey, partition: str | None, told: Told, version: str, tags: Tags
) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        partition=partition,
        metadata={"attempt": told.attempt, **told.facts},
        tags={**tags, "dagster/data_version": version, "dagster/data_version_is_user_provided": "true"},
    )


def _evaluations(table: Table, told: Told, target: Target | None) -> Iterator[dg.AssetCheckEvaluation]:
    """One per rule whose result is known; where the gate crashed, that is the crashed rule alone."""
    match told.verdict:
        case Unknown(rule=crashed, cause=cause):
            yield _evaluation(table, told, target, crashed, wording.crashed(cause, told.last_good), {})
        case Held() | Broken():
            breaches = {b.rule: b for b in told.verdict.breaches} if isinstance(told.verdict, Broken) else {}
            for rule in table.contract.rules:
                breach = breaches.get(rule.name)
                if breach is None:
                    none = {"rows_broken": 0} if rule.level is Level.ROW else {}
                    yield _evaluation(table, told, target, rule.name, None, none)
                else:
                    said = wording.broken(breach, told.version, told.last_good)
                    yield _evaluation(table, told, target, rule.name, said, _evidence(breach))
        case _:
            assert_never(told.verdict)


def _evaluation(
    table: Table, told: Told, target: Target | None, rule: str, said: str | None, evidence: Mapping[str, Any]
) -> dg.AssetCheckEvaluation:
    """One check's evaluation, which passes if there is nothing to be said."""
    return dg.AssetCheckEvaluation(
        asset_key=table_key(table.name),
        check_name=rule,
        passed=said is None,
        partition=partition_name(table.partitions, told.partition),
        # Rows that were set aside stop nothing; a withheld partition waits for somebody.
        severity=dg.AssetCheckSeverity.ERROR if told.version is None else dg.AssetCheckSeverity.WARN,
        description=said,
        metadata=evidence,
        target_materialization_data=target,
        blocking=False,
    )


def _evidence(breach: RuleBreach) -> dict[str, Any]:
    rows = {"rows_broken": breach.count} if breach.level is Level.ROW else {}
    return {**rows, **({"sample": _as_table(breach.sample)} if breach.sample else {})}


def _as_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    records = [dg.TableRecord({c: _cell(row.get(c)) for c in columns}) for row in rows]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(c) for c in columns]))


def _cell(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
