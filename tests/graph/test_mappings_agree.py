"""Which partitions a table reads: Dagster, which draws the arrows and marks what is stale, must say what we do.

The incident: Dagster's backfill believes that February reads the days of January; it starts too early, finds its
inputs missing, and marks as current what is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from unittest import mock

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from hypothesis import given
from hypothesis import strategies as st

from sh_assets.keys import partition_mapping, partitions_definition, windows
from sh_core.mapping import (
    SAME,
    All,
    Dimensions,
    Keys,
    Last,
    PartitionMapping,
    Window,
    dimensions_of,
    mapped,
    paired,
    refuse,
)
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Periods, Static, Unpartitioned, Weekly
from tests import partition_sets
from tests.partition_sets import NOW, ZONES, Reading
from tests.reading import GRAPH

pytestmark = pytest.mark.graph

NEW_YORK = "America/New_York"


@contextmanager
def at_now() -> Iterator[None]:
    """Dagster and our definitions believe that it is the same moment."""
    with mock.patch("sh_assets.keys.datetime", wraps=datetime) as clock, partition_loading_context(NOW):
        clock.now.return_value = NOW
        yield


def definition(partitions: Partitions) -> dg.PartitionsDefinition[Any]:
    made = partitions_definition(partitions)
    assert made is not None
    return made


def dagsters(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str) -> set[str]:
    """The partitions that exist, as Dagster finds them."""
    mine, theirs = definition(downstream), definition(upstream)
    its = partition_mapping(mapping, downstream, upstream)
    assert its is not None
    its.validate_partition_mapping(theirs, mine)
    subset = mine.empty_subset().with_partition_keys([key])
    found = its.get_upstream_mapped_partitions_result_for_partitions(subset, mine, theirs)
    assert not list(found.required_but_nonexistent_subset.get_partition_keys())  # it would fail a whole backfill
    return set(found.partitions_subset.get_partition_keys())


def readers(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str) -> set[str]:
    """Who reads a partition, as Dagster finds them."""
    mine, theirs = definition(downstream), definition(upstream)
    its = partition_mapping(mapping, downstream, upstream)
    assert its is not None
    subset = theirs.empty_subset().with_partition_keys([key])
    return set(its.get_downstream_partitions_for_partitions(subset, theirs, mine).get_partition_keys())


def is_sayable(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions) -> bool:
    """Whether Dagster can say exactly this; else its mapping must cover what is read."""
    if isinstance(mapping, All | Last):
        return True
    own, theirs = dimensions_of(downstream), dimensions_of(upstream)
    pairs = paired(mapping, downstream, upstream)
    shared = [(how, own[by], theirs[name]) for name, (how, by) in pairs.items() if by is not None]
    whole = all(how == All() for how, by in pairs.values() if by is None)
    if isinstance(downstream, Multi) != isinstance(upstream, Multi):
        equal = [d for d in (*own.values(), *theirs.values()) if shared and definition(d) == definition(shared[0][1])]
        return whole and len(equal) == 2 and shared[0][0] == SAME and shared[0][1] == shared[0][2]
    return whole and all(_is_sayable(*pair) for pair in shared)


def _is_sayable(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions) -> bool:
    if not isinstance(downstream, Periods) or not isinstance(upstream, Periods):
        return True
    if downstream.timezone != upstream.timezone:
        return False
    # Dagster counts a window in periods of the reader: of one length, that is the same.
    return mapping == SAME or downstream.same_periods(upstream)


def agree(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str) -> None:
    ours = set(mapped(mapping, downstream, upstream, key, NOW)) & set(upstream.declared(NOW))
    theirs = dagsters(mapping, downstream, upstream, key)
    if is_sayable(mapping, downstream, upstream):
        assert theirs == ours
    else:
        assert ours <= theirs


@given(partition_sets.periods())
def test_keys_and_periods_agree(periods: Periods) -> None:
    """A key that Dagster spells otherwise nobody can run; a period that begins elsewhere reads others."""
    with at_now():
        made = definition(periods)
        assert isinstance(made, dg.TimeWindowPartitionsDefinition)
        keys = list(periods.declared(NOW))
        assert list(made.get_partition_keys()) == keys
        for key in keys:
            window, number = made.time_window_for_partition_key(key), periods.number(key)
            ends = (periods.begin(number), periods.begin(number + 1))
            assert (window.start.timestamp(), window.end.timestamp()) == tuple(end.timestamp() for end in ends)
            assert made.has_partition_key(key)


@given(partition_sets.combinations())
def test_keys_of_combinations_agree(both: Multi) -> None:
    with at_now():
        assert list(definition(both).get_partition_keys()) == list(both.declared(NOW))


@given(partition_sets.windows(), st.sampled_from(ZONES), st.data())
def test_mappings_of_periods_agree(window: Window, clock: str, data: st.DataObject) -> None:
    """On one clock, which is what Dagster takes: what it says is exactly what is read, or covers it."""
    downstream, upstream = data.draw(partition_sets.periods((clock,))), data.draw(partition_sets.periods((clock,)))
    window = data.draw(st.sampled_from((window, SAME)))
    keys = downstream.declared(NOW)
    if keys:
        with at_now():
            agree(window, downstream, upstream, data.draw(st.sampled_from(keys)))


@given(partition_sets.readings(), st.data())
def test_mappings_agree(reading: Reading, data: st.DataObject) -> None:
    """Every kind of mapping between every kind of set."""
    keys = reading[1].declared(NOW)
    if keys:
        with at_now():
            agree(*reading, data.draw(st.sampled_from(keys)))


@given(partition_sets.readings(), st.data())
def test_mappings_agree_backwards(reading: Reading, data: st.DataObject) -> None:
    """Dagster follows a change downstream: whoever reads the partition must be found."""
    mapping, downstream, upstream = reading
    keys = upstream.declared(NOW)
    if not keys or (mapping == Last() and not downstream.declared(NOW)):
        return
    key = data.draw(st.sampled_from(keys))
    ours = {own for own in downstream.declared(NOW) if key in mapped(mapping, downstream, upstream, own, NOW)}
    with at_now():
        assert ours <= readers(mapping, downstream, upstream, key)


YEAR = (date(2024, 1, 1), date(2024, 12, 31))


def exactly(window: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str) -> list[str]:
    """What Dagster and we agree on."""
    with at_now():
        assert is_sayable(window, downstream, upstream)
        agree(window, downstream, upstream, key)
    return list(mapped(window, downstream, upstream, key, NOW))


def test_the_days_on_which_a_clock_is_changed() -> None:
    """A day of 25 hours has 25 of them, two under one name but for the distance from UTC; one of 23 lacks one."""
    days, hours = Daily(*YEAR, timezone=NEW_YORK), Hourly(*YEAR, timezone=NEW_YORK)
    long = exactly(SAME, days, hours, "2024-11-03")
    assert len(long) == 25
    assert long[1:4] == ["2024-11-03-01:00", "2024-11-03-01:00-0500", "2024-11-03-02:00"]
    short = exactly(SAME, days, hours, "2024-03-10")
    assert len(short) == 23
    assert short[1:3] == ["2024-03-10-01:00", "2024-03-10-03:00"]
    assert exactly(SAME, hours, days, "2024-11-03-01:00-0500") == ["2024-11-03"]
    assert exactly(Window(-1, 0), hours, hours, "2024-11-03-01:00-0500") == long[1:3]


@pytest.mark.parametrize(
    ("day", "hour", "begins"),
    [
        (date(2024, 11, 3), 1, datetime(2024, 11, 3, 6, tzinfo=UTC)),  # shown twice: the second time
        (date(2024, 3, 10), 2, datetime(2024, 3, 10, 7, tzinfo=UTC)),  # skipped: when the clock goes on
        (date(2024, 3, 10), 3, datetime(2024, 3, 10, 7, tzinfo=UTC)),
    ],
)
def test_a_day_that_begins_while_the_clock_is_changed(day: date, hour: int, begins: datetime) -> None:
    days = Daily(*YEAR, timezone=NEW_YORK, hour_offset=hour)
    with at_now():
        made = definition(days)
        assert isinstance(made, dg.TimeWindowPartitionsDefinition)
        assert made.time_window_for_partition_key(day.isoformat()).start.timestamp() == begins.timestamp()
    assert days.begin(days.number(day.isoformat())) == begins
    read = exactly(SAME, days, Hourly(*YEAR, timezone=NEW_YORK), day.isoformat())
    assert len(read) == {1: 24, 2: 23, 3: 24}[hour]


def test_a_day_that_begins_at_six() -> None:
    """A plant's day ends with its night shift: it reads the last six hours of the next calendar day."""
    plant, hours = Daily(*YEAR, hour_offset=6), Hourly(date(2024, 1, 1), date(2025, 1, 1))
    read = exactly(SAME, plant, hours, "2024-02-29")
    assert (len(read), read[0], read[-1]) == (24, "2024-02-29-06:00", "2024-03-01-05:00")
    assert exactly(SAME, plant, Daily(*YEAR), "2024-02-29") == ["2024-02-29", "2024-03-01"]
    assert exactly(SAME, Daily(*YEAR), plant, "2024-03-01") == ["2024-02-29", "2024-03-01"]
    assert exactly(SAME, Daily(*YEAR), plant, "2024-01-01") == ["2024-01-01"]  # its first six hours are nobody's


def test_a_quarter_of_an_hour_from_everybody_else() -> None:
    """An hour of Kathmandu lies in two of anybody else's; on one clock there is nothing to see of it."""
    days, hours = Daily(*YEAR, timezone="Asia/Kathmandu"), Hourly(*YEAR, timezone="Asia/Kathmandu")
    assert len(exactly(SAME, days, hours, "2024-05-05")) == 24
    utc = Hourly(*YEAR)
    with at_now():
        agree(SAME, hours, utc, "2024-05-05-12:00")
    assert mapped(SAME, hours, utc, "2024-05-05-12:00", NOW) == ("2024-05-05-06:00", "2024-05-05-07:00")


def test_half_an_hour_of_summer_on_lord_howe() -> None:
    """The day on which the clock is put back by half an hour is one day, and reads two of UTC's like any other."""
    island, utc = Daily(*YEAR, timezone="Australia/Lord_Howe"), Daily(*YEAR)
    changed = island.number("2024-04-07")
    assert (island.begin(changed + 1) - island.begin(changed)).total_seconds() == 24.5 * 3600
    with at_now():
        agree(SAME, island, utc, "2024-04-07")
    assert mapped(SAME, island, utc, "2024-04-07", NOW) == ("2024-04-06", "2024-04-07")
    assert exactly(Window(-1, 1), island, island, "2024-04-07") == ["2024-04-06", "2024-04-07", "2024-04-08"]


def test_a_window_at_the_beginning_and_the_end_of_a_set() -> None:
    """What is not there is left out, and nobody waits for it."""
    days = Daily(*YEAR, timezone="Europe/Berlin")
    assert exactly(Window(-6, 0), days, days, "2024-01-02") == ["2024-01-01", "2024-01-02"]
    assert exactly(Window(-2, -1), days, days, "2024-01-01") == []
    assert exactly(Window(0, 3), days, days, "2024-12-30") == ["2024-12-30", "2024-12-31"]


def test_days_weeks_and_months() -> None:
    days, weeks, months = Daily(*YEAR), Weekly(date(2024, 1, 1), date(2024, 12, 29)), Monthly(*YEAR)
    assert exactly(SAME, weeks, days, "2024-02-26") == list(days.between(date(2024, 2, 26), date(2024, 3, 3)))
    assert exactly(SAME, months, weeks, "2024-02-01")[0] == "2024-01-29"
    assert len(exactly(SAME, months, days, "2024-02-01")) == 29


AIRPORTS, REGIONS = Static(("JFK", "LGA", "BTV"), column="airport"), Static(("city", "north"), column="region")
DAYS = Daily(*YEAR)
BOTH = Multi(airport=AIRPORTS, day=DAYS)


@pytest.mark.parametrize(
    ("mapping", "downstream", "upstream", "key", "read"),
    [
        (Keys({"city": ("LGA", "JFK"), "north": ("BTV",)}), REGIONS, AIRPORTS, "city", ["JFK", "LGA"]),
        (SAME, Static(("BTV", "JFK"), column="a"), AIRPORTS, "BTV", ["BTV"]),
        (All(), REGIONS, AIRPORTS, "north", ["JFK", "LGA", "BTV"]),
        (Last(), REGIONS, DAYS, "north", ["2024-12-31"]),
        (Last(), DAYS, BOTH, "2024-01-01", ["BTV|2024-12-31"]),
        (SAME, BOTH, BOTH, "LGA|2024-02-29", ["LGA|2024-02-29"]),
        (SAME, BOTH, DAYS, "LGA|2024-02-29", ["2024-02-29"]),
        (SAME, BOTH, AIRPORTS, "LGA|2024-02-29", ["LGA"]),
        (SAME, DAYS, BOTH, "2024-02-29", ["JFK|2024-02-29", "LGA|2024-02-29", "BTV|2024-02-29"]),
        (
            Dimensions(day=Window(-1, 0)),
            BOTH,
            BOTH,
            "LGA|2024-03-01",
            ["LGA|2024-02-29", "LGA|2024-03-01"],
        ),
        (
            Dimensions(airport=All()),
            BOTH,
            BOTH,
            "LGA|2024-03-01",
            ["JFK|2024-03-01", "LGA|2024-03-01", "BTV|2024-03-01"],
        ),
        (
            SAME,
            Multi(airport=AIRPORTS, month=Monthly(*YEAR)),
            Multi(airport=AIRPORTS, region=REGIONS),
            "LGA|2024-03-01",
            ["LGA|city", "LGA|north"],
        ),
    ],
)
def test_lists_and_combinations(
    mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str, read: list[str]
) -> None:
    assert exactly(mapping, downstream, upstream, key) == read


def test_what_dagster_cannot_say_it_shows_as_more() -> None:
    """The six days before a month: no less than that, and no more than the month before."""
    days, months = Daily(*YEAR), Monthly(*YEAR)
    with at_now():
        assert dagsters(Window(-6, 0), months, days, "2024-03-01") == set(
            days.between(date(2024, 2, 1), date(2024, 3, 31))
        )
        assert dagsters(Window(-1, -1), days, months, "2024-03-31") == {"2024-02-01", "2024-03-01"}
    assert mapped(Window(-6, 0), months, days, "2024-03-01", NOW)[0] == "2024-02-24"


def test_a_day_of_23_hours_is_not_24_hours_ago() -> None:
    """Told as one day, the hours that a window reaches back would end an hour too late."""
    days, hours = Daily(*YEAR, timezone=NEW_YORK), Hourly(*YEAR, timezone=NEW_YORK)
    with at_now():
        for window, key in (
            (Window(-24, 0), "2024-03-11"),
            (Window(0, 24), "2024-03-09"),
            (Window(-25, -25), "2024-11-04"),
        ):
            agree(window, days, hours, key)
        for key in ("2024-03-10-00:00", "2024-03-11-00:00", "2024-11-03-23:00"):
            agree(Window(-1, -1), hours, days, key)
            agree(Window(-1, 2), hours, days, key)


@pytest.mark.parametrize(
    ("mapping", "downstream", "upstream", "key"),
    [
        (SAME, Daily(date(2023, 12, 1), date(2024, 12, 31)), BOTH, "2023-12-05"),  # of which there is nothing
        (SAME, Monthly(*YEAR), BOTH, "2024-02-01"),
        (SAME, Static(("JFK",), column="airport"), BOTH, "JFK"),
        (SAME, BOTH, Static(("BTV", "LGA", "JFK"), column="airport"), "JFK|2024-01-01"),
        (Window(-1, 0), BOTH, DAYS, "JFK|2024-01-02"),
        (Dimensions(day=Window(-1, 0)), DAYS, BOTH, "2024-01-02"),
        (SAME, DAYS, Multi(day=DAYS, other=Daily(*YEAR, column="other")), "2024-01-02"),
    ],
)
def test_what_dagster_cannot_say_of_two_dimensions_it_shows_as_everything(
    mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str
) -> None:
    """Asked all the same it raises, or fails a backfill over partitions that there are not."""
    with at_now():
        agree(mapping, downstream, upstream, key)
        assert partition_mapping(mapping, downstream, upstream) == dg.AllPartitionMapping()


def test_the_last_airport_of_a_day_is_shown_as_all_of_that_day() -> None:
    with at_now():
        agree(Dimensions(airport=Last()), DAYS, BOTH, "2024-02-29")
        assert len(dagsters(Dimensions(airport=Last()), DAYS, BOTH, "2024-02-29")) == len(AIRPORTS.of)


def test_several_arguments_that_read_one_table_have_one_arrow_that_spans_them() -> None:
    """Today, the two days before, and a week ago: Dagster has one mapping per upstream asset."""
    trends = GRAPH["city_trends"]
    assert windows(trends) == {"stg_rides": Window(-7, 0)}
    assert windows(replace(trends, inputs=trends.inputs[::-1])) == {"stg_rides": Window(-7, 0)}
    last = replace(trends, inputs=(*trends.inputs, replace(trends.inputs[0], window=Last(), argument="newest")))
    assert windows(last) == {"stg_rides": All()}
    days = trends.partitions
    assert isinstance(days, Daily)
    for key in list(days.keys()):
        read = {k for i in trends.reads for k in mapped(i.window, days, days, key, NOW)}
        assert read <= dagsters(Window(-7, 0), days, days, key)


def test_what_is_without_partitions_needs_no_mapping() -> None:
    assert partition_mapping(Window(), GRAPH["stg_rides"].partitions, GRAPH["stg_bikes"].partitions) is None
    assert refuse(Window(), GRAPH["stg_rides"].partitions, GRAPH["stg_bikes"].partitions) is None


def test_a_table_without_partitions_reads_all_or_the_last() -> None:
    whole = Unpartitioned()
    assert partition_mapping(All(), whole, DAYS) == dg.AllPartitionMapping()
    assert partition_mapping(Last(), whole, DAYS) == dg.LastPartitionMapping()
