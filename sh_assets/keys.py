"""Keys in Dagster's words: of assets, of partitions, and which partitions read which.

Belongs here: names of assets and partitions, definitions of partitions, mappings between them. Does not belong here:
what a table is otherwise (``describing``). Invariant: keys and mapped keys are exactly the declared ones.
"""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

import dagster as dg

from sh_core.feed import Feed
from sh_core.mapping import Window
from sh_core.partitions import Daily, Monthly, Partitions, Periods, Unpartitioned, Weekly
from sh_core.table import Table

_MONDAY = 1


def table_key(name: str) -> dg.AssetKey:
    """The asset that a table is."""
    return dg.AssetKey([name])


def table_name(key: dg.AssetKey) -> str:
    """Name of the table that an asset is."""
    (name,) = key.path
    return name


def feed_key(feed: Feed) -> dg.AssetKey:
    """The external asset that a feed is."""
    return dg.AssetKey(["landing", feed.name])


def windows(table: Table) -> Mapping[str, Window]:
    """Per table upstream the window that Dagster knows: of several on one table, the one that spans them all."""
    found: dict[str, list[Window]] = {}
    for given in table.reads:
        found.setdefault(given.table, []).append(given.window)
    return {name: Window(min(w.first for w in of), max(w.last for w in of)) for name, of in found.items()}


def partition_mapping(window: Window, downstream: Partitions, upstream: Partitions) -> dg.PartitionMapping | None:
    """Dagster's mapping that names the same partitions, or covers them.

    Dagster moves a window by periods of the table that reads; a ``Window`` is moved by periods of the table that is
    read, so that a month can read the six days before it. Where the two are not of one length, the mapping covers what
    is read: Dagster shows that month as reading all of the month before.
    """
    if isinstance(upstream, Unpartitioned) or isinstance(downstream, Unpartitioned):
        return None  # Dagster takes the whole of a table without partitions by itself
    with warnings.catch_warnings():
        # A parameter in beta; the release of Dagster is pinned, and a test compares the mappings with our own.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.TimeWindowPartitionMapping(
            start_offset=_moved(window.first, downstream, upstream),
            end_offset=-_moved(-window.last, downstream, upstream),
            allow_nonexistent_upstream_partitions=True,
        )


_DAYS: dict[type[Periods], tuple[int, int]] = {Daily: (1, 1), Weekly: (7, 7), Monthly: (28, 31)}
"""Days of the shortest and of the longest period."""


def _moved(n: int, downstream: Periods, upstream: Periods) -> int:
    """The latest move by downstream periods that is nowhere later than one by ``n`` upstream periods."""
    if type(downstream) is type(upstream):
        return n
    (least, most), (at_least, at_most) = _DAYS[type(upstream)], _DAYS[type(downstream)]
    return n * most // at_least if n < 0 else n * least // at_most


def partitions_definition(partitions: Partitions) -> dg.TimeWindowPartitionsDefinition | None:
    """The same keys in the same order, those that lie in the future included.

    Of a set without end, all up to the period that is not over yet: its file may come any time. None for a table
    without partitions.
    """
    match partitions:
        case Unpartitioned():
            return None
        case Daily():
            return dg.DailyPartitionsDefinition(**_span(partitions))
        case Weekly():
            return dg.WeeklyPartitionsDefinition(day_offset=_MONDAY, **_span(partitions))
        case Monthly():
            return dg.MonthlyPartitionsDefinition(**_span(partitions))
        case _:
            assert_never(partitions)


def _span(periods: Periods) -> dict[str, Any]:
    span = {"start_date": periods.start.isoformat(), "timezone": "UTC"}
    if periods.end is None:
        return {**span, "end_offset": 1}
    end = datetime.combine(periods.end, datetime.min.time(), UTC) + timedelta(days=1)
    # Dagster's end is exclusive, and periods that are not over only exist as far as the offset reaches.
    ahead = max(0, (end - datetime.now(UTC)).days + 1)
    return {**span, "end_date": end.date().isoformat(), "end_offset": ahead}


def partition_name(partitions: Partitions, key: str) -> str | None:
    """What Dagster calls a partition; a table without partitions has none there."""
    return None if isinstance(partitions, Unpartitioned) else key
