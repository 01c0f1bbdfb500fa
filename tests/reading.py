"""A little graph for tests of what tables read: bicycle rides, registers without partitions, weeks and months.

    rides (a day) → stg_rides ┬→ ride_details       looks up bikes by bike, stops twice by two columns, weather by city
    weather (a day) → stg_weather ┘
                              ├→ city_trends        today, the two days before, and the same day a week ago
                              ├→ recent_bikes       bikes that were ridden within three days
                              ├→ mild_days          weather of three days, as far as there is any
                              ├→ week_totals, month_totals
    bikes → stg_bikes         │   the register of bikes, which stg_rides refers to
    stops → stg_stops         │   the register of stops

The ten days begin on a Monday and end in the middle of a week, with a month's end between them.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, Reference, Split, field
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup, Partial
from sh_core.mapping import Window
from sh_core.outcome import Outcome, Published, Reused, Withheld
from sh_core.parsing import integer, parse, text
from sh_core.partitions import WHOLE, Daily, Monthly, Unpartitioned, Weekly
from sh_core.table import Station, raw_table, table
from sh_resources.clock import Clock, ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine

NOON = datetime(2030, 3, 1, 12, tzinfo=UTC)
DAYS = Daily(date(2030, 1, 28), date(2030, 2, 6))
WEEKS = Weekly(date(2030, 1, 28), date(2030, 2, 10))
MONTHS = Monthly(date(2030, 1, 1), date(2030, 2, 28))
REGISTER = Unpartitioned()
D = tuple(DAYS.keys())
OWNER = "team:test"

RIDES = Feed(
    "rides", "rides_{partition}.csv", ("ride", "bike", "city", "stop_from", "stop_to", "minutes"), DAYS, owner=OWNER
)
WEATHER = Feed("weather", "weather_{partition}.csv", ("city", "degrees"), DAYS, owner=OWNER)
BIKES = Feed("bikes", "bikes.csv", ("bike", "colour", "wheels"), REGISTER, owner=OWNER)
STOPS = Feed("stops", "stops.csv", ("city", "stop", "zone", "stop_to"), REGISTER, owner=OWNER)


class Ride(pa.DataFrameModel):
    """One row per ride; who rides without a city is not counted for one."""

    date: pl.Date
    ride: int
    bike: str = field(nullable=True)
    city: str = field(nullable=True)
    stop_from: str = field(nullable=True)
    stop_to: str = field(nullable=True)
    minutes: int = field(unit="min", ge=0)


class Weather(pa.DataFrameModel):
    """One row per city and day."""

    date: pl.Date
    city: str
    degrees: int = field(unit="°C", ge=-50, le=50)


class Bike(pa.DataFrameModel):
    """One row per bike."""

    bike: str
    colour: str
    wheels: int = field(ge=1, le=4)


class Stop(pa.DataFrameModel):
    """One row per city and stop; ``stop_to`` is where its shuttle goes, and is called like a column of the rides."""

    city: str
    stop: str
    zone: int
    stop_to: str = field(nullable=True)


class Detail(pa.DataFrameModel):
    """One row per ride."""

    date: pl.Date
    ride: int
    colour: str = field(nullable=True)
    zone_from: int = field(nullable=True)
    zone_to: int = field(nullable=True)
    shuttle_to: str = field(nullable=True)
    degrees: int = field(nullable=True)


class Trend(pa.DataFrameModel):
    """One row per city that had a ride."""

    date: pl.Date
    city: str
    today: int
    before: int
    week_ago: int


class BikeUse(pa.DataFrameModel):
    """One row per bike of the register."""

    date: pl.Date
    bike: str
    colour: str


class Mild(pa.DataFrameModel):
    """One row per city."""

    date: pl.Date
    city: str
    degrees: int


class WeekTotal(pa.DataFrameModel):
    """One row per city."""

    week: pl.Date
    city: str
    rides: int


class MonthTotal(pa.DataFrameModel):
    """One row per city."""

    month: pl.Date
    city: str
    rides: int


RIDE = Contract(
    Ride, key=("ride",), owner=OWNER, on_breach=Split(0.5), references=(Reference(("bike",), "stg_bikes", 0.5),)
)


@table(contract=RIDE, partitions=DAYS, station=Station.STAGED)
def stg_rides(raw_rides: pl.LazyFrame) -> pl.LazyFrame:
    """Rides, typed."""
    typed = parse(
        raw_rides,
        ride=integer("ride"),
        bike=text("bike"),
        city=text("city"),
        stop_from=text("stop_from"),
        stop_to=text("stop_to"),
        minutes=integer("minutes"),
    )
    return pl.concat([typed, raw_rides.select("date")], how="horizontal")


@table(contract=Contract(Weather, key=("city",), owner=OWNER), partitions=DAYS, station=Station.STAGED)
def stg_weather(raw_weather: pl.LazyFrame) -> pl.LazyFrame:
    """Weather, typed."""
    typed = parse(raw_weather, city=text("city"), degrees=integer("degrees"))
    return pl.concat([typed, raw_weather.select("date")], how="horizontal")


@table(
    contract=Contract(Bike, key=("bike",), owner=OWNER, on_breach=Split(0.5)),
    partitions=REGISTER,
    station=Station.STAGED,
)
def stg_bikes(raw_bikes: pl.LazyFrame) -> pl.LazyFrame:
    """The register of bikes."""
    return parse(raw_bikes, bike=text("bike"), colour=text("colour"), wheels=integer("wheels"))


@table(contract=Contract(Stop, key=("city", "stop"), owner=OWNER), partitions=REGISTER, station=Station.STAGED)
def stg_stops(raw_stops: pl.LazyFrame) -> pl.LazyFrame:
    """The register of stops."""
    return parse(raw_stops, city=text("city"), stop=text("stop"), zone=integer("zone"), stop_to=text("stop_to"))


@table(
    contract=Contract(Detail, key=("ride",), owner=OWNER),
    partitions=DAYS,
    station=Station.JOINED,
    reads={
        "stg_rides": ("date", "bike", "city", "stop_from", "stop_to"),
        "bikes": Input("stg_bikes", ("colour",), lookup=Lookup("stg_rides", ("bike",))),
        "from_stops": Input("stg_stops", ("zone",), lookup=Lookup("stg_rides", ("city", "stop_from"))),
        "to_stops": Input("stg_stops", ("zone", "stop_to"), lookup=Lookup("stg_rides", ("city", "stop_to"))),
        "weather": Input("stg_weather", ("degrees",), present=Partial(), lookup=Lookup("stg_rides", ("city",))),
    },
)
def ride_details(
    stg_rides: pl.LazyFrame,
    bikes: pl.LazyFrame,
    from_stops: pl.LazyFrame,
    to_stops: pl.LazyFrame,
    weather: pl.LazyFrame,
) -> pl.LazyFrame:
    """Rides with what the registers say."""
    begun = from_stops.rename({"stop": "stop_from", "zone": "zone_from"})
    ended = to_stops.rename({"stop_to": "shuttle_to", "stop": "stop_to", "zone": "zone_to"})
    return (
        stg_rides.join(bikes, on="bike", how="left")
        .join(begun, on=["city", "stop_from"], how="left")
        .join(ended, on=["city", "stop_to"], how="left")
        .join(weather, on="city", how="left")
        .select("date", "ride", "colour", "zone_from", "zone_to", "shuttle_to", "degrees")
    )


def _rides(rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
    return rows.drop_nulls("city").group_by("city").agg(pl.len().cast(pl.Int64).alias(name))


def _day_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("date").head(1)


@table(
    contract=Contract(Trend, key=("city",), owner=OWNER),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={
        "stg_rides": ("date", "city"),
        "before": Input("stg_rides", ("city",), window=Window(-2, -1)),
        "week_ago": Input("stg_rides", ("city",), window=Window(-7, -7), present=Partial()),
    },
)
def city_trends(stg_rides: pl.LazyFrame, before: pl.LazyFrame, week_ago: pl.LazyFrame) -> pl.LazyFrame:
    """Rides per city today and before."""
    counts = _rides(stg_rides, "today")
    for name, rows in (("before", before), ("week_ago", week_ago)):
        counts = counts.join(_rides(rows, name), on="city", how="left")
    return _day_of(stg_rides).join(counts.fill_null(0), how="cross")


@table(
    contract=Contract(BikeUse, key=("bike",), owner=OWNER),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={
        "stg_rides": ("date",),
        "recent": Input("stg_rides", ("bike",), window=Window(-2, 0)),
        "bikes": Input("stg_bikes", ("colour",), lookup=Lookup("recent", ("bike",))),
    },
)
def recent_bikes(stg_rides: pl.LazyFrame, recent: pl.LazyFrame, bikes: pl.LazyFrame) -> pl.LazyFrame:
    """Bikes ridden within three days."""
    return _day_of(stg_rides).join(bikes.join(recent, on="bike", how="semi"), how="cross")


@table(
    contract=Contract(Mild, key=("city",), owner=OWNER),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={
        "stg_rides": ("date",),
        "weather": Input("stg_weather", ("degrees",), window=Window(-2, 0), present=Partial(min_present=2)),
    },
)
def mild_days(stg_rides: pl.LazyFrame, weather: pl.LazyFrame) -> pl.LazyFrame:
    """The warmest of three days per city."""
    warmest = weather.group_by("city").agg(pl.col("degrees").max())
    return _day_of(stg_rides).join(warmest, how="cross")


@table(
    contract=Contract(WeekTotal, key=("city",), owner=OWNER),
    partitions=WEEKS,
    station=Station.MART,
    reads={"stg_rides": ("date", "city")},
)
def week_totals(stg_rides: pl.LazyFrame) -> pl.LazyFrame:
    """Rides per week and city."""
    week = pl.col("date").dt.truncate("1w").alias("week")
    return stg_rides.drop_nulls("city").group_by(week, "city").agg(pl.len().cast(pl.Int64).alias("rides"))


@table(
    contract=Contract(MonthTotal, key=("city",), owner=OWNER),
    partitions=MONTHS,
    station=Station.MART,
    reads={"stg_rides": ("date", "city")},
)
def month_totals(stg_rides: pl.LazyFrame) -> pl.LazyFrame:
    """Rides per month and city."""
    month = pl.col("date").dt.truncate("1mo").alias("month")
    return stg_rides.drop_nulls("city").group_by(month, "city").agg(pl.len().cast(pl.Int64).alias("rides"))


TABLES = (
    *map(raw_table, (RIDES, WEATHER, BIKES, STOPS)),
    *(stg_rides, stg_weather, stg_bikes, stg_stops),
    *(ride_details, city_trends, recent_bikes, mild_days, week_totals, month_totals),
)
GRAPH = Graph.of(TABLES)
NAMES = tuple(t.name for t in GRAPH.tables)

Row = tuple[object, ...]
GOOD_RIDES: tuple[Row, ...] = (
    (1, "b1", "Bern", "north", "south", 10),
    (2, "b2", "Bern", "south", "north", 20),
    (3, "b1", "Genf", "north", "lake", 30),
)
GOOD_WEATHER: tuple[Row, ...] = (("Bern", 3), ("Genf", 6))
GOOD_BIKES: tuple[Row, ...] = (("b1", "red", 2), ("b2", "blue", 2), ("b3", "green", 3))
GOOD_STOPS: tuple[Row, ...] = (
    ("Bern", "north", 1, "depot"),
    ("Bern", "south", 2, ""),
    ("Genf", "north", 3, "lake"),
    ("Genf", "lake", 4, "north"),
)


def deliver(home: Path, feed: Feed, rows: Iterable[Row], partition: str = WHOLE) -> None:
    """Let a file land whole; None becomes an empty cell."""
    folder = home / "landing" / feed.name
    folder.mkdir(parents=True, exist_ok=True)
    cells = ["" if cell is None else str(cell) for row in rows for cell in row]
    width = len(feed.columns)
    lines = [",".join(feed.columns), *(",".join(cells[i : i + width]) for i in range(0, len(cells), width))]
    part = folder / f".{partition}.part"
    part.write_text("".join(f"{line}\n" for line in lines))
    part.replace(folder / feed.expected_file(partition))


def deliver_all(home: Path, days: Sequence[str] = D) -> None:
    """Let everything land: the registers, and rides and weather of some days."""
    deliver(home, BIKES, GOOD_BIKES)
    deliver(home, STOPS, GOOD_STOPS)
    for day in days:
        deliver(home, RIDES, GOOD_RIDES, day)
        deliver(home, WEATHER, GOOD_WEATHER, day)


def engine_at(home: Path, clock: Clock | None = None, graph: Graph = GRAPH, **options: Any) -> Engine:  # noqa: ANN401 - those of open_engine
    """An engine on the graph with its state in a folder."""
    return open_engine(load({"SELFHEAL_HOME": str(home)}), graph, clock=clock or ManualClock(NOON), **options)


def run(engine: Engine, name: str, keys: Sequence[str] | None = None, **options: bool) -> dict[str, Outcome]:
    """Materialize partitions of one table, all of them unless told otherwise."""
    wanted = engine.graph[name].partitions.keys() if keys is None else keys
    return {o.partition: o for o in engine.materialize(name, wanted, run_id="test", **options)}


def run_all(engine: Engine) -> dict[str, dict[str, Outcome]]:
    """Materialize every partition of every table; per table the outcomes."""
    return {t.name: run(engine, t.name) for t in engine.graph.tables}


@contextmanager
def nine_of_ten_days(home: Path, clock: Clock) -> Iterator[Engine]:
    """An engine with nine of ten days, all up to date."""
    deliver_all(home, D[:9])
    engine = engine_at(home, clock)
    run_all(engine)
    try:
        yield engine
    finally:
        engine.ledger.close()


def executed(outcomes: dict[str, Outcome]) -> list[str]:
    """Partitions whose transform was run, in order."""
    return sorted(key for key, outcome in outcomes.items() if isinstance(outcome, Published | Withheld))


def changed(outcomes: dict[str, Outcome]) -> list[str]:
    """Partitions that have new content, in order."""
    return sorted(key for key, o in outcomes.items() if isinstance(o, Published) and not o.refreshed)


def all_reused(outcomes: dict[str, Outcome]) -> bool:
    """Whether nothing was run."""
    return all(isinstance(o, Reused) for o in outcomes.values())
