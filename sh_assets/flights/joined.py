"""Joined tables: facts brought together, row by row, before anything is summed.

Belongs here: which rows belong to each other. Does not belong here: figures over many rows (``marts``). Invariant: a
table here has one row for each row of the table that leads it, whether or not the others have something for it.
"""

# ruff: noqa: D102, N805  # Pandera makes class methods of checks, and takes their words from description=

import pandera.polars as pa
import polars as pl

from sh_assets.flights.contracts import OWNER, Utc, rows_where
from sh_assets.flights.feeds import AIRPORTS, DAYS
from sh_core.contract import Contract, field
from sh_core.inputs import Input, Partial
from sh_core.mapping import Window
from sh_core.table import Station, table

OLDEST_MIN = 180
"""Minutes before scheduled departure from which a weather report says nothing about it any more."""

WEATHER = (
    *("temp_f", "dewp_f", "humid_pct", "wind_dir_deg", "wind_speed_mph", "wind_gust_mph"),
    *("precip_in", "pressure_mb", "visib_mi"),
)
"""What a report says."""


class FlightsWeather(pa.DataFrameModel):
    """One flight with the weather that was known at its scheduled departure."""

    date: pl.Date
    origin: str = field(isin=list(AIRPORTS))
    carrier: str
    flight: int
    sched_dep_utc: Utc
    observed_utc: Utc = field(nullable=True)
    """Time of the report; null where there is none that is recent enough, as are all its figures."""
    weather_age_min: int = field(nullable=True, unit="min", in_range={"min_value": 0, "max_value": OLDEST_MIN})
    temp_f: float = field(nullable=True, unit="°F", quantum=0.01)
    dewp_f: float = field(nullable=True, unit="°F", quantum=0.01)
    humid_pct: float = field(nullable=True, unit="%", quantum=0.01)
    wind_dir_deg: int = field(nullable=True, unit="°")
    wind_speed_mph: float = field(nullable=True, unit="mph", quantum=1e-5)
    wind_gust_mph: float = field(nullable=True, unit="mph", quantum=1e-5)
    precip_in: float = field(nullable=True, unit="in", quantum=0.01)
    pressure_mb: float = field(nullable=True, unit="mb", quantum=0.1)
    visib_mi: float = field(nullable=True, unit="mi", quantum=0.01)

    @pa.dataframe_check(description="The report is from before scheduled departure")
    def known_at_departure(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return rows_where(pl.col("observed_utc") <= pl.col("sched_dep_utc"), data)


INT_FLIGHTS_WEATHER = Contract(
    FlightsWeather,
    key=("date", "origin", "carrier", "flight"),
    owner=OWNER,
    description="Each flight with the latest weather at its origin.",
)


@table(
    contract=INT_FLIGHTS_WEATHER,
    partitions=DAYS,
    station=Station.JOINED,
    reads={
        "stg_flights": ("date", "origin", "carrier", "flight", "sched_dep_utc"),
        # The night before, for flights right after midnight. A flight whose weather is late does not wait for it.
        "stg_weather": Input("stg_weather", WEATHER, window=Window(-1, 0), present=Partial(1)),
    },
    group="joined",
)
def int_flights_weather(stg_flights: pl.LazyFrame, stg_weather: pl.LazyFrame) -> pl.LazyFrame:
    """One row per flight: the latest report at its origin at or before scheduled departure, at most three hours old."""
    reports = stg_weather.select("origin", "observed_utc", *WEATHER).sort("observed_utc")
    flights = stg_flights.sort("sched_dep_utc").join_asof(
        reports,
        left_on="sched_dep_utc",
        right_on="observed_utc",
        by="origin",
        strategy="backward",
        tolerance=f"{OLDEST_MIN}m",
        coalesce=False,
        check_sortedness=False,  # both are sorted right here
    )
    age = (pl.col("sched_dep_utc") - pl.col("observed_utc")).dt.total_minutes()
    return flights.select(
        *("date", "origin", "carrier", "flight", "sched_dep_utc", "observed_utc"),
        age.alias("weather_age_min"),
        *WEATHER,
    )
