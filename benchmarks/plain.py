"""The year of flights without this project: a plain Polars script, the measure of what the engine costs.

Belongs here: the fastest sensible way to turn the delivered CSV files into the same tables, in memory from end to end.
Does not belong here: what the engine does beyond it (judging, versions, archive, transactions, ledger), timing.
Invariant: every table has the rows and columns that the engine publishes of it, in ``<table>/date=<day>/*.parquet``;
transforms and rounding are the product's own expressions, so that only the way around them differs.

    python -m benchmarks.plain LANDING OUT [--one-file]
"""

import argparse
from pathlib import Path

import polars as pl

from sh_assets.flights import mart_daily_delays, stg_flights, stg_weather
from sh_assets.flights.feeds import DAYS, FLIGHT_FEEDS, WEATHER_FEEDS
from sh_core.columns import FILE, LINE
from sh_core.feed import Feed
from sh_core.gate_rows import quantise
from sh_core.table import Table

_DAY_OF_NAME = r"_(\d{4}-\d{2}-\d{2})\.csv$"


def run(landing: Path, out: Path, *, per_day: bool = True) -> None:
    """Make all nine tables.

    Args:
        landing: Holds one folder of CSV files per feed.
        out: Where the tables' folders go.
        per_day: One Parquet file per table and day; otherwise one per table.
    """
    raw = {feed.name: _read(landing, feed).collect() for feed in (*FLIGHT_FEEDS, *WEATHER_FEEDS)}
    for name, rows in raw.items():
        _write(rows, out / f"raw_{name}", per_day=per_day)
    flights = _staged(stg_flights, [raw[feed.name] for feed in FLIGHT_FEEDS])
    _write(flights, out / stg_flights.name, per_day=per_day)
    _write(_staged(stg_weather, [raw[feed.name] for feed in WEATHER_FEEDS]), out / stg_weather.name, per_day=per_day)
    _write(_computed(mart_daily_delays, [flights]), out / mart_daily_delays.name, per_day=per_day)


def _read(landing: Path, feed: Feed) -> pl.LazyFrame:
    """Every file of a feed as text, with its day, name and line numbers."""
    rows = pl.scan_csv(
        landing / feed.name / "*.csv",
        schema=dict.fromkeys(feed.columns, pl.String()),
        empty_string_is_null=False,
        include_file_paths="_path",
    )
    path = pl.col("_path")
    return rows.select(
        *feed.columns,
        path.str.extract(_DAY_OF_NAME).str.to_date().alias(DAYS.column),
        (pl.lit(f"{feed.name}/") + path.str.split("/").list.last()).alias(FILE),
        pl.int_range(2, pl.len() + 2).over(path).alias(LINE),
    )


def _computed(table: Table, inputs: list[pl.DataFrame]) -> pl.DataFrame:
    if table.transform is None:
        raise TypeError(table.name)
    given = {i.table: rows.lazy() for i, rows in zip(table.inputs, inputs, strict=True)}
    return quantise(table.transform(**given).collect(), table.contract.quanta)


def _staged(table: Table, inputs: list[pl.DataFrame]) -> pl.DataFrame:
    """Rows as published: lineage kept, and the few that the contract sets aside left in."""
    return _computed(table, inputs).select(*table.contract.columns, FILE, LINE)


def _write(rows: pl.DataFrame, folder: Path, *, per_day: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if per_day:
        rows.lazy().sink_parquet(pl.PartitionBy(folder, key=DAYS.column, include_key=False))
    else:
        rows.write_parquet(folder / "all.parquet")


def _main() -> None:
    parser = argparse.ArgumentParser(description="The year of flights as a plain Polars script.")
    parser.add_argument("landing", type=Path, help="landing zone with one folder per feed")
    parser.add_argument("out", type=Path, help="folder for the tables")
    parser.add_argument("--one-file", action="store_true", help="one Parquet file per table instead of one per day")
    given = parser.parse_args()
    run(given.landing, given.out, per_day=not given.one_file)


if __name__ == "__main__":
    _main()
