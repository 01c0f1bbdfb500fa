"""What is being worked on: partitions that a run or a backfill has yet to deal with.

Belongs here: reading Dagster's runs and backfills. Does not belong here: leases, which are the publisher's and hold
whoever else runs. Invariant: a partition is in progress from the moment its run or backfill is stored until the run has
ended; one that is not stored was lost, and may be requested again.

The cost follows what is in progress, never how many partitions there are.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import dagster as dg

from sh_assets.dagster_private import NOT_FINISHED, AssetGraph, awaited
from sh_core.partitions import WHOLE

Busy = Mapping[dg.AssetKey, frozenset[str]]
"""Partitions by asset; those of an asset without partitions are called as the ledger calls them."""

_ONE = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def in_progress(instance: dg.DagsterInstance, graph: AssetGraph) -> Busy:
    """Partitions that are requested and not dealt with yet.

    Args:
        instance: Where runs and backfills are.
        graph: All assets; others are left out.
    """
    found: dict[dg.AssetKey, set[str]] = defaultdict(set)
    # Backfills first: what a backfill launches between the two looks is then seen twice rather than not at all.
    for asset, keys in awaited(instance, graph):
        found[asset].update(keys)
    for run in instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED))):
        for asset, keys in _of_run(run, graph):
            found[asset].update(keys)
    return {asset: frozenset(keys) for asset, keys in found.items()}


def _of_run(run: dg.DagsterRun, graph: AssetGraph) -> Iterator[tuple[dg.AssetKey, set[str]]]:
    """Partitions that a run is to materialize; a run without a selection is of a job, which may be of any asset."""
    chosen = graph.materializable_asset_keys if run.asset_selection is None else run.asset_selection
    spans: dict[dg.PartitionsDefinition, set[str]] = {}
    for asset in chosen:
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
