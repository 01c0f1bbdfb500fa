"""Which partitions a table reads: Dagster, which draws the arrows and marks what is stale, must say what we do.

The incident: Dagster's backfill believes that February reads the days of January; it starts too early, finds its
inputs missing, and marks as current what is not.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from unittest import mock

import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from hypothesis import given
from hypothesis import strategies as st

from sh_assets.keys import partition_mapping, partitions_definition, windows
from sh_core.mapping import SAME, Window, mapped, refuse
from sh_core.partitions import Daily, Monthly, Periods, Weekly
from tests.reading import GRAPH

pytestmark = pytest.mark.graph

NOW = datetime(2030, 7, 17, 12, tzinfo=UTC)


KINDS: tuple[type[Daily] | type[Weekly] | type[Monthly], ...] = (Daily, Weekly, Monthly)


@st.composite
def sets(draw: st.DrawFn) -> Periods:
    """Sets that overlap or not, over leap years and years' ends, the past and what is to come, with and without end."""
    kind = draw(st.sampled_from(KINDS))
    any_day = draw(st.dates(date(2027, 11, 1), date(2030, 7, 17)))
    some = kind(date(2024, 1, 1))
    start = some.floor(any_day)
    if draw(st.booleans()):
        return kind(start)
    return kind(start, some.last_day(some.shift(start, draw(st.integers(0, 40)))))


@st.composite
def some_windows(draw: st.DrawFn) -> Window:
    first = draw(st.integers(-10, 10))
    return Window(first, draw(st.integers(first, 10)))


def dagsters(window: Window, downstream: Periods, upstream: Periods, key: str) -> list[str]:
    """The partitions that exist, as Dagster finds them."""
    mine, theirs = partitions_definition(downstream), partitions_definition(upstream)
    mapping = partition_mapping(window, downstream, upstream)
    assert mine is not None
    assert theirs is not None
    assert mapping is not None
    with partition_loading_context(NOW):
        subset = mine.empty_subset().with_partition_keys([key])
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, mine, theirs)
        return sorted(found.partitions_subset.get_partition_keys())


@given(some_windows(), sets(), sets(), st.data())
def test_mappings_agree(window: Window, downstream: Periods, upstream: Periods, data: st.DataObject) -> None:
    with mock.patch("sh_assets.keys.datetime", wraps=datetime) as clock:
        clock.now.return_value = NOW
        # Of a set without end Dagster knows what has begun.
        key = data.draw(st.sampled_from(downstream.between(downstream.start, downstream.end or NOW.date())))
        ours = mapped(window, downstream, upstream, key)
        begun = set(upstream.between(upstream.start, upstream.end or NOW.date()))
        theirs = dagsters(window, downstream, upstream, key)
    exact = type(downstream) is type(upstream) or window == SAME
    exact |= isinstance(downstream, Daily) and isinstance(upstream, Weekly)
    if exact:
        assert theirs == [k for k in ours if k in begun]
    else:  # Dagster moves windows by the reader's periods, which cannot always say it: then it must see too much
        assert begun & set(ours) <= set(theirs)


def test_a_window_between_months_and_days_is_covered_as_closely_as_dagster_can_say() -> None:
    """The six days before a month: no less than that, and no more than the month before."""
    days, months = Daily(date(2024, 1, 1), date(2024, 12, 31)), Monthly(date(2024, 1, 1), date(2024, 12, 31))
    assert dagsters(Window(-6, 0), months, days, "2024-03-01") == list(
        days.between(date(2024, 2, 1), date(2024, 3, 31))
    )
    assert mapped(Window(-6, 0), months, days, "2024-03-01")[0] == "2024-02-24"
    assert dagsters(Window(-1, -1), days, months, "2024-03-31") == ["2024-02-01", "2024-03-01"]


def test_several_arguments_that_read_one_table_have_one_arrow_that_spans_them() -> None:
    """Today, the two days before, and a week ago: Dagster has one mapping per upstream asset."""
    trends = GRAPH["city_trends"]
    assert windows(trends) == {"stg_rides": Window(-7, 0)}
    assert windows(replace(trends, inputs=trends.inputs[::-1])) == {"stg_rides": Window(-7, 0)}
    days = trends.partitions
    assert isinstance(days, Daily)
    for key in list(days.keys()):
        read = {k for i in trends.reads for k in mapped(i.window, days, days, key)}
        assert read <= set(dagsters(Window(-7, 0), days, days, key))


def test_what_is_without_partitions_needs_no_mapping() -> None:
    assert partition_mapping(Window(), GRAPH["stg_rides"].partitions, GRAPH["stg_bikes"].partitions) is None
    assert refuse(Window(), GRAPH["stg_rides"].partitions, GRAPH["stg_bikes"].partitions) is None
