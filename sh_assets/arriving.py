"""Arriving: what Dagster is told of files that came.

Belongs here: which arrivals are not told yet, and how one is told. Does not belong here: when (the sensor of arrivals,
and runs of raw tables: ``telling``). Invariant: an arrival is told at most once, by whomever, and never after one that
came later for its partition; the newest event of a partition shows its current content.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dagster as dg

from sh_assets.dagster_private import latest_data_versions, latest_tags
from sh_assets.keys import feed_key, partition_name, partition_tags
from sh_core.feed import Feed
from sh_core.records import Arrival

ARRIVAL = "selfheal/arrival"
"""Tag with the ledger's number of the arrival."""

_VERSION = "dagster/data_version"


def untold(
    instance: dg.DagsterInstance,
    feeds: Collection[Feed],
    arrivals: Sequence[Arrival],
    superseded: Mapping[int, Arrival],
) -> list[dg.AssetMaterialization]:
    """Events of those arrivals that Dagster has not been told of.

    Args:
        instance: Where events are.
        feeds: Arrivals of others are left out.
        arrivals: In order.
        superseded: Per arrival that superseded another one, that other one.
    """
    events: list[dg.AssetMaterialization] = []
    for feed in feeds:
        own = [arrival for arrival in arrivals if arrival.feed == feed.name]
        shown = latest_tags(instance, feed_key(feed), {arrival.partition for arrival in own}) if own else {}
        events += [
            _event(feed, arrival, superseded.get(arrival.id))
            for arrival in own
            if not _is_told(arrival, shown.get(arrival.partition, {}))
        ]
    return events


def untold_current(
    instance: dg.DagsterInstance, feed: Feed, current: Mapping[str, Arrival], superseded: Mapping[int, Arrival]
) -> list[dg.AssetMaterialization]:
    """Events of those current arrivals, by partition, whose content the newest event does not show: one query."""
    shown = latest_data_versions(instance, feed_key(feed), list(current))
    return [_event(feed, a, superseded.get(a.id)) for key, a in current.items() if shown.get(key) != a.sha256]


def _is_told(arrival: Arrival, shown: Mapping[str, str]) -> bool:
    """Whether the newest event of a partition is of this arrival, or of one that came later."""
    if arrival.superseded_by is None and shown.get(_VERSION) != arrival.sha256:
        return False  # whatever its number: the ledger may be another than the one that was told of
    # An event without a number is of a time when only current arrivals were told.
    newest = int(shown.get(ARRIVAL, arrival.id if _VERSION in shown else 0))
    return arrival.id <= newest


def _event(feed: Feed, arrival: Arrival, before: Arrival | None) -> dg.AssetMaterialization:
    metadata: dict[str, Any] = {
        "file_name": arrival.file_name,
        "size_bytes": arrival.size_bytes,
        "arrived": dg.MetadataValue.timestamp(arrival.arrived_utc.timestamp()),
        "sha256": arrival.sha256,
        "arrival": arrival.id,
    }
    if before is not None:
        metadata |= {"supersedes": before.id, "supersedes_file": before.file_name, "supersedes_sha256": before.sha256}
    return dg.AssetMaterialization(
        feed_key(feed),
        partition=partition_name(feed.partitions, arrival.partition),
        metadata=metadata,
        tags={
            _VERSION: arrival.sha256,
            ARRIVAL: str(arrival.id),
            **partition_tags(feed.partitions, arrival.partition),
        },
    )
