"""A little graph for tests: one kind of reading, delivered in three formats.

meters_csv (gzip), meters_json (gzip), meters_parquet → raw tables → stg_meters → mart_meters. Half of a file's lines
may be unreadable, and half of a day's readings broken, before they are withheld. Files are a megabyte at most.
"""

import gzip
import io
import json
from collections.abc import Sequence
from datetime import date

import pandera.polars
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sh_core.contract import Contract, Split
from sh_core.contract import field as column
from sh_core.feed import Feed
from sh_core.formats import Csv, Format, JsonLines, Parquet
from sh_core.graph import Graph
from sh_core.parsing import integer, number, parse, text
from sh_core.partitions import Daily
from sh_core.table import Station, raw_table, table

DAYS = Daily(date(2030, 1, 1), date(2031, 12, 31))
COLUMNS = ("sensor", "minute", "value")
Row = tuple[str, int, float]


def _feed(kind: str, ending: str, layout: Format) -> Feed:
    name = f"meters_{kind}"
    file_name = f"{name}_{{partition}}.{ending}"
    return Feed(name, file_name, COLUMNS, DAYS, owner="team:test", format=layout, max_bytes=2**20, max_unparsable=0.5)


CSV = _feed("csv", "csv.gz", Csv(compression="gzip"))
JSON = _feed("json", "jsonl.gz", JsonLines(compression="gzip"))
PARQUET = _feed("parquet", "parquet", Parquet())
FEEDS = (CSV, JSON, PARQUET)


class Meter(pandera.polars.DataFrameModel):
    """One row per sensor and minute."""

    date: pl.Date
    sensor: str
    minute: int = column(unit="min", ge=0)
    value: float = column(unit="°C", ge=0, le=100)


class MeterMean(pandera.polars.DataFrameModel):
    """One row per sensor."""

    date: pl.Date
    sensor: str
    readings: int = column(ge=1)


METER = Contract(Meter, key=("sensor", "minute"), owner="team:test", on_breach=Split(0.5), drop_duplicates=True)


@table(contract=METER, partitions=DAYS, station=Station.STAGED)
def stg_meters(
    raw_meters_csv: pl.LazyFrame, raw_meters_json: pl.LazyFrame, raw_meters_parquet: pl.LazyFrame
) -> pl.LazyFrame:
    """Readings, typed."""
    raw = pl.concat([raw_meters_csv, raw_meters_json, raw_meters_parquet])
    typed = parse(raw, sensor=text("sensor"), minute=integer("minute"), value=number("value"))
    return pl.concat([typed, raw.select("date")], how="horizontal")


@table(contract=Contract(MeterMean, key=("sensor",), owner="team:test"), partitions=DAYS, station=Station.MART)
def mart_meters(stg_meters: pl.LazyFrame) -> pl.LazyFrame:
    """Readings per sensor."""
    return stg_meters.group_by("date", "sensor").agg(readings=pl.len().cast(pl.Int64))


TABLES = (*(raw_table(feed) for feed in FEEDS), stg_meters, mart_meters)
GRAPH = Graph.of(TABLES)


def readings(feed: Feed, count: int = 40) -> list[Row]:
    """Readings that hold, other sensors in each feed."""
    return [(f"{feed.name}-{n % 4}", n, n * 1.5) for n in range(count)]


def as_csv(rows: Sequence[Row]) -> bytes:
    """Not packed yet."""
    return "".join(f"{','.join(map(str, row))}\n" for row in (COLUMNS, *rows)).encode()


def as_json(rows: Sequence[Row]) -> bytes:
    """Not packed yet."""
    return "".join(f"{json.dumps(dict(zip(COLUMNS, row, strict=True)))}\n" for row in rows).encode()


def as_parquet(rows: Sequence[Row]) -> bytes:
    """As pyarrow writes it."""
    out = io.BytesIO()
    columns = zip(*rows, strict=True)
    pq.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), out, write_page_checksum=True)
    return out.getvalue()


def good(feed: Feed) -> bytes:
    """A file that holds."""
    rows = readings(feed)
    if feed is PARQUET:
        return as_parquet(rows)
    return gzip.compress(as_csv(rows) if feed is CSV else as_json(rows), mtime=0)
