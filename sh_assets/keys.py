"""Keys in Dagster's words: of assets, of partitions, and which partitions read which.

Belongs here: names of assets and partitions, definitions of partitions, mappings between them. Does not belong here:
what a table is otherwise (``describing``). Invariant: keys are exactly the declared ones, and so are mapped keys
wherever Dagster can say it; elsewhere its mapping covers them.
"""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, assert_never

import dagster as dg

from sh_core.feed import Feed
from sh_core.mapping import (
    ONLY,
    SAME,
    All,
    Keys,
    Last,
    Pair,
    PartitionMapping,
    Window,
    dimensions_of,
    paired,
)
from sh_core.partitions import (
    Daily,
    Dimension,
    Hourly,
    Monthly,
    Multi,
    Partitions,
    Periods,
    Static,
    Unpartitioned,
    Weekly,
)
from sh_core.table import Table

_MONDAY = 1


def table_key(name: str) -> dg.AssetKey:
    """The asset that a table is."""
    return dg.AssetKey([name])


def table_name(key: dg.AssetKey) -> str:
    """Name of the table that an asset is."""
    (name,) = key.path
    return name


def is_table(key: dg.AssetKey) -> bool:
    """Whether an asset can be a table: feeds have keys of two parts, and other assets in the location may have any."""
    return len(key.path) == 1


def feed_key(feed: Feed) -> dg.AssetKey:
    """The external asset that a feed is."""
    return dg.AssetKey(["landing", feed.name])


def windows(table: Table) -> Mapping[str, PartitionMapping]:
    """Per table upstream the mapping that Dagster knows: of several on one table, one that spans them all."""
    found: dict[str, list[PartitionMapping]] = {}
    for given in table.reads:
        found.setdefault(given.table, []).append(given.window)
    return {name: _spanning(of) for name, of in found.items()}


def _spanning(mappings: list[PartitionMapping]) -> PartitionMapping:
    if len(set(mappings)) == 1:
        return mappings[0]
    moved = [w for w in mappings if isinstance(w, Window)]
    if len(moved) == len(mappings):
        return Window(min(w.first for w in moved), max(w.last for w in moved))
    return All()


# ---------------------------------------------------------------------------------------------------- mappings


def partition_mapping(
    mapping: PartitionMapping, downstream: Partitions, upstream: Partitions
) -> dg.PartitionMapping | None:
    """Dagster's mapping that names the same partitions, or covers them.

    Dagster moves a window by periods of the table that reads; a ``Window`` is moved by periods of the table that is
    read, so that a month can read the six days before it. Where the two are not of one length, the mapping covers what
    is read: Dagster shows that month as reading all of the month before. What it cannot say at all (periods on clocks
    of two zones, a window in one dimension of two) is shown as reading everything.
    """
    if isinstance(upstream, Unpartitioned):
        return None  # Dagster takes the whole of a table without partitions by itself
    with warnings.catch_warnings():
        # Parameters and mappings in beta; the release of Dagster is pinned, and a test compares them with our own.
        warnings.simplefilter("ignore", dg.BetaWarning)
        if isinstance(mapping, All | Last):
            return _of_dimension(mapping, None, None)
        pairs = paired(mapping, downstream, upstream)
        own, theirs = dimensions_of(downstream), dimensions_of(upstream)
        if isinstance(downstream, Multi) and isinstance(upstream, Multi):
            return dg.MultiPartitionMapping(
                {
                    name: dg.DimensionPartitionMapping(by, _of_dimension(how, own[by], theirs[name]))
                    for name, (how, by) in pairs.items()
                    if by is not None
                }
            )
        if isinstance(downstream, Multi) or isinstance(upstream, Multi):
            return _between_one_and_two(own, theirs, pairs)
        how, by = pairs[ONLY]
        return _of_dimension(how, own[by] if by is not None else None, theirs[ONLY])


def _of_dimension(
    mapping: PartitionMapping, downstream: Dimension | None, upstream: Dimension | None
) -> dg.PartitionMapping:
    match mapping:
        case Last():
            return dg.LastPartitionMapping()
        case Keys(of):
            return _static({own: list(read) for own, read in of})
        case Window() if isinstance(downstream, Static):
            return _static({key: [key] for key in downstream.of})
        case Window() if isinstance(downstream, Periods) and isinstance(upstream, Periods):
            if downstream.timezone != upstream.timezone:
                return dg.AllPartitionMapping()
            return dg.TimeWindowPartitionMapping(
                start_offset=_moved(mapping.first, downstream, upstream),
                end_offset=-_moved(-mapping.last, downstream, upstream),
                allow_nonexistent_upstream_partitions=True,
            )
        case _:
            return dg.AllPartitionMapping()


def _static(reads: Mapping[str, list[str]]) -> dg.StaticPartitionMapping:
    """Dagster's direction is the other one: which keys read an upstream key."""
    readers: dict[str, set[str]] = {}
    for own, read in reads.items():
        for key in read:
            readers.setdefault(key, set()).add(own)
    return dg.StaticPartitionMapping({key: sorted(of) for key, of in readers.items()})


def _between_one_and_two(
    own: Mapping[str, Dimension], theirs: Mapping[str, Dimension], pairs: Mapping[str, Pair]
) -> dg.PartitionMapping:
    """Between a set of one dimension and one of two: Dagster can only say it of equal dimensions, read as they are."""
    shared = {name: by for name, (how, by) in pairs.items() if by is not None and how == SAME}
    if not shared:
        return dg.AllPartitionMapping()
    name, by = next(iter(shared.items()))
    single, two, which = (own[ONLY], theirs, name) if ONLY in own else (theirs[ONLY], own, by)
    definition = partitions_definition(single)
    equal = [name for name, dimension in two.items() if partitions_definition(dimension) == definition]
    # Of two that are equal to it, Dagster cannot be told which one is meant.
    return dg.MultiToSingleDimensionPartitionMapping(which) if equal == [which] else dg.AllPartitionMapping()


_DAYS: Mapping[type[Periods], tuple[int, int]] = {Daily: (1, 1), Weekly: (7, 7), Monthly: (28, 31)}
"""Days of the shortest and of the longest period."""

_HOURS: Mapping[type[Periods], tuple[int, int]] = {
    Hourly: (1, 1),
    **{kind: (24 * least - 1, 24 * most + 1) for kind, (least, most) in _DAYS.items()},
}
"""Hours, as far as clocks are put forward or back."""


def _moved(n: int, downstream: Periods, upstream: Periods) -> int:
    """The latest move by downstream periods that is nowhere later than one by ``n`` upstream periods."""
    if type(downstream) is type(upstream):
        return n
    lengths = _HOURS if isinstance(downstream, Hourly) or isinstance(upstream, Hourly) else _DAYS
    (least, most), (at_least, at_most) = lengths[type(upstream)], lengths[type(downstream)]
    return n * most // at_least if n < 0 else n * least // at_most


# -------------------------------------------------------------------------------------------------- definitions


def partitions_definition(  # noqa: PLR0911 - one kind each
    partitions: Partitions,
) -> dg.PartitionsDefinition[Any] | None:
    """The same keys in the same order, those that lie in the future included.

    Of a set without end, all up to the period that is not over yet: its file may come any time. None for a table
    without partitions.
    """
    match partitions:
        case Unpartitioned():
            return None
        case Static():
            return dg.StaticPartitionsDefinition(list(partitions.of))
        case Multi():
            of = {name: partitions_definition(dimension) for name, dimension in partitions.of}
            return dg.MultiPartitionsDefinition({name: each for name, each in of.items() if each is not None})
        case Hourly():
            return dg.HourlyPartitionsDefinition(**_span(partitions))
        case Daily():
            return dg.DailyPartitionsDefinition(hour_offset=partitions.hour_offset, **_span(partitions))
        case Weekly():
            of_week = {"day_offset": _MONDAY, **_span(partitions)}
            return dg.WeeklyPartitionsDefinition(hour_offset=partitions.hour_offset, **of_week)
        case Monthly():
            return dg.MonthlyPartitionsDefinition(hour_offset=partitions.hour_offset, **_span(partitions))
        case _:
            assert_never(partitions)


def _span(periods: Periods) -> dict[str, Any]:
    midnight = "-00:00" if isinstance(periods, Hourly) else ""
    span: dict[str, Any] = {
        "start_date": periods.start.isoformat() + midnight,
        "timezone": periods.timezone,
        "minute_offset": periods.minute_offset,
    }
    if periods.last is None:
        return {**span, "end_offset": 1}
    over = periods.begin(periods.last + 1)
    # Dagster's end is exclusive, and periods that are not over only exist as far as the offset reaches.
    days = max(0, (over - datetime.now(UTC)).days + 1)
    if isinstance(periods, Hourly):
        return {**span, "end_date": periods.spell(periods.last + 1), "end_offset": days * _HOURS_OF_A_DAY}
    # Dagster reads it on the set's own clock: some time into the period after the last.
    end = datetime.combine(periods.first_day(periods.last + 1), time(periods.hour_offset, periods.minute_offset))
    late = timedelta(hours=_LATE_HOURS) if periods.timezone != "UTC" else timedelta()
    return {**span, "end_date": end + late, "end_offset": days}


_HOURS_OF_A_DAY = 25
"""At most."""

_LATE_HOURS = 4
"""By which a clock that is changed at the beginning of a period shows its time for the second time."""


def partition_name(partitions: Partitions, key: str) -> str | None:
    """What Dagster calls a partition; a table without partitions has none there."""
    return None if isinstance(partitions, Unpartitioned) else key


def partition_tags(partitions: Partitions, key: str) -> Mapping[str, str]:
    """Tags of an event by which Dagster finds it under a key of each dimension; none where there is one dimension."""
    if not isinstance(partitions, Multi):
        return {}
    return {f"dagster/partition/{name}": piece for name, piece in partitions.pieces(key).items()}
