"""Staleness: what Dagster's marks are computed from.

Belongs here: the tags of a materialization that say from which code and inputs its content comes. Does not belong here:
deciding what is due, which the engine does by itself (``sh_core.trace``). Invariant: what was computed from the newest
materializations upstream is not marked, and is marked once one of those that it reads has new content.

Dagster compares, of an upstream asset with partitions, the version that each mapped partition had at one storage id,
the ``input_event_pointer``, with the one that it has now: one id for all of them, so the newest of the whole asset will
do. Of an asset without partitions it compares ``input_data_version``. It wants both tags for every upstream asset.
"""

from collections.abc import Collection, Mapping

import dagster as dg

from sh_assets.dagster_private import NEVER_OUTDATED, newest_event
from sh_assets.describing import spec_version
from sh_assets.keys import feed_key, table_key
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.partitions import Unpartitioned
from sh_core.table import Table

Tags = Mapping[str, str]


def input_tags(
    instance: dg.DagsterInstance, table: Table, graph: Graph, partitions: Collection[str]
) -> dict[str, Tags]:
    """The tags that Dagster's staleness marks read: per partition, which code and which inputs its content comes from.

    To be taken before the inputs are read: should one of them change in between, the mark errs towards stale. A feed's
    are added when its arrivals are told.
    """
    tags = {"dagster/code_version": spec_version(table)}
    for name in dict.fromkeys(given.table for given in table.reads):
        whole = isinstance(graph[name].partitions, Unpartitioned)
        tags |= _tags(table_key(name), *newest_event(instance, table_key(name), whole=whole))
    return dict.fromkeys(partitions, tags)


def feed_tags(feed: Feed, read: str | None) -> Tags:
    """The same of a raw table, once its file was read.

    Args:
        feed: The feed.
        read: SHA-256 of the file, if it is the newest one; None if another has come since.
    """
    # Dagster looks for observations of a feed with partitions, of which there are none: its new files mark nothing.
    return _tags(feed_key(feed), read or "replaced", NEVER_OUTDATED)


def _tags(key: dg.AssetKey, version: str, pointer: str) -> Tags:
    name = key.to_user_string()
    return {f"dagster/input_data_version/{name}": version, f"dagster/input_event_pointer/{name}": pointer}
