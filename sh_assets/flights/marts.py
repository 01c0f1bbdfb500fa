"""Marts: figures that people ask for, computed from staged tables.

Belongs here: sums and counts per day. Does not belong here: parsing, repair. Invariant: integers are summed and divided
once, so that the order of rows cannot show in a figure.
"""

import polars as pl

from sh_assets.flights.contracts import MART_DAILY_DELAYS
from sh_assets.flights.feeds import DAYS
from sh_core.table import Station, table

LATE_MIN = 15
"""Minutes after schedule from which a departure counts as delayed (US Bureau of Transportation Statistics)."""


@table(
    contract=MART_DAILY_DELAYS,
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_flights": ("date", "origin", "carrier", "cancelled", "dep_delay_min", "arr_delay_min")},
    group="flights",
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


def _mean(minutes: str) -> pl.Expr:
    known = pl.col(minutes).count()
    return pl.when(known > 0).then(pl.col(minutes).sum() / known)
