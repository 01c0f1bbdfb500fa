"""Incident: an overnight flight landed before it took off, because clocks were set back while it was in the air."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sh_assets.flights.zones import NEW_YORK, ZONES, utc_of_local, with_next_on_clock


def utc(text: str) -> datetime:
    """An instant, written without zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_on_clock(start: datetime | None, clock_min: int | None, airport: str) -> datetime | None:
    """One row through ``with_next_on_clock``."""
    rows = pl.LazyFrame(
        {"start": [start], "clock": [clock_min], "airport": [airport]},
        schema={"start": pl.Datetime("us", "UTC"), "clock": pl.Int64, "airport": pl.String},
    )
    found: datetime | None = with_next_on_clock(rows, airport="airport", found=("start", "clock")).collect()["found"][0]
    return found


@pytest.mark.parametrize(
    ("start", "clock_min", "airport", "found"),
    [
        # Same day, next day, and three hours west.
        ("2013-01-01 10:15", 8 * 60 + 19, "IAH", "2013-01-01 14:19"),
        ("2013-01-02 03:50", 5 * 60, "MCO", "2013-01-02 10:00"),
        ("2013-01-01 23:00", 21 * 60, "LAX", "2013-01-02 05:00"),
        # Midnight, as 0 and as 2400.
        ("2013-01-01 23:00", 0, "BOS", "2013-01-02 05:00"),
        ("2013-01-01 23:00", 1440, "BOS", "2013-01-02 05:00"),
        # Honolulu and Puerto Rico keep no daylight saving time, Phoenix neither.
        ("2013-07-01 17:00", 14 * 60, "HNL", "2013-07-02 00:00"),
        ("2013-07-01 17:00", 17 * 60, "SJU", "2013-07-01 21:00"),
        ("2013-07-01 17:00", 12 * 60, "PHX", "2013-07-01 19:00"),
        # JFK 23:59 → BQN 04:38 in the night when New York's clocks are set forward, and Puerto Rico's are not.
        ("2013-03-10 04:59", 4 * 60 + 38, "BQN", "2013-03-10 08:38"),
        # Destination's clocks are set forward on the way: 04:00 is one hour sooner.
        ("2013-03-10 04:30", 4 * 60, "MIA", "2013-03-10 08:00"),
        # … and back: 04:00 is one hour later.
        ("2013-11-03 03:30", 4 * 60, "MIA", "2013-11-03 09:00"),
        # 02:30 does not occur in New York on 2013-03-10: as if clocks had not been set forward yet (03:30 by the new).
        ("2013-03-10 04:30", 2 * 60 + 30, "MIA", "2013-03-10 07:30"),
        # 01:30 occurs twice on 2013-11-03: the first after the start …
        ("2013-11-03 03:30", 1 * 60 + 30, "MIA", "2013-11-03 05:30"),
        # … which may be the second pass.
        ("2013-11-03 06:10", 1 * 60 + 30, "MIA", "2013-11-03 06:30"),
        # … but a start in the first pass and an earlier clock time mean the next day: no flight is that short.
        ("2013-11-03 05:40", 1 * 60 + 20, "MIA", "2013-11-04 06:20"),
    ],
)
def test_next_time_on_a_clock(start: str, clock_min: int, airport: str, found: str) -> None:
    assert next_on_clock(utc(start), clock_min, airport) == utc(found)


def test_an_unknown_airport_gives_null_and_no_crash() -> None:
    """A new destination must not stop a day's delivery."""
    assert next_on_clock(utc("2013-01-01 10:00"), 600, "XXX") is None
    assert next_on_clock(None, 600, "BOS") is None
    assert next_on_clock(utc("2013-01-01 10:00"), None, "BOS") is None


@settings(deadline=None)
@given(
    st.integers(0, 364 * 24 * 60),
    st.integers(0, 1439),
    st.sampled_from(["ANC", "BOS", "DEN", "HNL", "LAX", "ORD", "PHX", "SJU", "STT"]),
)
def test_it_is_after_the_start_on_the_clock_and_the_first_such(start_min: int, clock_min: int, airport: str) -> None:
    since = utc("2013-01-01") + timedelta(minutes=start_min)
    # The declared exception: a start within the first pass of the repeated hour.
    assume(not utc("2013-11-03 05:00") <= since < utc("2013-11-03 11:00"))
    found = next_on_clock(since, clock_min, airport)
    zone = ZoneInfo(ZONES[airport])

    def shows(instant: datetime) -> bool:
        local = instant.astimezone(zone)
        return local.hour * 60 + local.minute == clock_min

    assert found is not None
    assert found > since
    minutes = (since + timedelta(minutes=m) for m in range(1, 25 * 60 + 1))
    first = next(filter(shows, minutes), None)
    skipped = since.astimezone(zone).utcoffset() != found.astimezone(zone).utcoffset() and not shows(found)
    assert found == first or skipped


def test_the_hour_decides_which_pass_of_a_repeated_hour_is_meant() -> None:
    """A vendor's UTC hour is the only evidence there is for it."""
    rows = pl.LazyFrame(
        {
            "local": ["2013-11-03 01:30"] * 3 + ["2013-03-10 02:30"],
            "hour": [utc("2013-11-03 05:00"), utc("2013-11-03 06:00"), None, utc("2013-03-10 07:00")],
        },
        schema={"local": pl.String, "hour": pl.Datetime("us", "UTC")},
    )
    local = pl.col("local").str.to_datetime("%Y-%m-%d %H:%M", time_unit="us")
    found = rows.select(utc_of_local(local, NEW_YORK, hour_utc=pl.col("hour"))).collect().to_series()
    assert found.to_list() == [
        utc("2013-11-03 05:30"),
        utc("2013-11-03 06:30"),
        utc("2013-11-03 05:30"),
        utc("2013-03-10 07:30"),
    ]


def test_every_zone_exists_and_is_whole_hours_from_utc() -> None:
    """The rule ``arrival_on_clock`` compares minutes past the hour across zones."""
    for zone in set(ZONES.values()):
        for month in (1, 7):
            offset = datetime(2013, month, 1, tzinfo=ZoneInfo(zone)).utcoffset()
            assert offset is not None
            assert offset % timedelta(hours=1) == timedelta(0)
