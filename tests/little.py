"""A little graph for tests: thermometer readings, one file a day.

readings (feed) → raw_readings → stg_readings → mart_sensor_means. Values are 0 to 100; a value outside is broken and
is split off while at most half of a day's rows are broken; a day with more is withheld.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, Split, field
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.parsing import integer, number, parse, text
from sh_core.partitions import Daily
from sh_core.table import Station, raw_table, table
from sh_resources.clock import Clock, ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
DAYS = Daily(date(2030, 1, 1), date(2030, 1, 31))
READINGS = Feed("readings", "readings_{partition}.csv", ("sensor", "minute", "value"), DAYS, owner="team:test")


class Reading(pa.DataFrameModel):
    """One row per sensor and minute."""

    date: pl.Date
    sensor: str
    minute: int = field(unit="min", ge=0)
    value: float = field(unit="°C", ge=0, le=100)


class SensorMean(pa.DataFrameModel):
    """One row per day and sensor."""

    date: pl.Date
    sensor: str
    readings: int = field(ge=1)
    value_mean: float = field(unit="°C", ge=0, le=100, quantum=0.001)


READING = Contract(
    Reading, key=("sensor", "minute"), owner="team:test", on_breach=Split(max_fraction=0.5), drop_duplicates=True
)
MEAN = Contract(SensorMean, key=("sensor",), owner="team:test")


@table(contract=READING, partitions=DAYS, station=Station.STAGED)
def stg_readings(raw_readings: pl.LazyFrame) -> pl.LazyFrame:
    """Readings, typed."""
    typed = parse(raw_readings, sensor=text("sensor"), minute=integer("minute"), value=number("value"))
    return pl.concat([typed, raw_readings.select("date")], how="horizontal")


@table(contract=MEAN, partitions=DAYS, station=Station.MART, reads={"stg_readings": ["date", "value"]})
def mart_sensor_means(stg_readings: pl.LazyFrame) -> pl.LazyFrame:
    """Means per sensor."""
    return stg_readings.group_by("date", "sensor").agg(
        readings=pl.len().cast(pl.Int64), value_mean=pl.col("value").sum() / pl.len()
    )


TABLES = (raw_table(READINGS), stg_readings, mart_sensor_means)
GRAPH = Graph.of(TABLES)
NAMES = tuple(t.name for t in GRAPH.tables)


def deliver(home: Path, partition: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Let a file of readings land whole."""
    folder = home / "landing" / READINGS.name
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(READINGS.columns), *(",".join(map(str, row)) for row in rows)]
    part = folder / f".{partition}.part"
    part.write_text("".join(f"{line}\n" for line in lines))
    part.replace(folder / READINGS.expected_file(partition))


def engine_at(home: Path, clock: Clock | None = None, **options: Any) -> Engine:  # noqa: ANN401 - those of open_engine
    """An engine on the little graph with its state in a folder."""
    return open_engine(load({"SELFHEAL_HOME": str(home)}), GRAPH, clock=clock or ManualClock(NOON), **options)
