"""What is being worked on: partitions that a run or a backfill has yet to deal with.

Belongs here: reading Dagster's runs and backfills. Does not belong here: leases, which are the publisher's and hold
whoever else runs. Invariant: a partition is in progress from the moment its run or backfill is stored until the run has
ended, or has been silent for too long; one that is not stored was lost, and may be requested again. Whoever looks
without a daemon passes over the queue, which may have nobody who ever starts what is in it: what two start is done once
all the same, since the second finds it settled.

That a silent run does not count any more lets nobody write what it works on: what it has not lost is under its lease,
and so is held back, whatever Dagster says. It only keeps a run of which nobody hears again from holding back the rest.

The cost follows what is in progress, never how many partitions there are.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import dagster as dg

from sh_assets.dagster_private import NOT_FINISHED, AssetGraph, Backfill, assets_of, awaited
from sh_core.partitions import WHOLE

Busy = Mapping[dg.AssetKey, frozenset[str]]
"""Partitions by asset; those of an asset without partitions are called as the ledger calls them."""

_ONE = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


SILENT = timedelta(minutes=30)
"""A run or backfill of which nothing was heard for so long is not waited for."""

_QUEUED = dg.DagsterRunStatus.QUEUED
"""Waits for its turn in Dagster's own queue, and is silent until then."""


def in_progress(instance: dg.DagsterInstance, graph: AssetGraph, now_utc: datetime, *, queue: bool) -> Busy:
    """Partitions that are requested and not dealt with yet.

    Args:
        instance: Where runs and backfills are.
        graph: All assets; others are left out.
        now_utc: Current time, aware.
        queue: Whether runs in Dagster's queue count.
    """
    found: dict[dg.AssetKey, set[str]] = defaultdict(set)
    since_utc = now_utc - SILENT
    # Backfills first: what a backfill launches between the two looks is then seen twice rather than not at all.
    for backfill in awaited(instance, graph):
        if backfill.since_utc > since_utc or _goes_on(instance, backfill, since_utc):
            for asset, keys in backfill.left():
                found[asset].update(keys)
    statuses = [status for status in NOT_FINISHED if queue or status is not _QUEUED]
    for record in instance.get_run_records(dg.RunsFilter(statuses=statuses)):
        if _heard_of(instance, record, since_utc):
            for asset, keys in _of_run(instance, record.dagster_run, graph):
                found[asset].update(keys)
    return {asset: frozenset(keys) for asset, keys in found.items()}


def _heard_of(instance: dg.DagsterInstance, record: dg.RunRecord, since_utc: datetime) -> bool:
    """Whether a run that is not over was stored or has said something since, or stands in the queue."""
    run = record.dagster_run
    if run.status is _QUEUED or record.create_timestamp > since_utc:
        return True
    newest = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return bool(newest) and newest[0].timestamp > since_utc.timestamp()


def _goes_on(instance: dg.DagsterInstance, backfill: Backfill, since_utc: datetime) -> bool:
    """Whether one of the runs of a backfill ended since, or is not over and was heard of."""
    of_it = {"dagster/backfill": backfill.id}
    if instance.get_run_records(dg.RunsFilter(tags=of_it, updated_after=since_utc), limit=1):
        return True
    going_on = instance.get_run_records(dg.RunsFilter(tags=of_it, statuses=list(NOT_FINISHED)))
    return any(_heard_of(instance, record, since_utc) for record in going_on)


def _of_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, graph: AssetGraph
) -> Iterator[tuple[dg.AssetKey, set[str]]]:
    """Partitions that a run is to materialize."""
    spans: dict[dg.PartitionsDefinition, set[str]] = {}
    for asset in assets_of(instance, run, graph):
        if not graph.has(asset):
            continue
        partitions = graph.get(asset).partitions_def
        if partitions is None:
            yield asset, {WHOLE}
            continue
        if partitions not in spans:
            spans[partitions] = _span(run.tags, partitions)
        yield asset, spans[partitions]


def _span(tags: Mapping[str, str], partitions: dg.PartitionsDefinition) -> set[str]:
    """Keys that the tags of a run name."""
    if _ONE in tags:
        return {tags[_ONE]}
    if _FIRST not in tags or _LAST not in tags:
        return set()
    span = dg.PartitionKeyRange(tags[_FIRST], tags[_LAST])
    known = partitions.has_partition_key(span.start) and partitions.has_partition_key(span.end)
    return set(partitions.get_partition_keys_in_range(span)) if known else set()
