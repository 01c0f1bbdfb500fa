"""Features: what a model may know of a flight before it departs.

Belongs here: figures that are known at scheduled departure. Does not belong here: what is to be predicted, and anything
that the flight itself or others of its day brought about; an aircraft's registration too, since it is missing mostly
where a flight was cancelled. Invariant: no change of a fact from after a flight's scheduled departure changes its row
(``tests/scenarios/test_features.py`` tries).
"""

import pandera.polars as pa
import polars as pl

from sh_assets.flights.contracts import OWNER, Utc
from sh_assets.flights.feeds import AIRPORTS, DAYS
from sh_assets.flights.zones import NEW_YORK
from sh_core.contract import Contract, field
from sh_core.inputs import Input, Lookup, Partial
from sh_core.mapping import Window
from sh_core.table import Station, table

YESTERDAY = Window(-1, -1)


class DepartureDelay(pa.DataFrameModel):
    """One scheduled flight."""

    date: pl.Date
    origin: str = field(isin=list(AIRPORTS))
    carrier: str
    flight: int
    dest: str
    sched_dep_utc: Utc
    weekday: int = field(in_range={"min_value": 1, "max_value": 7})
    """Monday is 1 (ISO 8601)."""
    sched_dep_local_min: int = field(unit="min", in_range={"min_value": 0, "max_value": 1439})
    """After midnight in New York."""
    sched_duration_min: int = field(nullable=True, unit="min", ge=1)
    """From gate to gate; null if the destination's zone is unknown."""
    distance_mi: int = field(unit="mi", ge=1)
    temp_f: float = field(nullable=True, unit="°F", quantum=0.01)
    wind_speed_mph: float = field(nullable=True, unit="mph", quantum=1e-5)
    precip_in: float = field(nullable=True, unit="in", quantum=0.01)
    visib_mi: float = field(nullable=True, unit="mi", quantum=0.01)
    weather_age_min: int = field(nullable=True, unit="min", ge=0)
    dest_lat_deg: float = field(nullable=True, unit="°", quantum=1e-6)
    dest_lon_deg: float = field(nullable=True, unit="°", quantum=1e-6)
    route_flights_7d: int = field(nullable=True, ge=1)
    """Flights of the route in the seven days up to yesterday."""
    route_dep_delay_mean_7d_min: float = field(nullable=True, unit="min", quantum=1e-6)
    carrier_dep_delay_mean_1d_min: float = field(nullable=True, unit="min", quantum=1e-6)
    """Yesterday's, of this carrier from this airport."""
    carrier_cancelled_share_1d: float = field(nullable=True, quantum=1e-6, in_range={"min_value": 0, "max_value": 1})


FEAT_DEPARTURE_DELAY = Contract(
    DepartureDelay,
    key=("date", "origin", "carrier", "flight"),
    owner=OWNER,
    description="Features of each flight for a model of its departure delay.",
)


@table(
    contract=FEAT_DEPARTURE_DELAY,
    partitions=DAYS,
    station=Station.FEATURE,
    reads={
        "stg_flights": (
            *("date", "origin", "carrier", "flight", "dest"),
            *("sched_dep_utc", "sched_arr_utc", "distance_mi"),
        ),
        "int_flights_weather": ("temp_f", "wind_speed_mph", "precip_in", "visib_mi", "weather_age_min"),
        "stg_airports": Input("stg_airports", ("lat_deg", "lon_deg"), lookup=Lookup("stg_flights", ("dest",))),
        # A flight of today does not wait for yesterday: a model can do without, and the row is computed again later.
        "routes": Input("mart_route_rolling_7d", window=YESTERDAY, present=Partial()),
        "carriers": Input(
            "mart_daily_delays", ("flights", "cancelled", "dep_delay_mean_min"), window=YESTERDAY, present=Partial()
        ),
    },
    group="features",
)
def feat_departure_delay(
    stg_flights: pl.LazyFrame,
    int_flights_weather: pl.LazyFrame,
    stg_airports: pl.LazyFrame,
    routes: pl.LazyFrame,
    carriers: pl.LazyFrame,
) -> pl.LazyFrame:
    """One row per scheduled flight, with what was known of it, of its route and of its carrier before it departed.

    Rolling figures end yesterday. Join it with ``stg_flights`` on the key for what is to be predicted.
    """
    local = pl.col("sched_dep_utc").dt.convert_time_zone(NEW_YORK)
    route = routes.select(
        *("origin", "dest"),
        pl.col("flights_7d").alias("route_flights_7d"),
        pl.col("dep_delay_mean_7d_min").alias("route_dep_delay_mean_7d_min"),
    )
    carrier = carriers.select(
        *("origin", "carrier"),
        pl.col("dep_delay_mean_min").alias("carrier_dep_delay_mean_1d_min"),
        (pl.col("cancelled") / pl.col("flights")).alias("carrier_cancelled_share_1d"),
    )
    return (
        stg_flights.join(int_flights_weather, on=["date", "origin", "carrier", "flight"], how="left")
        .join(stg_airports, left_on="dest", right_on="airport", how="left")
        .join(route, on=["origin", "dest"], how="left")
        .join(carrier, on=["origin", "carrier"], how="left")
        .select(
            *("date", "origin", "carrier", "flight", "dest", "sched_dep_utc"),
            pl.col("date").dt.weekday().cast(pl.Int64).alias("weekday"),
            (local.dt.hour().cast(pl.Int64) * 60 + local.dt.minute()).alias("sched_dep_local_min"),
            (pl.col("sched_arr_utc") - pl.col("sched_dep_utc")).dt.total_minutes().alias("sched_duration_min"),
            "distance_mi",
            *("temp_f", "wind_speed_mph", "precip_in", "visib_mi", "weather_age_min"),
            pl.col("lat_deg").alias("dest_lat_deg"),
            pl.col("lon_deg").alias("dest_lon_deg"),
            *("route_flights_7d", "route_dep_delay_mean_7d_min"),
            *("carrier_dep_delay_mean_1d_min", "carrier_cancelled_share_1d"),
        )
    )
