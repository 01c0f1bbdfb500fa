"""Staleness: what Dagster's marks are computed from.

Belongs here: the tags of a materialization that say from which code and inputs its content comes. Does not belong here:
deciding what is due, which the engine does by itself (``sh_core.trace``). Invariant: what was computed from the newest
materializations upstream is not marked, and is marked once one of those that it reads has new content.

Dagster compares, of an upstream asset with partitions, the version that each mapped partition had at one storage id,
the ``input_event_pointer``, with the one that it has now: one id for all of them, so it is the newest among them. Of an
asset without partitions it compares ``input_data_version``. It wants both tags for every upstream asset.
"""

from collections.abc import Collection, Mapping

import dagster as dg

from sh_assets.dagster_private import latest_data_versions, latest_ids
from sh_assets.describing import spec_version
from sh_assets.keys import feed_key, table_key, windows
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.mapping import mapped
from sh_core.partitions import WHOLE, Unpartitioned
from sh_core.table import Table

_NOTHING_YET = "1"
"""Pointer to before everything: Dagster takes a missing one to mean that nothing ever changes."""


def input_tags(
    instance: dg.DagsterInstance, table: Table, graph: Graph, partitions: Collection[str]
) -> dict[str, dict[str, str]]:
    """The tags that Dagster's staleness marks read: per partition, which code and which inputs its content comes from.

    To be taken before the inputs are read: should one of them change in between, the mark errs towards stale.
    """
    code = spec_version(table)
    tags: dict[str, dict[str, str]] = {p: {"dagster/code_version": code} for p in partitions}
    for name, window in windows(table).items():
        key, source = table_key(name), graph[name].partitions
        reads = {p: mapped(window, table.partitions, source, p) for p in partitions}
        asked = sorted({q for found in reads.values() for q in found})
        ids = latest_ids(instance, key, asked)
        versions = latest_data_versions(instance, key, asked) if isinstance(source, Unpartitioned) else {}
        for p, found in reads.items():
            newest = max((ids[q] for q in found if q in ids), default=_NOTHING_YET)
            # Of an asset with partitions the version counts for nothing, but has to be there.
            tags[p] |= _tags(key, versions.get(WHOLE, "NULL"), str(newest))
    return tags


def feed_tags(feed: Feed, read: str | None) -> Mapping[str, str]:
    """The same of a raw table, once its file was read.

    Args:
        feed: The feed.
        read: SHA-256 of the file, if it is the newest one; None if another has come since.
    """
    # Dagster looks for observations of a feed with partitions, of which there are none: its new files mark nothing.
    return _tags(feed_key(feed), read or "replaced", "NULL")


def _tags(key: dg.AssetKey, version: str, pointer: str) -> Mapping[str, str]:
    name = key.to_user_string()
    return {f"dagster/input_data_version/{name}": version, f"dagster/input_event_pointer/{name}": pointer}
