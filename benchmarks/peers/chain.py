"""The chain that every contender builds: the shape, and this project's version of it.

Belongs here: tables as a user of this project declares them, on real deliveries. Does not belong here: running them;
the same chain in SQL (``sqlmesh_project``). Invariant: each case runs a copy of this file, under the name
``peers_chain``, with the edits that ``changes`` makes; so nothing here may import another module of the benchmark.

    raw_flights_ewr, raw_flights_jfk, raw_flights_lga    a file per airport and day
    stg_flights                                          per day: types
    raw_planes → stg_planes                              the register of aircraft, whole
    int_flights_planes                                   per day: each flight with its aircraft's seats
    mart_daily                                           per day: flights, delayed ones by a threshold, seats
    mart_monthly                                         per month
    feat_week                                            per day: the share of delayed flights, over seven days

Nobody reads ``air_time_min``. The month reads the seats of ``mart_daily``, the feature does not.
"""

from dataclasses import replace
from datetime import date, timedelta

import pandera.polars as pa
import polars as pl

from selfheal import (
    PASSED_ON,
    Contract,
    Daily,
    Input,
    Lookup,
    Monthly,
    Station,
    Unpartitioned,
    Window,
    field,
    integer,
    parse,
    raw_table,
    table,
    text,
    year_month_day,
)
from sh_assets.flights.feeds import FLIGHT_FEEDS, PLANES

DAY_COUNT = 60
"""Days from the first of January 2013; ``changes`` puts the number asked for here."""

LATE_MIN = 15
"""Minutes after schedule from which a flight counts as delayed."""

FIRST = date(2013, 1, 1)
LAST = FIRST + timedelta(days=DAY_COUNT - 1)
DAYS = Daily(start=FIRST, end=LAST)
MONTHS = Monthly(start=FIRST, end=date(2013 + LAST.month // 12, LAST.month % 12 + 1, 1) - timedelta(days=1))

FEEDS = (*(replace(feed, partitions=DAYS) for feed in FLIGHT_FEEDS), PLANES)


class Flights(pa.DataFrameModel):
    """One flight."""

    date: pl.Date
    origin: str
    carrier: str
    flight: int
    tailnum: str = field(nullable=True)
    dep_delay_min: int = field(nullable=True)
    air_time_min: int = field(nullable=True)


@table(contract=Contract(Flights, key=("date", "origin", "carrier", "flight")), partitions=DAYS, station=Station.STAGED)
def stg_flights(
    raw_flights_ewr: pl.LazyFrame, raw_flights_jfk: pl.LazyFrame, raw_flights_lga: pl.LazyFrame
) -> pl.LazyFrame:
    """One row per flight scheduled to depart on a day."""
    return parse(
        pl.concat([raw_flights_ewr, raw_flights_jfk, raw_flights_lga]),
        date=year_month_day("year", "month", "day"),
        origin=text("origin"),
        carrier=text("carrier"),
        flight=integer("flight"),
        tailnum=text("tailnum"),
        dep_delay_min=integer("dep_delay"),
        air_time_min=integer("air_time"),
    ).select(*Contract(Flights).columns, *PASSED_ON)


class Planes(pa.DataFrameModel):
    """One registered aircraft."""

    tailnum: str
    manufacturer: str
    seats: int = field(ge=1)


@table(contract=Contract(Planes, key=("tailnum",)), partitions=Unpartitioned(), station=Station.STAGED)
def stg_planes(raw_planes: pl.LazyFrame) -> pl.LazyFrame:
    """One row per registered aircraft."""
    return parse(raw_planes, tailnum=text("tailnum"), manufacturer=text("manufacturer"), seats=integer("seats")).select(
        *Contract(Planes).columns, *PASSED_ON
    )


class FlightsPlanes(pa.DataFrameModel):
    """One flight with the seats of its aircraft."""

    date: pl.Date
    origin: str
    carrier: str
    flight: int
    dep_delay_min: int = field(nullable=True)
    seats: int = field(nullable=True)


@table(
    contract=Contract(FlightsPlanes, key=("date", "origin", "carrier", "flight")),
    partitions=DAYS,
    station=Station.JOINED,
    reads={
        "stg_flights": ("date", "origin", "carrier", "flight", "tailnum", "dep_delay_min"),
        "stg_planes": Input("stg_planes", ("seats",), lookup=Lookup("stg_flights", ("tailnum",))),
    },
)
def int_flights_planes(stg_flights: pl.LazyFrame, stg_planes: pl.LazyFrame) -> pl.LazyFrame:
    """One row per flight; the seats of an aircraft that the register lacks are null."""
    return stg_flights.join(stg_planes.select("tailnum", "seats"), on="tailnum", how="left").select(
        "date", "origin", "carrier", "flight", "dep_delay_min", "seats"
    )


class DailyDelays(pa.DataFrameModel):
    """One day and carrier."""

    date: pl.Date
    carrier: str
    flights: int = field(ge=1)
    delayed: int = field(ge=0)
    seats: int = field(ge=0)


@table(
    contract=Contract(DailyDelays, key=("date", "carrier")),
    partitions=DAYS,
    station=Station.MART,
    reads={"int_flights_planes": ("date", "carrier", "dep_delay_min", "seats")},
)
def mart_daily(int_flights_planes: pl.LazyFrame) -> pl.LazyFrame:
    """One row per day and carrier."""
    return int_flights_planes.group_by("date", "carrier").agg(
        pl.len().cast(pl.Int64).alias("flights"),
        (pl.col("dep_delay_min") >= LATE_MIN).sum().cast(pl.Int64).alias("delayed"),
        pl.col("seats").sum(),
    )


class MonthlyDelays(pa.DataFrameModel):
    """One month and carrier."""

    month: pl.Date
    carrier: str
    flights: int = field(ge=1)
    delayed: int = field(ge=0)
    seats: int = field(ge=0)


@table(
    contract=Contract(MonthlyDelays, key=("month", "carrier")),
    partitions=MONTHS,
    station=Station.MART,
    reads={"mart_daily": ("date", "carrier", "flights", "delayed", "seats")},
)
def mart_monthly(mart_daily: pl.LazyFrame) -> pl.LazyFrame:
    """One row per month and carrier."""
    return mart_daily.group_by(pl.col("date").dt.truncate("1mo").alias("month"), "carrier").agg(
        pl.col("flights", "delayed", "seats").sum()
    )


class Week(pa.DataFrameModel):
    """One day and carrier, looking back a week."""

    date: pl.Date
    carrier: str
    flights_7d: int = field(ge=1)
    delayed_share_7d: float = field(quantum=1e-6)


@table(
    contract=Contract(Week, key=("date", "carrier")),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={"mart_daily": Input("mart_daily", ("date", "carrier", "flights", "delayed"), window=Window(-6, 0))},
)
def feat_week(mart_daily: pl.LazyFrame) -> pl.LazyFrame:
    """One row per day and carrier that flew on it or on one of the six days before."""
    return (
        mart_daily.with_columns(pl.col("date").max())
        .group_by("date", "carrier")
        .agg(pl.col("flights").sum().alias("flights_7d"), pl.col("delayed").sum())
        .select("date", "carrier", "flights_7d", (pl.col("delayed") / pl.col("flights_7d")).alias("delayed_share_7d"))
    )


TABLES = (
    *(raw_table(feed) for feed in FEEDS),
    stg_flights,
    stg_planes,
    int_flights_planes,
    mart_daily,
    mart_monthly,
    feat_week,
)
"""Every table, inputs first."""
