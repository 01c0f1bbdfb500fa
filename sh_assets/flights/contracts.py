"""Contracts of flights and weather: columns, units and what must hold for a row to be seen.

Belongs here: Pandera models and contracts of the staged tables, and what all contracts of the domain share. Does not
belong here: how a column comes about (``staging``); tables computed from these have their contracts beside them.
Invariant: a bound has a reason in the world or in the schedule, never "what this year happened to hold". What the year
2013 held is said beside it, so that one can see how much room a bound leaves.

A rule across columns says nothing about a row in which one of its values is missing: whether it may be missing is
another rule. Hence ``fill_null(True)`` in all of them.
"""

# Pandera makes class methods of checks, and takes their words from description=.
# ruff: noqa: D102, N805

from typing import Annotated

import pandera.polars as pa
import polars as pl

from sh_assets.flights.feeds import AIRPORTS
from sh_assets.flights.zones import NEW_YORK
from sh_core.contract import Contract, Reference, Split, field

Utc = Annotated[pl.Datetime, "us", "UTC"]

OWNER = "team:flights"


def rows_where(holds: pl.Expr, data: pa.PolarsData) -> pl.LazyFrame:
    """Ask a rule about several columns: it says nothing of a row in which one of them is missing."""
    return data.lazyframe.select(holds.fill_null(value=True))


def each_airport_has(rows: pl.LazyFrame, at_least: int) -> pl.LazyFrame:
    """Ask whether every airport of departure has so many rows."""
    return rows.select(pl.all_horizontal((pl.col("origin") == airport).sum() >= at_least for airport in AIRPORTS))


def _minutes(later: str, earlier: str) -> pl.Expr:
    return (pl.col(later) - pl.col(earlier)).dt.total_minutes()


class Flights(pa.DataFrameModel):
    """One flight scheduled to depart from a New York airport; see ``stg_flights`` for how each column is computed."""

    date: pl.Date
    """Scheduled local day of departure."""
    origin: str = field(isin=list(AIRPORTS))
    dest: str = field(str_matches=r"^[A-Z]{3}$")
    carrier: str = field(str_matches=r"^[A-Z0-9]{2}$")
    flight: int = field(in_range={"min_value": 1, "max_value": 9999})
    tailnum: str = field(nullable=True, pii=True)
    """Registration of the aircraft, which names its owner in public registers."""
    sched_dep_utc: Utc
    dep_utc: Utc = field(nullable=True)
    sched_arr_utc: Utc = field(nullable=True)
    arr_utc: Utc = field(nullable=True)
    dep_delay_min: int = field(nullable=True, unit="min", in_range={"min_value": -120, "max_value": 1440})
    """2013: -43 to 1,301."""
    arr_delay_min: int = field(nullable=True, unit="min", in_range={"min_value": -180, "max_value": 1500})
    """2013: -86 to 1,272."""
    air_time_min: int = field(nullable=True, unit="min", in_range={"min_value": 1, "max_value": 1200})
    """2013: 20 to 695."""
    distance_mi: int = field(unit="mi", in_range={"min_value": 1, "max_value": 12_500})
    """Half the Earth's circumference at most. 2013: 17 to 4,983."""
    cancelled: bool
    """Never departed."""
    diverted: bool
    """Departed, but did not arrive as scheduled: it landed elsewhere first, or never reached its destination."""
    sched_dep_hour_utc: Utc
    """Hour of scheduled departure as the vendor computed it (``time_hour``): a second witness to ``sched_dep_utc``."""
    dep_clock_min: int = field(nullable=True, unit="min", in_range={"min_value": 0, "max_value": 1440})
    """Departure on the local clock, as delivered: a second witness to ``dep_utc``."""
    arr_clock_min: int = field(nullable=True, unit="min", in_range={"min_value": 0, "max_value": 1440})
    """Arrival on the destination's clock, as delivered: a second witness to ``arr_utc``."""

    @pa.dataframe_check(description="Scheduled departure falls into the UTC hour that the vendor names")
    def departure_in_hour(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("sched_dep_utc").dt.truncate("1h") == pl.col("sched_dep_hour_utc"), data)

    @pa.dataframe_check(description="Scheduled departure + delay is the departure time on New York's clock")
    def departure_on_clock(cls, data: pa.PolarsData) -> pl.LazyFrame:
        local = pl.col("dep_utc").dt.convert_time_zone(NEW_YORK)
        shown = local.dt.hour().cast(pl.Int64) * 60 + local.dt.minute()
        return rows_where(shown == pl.col("dep_clock_min") % 1440, data)

    @pa.dataframe_check(
        description="Scheduled arrival + delay is the arrival time on the clock, to the minute past the hour"
    )
    def arrival_on_clock(cls, data: pa.PolarsData) -> pl.LazyFrame:
        # Every zone served is whole hours from UTC. The hour itself is left out: on 2013-03-10 one flight arrived by a
        # clock that had not been set forward.
        return rows_where(pl.col("arr_utc").dt.minute() == pl.col("arr_clock_min") % 60, data)

    @pa.dataframe_check(
        description="A flight is cancelled, or it has a departure; a cancelled one has no times of travel"
    )
    def cancelled_or_departed(cls, data: pa.PolarsData) -> pl.LazyFrame:
        travel = pl.col("dep_utc", "arr_utc", "arr_clock_min", "arr_delay_min", "air_time_min")
        stayed = pl.all_horizontal(travel.is_null())
        return rows_where(pl.when("cancelled").then(stayed).otherwise(pl.col("dep_utc").is_not_null()), data)

    @pa.dataframe_check(description="Air time is known if and only if the flight arrived as scheduled")
    def air_time_if_arrived(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("air_time_min").is_null() == pl.col("arr_delay_min").is_null(), data)

    @pa.dataframe_check(description="The schedule allows 20 to 900 minutes from gate to gate")
    def schedule_plausible(cls, data: pa.PolarsData) -> pl.LazyFrame:
        # 2013: 50 to 700. A clock time read in the wrong zone, or half a day off, lands outside.
        return rows_where(_minutes("sched_arr_utc", "sched_dep_utc").is_between(20, 900), data)

    @pa.dataframe_check(description="Arrival is after departure")
    def arrival_after_departure(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("arr_utc") > pl.col("dep_utc"), data)

    @pa.dataframe_check(description="Beside its air time a flight spends 0 to 360 minutes on the ground")
    def ground_time_plausible(cls, data: pa.PolarsData) -> pl.LazyFrame:
        # 2013: 5 to 235. US rules limit the wait on the tarmac to three hours at either end.
        return rows_where((_minutes("arr_utc", "dep_utc") - pl.col("air_time_min")).is_between(0, 360), data)

    @pa.dataframe_check(description="Mean speed in the air is 50 to 660 mph, the speed of sound at cruising height")
    def slower_than_sound(cls, data: pa.PolarsData) -> pl.LazyFrame:
        # 2013: 77 to 650, and one of 703: DL 1499 LGA-ATL on 2013-05-25, whose air time is an error (762 mi in 65 min;
        # the others took 86 to 175).
        mph = pl.col("distance_mi") * 60 / pl.col("air_time_min")
        return rows_where(mph.is_between(50, 660), data)


def every_airport_flew(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each of the three airports has at least 100 scheduled flights (2013: 171 to 377)."""
    return each_airport_has(rows, 100)


STG_FLIGHTS = Contract(
    Flights,
    key=("date", "origin", "carrier", "flight"),
    owner=OWNER,
    description="Flights from New York's airports, one row per scheduled flight and local day.",
    on_breach=Split(max_fraction=0.05),
    min_rows=300,
    max_rows=2000,
    drop_duplicates=True,
    table_rules=(every_airport_flew,),
    # 2013: every carrier is known; 2.3 % of the flights, 4.6 % on one day, go to airports that the list lacks.
    references=(Reference(("carrier",), "stg_airlines", 0.01), Reference(("dest",), "stg_airports", 0.15)),
)


class Weather(pa.DataFrameModel):
    """One hourly report of an airport's weather station. Bounds are records of the north-eastern US, with room."""

    date: pl.Date
    """Local day of the observation (America/New_York)."""
    origin: str = field(isin=list(AIRPORTS))
    observed_utc: Utc
    temp_f: float = field(nullable=True, unit="°F", quantum=0.01, in_range={"min_value": -60, "max_value": 130})
    dewp_f: float = field(nullable=True, unit="°F", quantum=0.01, in_range={"min_value": -80, "max_value": 95})
    humid_pct: float = field(nullable=True, unit="%", quantum=0.01, in_range={"min_value": 0, "max_value": 100})
    wind_dir_deg: int = field(nullable=True, unit="°", in_range={"min_value": 0, "max_value": 360})
    wind_speed_mph: float = field(nullable=True, unit="mph", quantum=1e-5, in_range={"min_value": 0, "max_value": 250})
    """The strongest gust ever measured had 253 mph. 2013: up to 43, and one report of 1,048 (EWR, 02-12 08:00 UTC)."""
    wind_gust_mph: float = field(nullable=True, unit="mph", quantum=1e-5, in_range={"min_value": 0, "max_value": 253})
    precip_in: float = field(unit="in", quantum=0.01, in_range={"min_value": 0, "max_value": 15})
    pressure_mb: float = field(nullable=True, unit="mb", quantum=0.1, in_range={"min_value": 900, "max_value": 1080})
    visib_mi: float = field(unit="mi", quantum=0.01, in_range={"min_value": 0, "max_value": 10})
    """Stations report 10 for all that is farther."""

    @pa.dataframe_check(description="Observations are on the hour")
    def on_the_hour(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("observed_utc").dt.truncate("1h") == pl.col("observed_utc"), data)

    @pa.dataframe_check(description="The dew point is not above the temperature")
    def dew_point_below_temperature(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("dewp_f") <= pl.col("temp_f"), data)

    @pa.dataframe_check(description="A gust is not weaker than the wind")
    def gust_above_wind(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("wind_gust_mph") >= pl.col("wind_speed_mph"), data)


def every_station_reported(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each of the three stations has reports of at least 16 hours (2013: 19 to 24)."""
    return each_airport_has(rows, 16)


STG_WEATHER = Contract(
    Weather,
    key=("origin", "observed_utc"),
    owner=OWNER,
    description="Hourly weather at New York's airports.",
    # Three of about 72 rows; the source has nothing at all for 2013-12-31, hence no min_rows.
    on_breach=Split(max_fraction=0.05),
    max_rows=75,
    drop_duplicates=True,
    table_rules=(every_station_reported,),
)
