"""What a table may declare to read: a contradiction is refused at import, and the message says where it is."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime

import pandera.polars as pa
import polars as pl
import pytest

from sh_core.contract import Contract, Reference
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup, Partial
from sh_core.mapping import Window
from sh_core.partitions import WHOLE, Daily, Monthly, Partitions, Unpartitioned
from sh_core.table import Station, Table, table
from tests.reading import GRAPH

DAYS, MONTHS, REGISTER = Daily(date(2030, 1, 1)), Monthly(date(2030, 1, 1)), Unpartitioned()


def contract(
    key: Sequence[str] = ("name",), references: tuple[Reference, ...] = (), **columns: pl.DataType | type[pl.DataType]
) -> Contract:
    """A contract with a name, and what else is said."""
    return Contract(
        pa.DataFrameSchema({"name": pa.Column(pl.String), **{c: pa.Column(t) for c, t in columns.items()}}, name="any"),
        key=tuple(key),
        owner="team:test",
        references=references,
    )


def source(
    name: str, partitions: Partitions = DAYS, key: Sequence[str] = ("name",), **columns: pl.DataType | type[pl.DataType]
) -> Table:
    """A raw table of that name, of whatever contract."""
    placeholder = "" if isinstance(partitions, Unpartitioned) else "{partition}"
    feed = Feed(name, f"{name}{placeholder}.csv", ("any",), partitions, owner="team:test")
    period = {} if partitions.column is None else {partitions.column: pl.Date}
    return Table(name, contract(key, (), **{**period, **columns}), partitions, Station.RAW, feed=feed)


def reader(
    function: Callable[..., pl.LazyFrame],
    reads: Mapping[str, Sequence[str] | Input] | None = None,
    *,
    of: Contract | None = None,
    partitions: Partitions = DAYS,
    station: Station = Station.MART,
) -> Table:
    """The table under test."""
    period = {} if partitions.column is None else {partitions.column: pl.Date}
    made = table(contract=of or contract(("name",), (), **period), partitions=partitions, station=station, reads=reads)
    return made(function)


def one(flights: pl.LazyFrame) -> pl.LazyFrame:
    return flights


def two(flights: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    return flights.join(planes, on="name")


FLIGHTS = source("flights", tail=pl.String, seats=pl.Int64, dest=pl.String)
PLANES = source("planes", REGISTER, key=("tail",), tail=pl.String, seats=pl.Int64)
KEYLESS = source("keyless", REGISTER, key=())


def lookup(*columns: str, driver: str = "flights", of: str = "planes") -> Input:
    return Input(of, ("name",), lookup=Lookup(driver, columns))


def refers(*columns: str, to: str = "planes", **types: pl.DataType | type[pl.DataType]) -> Contract:
    return contract(("name",), (Reference(columns, to),), **{"date": pl.Date, **types})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: reader(one, {"flights": Input("trains", ("name",))}),
            "table one reads trains, which is not declared",
        ),
        (lambda: reader(one, {"flights": ("colour",)}), "table one reads colour of flights, which has no such column"),
        # It would silently not be handed over.
        (lambda: reader(one, {"flights": ("_file",)}), "table one reads _file of flights, which has no such column"),
        (
            lambda: reader(one, {"flights": Input("flights", window=Window(0, -1))}),
            "table one reads flights, which would be read from 0 to -1, which is nothing",
        ),
        (
            lambda: reader(one, {"flights": Input("planes", window=Window(-1, 0))}),
            "table one reads planes, which has no partitions, so it is read whole: leave the window out",
        ),
        (
            lambda: reader(one, of=contract(), partitions=REGISTER),
            "table one reads flights, which has partitions, but a table without partitions cannot say which",
        ),
        (
            lambda: reader(two, {"planes": lookup("tail", driver="trains")}),
            "table two reads planes, which is driven by trains, which must be another argument of it, and no lookup",
        ),
        (
            lambda: reader(two, {"planes": lookup("tail", driver="planes")}),
            "is driven by planes, which must be another",
        ),
        (
            lambda: reader(two, {"flights": lookup("tail", of="flights", driver="planes"), "planes": lookup("tail")}),
            "must be another argument of it, and no lookup itself",
        ),
        (
            lambda: reader(two, {"planes": lookup("tail", "dest")}),
            "table two reads planes, which is looked up by tail, dest, but its key is tail: name a column for each",
        ),
        (
            lambda: reader(two, {"planes": lookup("tail", of="keyless")}),
            "table two reads keyless, which is looked up by tail, but its key is nothing: name a column for each",
        ),
        (
            lambda: reader(two, {"flights": ("dest",), "planes": lookup("tail")}),
            "table two reads planes, which is looked up by tail, which is not among the columns read of flights",
        ),
        (lambda: reader(two, {"planes": lookup("colour")}), "looked up by colour, which is not among the columns read"),
        (
            lambda: reader(two, {"planes": lookup("seats")}),
            r"which is looked up by seats as tail, but their types differ \(Int64 and String\)",
        ),
        (
            lambda: reader(one, of=refers("name", to="trains")),
            "table one reads trains, which is not declared",
        ),
        (
            lambda: reader(one, of=refers("name", "dest", dest=pl.String)),
            "table one: name, dest refers to planes, whose key is tail: name a column for each",
        ),
        (
            lambda: reader(one, of=refers("name", to="keyless")),
            "table one: name refers to keyless, whose key is nothing: name a column for each",
        ),
        # The rule would never be judged, and every check of it would be green.
        (
            lambda: reader(one, of=refers("seats", seats=pl.Int64)),
            r"table one: seats refers to planes, but their types differ \(seats is Int64, tail is String\): nothing",
        ),
        (lambda: reader(one, of=refers("name", to="one")), "tables need each other in a circle: one → one"),
        (
            lambda: reader(one, of=contract(month=pl.Date), partitions=MONTHS, station=Station.STAGED),
            "staged table one must read flights as it is, same partition: every row counts once",
        ),
        (
            lambda: reader(one, {"flights": Input("flights", window=Window(-1, 0))}, station=Station.STAGED),
            "staged table one must read flights as it is, same partition: every row counts once",
        ),
        (
            lambda: reader(two, {"planes": lookup("tail")}, station=Station.STAGED),
            "staged table two must read planes as it is, same partition: every row counts once",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_the_graph_is_made(made: Callable[[], Table], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Graph.of([FLIGHTS, PLANES, KEYLESS, made()])


def test_a_staged_table_cannot_read_rows_without_file_and_line() -> None:
    """Its rows are accounted for by file and line, which a mart does not have."""
    mart = reader(one)
    staged = table(contract=contract(date=pl.Date), partitions=DAYS, station=Station.STAGED, name="late")(
        lambda one: one
    )
    with pytest.raises(DeclarationError, match="staged table late reads one, whose rows have no file and line"):
        Graph.of([FLIGHTS, mart, staged])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: reader(one, {"plains": ("tail",)}), "table one: reads names plains, which is no argument of it"),
        (
            lambda: reader(one, of=contract(), partitions=MONTHS),
            "table one: the contract lacks the partition column 'month'",
        ),
        (
            lambda: reader(one, of=contract(month=pl.String), partitions=MONTHS),
            "table one: the partition column 'month' must be Date; in the contract it is String",
        ),
        (lambda: Partial(-1), "min_present is a number of partitions, not -1"),
        (lambda: Reference((), "planes"), "a reference to planes needs the columns that hold its key"),
        (lambda: Reference(("tail",), "planes", 1.5), "max_missing is a share between 0 and 1, not 1.5"),
        (lambda: refers("colour"), "a reference to planes needs colour, which is no column"),
        (
            lambda: contract(references=(Reference(("name",), "planes"), Reference(("name",), "planes", 0.5))),
            "two rules are called name__in_planes",
        ),
        (
            lambda: Feed("bikes", "bikes_{partition}.csv", ("bike",), REGISTER, owner="team:test"),
            "feed bikes: file_name 'bikes_{partition}.csv' must contain {partition} not at all, as it has no",
        ),
        (
            lambda: Feed("rides", "rides.csv", ("ride",), DAYS, owner="team:test"),
            "feed rides: file_name 'rides.csv' must contain {partition} once and no folder",
        ),
        (
            lambda: Feed("rides", "rides_{partition}.csv", ("month",), MONTHS, owner="team:test"),
            "feed rides: month: such column names are reserved",
        ),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_declared(made: Callable[[], object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        made()


def test_a_feed_without_partitions_has_one_file() -> None:
    feed = Feed("bikes", "bikes.csv", ("bike", "date"), REGISTER, owner="team:test")  # no name is taken by a partition
    assert feed.expected_file(WHOLE) == "bikes.csv"
    assert feed.partition_of("bikes.csv") == WHOLE
    assert [feed.partition_of(name) for name in ("bikes_all.csv", "all", "bikes.csv.part", "xbikes.csv")] == [None] * 4


def test_the_argument_decides_what_is_handed_over_under_which_name() -> None:
    inputs = {i.name: i for i in GRAPH["ride_details"].inputs}
    assert {name: i.table for name, i in inputs.items()} == {
        "stg_rides": "stg_rides",
        "bikes": "stg_bikes",
        "from_stops": "stg_stops",
        "to_stops": "stg_stops",
        "weather": "stg_weather",
    }
    assert [i.role for i in inputs.values()] == [
        "",
        "bike of stg_rides as bikes",
        "city, stop_from of stg_rides as from_stops",
        "city, stop_to of stg_rides as to_stops",
        "city of stg_rides as weather",
    ]
    assert [i.role for i in GRAPH["stg_rides"].inputs] == [""]  # as before there were any, so that old traces stay


def test_a_table_that_is_referred_to_comes_before_the_one_that_refers() -> None:
    order = [t.name for t in GRAPH.tables]
    assert order.index("stg_bikes") < order.index("stg_rides")
    station = {t.name: i for i, tables in enumerate(GRAPH.stations) for t in tables}
    assert station["stg_bikes"] < station["stg_rides"] < station["ride_details"]
    assert [t.name for t in GRAPH.downstream("stg_bikes")] == ["stg_rides", "ride_details", "recent_bikes"]


def test_a_contract_without_references_keeps_the_version_that_it_had() -> None:
    """Otherwise every partition published before there were references would be computed anew."""
    plain, referring = contract(), contract(references=(Reference(("name",), "planes"),))
    assert plain.version == contract().version != referring.version
    assert referring.version != contract(references=(Reference(("name",), "planes", 0.1),)).version


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: Input("a", "date"), r'\("date",\) with a comma'),  # type: ignore[arg-type]
        (lambda: Input("a", window=(-6, 0)), r"Window\(-6, 0\)"),  # type: ignore[arg-type]
        (lambda: Input("a", present=Partial), r"Required\(\) or Partial"),  # type: ignore[arg-type]
        (lambda: Lookup("a", "dest"), r'\("dest",\) with a comma'),  # type: ignore[arg-type]
        (lambda: Reference("dest", "airports"), r'\("dest",\) with a comma'),  # type: ignore[arg-type]
        (lambda: Daily("2026-01-05"), r"date\(2026, 1, 5\)"),  # type: ignore[arg-type]
        (lambda: Daily(datetime(2026, 1, 5, tzinfo=UTC)), r"date\(2026, 1, 5\)"),
    ],
)
def test_what_is_easily_written_by_mistake_is_refused(declare: Callable[[], object], says: str) -> None:
    """A text was taken letter by letter ("reads a, d, e, t"), a class for its instance, a tuple for a window."""
    with pytest.raises(DeclarationError, match=says):
        declare()
