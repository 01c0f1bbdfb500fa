"""Arriving: what Dagster is told of files that came.

Belongs here: which arrivals are not told yet, and how one is told. Does not belong here: when (the sensor of arrivals,
and runs of raw tables: ``telling``). Invariant: an arrival is told at most once, by whomever, and never after one that
came later for its partition; the newest event of a partition shows its current content.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dagster as dg

from sh_assets.dagster_private import latest_data_versions, latest_tags
from sh_assets.keys import feed_key, partition_name, partition_tags
from sh_core.deliveries import Several
from sh_core.feed import Feed
from sh_core.records import Arrival
from sh_resources.ledger import Ledger

ARRIVAL = "selfheal/arrival"
"""Tag with the ledger's number of the arrival."""

_VERSION = "dagster/data_version"


def untold(
    instance: dg.DagsterInstance, feeds: Collection[Feed], ledger: Ledger, arrivals: Sequence[Arrival]
) -> list[dg.AssetMaterialization]:
    """Events of those arrivals that Dagster has not been told of.

    Of files that are appended the partition is told as it is now, with all of them. One that came behind a newer
    version, or waits for a person's word, is no content of its partition, and is not told.

    Args:
        instance: Where events are.
        feeds: Arrivals of others are left out.
        ledger: Where they are recorded.
        arrivals: In order.
    """
    events: list[dg.AssetMaterialization] = []
    for feed in feeds:
        own = [arrival for arrival in arrivals if arrival.feed == feed.name and not _is_aside(arrival)]
        partitions = {arrival.partition for arrival in own}
        if own and feed.several is Several.APPEND:
            events += untold_current(instance, feed, ledger, ledger.arrivals.counting(feed.name, partitions))
        elif own:
            shown = latest_tags(instance, feed_key(feed), partitions)
            new = [arrival for arrival in own if not _is_told(arrival, shown.get(arrival.partition, {}))]
            superseded = ledger.arrivals.superseded_by([arrival.id for arrival in new])
            events += [_event(feed, [arrival], superseded.get(arrival.id)) for arrival in new]
    return events


def untold_current(
    instance: dg.DagsterInstance, feed: Feed, ledger: Ledger, current: Mapping[str, Sequence[Arrival]]
) -> list[dg.AssetMaterialization]:
    """Events of those partitions, with the arrivals that count, whose content the newest event does not show."""
    shown = latest_data_versions(instance, feed_key(feed), list(current))
    new = [those for key, those in current.items() if shown.get(key) != content_of(those)]
    superseded = ledger.arrivals.superseded_by([_newest(those).id for those in new])
    return [_event(feed, those, superseded.get(_newest(those).id)) for those in new]


def content_of(arrivals: Sequence[Arrival]) -> str:
    """One digest for all files that count for a partition: that of the file, where it is one."""
    if len(arrivals) == 1:
        return arrivals[0].sha256
    return hashlib.sha256("".join(f"{a.part}={a.sha256}\n" for a in arrivals).encode()).hexdigest()


def _newest(arrivals: Sequence[Arrival]) -> Arrival:
    return max(arrivals, key=lambda arrival: arrival.id)


def _is_aside(arrival: Arrival) -> bool:
    """Whether an arrival never was the content of its partition: an older version came late, or a held one."""
    return arrival.is_held or (arrival.superseded_by is not None and arrival.superseded_by < arrival.id)


def _is_told(arrival: Arrival, shown: Mapping[str, str]) -> bool:
    """Whether the newest event of a partition is of this arrival, or of one that came later."""
    if arrival.superseded_by is None and shown.get(_VERSION) != arrival.sha256:
        return False  # whatever its number: the ledger may be another than the one that was told of
    # An event without a number is of a time when only current arrivals were told.
    newest = int(shown.get(ARRIVAL, arrival.id if _VERSION in shown else 0))
    return arrival.id <= newest


def _event(feed: Feed, those: Sequence[Arrival], before: Arrival | None) -> dg.AssetMaterialization:
    """Tell of a partition's files, of which the newest superseded another one, if it did."""
    newest, content = _newest(those), content_of(those)
    metadata: dict[str, Any] = {
        "file_name": ", ".join(arrival.file_name for arrival in those),
        "size_bytes": sum(arrival.size_bytes for arrival in those),
        "arrived": dg.MetadataValue.timestamp(newest.arrived_utc.timestamp()),
        "sha256": content,
        "arrival": newest.id,
    }
    metadata |= {"version": newest.version} if newest.version is not None else {}
    if before is not None:
        metadata |= {"supersedes": before.id, "supersedes_file": before.file_name, "supersedes_sha256": before.sha256}
    return dg.AssetMaterialization(
        feed_key(feed),
        partition=partition_name(feed.partitions, newest.partition),
        metadata=metadata,
        tags={_VERSION: content, ARRIVAL: str(newest.id), **partition_tags(feed.partitions, newest.partition)},
    )
