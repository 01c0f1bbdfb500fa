"""The year of flights without this project: a plain Polars script, the measure of what the engine costs.

Belongs here: the fastest sensible way to turn the delivered CSV files into the same tables, in memory from end to end.
Does not belong here: what the engine does beyond it (judging, versions, archive, transactions, ledger), timing.
Invariant: every table has the rows and columns that the engine publishes, in ``<table>/<column>=<key>/*.parquet``;
transforms and rounding are the product's own expressions where they can take the year at once, so that only the way
around them differs. The two rows that the contracts set aside are filtered out by hand, as a script's author would.

    python -m benchmarks.plain LANDING OUT [--one-file]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from sh_assets.flights import TABLES
from sh_assets.flights.features import feat_departure_delay
from sh_assets.flights.feeds import DAYS, FLIGHT_FEEDS, REFERENCE_FEEDS, WEATHER_FEEDS
from sh_assets.flights.marts import mart_daily_delays, mart_route_rolling_7d
from sh_core.columns import FILE, LINE
from sh_core.feed import Feed
from sh_core.gate_rows import quantise
from sh_core.partitions import Unpartitioned
from sh_core.table import Station, Table

_DAY_OF_NAME = r"_(\d{4}-\d{2}-\d{2})\.csv$"

_SOUND_MPH, _STRONGEST_MPH = 660, 250
_HOLDS = {
    "stg_flights": (pl.col("distance_mi") * 60 / pl.col("air_time_min") <= _SOUND_MPH).fill_null(value=True),
    "stg_weather": (pl.col("wind_speed_mph") <= _STRONGEST_MPH).fill_null(value=True),
}
"""The two rules that the year breaks."""


def run(landing: Path, out: Path, *, cut: bool = True) -> None:
    """Make all tables.

    Args:
        landing: Holds one folder of CSV files per feed.
        out: Where the tables' folders go.
        cut: One Parquet file per table and partition; otherwise one per table.
    """
    made: dict[str, pl.DataFrame] = {}
    for feed in (*FLIGHT_FEEDS, *WEATHER_FEEDS, *REFERENCE_FEEDS):
        made[f"raw_{feed.name}"] = _read(landing, feed).collect()
    for table in TABLES:
        if table is mart_route_rolling_7d:
            made[table.name] = quantise(_rolling(made["stg_flights"]).collect(), table.contract.quanta)
        elif table is feat_departure_delay:
            made[table.name] = quantise(_features(made).collect(), table.contract.quanta)
        elif table.transform is not None:
            given = {i.name: made[i.table].lazy() for i in table.inputs}
            rows = quantise(table.transform(**given).collect(), table.contract.quanta)
            if table.station is Station.STAGED:
                rows = rows.filter(_HOLDS.get(table.name, True)).select(*table.contract.columns, FILE, LINE)
            made[table.name] = rows
        _write(made[table.name], table, out / table.name, cut=cut)


def _read(landing: Path, feed: Feed) -> pl.LazyFrame:
    """Every file of a feed as text, with its day, name and line numbers."""
    rows = pl.scan_csv(
        landing / feed.name / "*.csv",
        schema=dict.fromkeys(feed.columns, pl.String()),
        empty_string_is_null=False,
        include_file_paths="_path",
    )
    path = pl.col("_path")
    day = [] if isinstance(feed.partitions, Unpartitioned) else [path.str.extract(_DAY_OF_NAME).str.to_date()]
    return rows.select(
        *feed.columns,
        *(column.alias(DAYS.column) for column in day),
        (pl.lit(f"{feed.name}/") + path.str.split("/").list.last()).alias(FILE),
        pl.int_range(2, pl.len() + 2).over(path).alias(LINE),
    )


def _rolling(flights: pl.DataFrame) -> pl.LazyFrame:
    """``mart_route_rolling_7d`` for the year at once: sums per day, each counted for seven days."""
    delay = pl.col("dep_delay_min")
    days = (
        flights.lazy()
        .group_by("date", "origin", "dest")
        .agg(pl.len().cast(pl.Int64).alias("flights_7d"), delay.sum().alias("delay"), delay.count().alias("known"))
        .collect()
    )
    weeks = pl.concat([days.with_columns(pl.col("date").dt.offset_by(f"{n}d")) for n in range(7)]).lazy()
    return (
        weeks.filter(pl.col("date") <= flights["date"].max())
        .group_by("date", "origin", "dest")
        .agg(pl.col("flights_7d", "delay", "known").sum())
        .select(
            *("date", "origin", "dest", "flights_7d"),
            pl.when(pl.col("known") > 0).then(pl.col("delay") / pl.col("known")).alias("dep_delay_mean_7d_min"),
        )
    )


def _features(made: Mapping[str, pl.DataFrame]) -> pl.LazyFrame:
    """``feat_departure_delay`` for the year at once: yesterday's figures are moved to the day that may use them."""
    tomorrow = pl.col("date").dt.offset_by("1d")
    flights = made["stg_flights"].lazy()
    routes = made[mart_route_rolling_7d.name].lazy().with_columns(tomorrow)
    carriers = made[mart_daily_delays.name].lazy().with_columns(tomorrow)
    # The transform joins by route and carrier; for the year the day belongs to both, so it is made part of them.
    day = pl.col("date").cast(pl.String)
    dated = feat_departure_delay.transform
    if dated is None:
        raise TypeError(feat_departure_delay.name)
    origin = (day + pl.col("origin")).alias("origin")
    return dated(
        stg_flights=flights.with_columns(origin),
        int_flights_weather=made["int_flights_weather"].lazy().with_columns(origin),
        stg_airports=made["stg_airports"].lazy(),
        routes=routes.with_columns(origin),
        carriers=carriers.with_columns(origin),
    ).with_columns(pl.col("origin").str.slice(len("2013-01-01")))


def _write(rows: pl.DataFrame, table: Table, folder: Path, *, cut: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    column = table.partitions.column
    if cut and column is not None:
        rows.lazy().sink_parquet(pl.PartitionBy(folder, key=column, include_key=False))
    else:
        rows.write_parquet(folder / "all.parquet")


def _main() -> None:
    parser = argparse.ArgumentParser(description="The year of flights as a plain Polars script.")
    parser.add_argument("landing", type=Path, help="landing zone with one folder per feed")
    parser.add_argument("out", type=Path, help="folder for the tables")
    parser.add_argument("--one-file", action="store_true", help="one Parquet file per table, not per partition")
    given = parser.parse_args()
    run(given.landing, given.out, cut=not given.one_file)


if __name__ == "__main__":
    _main()
