"""Outcomes in Dagster's events.

Belongs here: materializations, check evaluations and observations, made of outcomes and of what the ledger knows of
them, and their order. Does not belong here: deciding anything; declarations (``describing``), sentences (``wording``),
samples (``evidence``), the tags behind staleness marks (``staleness``).

Invariant: every requested partition whose verdict is known is told of in every run, also where nothing was computed.
Dagster plans a materialization and all checks of each partition when a run starts. A planned check that is not heard of
counts as skipped, and a planned materialization as failed as soon as anything else in the run fails. So what a killed
process published and did not live to tell is told by the next run, and nobody has to look for gaps.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import dagster as dg

from sh_assets import on_time, wording
from sh_assets.arriving import content_of, untold_current
from sh_assets.dagster_events import one_transaction
from sh_assets.dagster_private import (
    Target,
    latest_materializations,
    latest_observations,
)
from sh_assets.describing import PLACEHOLDER
from sh_assets.evidence import TOLD, as_preview, of_breach, of_withheld
from sh_assets.keys import partition_name, partition_tags, table_key
from sh_assets.staleness import feed_tags
from sh_assets.wording import LastGood
from sh_core.feed import Feed
from sh_core.masking import sample
from sh_core.outcome import Busy, Fenced, Outcome, Published, Reused, Waiting, Withheld
from sh_core.partitions import Unpartitioned
from sh_core.records import Action, Arrival, ArrivalShare, Snapshot
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Level, Unknown, Verdict
from sh_resources.engine import Engine
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
        last_good: Where it is withheld, what readers see instead; None if they see nothing.
        judged: Rows that were judged; None if that is not known any more.
        facts: Figures for people, for the materialization.
        shares: Row account per arrival that it was computed from.
        marks: The placeholders that it rests on; none where all of it is real, or it is withheld.
    """

    partition: str
    attempt: str
    verdict: Verdict
    version: str | None
    last_good: LastGood | None
    judged: int | None
    facts: Mapping[str, Any]
    shares: Sequence[ArrivalShare]
    marks: tuple[str, ...] = ()


# ---- what there is to tell


def settled(outcomes: Iterable[Outcome], table: Table, ledger: Ledger) -> list[Told]:
    """What there is to tell of those partitions whose verdict is known."""
    told: list[Told] = []
    reused: dict[str, Reused] = {}
    outcomes = list(outcomes)
    kept = ledger.publications.current(table.name, [o.partition for o in outcomes if isinstance(o, Withheld)])
    for outcome in outcomes:
        match outcome:
            case Published(partition=key, attempt_id=attempt, verdict=verdict, version=version):
                facts = _published(outcome, table)
                judged, shares = outcome.rows_judged, outcome.shares
                told.append(Told(key, attempt, verdict, version.root, None, judged, facts, shares, version.marks))
            case Withheld(partition=key, attempt_id=attempt, verdict=verdict, last_good=root):
                last_good = None if root is None else _last_good(root, kept.get(key))
                told.append(Told(key, attempt, verdict, None, last_good, outcome.rows_judged, {}, ()))
            case Reused(partition=key):
                reused[key] = outcome
            case Waiting() | Busy() | Fenced():
                pass  # nothing was judged
            case _:
                assert_never(outcome)
    told += [t for t in recorded(reused, table, ledger) if t.version == reused[t.partition].root or not t.version]
    return [*_with_truths(told, table, ledger)]


def _with_truths(told: Sequence[Told], table: Table, ledger: Ledger) -> Iterator[Told]:
    """The same; where the truth replaced a placeholder, with how far apart they were."""
    able = table.if_late is not None
    found = ledger.reconciliations.of_attempts([t.attempt for t in told]) if able else {}
    for t in told:
        facts = wording.reconciled(found[t.attempt].found) if t.attempt in found else {}
        yield replace(t, facts={**t.facts, **facts}) if facts else t


def recorded(partitions: Collection[str], table: Table, ledger: Ledger) -> list[Told]:
    """What the ledger knows of those partitions that were ever settled."""
    if not partitions:
        return []
    snapshots = ledger.publications.current(table.name, partitions)
    told = []
    for key, settlement in ledger.publications.settlements(table.name, partitions).items():
        facts: dict[str, Any] = {}
        version, last_good, snapshot, marks = None, None, snapshots.get(key), tuple[str, ...]()
        if snapshot is not None and settlement.action is Action.WITHHOLD:
            last_good = _last_good(snapshot.version.root, snapshot)
        elif snapshot is not None:
            version, marks = snapshot.version.root, snapshot.version.marks
            facts = _figures(table, snapshot.version.rows, version, settlement.quarantined, settlement.shares)
            facts["executed"] = False
        judged = sum(s.arrived for s in settlement.shares) if settlement.shares else None
        shares = settlement.shares
        attempt, verdict = settlement.attempt_id, settlement.verdict
        told.append(Told(key, attempt, verdict, version, last_good, judged, facts, shares, marks))
    return told


def _last_good(root: str, snapshot: Snapshot | None) -> LastGood:
    if snapshot is None or snapshot.version.root != root:
        return LastGood(root, None, None)  # the table was changed behind the ledger's back
    return LastGood(root, snapshot.version.rows, snapshot.published_utc)


def _published(outcome: Published, table: Table) -> dict[str, Any]:
    preview = as_preview(sample(outcome.preview, frozenset()), table)  # masked already
    return {
        **_figures(table, outcome.version.rows, outcome.version.root, outcome.quarantined, outcome.shares),
        "rows_judged": outcome.rows_judged,
        "rows_duplicate": outcome.duplicates,
        "executed": outcome.returned_to is None,
        **({"rolled_back_to": outcome.returned_to} if outcome.returned_to is not None else {}),
        "content_unchanged": outcome.refreshed,
        **({"preview": preview} if preview else {}),
    }


def _figures(table: Table, rows: int, root: str, quarantined: int, shares: Sequence[ArrivalShare]) -> dict[str, Any]:
    """Numbers, which Dagster plots over time; of the whole table only where it is not cut into partitions."""
    name = "dagster/row_count" if isinstance(table.partitions, Unpartitioned) else "dagster/partition_row_count"
    arrived = {"rows_arrived": sum(s.arrived for s in shares)} if shares else {}
    return {name: rows, **arrived, "rows_quarantined": quarantined, "version": root}


# ---- telling it


def tell(
    context: dg.AssetExecutionContext, table: Table, told: Collection[Told], tags: Mapping[str, Tags], engine: Engine
) -> None:
    """Log materializations of what readers see, then the checks, which point to them, then what is withheld.

    Args:
        context: Of the running step; what is not selected in it is not logged.
        table: The table.
        told: What to tell.
        tags: Per partition, from ``staleness.input_tags``.
        engine: Who knows a feed's arrivals and the open incidents.
    """
    key = table_key(table.name)
    with one_transaction(context.instance):
        if context.selected_asset_keys:
            if table.feed is not None:
                arrivals = engine.ledger.arrivals.counting(table.feed.name, [t.partition for t in told])
                for event in untold_current(context.instance, table.feed, engine.ledger, arrivals):
                    context.log_event(event)
                read = engine.ledger.arrivals.by_id({share.arrival_id for t in told for share in t.shares})
                tags = {t.partition: {**tags[t.partition], **_read(table.feed, t, arrivals, read)} for t in told}
            for t in told:
                if t.version is not None:
                    named = partition_name(table.partitions, t.partition)
                    its = {**tags[t.partition], **partition_tags(table.partitions, t.partition)}
                    context.log_event(_materialization(key, named, t, t.version, its))
        wanted = {check.name for check in context.selected_asset_check_keys}
        newest = latest_materializations(context.instance, key, [t.partition for t in told]) if wanted else {}
        for t in told:
            for evaluation in _evaluations(table, t, newest.get(t.partition)):
                if evaluation.check_name in wanted:
                    context.log_event(evaluation)
        if context.selected_asset_keys:
            _tell_withheld(context, table, [t for t in told if t.version is None], engine)


def tell_on_time(context: dg.AssetExecutionContext, table: Table, keys: Collection[str], engine: Engine) -> None:
    """Log whether partitions are there in time, those included of which nothing was judged."""
    if any(check.name == on_time.CHECK for check in context.selected_asset_check_keys):
        with one_transaction(context.instance):
            for evaluation in on_time.of_table(engine, table, keys):
                context.log_event(evaluation)


def _tell_withheld(context: dg.AssetExecutionContext, table: Table, told: Sequence[Told], engine: Engine) -> None:
    """Let the pages of withheld partitions say why, once for each thing there is to say.

    A page shows the observations that are newer than the newest materialization. Whatever is published closes the
    incident, and what is withheld after it opens another, so there is something new to say then.
    """
    if not told:
        return
    key, folder = table_key(table.name), engine.store.quarantine(table).folder
    incidents = {i.partition: i for i in engine.ledger.incidents.open(table.name)}
    partitions = [t.partition for t in told]
    before = latest_observations(context.instance, key, partitions)
    for t in told:
        incident = incidents.get(t.partition)
        said = of_withheld(table, t.partition, t.verdict, t.last_good, incident, folder, t.judged)
        last = before.get(t.partition)
        known = last.asset_observation.tags if last is not None and last.asset_observation is not None else {}
        if known.get(TOLD) != said.tags[TOLD]:
            context.log_event(said)


def _read(feed: Feed, told: Told, arrivals: Mapping[str, Sequence[Arrival]], read: Mapping[int, Arrival]) -> Tags:
    """Which files the content of a raw partition comes from, by content: it may have come again since."""
    newest = arrivals.get(told.partition, ())
    those = {(read[share.arrival_id].part, read[share.arrival_id].sha256) for share in told.shares}
    is_read = bool(newest) and {(a.part, a.sha256) for a in newest} <= those
    return feed_tags(feed, content_of(newest) if is_read else None)


def _materialization(
    key: dg.AssetKey, partition: str | None, told: Told, version: str, tags: Tags
) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        partition=partition,
        metadata={
            "attempt": told.attempt,
            **told.facts,
            **({"placeholder": list(told.marks)} if told.marks else {}),
        },
        tags={**tags, "dagster/data_version": version, "dagster/data_version_is_user_provided": "true"},
    )


def _evaluations(table: Table, told: Told, target: Target | None) -> Iterator[dg.AssetCheckEvaluation]:
    """One per rule whose result is known; where the gate crashed, that is the crashed rule alone.

    Of what readers see also whether it is the truth.
    """
    if told.version is not None:
        said = wording.stands_in(told.marks) if told.marks else None
        yield _evaluation(table, told, target, PLACEHOLDER, said, {"rests_on": list(told.marks)} if said else {})
    match told.verdict:
        case Unknown(rule=crashed, cause=cause):
            yield _evaluation(table, told, target, crashed, wording.crashed(cause, told.last_good), {})
        case Held() | Broken():
            verdict = told.verdict
            breaches = {b.rule: b for b in verdict.breaches} if isinstance(verdict, Broken) else {}
            for rule in table.contract.rules:
                breach = breaches.get(rule.name)
                if breach is None or isinstance(verdict, Held):
                    none = {"rows_broken": 0} if rule.level is Level.ROW else {}
                    yield _evaluation(table, told, target, rule.name, None, none)
                else:
                    withheld = told.version is None
                    said = wording.broken(
                        breach, verdict, table, withheld=withheld, last_good=told.last_good, judged=told.judged
                    )
                    yield _evaluation(table, told, target, rule.name, said, of_breach(breach, table))
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
