"""Airport terminals, for tests of every kind of partition: counts by the hour, by airport and day, and by airport.

counts (hourly, New York)       → raw_counts → stg_counts → hall_days (daily), busiest (hours of the day before)
visits (airport and day)        → raw_visits → stg_visits → visit_days (daily), visit_trend (airport and day, two days)
staff (airport)                 → raw_staff  → stg_staff  → staff_regions (region)
                                              stg_visits  → all_visits (whole, of all), last_hall (whole, of the last)
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, Utc
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Partial
from sh_core.mapping import All, Dimensions, Keys, Last, Window
from sh_core.parsing import as_is, integer, parse, text
from sh_core.partitions import Daily, Hourly, Multi, Static, Unpartitioned
from sh_core.table import Station, raw_table, table
from sh_resources.clock import Clock, ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine

NEW_YORK = "America/New_York"
ZONE: tzinfo = ZoneInfo(NEW_YORK)
FIRST, LAST = date(2024, 11, 2), date(2024, 11, 4)
"""The clock is put back on the third."""

NOW = datetime(2024, 12, 1, tzinfo=UTC)
OWNER = "team:test"

HOURS = Hourly(FIRST, LAST, timezone=NEW_YORK)
HALL_DAYS = Daily(FIRST, LAST, timezone=NEW_YORK)
DAYS = Daily(FIRST, column="day")
"""Without end."""
AIRPORTS = Static(("JFK", "LGA", "San José"), column="airport")
REGIONS = Static(("east", "south"), column="region")
IN_REGION = Keys({"east": ("JFK", "LGA"), "south": ("San José",)})
VISITS_BY = Multi(day=DAYS, airport=AIRPORTS)

COUNTS = Feed("counts", "counts_{partition}.csv", ("gate", "people"), HOURS, owner=OWNER)
VISITS = Feed("visits", "{airport}_{day}.csv", ("visitor", "minutes"), VISITS_BY, owner=OWNER)
STAFF = Feed("staff", "staff_{partition}.csv", ("person",), AIRPORTS, owner=OWNER)


class Count(pa.DataFrameModel):
    hour: Utc
    gate: str
    people: int = pa.Field(ge=0)


class HallDay(pa.DataFrameModel):
    date: pl.Date
    hours: int
    people: int


class Visit(pa.DataFrameModel):
    airport: str
    day: pl.Date
    visitor: str
    minutes: int = pa.Field(ge=0)


class VisitDay(pa.DataFrameModel):
    day: pl.Date
    visits: int
    airports: int


class Trend(pa.DataFrameModel):
    airport: str
    day: pl.Date
    visits: int
    before: int


class Person(pa.DataFrameModel):
    airport: str
    person: str


class Region(pa.DataFrameModel):
    region: str
    persons: int


class Total(pa.DataFrameModel):
    what: str
    total: int


@table(contract=Contract(Count, key=("gate",), owner=OWNER), partitions=HOURS, station=Station.STAGED)
def stg_counts(raw_counts: pl.LazyFrame) -> pl.LazyFrame:
    """Counts, typed."""
    return parse(raw_counts, hour=as_is("hour"), gate=text("gate"), people=integer("people"))


@table(
    contract=Contract(HallDay, key=("date",), owner=OWNER),
    partitions=HALL_DAYS,
    station=Station.MART,
    reads={"stg_counts": ("hour", "people")},
)
def hall_days(stg_counts: pl.LazyFrame) -> pl.LazyFrame:
    """People in the halls on a day of New York, 25 hours long where the clock is put back."""
    local = stg_counts.with_columns(date=pl.col("hour").dt.convert_time_zone(NEW_YORK).dt.date())
    return local.group_by("date").agg(
        hours=pl.col("hour").n_unique().cast(pl.Int64), people=pl.col("people").sum().cast(pl.Int64)
    )


@table(contract=Contract(Visit, key=("visitor",), owner=OWNER), partitions=VISITS_BY, station=Station.STAGED)
def stg_visits(raw_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Visits, typed."""
    airport, day = as_is("airport"), as_is("day")
    return parse(raw_visits, airport=airport, day=day, visitor=text("visitor"), minutes=integer("minutes"))


@table(
    contract=Contract(VisitDay, key=("day",), owner=OWNER),
    partitions=DAYS,
    station=Station.MART,
    reads={"stg_visits": ("airport", "day")},
)
def visit_days(stg_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Visits of a day, at all airports."""
    return stg_visits.group_by("day").agg(
        visits=pl.len().cast(pl.Int64), airports=pl.col("airport").n_unique().cast(pl.Int64)
    )


@table(
    contract=Contract(Trend, key=("airport",), owner=OWNER),
    partitions=VISITS_BY,
    station=Station.MART,
    reads={
        "today": Input("stg_visits", ("airport", "day")),
        "before": Input("stg_visits", ("day",), window=Dimensions(day=Window(-1, -1)), present=Partial()),
    },
)
def visit_trend(today: pl.LazyFrame, before: pl.LazyFrame) -> pl.LazyFrame:
    """Visits of an airport, beside those of the day before."""
    earlier = before.select(before=pl.len().cast(pl.Int64))
    return today.group_by("airport", "day").agg(visits=pl.len().cast(pl.Int64)).join(earlier, how="cross")


@table(contract=Contract(Person, key=("person",), owner=OWNER), partitions=AIRPORTS, station=Station.STAGED)
def stg_staff(raw_staff: pl.LazyFrame) -> pl.LazyFrame:
    """Who works where."""
    return parse(raw_staff, airport=as_is("airport"), person=text("person"))


@table(
    contract=Contract(Region, key=("region",), owner=OWNER),
    partitions=REGIONS,
    station=Station.MART,
    reads={
        "stg_staff": Input("stg_staff", ("airport",), window=Keys({"east": ("JFK", "LGA"), "south": ("San José",)}))
    },
)
def staff_regions(stg_staff: pl.LazyFrame) -> pl.LazyFrame:
    """Persons by region."""
    south = pl.col("airport") == "San José"
    region = pl.when(south).then(pl.lit("south")).otherwise(pl.lit("east"))
    return stg_staff.group_by(region.alias("region")).agg(persons=pl.len().cast(pl.Int64))


@table(
    contract=Contract(Total, key=("what",), owner=OWNER),
    partitions=Unpartitioned(),
    station=Station.MART,
    reads={"stg_visits": Input("stg_visits", ("minutes",), window=All(), present=Partial())},
)
def all_visits(stg_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Minutes of all visits ever."""
    return stg_visits.select(what=pl.lit("minutes"), total=pl.col("minutes").sum().cast(pl.Int64))


@table(
    contract=Contract(Total, key=("what",), owner=OWNER),
    partitions=Unpartitioned(),
    station=Station.MART,
    reads={"hall_days": Input("hall_days", ("people",), window=Last())},
)
def last_hall(hall_days: pl.LazyFrame) -> pl.LazyFrame:
    """People of the last day."""
    return hall_days.select(what=pl.lit("people"), total=pl.col("people"))


TABLES = (
    raw_table(COUNTS),
    stg_counts,
    hall_days,
    raw_table(VISITS),
    stg_visits,
    visit_days,
    visit_trend,
    raw_table(STAFF),
    stg_staff,
    staff_regions,
    all_visits,
    last_hall,
)
GRAPH = Graph.of(TABLES)


def deliver(home: Path, feed: Feed, key: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Let a file land whole."""
    folder = home / "landing" / feed.name
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(feed.columns), *(",".join(map(str, row)) for row in rows)]
    (folder / feed.expected_file(key)).write_text("".join(f"{line}\n" for line in lines))


def deliver_all(home: Path) -> None:
    """Every file: ten people per hour, airport i with i + 1 visits a day, two persons per airport."""
    for key in HOURS.keys():  # noqa: SIM118 - a method of ours
        deliver(home, COUNTS, key, [("g1", 4), ("g2", 6)])
    for day in DAYS.between(FIRST, LAST):
        for i, airport in enumerate(AIRPORTS.of):
            deliver(home, VISITS, f"{airport}|{day}", [(f"v{n}", 10) for n in range(i + 1)])
    for airport in AIRPORTS.of:
        deliver(home, STAFF, airport, [(f"{airport} 1",), (f"{airport} 2",)])


def engine_at(home: Path, clock: Clock | None = None) -> Engine:
    """An engine on these tables."""
    return open_engine(load({"SELFHEAL_HOME": str(home)}), GRAPH, clock=clock or ManualClock(NOW))
