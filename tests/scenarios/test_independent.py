"""The other computation itself, against figures that were counted without it (awk over the package's files).

What this prevents: a slip that both computations share with nobody to contradict them, or one that makes tables which
are compared with nothing, such as an expected table without rows.
"""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from tests.scenarios.independent import KEYS, expected

FLIGHTS = 336_776 - 1
ROWS = {
    "stg_flights": FLIGHTS,
    "stg_weather": 26_115 - 1,
    "stg_planes": 3_322,
    "stg_airports": 1_458,
    "stg_airlines": 16,
    "int_flights_weather": FLIGHTS,
    "feat_departure_delay": FLIGHTS,
}


def the(table: str, **cells: object) -> dict[str, object]:
    """The one row that holds these cells."""
    (row,) = expected(table).filter(*(pl.col(c) == v for c, v in cells.items())).to_dicts()
    return row


@pytest.mark.parametrize("table", KEYS)
def test_rows_are_told_apart_by_their_key_and_none_is_missing(table: str) -> None:
    rows = expected(table)
    assert not rows.select(KEYS[table]).is_duplicated().any()
    assert not rows.select(KEYS[table]).null_count().sum_horizontal().item()
    assert rows.height == ROWS.get(table, rows.height)
    assert rows.height


def test_flights_without_a_known_aircraft_or_airport_are_kept() -> None:
    """An inner join would lose one flight in seven, and every flight to Puerto Rico."""
    flights, feature = expected("stg_flights"), expected("feat_departure_delay")
    named = flights.filter(pl.col("tailnum").is_not_null())
    assert named.join(expected("stg_planes"), on="tailnum", how="anti").height == 50_094
    assert flights.join(expected("stg_airports"), left_on="dest", right_on="airport", how="anti").height == 7_602
    assert feature["dest_lat_deg"].null_count() == feature["dest_lon_deg"].null_count() == 7_602


def test_every_flight_is_counted_once_in_each_mart() -> None:
    for mart in ("mart_daily_delays", "mart_monthly_punctuality"):
        assert expected(mart)["flights"].sum() == FLIGHTS, mart
    used = expected("mart_aircraft_utilisation")
    assert (used.height, used["flights"].sum(), used["air_time_min"].sum()) == (249_093, 328_521 - 1, 49_326_610 - 65)


def test_windows_of_seven_days_side_by_side_cover_the_year() -> None:
    """One that reached back six or eight days would count too few or too many."""
    ends = pl.date_range(date(2013, 1, 7), date(2013, 12, 30), "7d", eager=True)
    windows = expected("mart_route_rolling_7d").filter(pl.col("date").is_in(ends.implode()))
    assert windows["flights_7d"].sum() == expected("stg_flights").filter(pl.col("date") <= ends[-1]).height


def test_a_wind_that_was_set_aside_is_in_no_row_downstream() -> None:
    """The flights of that hour see the report before it."""
    joined = expected("int_flights_weather")
    assert joined["wind_speed_mph"].max() < 250  # type: ignore[operator]  # a number
    assert joined.filter(origin="EWR", observed_utc=datetime(2013, 2, 12, 8, tzinfo=UTC)).is_empty()
    assert joined["weather_age_min"].is_between(0, 180).all()


def test_each_flight_has_the_latest_report_of_the_three_hours_before_it() -> None:
    """Against Polars' own as-of join, which knows nothing of local days.

    No flight of this year finds its report on the day before, so the year says nothing of looking back over midnight.
    """
    reports = expected("stg_weather").sort("observed_utc").select("origin", "observed_utc", seen="observed_utc")
    joined = expected("int_flights_weather").sort("sched_dep_utc")
    asof = joined.drop("observed_utc").join_asof(
        reports, left_on="sched_dep_utc", right_on="observed_utc", by="origin", tolerance="180m", check_sortedness=False
    )
    assert asof["seen"].equals(joined["observed_utc"], null_equal=True)
    assert joined["observed_utc"].null_count() == 842


def test_one_flight_by_hand() -> None:
    """The 05:25 from Newark to Houston on 8 January: 2 h 55 min by clocks that stand an hour apart."""
    key = {"date": date(2013, 1, 8), "origin": "EWR", "carrier": "UA", "flight": 1018}
    feature = the("feat_departure_delay", **key)
    assert feature == {
        **key,
        "dest": "IAH",
        "sched_dep_utc": datetime(2013, 1, 8, 10, 25, tzinfo=UTC),
        "weekday": 2,
        "sched_dep_local_min": 325,
        "sched_duration_min": 235,
        "distance_mi": 1400,
        "temp_f": 28.94,
        "wind_speed_mph": 4.60312,
        "precip_in": 0.0,
        "visib_mi": 10.0,
        "weather_age_min": 25,
        "dest_lat_deg": 29.984433,
        "dest_lon_deg": -95.341442,
        "route_flights_7d": 72,
        "route_dep_delay_mean_7d_min": 306 / 72,
        "carrier_dep_delay_mean_1d_min": 10.365854,
        "carrier_cancelled_share_1d": 0.0,
    }
    weekdays = expected("feat_departure_delay").select("weekday", iso=pl.col("date").dt.weekday().cast(pl.Int64))
    assert weekdays["weekday"].equals(weekdays["iso"])


def test_one_carrier_and_one_aircraft_by_hand() -> None:
    """United in February; the aircraft of that flight, which flew once that day."""
    month = the("mart_monthly_punctuality", month=date(2013, 2, 1), carrier="UA")
    assert month == {
        "month": date(2013, 2, 1),
        "carrier": "UA",
        "flights": 4346,
        "cancelled": 180,
        "arrived": 4157,
        "on_time": 3366,
        "on_time_share": 0.809719,
    }
    used = the("mart_aircraft_utilisation", date=date(2013, 1, 8), tailnum="N33264")
    assert (used["flights"], used["air_time_min"], used["seats"], used["seat_miles"]) == (1, 226, 149, 149 * 1400)
