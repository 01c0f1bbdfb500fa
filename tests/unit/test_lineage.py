"""The incident: a column diagram that somebody drew by hand, and that has not been true since the join was changed."""

import time
import warnings
from collections.abc import Callable, Mapping

import polars as pl
import pytest

from sh_assets.flights import TABLES
from sh_core.columns import LINEAGE
from sh_core.graph import Graph
from sh_core.lineage import Lineage, column_lineage, of_transform
from sh_core.reading import handed_over
from sh_core.table import Table

FLIGHTS = Graph.of(TABLES)
A = pl.Schema({"k": pl.Int64(), "t": pl.Int64(), "x": pl.Int64(), "y": pl.Int64(), "s": pl.String(), **LINEAGE})
B = pl.Schema({"k": pl.Int64(), "t": pl.Int64(), "z": pl.Int64()})
X, Y, K = pl.col("x"), pl.col("y"), pl.col("k")


def shown(lineage: Lineage | None) -> dict[str, str]:
    """Per column its origins as text; those of the only input without its name."""
    assert lineage is not None
    several = len({table for origins in lineage.values() for table, _ in origins}) > 1
    return {
        column: " ".join(sorted(f"{table}.{c}" if several else c for table, c in origins))
        for column, origins in lineage.items()
    }


def of_one(transform: Callable[[pl.LazyFrame], pl.LazyFrame]) -> dict[str, str]:
    return shown(of_transform(transform, {"a": A}))


def of_two(transform: Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]) -> dict[str, str]:
    return shown(of_transform(transform, {"a": A, "b": B}))


def flights(name: str) -> Mapping[str, set[str]]:
    """Per column of a table of the demo, the names of the columns that it comes from, of whichever input."""
    table = FLIGHTS[name]
    lineage = column_lineage(table, {i.table: handed(table, i.table) for i in table.inputs})
    assert lineage is not None
    assert set(lineage) == set(table.contract.columns)
    return {column: {c for _, c in origins} for column, origins in lineage.items()}


def handed(table: Table, source: str) -> pl.Schema:
    (given,) = (i for i in table.inputs if i.table == source)
    types = {**FLIGHTS[source].contract.schema, **LINEAGE}
    lineage = LINEAGE if table.keeps_lineage else ()
    return pl.Schema({c: types[c] for c in (*handed_over(given, FLIGHTS[source]), *lineage)})


# ---- the demo's tables


def test_staged_flights_come_from_exactly_what_their_docstring_says() -> None:
    day = {"year", "month", "day"}
    departure = {*day, "sched_dep_time", "time_hour"}
    arrival = {*departure, "dest", "sched_arr_time"}
    assert flights("stg_flights") == {
        "date": day,
        "origin": {"origin"},
        "dest": {"dest"},
        "carrier": {"carrier"},
        "flight": {"flight"},
        "tailnum": {"tailnum"},
        "sched_dep_utc": departure,
        "dep_utc": {*departure, "dep_delay"},
        "sched_arr_utc": arrival,
        "arr_utc": {*arrival, "dep_time", "dep_delay", "arr_time", "arr_delay"},
        "dep_delay_min": {"dep_delay"},
        "arr_delay_min": {"arr_delay"},
        "air_time_min": {"air_time"},
        "distance_mi": {"distance"},
        "cancelled": {"dep_time"},
        "diverted": {"dep_time", "arr_delay"},
        "sched_dep_hour_utc": {"time_hour"},
        "dep_clock_min": {"dep_time"},
        "arr_clock_min": {"arr_time"},
    }


def test_what_is_concatenated_comes_from_each_of_its_parts() -> None:
    table = FLIGHTS["stg_flights"]
    lineage = column_lineage(table, {i.table: handed(table, i.table) for i in table.inputs})
    assert lineage is not None
    assert lineage["distance_mi"] == {(f"raw_flights_{airport}", "distance") for airport in ("ewr", "jfk", "lga")}


def test_weather_does_not_come_from_the_local_hour() -> None:
    found = flights("stg_weather")
    assert found["observed_utc"] == found["date"] == {"time_hour"}
    assert found["wind_speed_mph"] == {"wind_speed"}
    assert not any({"hour", "year", "month", "day"} & origins for origins in found.values())


def test_a_mean_comes_from_its_minutes_and_its_group() -> None:
    key = {"date", "origin", "carrier"}
    assert flights("mart_daily_delays") == {
        **dict.fromkeys((*key, "flights"), key),
        "cancelled": {*key, "cancelled"},
        "delayed_15": {*key, "dep_delay_min"},
        "dep_delay_mean_min": {*key, "dep_delay_min"},
        "arr_delay_mean_min": {*key, "arr_delay_min"},
    }


def test_raw_columns_come_from_the_feeds_of_the_same_name() -> None:
    table = FLIGHTS["raw_weather_ewr"]
    found = column_lineage(table, {})
    assert found is not None
    assert found["temp"] == {("weather_ewr", "temp")}
    assert found["date"] == frozenset()  # from the name of the file
    assert set(found) == set(table.contract.columns)


def test_the_demos_lineage_takes_less_than_half_a_second() -> None:
    started = time.process_time()
    for table in FLIGHTS.tables:
        column_lineage(table, {i.table: handed(table, i.table) for i in table.inputs})
    assert time.process_time() - started < 0.5


# ---- one operation at a time


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (lambda a: a.select("x", u=X + Y), {"x": "x", "u": "x y"}),
        (lambda a: a.rename({"x": "z"}).select("z", "k"), {"z": "x", "k": "k"}),
        (lambda a: a.select("k").with_columns(K + 1), {"k": "k"}),
        (lambda a: a.select("x", "y").filter(X > 0), {"x": "x", "y": "x y"}),
        (lambda a: a.filter(X > 0).select("y").filter(Y > 0), {"y": "x y"}),
        (lambda a: a.group_by("k").agg(X.sum(), n=pl.len()), {"k": "k", "x": "k x", "n": "k"}),
        (lambda a: a.select("y", X.sum().over("k")), {"y": "y", "x": "k x"}),
        (lambda a: a.select("x", "y").sort("x"), {"x": "x", "y": "x y"}),
        (lambda a: a.sort("x").head(2).select("y"), {"y": "x y"}),
        (lambda a: a.unique("k", keep="first", maintain_order=True).select("k", "y"), {"k": "k", "y": "k y"}),
        (lambda a: a.select("x", "y").unique(), {"x": "x y", "y": "x y"}),
        (lambda a: a.select("x", "y").drop_nulls(), {"x": "x y", "y": "x y"}),
        (lambda a: a.select(X.shift(1), Y.cum_sum()), {"x": "x", "y": "y"}),
        (lambda a: a.select("y", X.rolling_sum_by("t", "2i")), {"y": "y", "x": "t x"}),
        (
            lambda a: a.sort("t").rolling("t", period="3i", group_by="k").agg(X.sum()),
            {"k": "k t", "t": "k t", "x": "k t x"},
        ),
        (lambda a: a.sort("t").group_by_dynamic("t", every="3i").agg(X.max()), {"t": "t", "x": "t x"}),
        (lambda a: a.select(both=pl.struct("x", "y")), {"both": "x y"}),
        (lambda a: a.group_by("k").agg(X.max()).join(a, on="k").select("x", "y"), {"x": "k x", "y": "k y"}),
        (lambda a: a.select("x", "_file", file=pl.col("_file")), {"x": "x", "file": ""}),
        # Asked for and not needed, as the module says.
        (lambda a: a.select(x=pl.struct("x", "y").struct.field("x")), {"x": "x y"}),
        (lambda a: a.unpivot(["x", "y"], index="k"), {"k": "k x y", "variable": "k x y", "value": "k x y"}),
        (lambda a: a.select("k", e=pl.concat_list("x", "y")).explode("e"), {"k": "k x y", "e": "x y"}),
        (lambda a: a.select(pl.len()), {"len": "k"}),
        (lambda a: a.select(X, one=pl.lit(1)), {"x": "x", "one": "x"}),
        (lambda a: a.select("x", "y").map_batches(lambda rows: rows), {"x": "x y", "y": "x y"}),
    ],
)
def test_one_input(transform: Callable[[pl.LazyFrame], pl.LazyFrame], expected: dict[str, str]) -> None:
    assert of_one(transform) == expected


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        *(
            (
                lambda a, b, how=how: a.join(b, on="k", how=how).select("x", "z"),
                {"x": "a.k a.x b.k", "z": "a.k b.k b.z"},
            )
            for how in ("inner", "left", "right", "full")
        ),
        *(
            (lambda a, b, how=how: a.join(b, on="k", how=how).select("x"), {"x": "a.k a.x b.k"})
            for how in ("semi", "anti")
        ),
        (
            lambda a, b: a.sort("t").join_asof(b.sort("t"), on="t", by="k").select("x", "z"),
            {"x": "a.k a.t a.x b.k b.t", "z": "a.k a.t b.k b.t b.z"},
        ),
        (lambda a, b: a.join_where(b, pl.col("z") > X).select("y"), {"y": "a.x a.y b.z"}),
        (
            lambda a, b: pl.concat([a.select("k", "t"), b.select("k", "t")]),
            {"k": "a.k b.k", "t": "a.t b.t"},
        ),
        # Of the other input only the number of rows matters.
        (
            lambda a, b: pl.concat([a.select("x"), b.select("z")], how="horizontal"),
            {"x": "a.x b.z", "z": "a.x b.z"},
        ),
        (lambda a, b: pl.concat([a.select("x"), b.select("z")], how="diagonal"), {"x": "a.x b.z", "z": "a.x b.z"}),
    ],
)
def test_two_inputs(transform: Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame], expected: dict[str, str]) -> None:
    assert of_two(transform) == expected


# ---- what cannot be told


def crash(a: pl.LazyFrame) -> pl.LazyFrame:
    raise ZeroDivisionError


def looks_at_rows(a: pl.LazyFrame) -> pl.LazyFrame:
    return a.select("x") if a.select("y").collect().is_empty() else a.select("x", "y")


@pytest.mark.parametrize(
    "transform",
    [
        crash,
        looks_at_rows,
        lambda a: a.collect(),
        lambda a: None,
        lambda a: a.select("no_such_column"),
        lambda a, more: a,
        lambda a: a.select(X.map_batches(lambda s: 1 / 0, return_dtype=pl.Int64)),
        lambda a: a.map_batches(lambda rows: rows.select("y"), schema=A),
    ],
    ids=["crash", "looks", "eager", "nothing", "no column", "arguments", "crash when run", "wrong schema"],
)
def test_what_cannot_be_told_is_not_guessed(transform: Callable[..., pl.LazyFrame]) -> None:
    assert of_transform(transform, {"a": A}) is None


def test_a_panic_in_polars_is_no_exception_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even an ``Exception``, and would end the process that loads the definitions."""

    def panic(a: pl.LazyFrame) -> pl.LazyFrame:
        raise pl.exceptions.PanicException("as Rust says it")

    assert of_transform(panic, {"a": A}) is None


def test_warnings_are_left_to_the_real_run() -> None:
    def warns(a: pl.LazyFrame) -> pl.LazyFrame:
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        return a.select("x")

    assert of_one(warns) == {"x": "x"}
