"""Marts: figures that people ask for, computed from published tables.

Belongs here: sums and counts per day or month, and their contracts. Does not belong here: parsing, repair. Invariant:
integers are summed and divided once, so that the order of rows cannot show in a figure.
"""

# ruff: noqa: D102, N805  # Pandera makes class methods of checks, and takes their words from description=

import pandera.polars as pa
import polars as pl

from sh_assets.flights.contracts import OWNER, rows_where
from sh_assets.flights.feeds import AIRPORTS, DAYS, MONTHS
from sh_core.contract import Contract, field
from sh_core.inputs import Input, Lookup
from sh_core.mapping import Window
from sh_core.table import Station, table

LATE_MIN = 15
"""Minutes after schedule from which a flight counts as delayed (US Bureau of Transportation Statistics)."""


class DailyDelays(pa.DataFrameModel):
    """One day, airport of departure and carrier."""

    date: pl.Date
    origin: str = field(isin=list(AIRPORTS))
    carrier: str
    flights: int = field(ge=1)
    cancelled: int = field(ge=0)
    delayed_15: int = field(ge=0)
    """Flights that departed 15 minutes late or more."""
    dep_delay_mean_min: float = field(nullable=True, unit="min", quantum=1e-6)
    arr_delay_mean_min: float = field(nullable=True, unit="min", quantum=1e-6)

    @pa.dataframe_check(description="Cancelled and delayed flights are among the flights")
    def parts_fit_whole(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("cancelled") + pl.col("delayed_15") <= pl.col("flights"), data)


MART_DAILY_DELAYS = Contract(
    DailyDelays,
    key=("date", "origin", "carrier"),
    owner=OWNER,
    description="Flights, cancellations and delays per day, airport of departure and carrier.",
)


@table(
    contract=MART_DAILY_DELAYS,
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_flights": ("date", "origin", "carrier", "cancelled", "dep_delay_min", "arr_delay_min")},
    group="marts",
)
def mart_daily_delays(stg_flights: pl.LazyFrame) -> pl.LazyFrame:
    """One row per scheduled local day, airport of departure and carrier: how many flights, and how late.

    Means are minutes over the flights that departed (arrived) and null where none did; early ones count negative.
    """
    return stg_flights.group_by("date", "origin", "carrier").agg(
        pl.len().cast(pl.Int64).alias("flights"),
        pl.col("cancelled").sum().cast(pl.Int64),
        (pl.col("dep_delay_min") >= LATE_MIN).sum().cast(pl.Int64).alias("delayed_15"),
        _mean("dep_delay_min").alias("dep_delay_mean_min"),
        _mean("arr_delay_min").alias("arr_delay_mean_min"),
    )


class RouteRolling(pa.DataFrameModel):
    """One day and route, looking back a week."""

    date: pl.Date
    """Last day of the seven."""
    origin: str = field(isin=list(AIRPORTS))
    dest: str
    flights_7d: int = field(ge=1)
    """Flights scheduled on this day and the six before."""
    dep_delay_mean_7d_min: float = field(nullable=True, unit="min", quantum=1e-6)
    """Over those that departed; null if none did."""


MART_ROUTE_ROLLING_7D = Contract(
    RouteRolling,
    key=("date", "origin", "dest"),
    owner=OWNER,
    description="Flights and mean departure delay per route over seven days.",
)


@table(
    contract=MART_ROUTE_ROLLING_7D,
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_flights": Input("stg_flights", ("date", "origin", "dest", "dep_delay_min"), window=Window(-6, 0))},
    group="marts",
)
def mart_route_rolling_7d(stg_flights: pl.LazyFrame) -> pl.LazyFrame:
    """One row per day, origin and destination with a flight on that day or one of the six before.

    The first days of the year look back as far as there is something.
    """
    return (
        stg_flights.with_columns(pl.col("date").max())
        .group_by("date", "origin", "dest")
        .agg(
            pl.len().cast(pl.Int64).alias("flights_7d"),
            _mean("dep_delay_min").alias("dep_delay_mean_7d_min"),
        )
    )


class MonthlyPunctuality(pa.DataFrameModel):
    """One month and carrier."""

    month: pl.Date
    """Its first day."""
    carrier: str
    flights: int = field(ge=1)
    cancelled: int = field(ge=0)
    arrived: int = field(ge=0)
    """Arrived as scheduled: neither cancelled nor diverted."""
    on_time: int = field(ge=0)
    """Arrived less than 15 minutes late."""
    on_time_share: float = field(nullable=True, quantum=1e-6, in_range={"min_value": 0, "max_value": 1})
    """Of those that arrived; null if none did."""

    @pa.dataframe_check(
        description="Cancelled and arrived flights are among the flights, those on time among the arrived"
    )
    def parts_fit_whole(cls, data: pa.PolarsData) -> pl.LazyFrame:
        flights, arrived = pl.col("flights"), pl.col("arrived")
        return rows_where((pl.col("cancelled") + arrived <= flights) & (pl.col("on_time") <= arrived), data)


MART_MONTHLY_PUNCTUALITY = Contract(
    MonthlyPunctuality,
    key=("month", "carrier"),
    owner=OWNER,
    description="How many flights of a carrier arrived on time in a month.",
)


@table(
    contract=MART_MONTHLY_PUNCTUALITY,
    partitions=MONTHS,
    station=Station.MART,
    reads={"stg_flights": ("date", "carrier", "cancelled", "arr_delay_min")},
    group="marts",
)
def mart_monthly_punctuality(stg_flights: pl.LazyFrame) -> pl.LazyFrame:
    """One row per month and carrier; a month is there once all its days are."""
    late = pl.col("arr_delay_min")
    return (
        stg_flights.group_by(pl.col("date").dt.truncate("1mo").alias("month"), "carrier")
        .agg(
            pl.len().cast(pl.Int64).alias("flights"),
            pl.col("cancelled").sum().cast(pl.Int64),
            late.count().cast(pl.Int64).alias("arrived"),
            (late < LATE_MIN).sum().cast(pl.Int64).alias("on_time"),
        )
        .with_columns(_share("on_time", "arrived").alias("on_time_share"))
    )


class AircraftUtilisation(pa.DataFrameModel):
    """One day and aircraft that flew."""

    date: pl.Date
    tailnum: str = field(pii=True)
    flights: int = field(ge=1)
    """Flights that departed."""
    air_time_min: int = field(unit="min", ge=0)
    """Where it is known: not for diverted flights."""
    seats: int = field(nullable=True, unit="seats", ge=1)
    """Null for an aircraft that the register lacks."""
    seat_miles: int = field(nullable=True, unit="seat mi", ge=1)
    """Seats offered times statute miles of the departed flights."""


MART_AIRCRAFT_UTILISATION = Contract(
    AircraftUtilisation,
    key=("date", "tailnum"),
    owner=OWNER,
    description="What each aircraft did on a day.",
)


@table(
    contract=MART_AIRCRAFT_UTILISATION,
    partitions=DAYS,
    station=Station.MART,
    reads={
        "stg_flights": ("date", "tailnum", "cancelled", "air_time_min", "distance_mi"),
        "stg_planes": Input("stg_planes", ("seats",), lookup=Lookup("stg_flights", ("tailnum",))),
    },
    group="marts",
)
def mart_aircraft_utilisation(stg_flights: pl.LazyFrame, stg_planes: pl.LazyFrame) -> pl.LazyFrame:
    """One row per day and aircraft with at least one departure; flights of unnamed aircraft are left out."""
    return (
        stg_flights.filter(~pl.col("cancelled") & pl.col("tailnum").is_not_null())
        .group_by("date", "tailnum")
        .agg(
            pl.len().cast(pl.Int64).alias("flights"),
            pl.col("air_time_min").sum(),
            pl.col("distance_mi").sum(),
        )
        .join(stg_planes, on="tailnum", how="left")
        .select(
            *("date", "tailnum", "flights", "air_time_min", "seats"),
            (pl.col("seats") * pl.col("distance_mi")).alias("seat_miles"),
        )
    )


def _mean(minutes: str) -> pl.Expr:
    known = pl.col(minutes).count()
    return pl.when(known > 0).then(pl.col(minutes).sum() / known)


def _share(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))
