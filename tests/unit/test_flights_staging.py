"""Incident: delays were right and times wrong, since a clock time was read in the wrong zone or on the wrong day."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from sh_assets.flights import TABLES, mart_daily_delays, stg_flights, stg_weather
from sh_assets.flights.feeds import FLIGHT_FEEDS, WEATHER_FEEDS
from sh_core.contract import Split
from sh_core.gate_rows import judge_rows, misfit
from sh_core.graph import Graph
from sh_core.table import Table


def utc(text: str) -> datetime:
    """An instant, written without zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def staged(table: Table, *lines: str) -> pl.DataFrame:
    """Delivered lines through a staged table's transform, as if the first airport's feed had brought them all."""
    feeds = FLIGHT_FEEDS if table is stg_flights else WEATHER_FEEDS
    cells = [line.split(",") for line in lines]
    columns = {name: [c[i] for c in cells] for i, name in enumerate(feeds[0].columns)}
    rows = pl.LazyFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_columns(
        pl.lit(date(1999, 1, 1)).alias("date"),
        pl.lit("feed/file.csv").alias("_file"),
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("_line"),
    )
    assert table.transform is not None
    made = table.transform(rows, rows.clear(), rows.clear()).collect()
    assert not misfit(made.schema, table.contract)
    assert made["_line"].to_list() == list(range(2, len(lines) + 2))
    return made


# Lines of the package; tail numbers, and what makes a case plainer, are changed.
FLIGHTS = {
    "plain": "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z",
    "arrives after midnight": "2013,3,9,2145,2145,0,34,34,0,B6,35,N1,JFK,PBI,141,1028,21,45,2013-03-10T02:00:00Z",
    "clock not set forward": "2013,3,9,2306,2145,81,203,34,89,B6,35,N183JB,JFK,PBI,141,1028,21,45,2013-03-10T02:00:00Z",
    "night of daylight saving": "2013,3,9,53,2359,54,504,438,26,B6,727,N1,JFK,BQN,175,1576,23,59,2013-03-10T04:00:00Z",
    "diverted": "2013,11,2,733,735,-2,1642,1039,NA,DL,183,N1,JFK,SEA,NA,2422,7,35,2013-11-02T11:00:00Z",
    "never reached": "2013,1,1,1525,1530,-5,NA,1805,NA,MQ,4525,N719MQ,LGA,XNA,NA,1147,15,30,2013-01-01T20:00:00Z",
    "cancelled": "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,NA,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z",
    "unknown destination": "2013,1,1,517,515,2,830,819,11,UA,1,N14228,EWR,XXX,227,1400,5,15,2013-01-01T10:00:00Z",
}


@pytest.mark.parametrize(
    ("flight", "sched_dep", "dep", "sched_arr", "arr"),
    [
        ("plain", "2013-01-01 10:15", "2013-01-01 10:17", "2013-01-01 14:19", "2013-01-01 14:30"),
        ("arrives after midnight", "2013-03-10 02:45", "2013-03-10 02:45", "2013-03-10 05:34", "2013-03-10 05:34"),
        ("clock not set forward", "2013-03-10 02:45", "2013-03-10 04:06", "2013-03-10 05:34", "2013-03-10 07:03"),
        ("night of daylight saving", "2013-03-10 04:59", "2013-03-10 05:53", "2013-03-10 08:38", "2013-03-10 09:04"),
        ("diverted", "2013-11-02 11:35", "2013-11-02 11:33", "2013-11-02 17:39", "2013-11-02 23:42"),
        ("never reached", "2013-01-01 20:30", "2013-01-01 20:25", "2013-01-02 00:05", None),
        ("cancelled", "2013-01-01 21:30", None, "2013-01-01 23:15", None),
        ("unknown destination", "2013-01-01 10:15", "2013-01-01 10:17", None, None),
    ],
)
def test_instants_and_rules_of_real_flights(
    flight: str, sched_dep: str, dep: str | None, sched_arr: str | None, arr: str | None
) -> None:
    made = staged(stg_flights, FLIGHTS[flight])
    instants = made.select("sched_dep_utc", "dep_utc", "sched_arr_utc", "arr_utc").row(0)
    assert instants == tuple(t and utc(t) for t in (sched_dep, dep, sched_arr, arr))
    assert not judge_rows(made, stg_flights.contract).broken


def test_a_flight_is_cancelled_diverted_or_neither() -> None:
    made = staged(stg_flights, *FLIGHTS.values())
    assert dict(zip(FLIGHTS, made.select("cancelled", "diverted").rows(), strict=True)) == {
        "plain": (False, False),
        "arrives after midnight": (False, False),
        "clock not set forward": (False, False),
        "night of daylight saving": (False, False),
        "diverted": (False, True),
        "never reached": (False, True),
        "cancelled": (True, False),
        "unknown destination": (False, False),
    }


def test_the_day_comes_from_the_line_and_not_from_the_file() -> None:
    """A line that strayed into another day's file must show itself to the gate."""
    assert staged(stg_flights, FLIGHTS["plain"])["date"].to_list() == [date(2013, 1, 1)]


# Each is the plain flight with one fault. Everything is recognised from the row itself.
BROKEN = {
    "departure in UTC": ("517,515,2", "1017,1015,2", {"departure_in_hour"}),
    "delay in seconds": ("515,2,830", "515,120,830", {"departure_on_clock"}),
    "arrival delay lost its sign": ("819,11,UA", "819,-11,UA", {"arrival_on_clock"}),
    "schedule half a day off": ("830,819", "830,2019", {"schedule_plausible", "ground_time_plausible"}),
    "air time in hours": ("IAH,227", "IAH,4", {"slower_than_sound"}),
    "distance in metres": ("227,1400", "227,2253081", {"distance_mi__in_range", "slower_than_sound"}),
    "another airport's rows": ("EWR,IAH", "PHL,IAH", {"origin__isin"}),
    "destination swallowed": ("EWR,IAH", "EWR,NA", {"dest__not_null"}),
    "delay without departure": ("1,1,517,515", "1,1,NA,515", {"cancelled_or_departed"}),
    "arrival without air time": ("IAH,227", "IAH,NA", {"air_time_if_arrived"}),
    "text for a number": ("IAH,227", "IAH,2h", {"parse"}),
    "no such day": ("2013,1,1,", "2013,2,30,", {"parse"}),
    "number with decimals": ("515,2,830", "515,2.0,830", {"parse"}),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_line_breaks_the_rule_that_is_meant_for_it(fault: str) -> None:
    right, wrong, rules = BROKEN[fault]
    assert right in FLIGHTS["plain"]
    judged = judge_rows(staged(stg_flights, FLIGHTS["plain"].replace(right, wrong, 1)), stg_flights.contract)
    assert not judged.crashes
    assert rules <= set(judged.broken)
    if "parse" not in rules:
        assert "parse" not in judged.broken


WEATHER = "EWR,2013,11,3,1,51.98,39.02,61.15,310,6.90468,NA,0,1009.8,10,2013-11-03T05:00:00Z"


def test_the_repeated_hour_gives_two_observations() -> None:
    """Keyed by local hour, the second one looked like a duplicate key and withheld the whole day."""
    made = staged(stg_weather, WEATHER, WEATHER.replace("T05", "T06"))
    assert made["observed_utc"].to_list() == [utc("2013-11-03 05:00"), utc("2013-11-03 06:00")]
    assert made["date"].to_list() == [date(2013, 11, 3)] * 2
    assert made["wind_gust_mph"].to_list() == [None, None]
    assert not judge_rows(made, stg_weather.contract).broken


def test_an_impossible_wind_is_set_aside_and_not_the_day() -> None:
    made = staged(stg_weather, WEATHER, WEATHER.replace("6.90468", "1048.36058").replace("T05", "T06"))
    judged = judge_rows(made, stg_weather.contract)
    assert {rule: rows.to_list() for rule, rows in judged.broken.items()} == {"wind_speed_mph__in_range": [False, True]}
    assert isinstance(stg_weather.contract.on_breach, Split)
    assert stg_weather.contract.on_breach.max_fraction > 1 / 57  # the shortest day has 57 rows


def test_means_are_of_those_that_flew_and_null_when_nobody_did() -> None:
    stg = pl.LazyFrame(
        {
            "date": [date(2013, 1, 1)] * 5,
            "origin": ["EWR"] * 5,
            "carrier": ["UA"] * 4 + ["OO"],
            "cancelled": [False, False, False, True, True],
            "dep_delay_min": [15, 14, 1, None, None],
            "arr_delay_min": [-10, None, 3, None, None],
        },
        schema_overrides={"dep_delay_min": pl.Int64, "arr_delay_min": pl.Int64},
    )
    assert mart_daily_delays.transform is not None
    made = mart_daily_delays.transform(stg).collect().sort("carrier")
    assert not misfit(made.schema, mart_daily_delays.contract)
    assert made.drop("date", "origin").rows() == [("OO", 1, 1, 0, None, None), ("UA", 4, 1, 1, 10.0, -3.5)]
    assert not judge_rows(made, mart_daily_delays.contract).broken


def test_an_empty_day_gives_empty_tables_of_the_declared_types() -> None:
    """The source has no weather for 2013-12-31."""
    assert staged(stg_weather).height == 0


def test_the_tables_form_a_graph_with_nine_feeds() -> None:
    graph = Graph.of(TABLES)
    of_airports = [f"{k}_{a}" for k in ("flights", "weather") for a in ("ewr", "jfk", "lga")]
    assert [feed.name for feed in graph.feeds] == ["planes", "airports", "airlines", *of_airports]
    assert graph["stg_flights"].contract.pii == {"tailnum"}
    mart = graph["mart_daily_delays"].inputs[0]
    assert mart.columns is not None
    assert "tailnum" not in mart.columns
