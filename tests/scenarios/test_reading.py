"""What a partition reads decides when it is computed: no sooner, not more often, and never on less than it should be.

Two incidents are behind each of these. Either a correction concerns a partition that nobody computes again, so that a
table goes on showing what is no longer true; or one corrected aircraft has a whole year computed.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sh_core.contract import Contract
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup
from sh_core.mapping import Window
from sh_core.outcome import Published, Reused, Waiting, Withheld
from sh_core.table import Station, Table, table
from sh_core.trace import ABSENT
from sh_core.verdict import Broken
from sh_resources.engine import Engine
from tests.reading import (
    BIKES,
    DAYS,
    GOOD_BIKES,
    GOOD_RIDES,
    GOOD_STOPS,
    GOOD_WEATHER,
    GRAPH,
    MONTHS,
    OWNER,
    REGISTER,
    RIDES,
    STOPS,
    TABLES,
    WEATHER,
    WEEKS,
    BikeUse,
    D,
    Row,
    Stop,
    all_reused,
    changed,
    deliver,
    deliver_all,
    engine_at,
    executed,
    run,
    run_all,
)

ONE_MORE: tuple[Row, ...] = (*GOOD_RIDES, (4, "b2", "Bern", "north", "north", 5))
ALL = list(D)


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which everything was delivered and computed."""
    home = tmp_path_factory.mktemp("reading")
    deliver_all(home)
    engine = engine_at(home)
    run_all(engine)
    engine.ledger.close()
    return home


@pytest.fixture
def home(tmp_path: Path, delivered: Path) -> Path:
    return Path(shutil.copytree(delivered, tmp_path / "home"))


def published(engine: Engine, name: str, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a table, without file and line."""
    rows = engine.store.published(engine.graph[name], keys).collect()
    return rows.drop("_file", "_line", strict=False).sort(pl.all()).to_dicts()


# ---- windows, weeks, months


def test_a_corrected_day_concerns_the_days_whose_windows_hold_it(home: Path) -> None:
    deliver(home, RIDES, ONE_MORE, D[2])
    engine = engine_at(home)
    outcomes = run_all(engine)
    assert changed(outcomes["stg_rides"]) == [D[2]]
    assert executed(outcomes["city_trends"]) == [D[2], D[3], D[4], D[9]]  # today, the two days after, a week later
    assert executed(outcomes["recent_bikes"]) == [D[2], D[3], D[4]]
    assert changed(outcomes["recent_bikes"]) == []  # the same bikes as before
    assert executed(outcomes["week_totals"]) == [WEEKS.keys()[0]]
    assert executed(outcomes["month_totals"]) == [MONTHS.keys()[0]]
    assert executed(outcomes["mild_days"]) == [D[2]]  # reads the key as well, and there is a new one
    assert changed(outcomes["mild_days"]) == []


def test_the_first_days_look_back_as_far_as_there_is_something(home: Path) -> None:
    """Waiting for the day before the first would be waiting for ever."""
    engine = engine_at(home)
    bern = {r["date"].isoformat(): r for r in published(engine, "city_trends") if r["city"] == "Bern"}
    assert [bern[day]["before"] for day in D[:4]] == [0, 2, 4, 4]
    assert [bern[day]["week_ago"] for day in D] == [0] * 7 + [2] * 3


def test_a_month_waits_until_it_is_complete_and_is_then_computed_once(tmp_path: Path) -> None:
    """Half a month published as a month is worse than none."""
    deliver_all(tmp_path, D[:-1])
    engine = engine_at(tmp_path)
    outcomes = run_all(engine)
    january, february = MONTHS.keys()
    assert isinstance(outcomes["month_totals"][january], Published)
    assert outcomes["month_totals"][february] == Waiting(february, (f"stg_rides[{D[-1]}]",))
    assert outcomes["week_totals"][WEEKS.keys()[1]] == Waiting(WEEKS.keys()[1], (f"stg_rides[{D[-1]}]",))
    assert published(engine, "month_totals", [february]) == []
    deliver_all(tmp_path, D[-1:])
    outcomes = run_all(engine)
    assert executed(outcomes["month_totals"]) == [february]
    assert executed(outcomes["week_totals"]) == [WEEKS.keys()[1]]
    assert {(str(r["month"]), r["city"], r["rides"]) for r in published(engine, "month_totals")} == {
        (january, "Bern", 8),
        (january, "Genf", 4),
        (february, "Bern", 12),
        (february, "Genf", 6),
    }
    deliver(tmp_path, RIDES, ONE_MORE, D[-1])
    assert executed(run_all(engine)["month_totals"]) == [february]


def test_a_day_that_nobody_counts_differently_leaves_its_month_as_it_was(home: Path) -> None:
    """Minutes are not read: not even the month of that day is computed."""
    deliver(home, RIDES, [(*ride[:-1], 99) for ride in GOOD_RIDES], D[0])
    outcomes = run_all(engine_at(home))
    assert changed(outcomes["stg_rides"]) == [D[0]]
    assert {n: executed(o) for n, o in outcomes.items() if executed(o)} == {
        "raw_rides": [D[0]],
        "stg_rides": [D[0]],
    }


# ---- what may be missing


def test_what_is_missing_is_done_without_and_made_good_when_it_comes(tmp_path: Path) -> None:
    deliver_all(tmp_path)
    folder = tmp_path / "landing" / WEATHER.name
    late = {day: folder / WEATHER.expected_file(day) for day in (D[0], D[3], D[4])}
    for file in late.values():
        file.unlink()
    engine = engine_at(tmp_path)
    outcomes = run_all(engine)
    weather = {i: f"stg_weather[{D[i]}]" for i in range(10)}
    waiting = {key: o.missing for key, o in outcomes["mild_days"].items() if isinstance(o, Waiting)}
    assert waiting == {
        D[0]: (weather[0],),  # only one day exists, and that one must be there
        D[1]: (weather[0],),  # two exist
        D[4]: (weather[3], weather[4]),
        D[5]: (weather[3], weather[4]),
    }
    # Two of three were enough; without any weather a ride has none, and nobody waits.
    assert executed(outcomes["mild_days"]) == [D[2], D[3], D[6], D[7], D[8], D[9]]
    assert executed(outcomes["ride_details"]) == ALL
    assert {r["degrees"] for r in published(engine, "ride_details", [D[3]])} == {None}
    reads = engine.ledger.publications.current("ride_details", [D[3]])[D[3]].trace.reads
    assert {r.partition for r in reads if r.digest == ABSENT} == {D[3]}  # that it did without is part of the trace

    deliver(tmp_path, WEATHER, (("Bern", 20),), D[4])
    outcomes = run_all(engine)
    assert executed(outcomes["mild_days"]) == [D[4], D[5], D[6]]
    assert executed(outcomes["ride_details"]) == [D[4]]
    assert {r["degrees"] for r in published(engine, "mild_days", D[4:7]) if r["city"] == "Bern"} == {20}
    assert {(r["ride"], r["degrees"]) for r in published(engine, "ride_details", [D[4]])} == {
        (1, 20),
        (2, 20),
        (3, None),
    }
    deliver(tmp_path, WEATHER, GOOD_WEATHER, D[0])
    assert executed(run_all(engine)["mild_days"]) == [D[0], D[1], D[2]]


def test_what_is_withheld_counts_as_missing_and_its_last_good_content_as_there(home: Path) -> None:
    """Readers of a withheld partition go on with what readers see."""
    deliver(home, WEATHER, [("Bern", 999)], D[4])
    outcomes = run_all(engine_at(home))
    assert isinstance(outcomes["stg_weather"][D[4]], Withheld)
    assert all_reused(outcomes["mild_days"])
    assert all_reused(outcomes["ride_details"])


# ---- looking up


def test_only_who_looked_a_row_up_is_concerned_by_it(home: Path) -> None:
    """The corrected aircraft: the days that it flew, and nothing else."""
    deliver(home, RIDES, [*GOOD_RIDES, (4, "b3", "Bern", "north", "south", 5)], D[2])
    engine = engine_at(home)
    run_all(engine)
    deliver(home, BIKES, [*GOOD_BIKES[:2], ("b3", "black", 3)])
    outcomes = run_all(engine)
    assert changed(outcomes["stg_bikes"]) == ["all"]
    assert executed(outcomes["ride_details"]) == [D[2]]
    assert executed(outcomes["recent_bikes"]) == [D[2], D[3], D[4]]  # driven by a window
    assert all_reused(outcomes["stg_rides"])  # refers to the key alone
    assert {r["ride"]: r["colour"] for r in published(engine, "ride_details", [D[2]])}[4] == "black"
    assert {r["colour"] for r in published(engine, "recent_bikes", [D[4]])} == {"red", "blue", "black"}


def test_a_column_that_nobody_reads_and_a_row_that_nobody_looks_up_concern_nobody(home: Path) -> None:
    deliver(home, BIKES, [("b1", "red", 4), ("b2", "blue", 1), ("b3", "white", 1)])
    outcomes = run_all(engine_at(home))
    assert changed(outcomes["stg_bikes"]) == ["all"]
    assert {n: executed(o) for n, o in outcomes.items() if executed(o)} == {"raw_bikes": ["all"], "stg_bikes": ["all"]}


def test_a_key_that_was_missing_and_comes_concerns_those_who_missed_it(home: Path) -> None:
    deliver(home, RIDES, [*GOOD_RIDES, (4, "b9", "Bern", "north", "south", 5)], D[5])
    engine = engine_at(home)
    run_all(engine)
    assert {r["ride"]: r["colour"] for r in published(engine, "ride_details", [D[5]])}[4] is None
    deliver(home, BIKES, [*GOOD_BIKES, ("b8", "grey", 2), ("b9", "pink", 2)])
    outcomes = run_all(engine)
    assert executed(outcomes["ride_details"]) == [D[5]]
    assert executed(outcomes["recent_bikes"]) == [D[5], D[6], D[7]]
    assert {r["ride"]: r["colour"] for r in published(engine, "ride_details", [D[5]])}[4] == "pink"
    # Every day refers to the register's keys, of which there are new ones: judged again, and found to be the same.
    assert executed(outcomes["stg_rides"]) == ALL
    assert changed(outcomes["stg_rides"]) == []


def test_a_key_that_goes_concerns_those_who_had_it(home: Path) -> None:
    deliver(home, RIDES, [r for r in GOOD_RIDES if r[1] != "b2"], D[1])
    engine = engine_at(home)
    run_all(engine)
    deliver(home, BIKES, [row for row in GOOD_BIKES if row[0] != "b2"])
    outcomes = run_all(engine)
    assert executed(outcomes["ride_details"]) == [day for day in ALL if day != D[1]]
    assert [r["colour"] for r in published(engine, "ride_details", [D[0]])] == ["red", None, "red"]


def test_rows_without_a_value_look_nothing_up(home: Path) -> None:
    """Nothing is not a key; a register with an empty key must not be matched to every gap in the data."""
    deliver(home, RIDES, [(1, None, None, None, None, 1), (2, "b1", None, "north", "south", 1)], D[0])
    engine = engine_at(home)
    run_all(engine)
    first, second = published(engine, "ride_details", [D[0]])
    assert (first["colour"], first["zone_from"], first["degrees"]) == (None, None, None)
    assert (second["colour"], second["zone_from"], second["degrees"]) == ("red", None, None)
    deliver(home, STOPS, [(city, stop, 10 + i, to) for i, (city, stop, _, to) in enumerate(GOOD_STOPS)])
    deliver(home, WEATHER, [("Bern", 0)], D[0])
    outcomes = run_all(engine)
    assert executed(outcomes["ride_details"]) == ALL[1:]


def test_one_table_is_looked_up_twice_by_two_columns_each(home: Path) -> None:
    deliver(home, RIDES, [(1, "b1", "Bern", "north", "north", 1)], D[6])
    deliver(home, RIDES, [(1, "b1", "Genf", "lake", "north", 1)], D[7])
    engine = engine_at(home)
    run_all(engine)
    (row,) = published(engine, "ride_details", [D[7]])
    assert (row["zone_from"], row["zone_to"], row["shuttle_to"]) == (4, 3, "lake")
    deliver(home, STOPS, [*GOOD_STOPS[:3], ("Genf", "lake", 44, "north")])
    outcomes = run_all(engine)
    assert executed(outcomes["ride_details"]) == [day for day in ALL if day != D[6]]
    (row,) = published(engine, "ride_details", [D[7]])
    assert (row["zone_from"], row["zone_to"]) == (44, 3)
    # Where the shuttle goes is read of the stop at the end only.
    deliver(home, STOPS, [*GOOD_STOPS[:3], ("Genf", "lake", 44, "away")])
    assert executed(run_all(engine)["ride_details"]) == [day for day in ALL if day not in D[6:8]]


def test_a_looked_up_column_is_its_tables_own_also_if_the_driver_has_one_of_that_name(home: Path) -> None:
    """Rides end at a ``stop_to``, and a stop has a ``stop_to``, too: where its shuttle goes."""
    rows = published(engine_at(home), "ride_details", [D[0]])
    assert [r["shuttle_to"] for r in rows] == [None, "depot", "north"]


def test_a_table_that_is_looked_up_and_has_partitions_is_read_of_the_same_day(home: Path) -> None:
    deliver(home, WEATHER, [("Bern", -7), ("Genf", 6)], D[3])
    engine = engine_at(home)
    assert executed(run_all(engine)["ride_details"]) == [D[3]]
    assert {(r["ride"], r["degrees"]) for r in published(engine, "ride_details", [D[3]])} == {(1, -7), (2, -7), (3, 6)}
    deliver(home, WEATHER, [*GOOD_WEATHER, ("Chur", 1)], D[4])  # nobody rides in Chur
    assert executed(run_all(engine)["ride_details"]) == []


def test_a_day_without_rows_looks_nothing_up(home: Path) -> None:
    deliver(home, RIDES, [], D[8])
    engine = engine_at(home)
    outcomes = run_all(engine)
    assert executed(outcomes["ride_details"]) == [D[8]]
    assert published(engine, "ride_details", [D[8]]) == []
    deliver(home, BIKES, [(bike, "grey", wheels) for bike, _, wheels in GOOD_BIKES])
    assert executed(run_all(engine)["ride_details"]) == [day for day in ALL if day != D[8]]


def mirror(stops: pl.LazyFrame, mirrored: pl.LazyFrame) -> pl.LazyFrame:
    """The stops whose names are exchanged in some other row."""
    return mirrored.join(stops.select(city="stop", stop="city"), on=["city", "stop"], how="semi")


MIRROR = table(
    contract=Contract(Stop, key=("city", "stop"), owner=OWNER),
    partitions=REGISTER,
    station=Station.MART,
    reads={
        "stops": Input("stg_stops"),
        "mirrored": Input("stg_stops", lookup=Lookup("stops", ("stop", "city"))),
    },
)(mirror)


def test_a_key_is_looked_up_by_columns_of_its_names_in_another_order(tmp_path: Path) -> None:
    engine = engine_at(tmp_path, graph=Graph.of([*TABLES, MIRROR]))
    deliver(tmp_path, STOPS, [("x", "y", 1, ""), ("y", "x", 2, ""), ("x", "z", 3, "")])
    for name in ("raw_stops", "stg_stops", "mirror"):
        run(engine, name)
    found = [(r["city"], r["stop"], r["zone"]) for r in published(engine, "mirror")]
    assert found == [("x", "y", 1), ("y", "x", 2)]


# ---- what a transform is handed


def inspect(stg_rides: pl.LazyFrame, bikes: pl.LazyFrame, before: pl.LazyFrame) -> pl.LazyFrame:
    """Bikes, if what is handed over is what was declared."""
    rides, looked_up, earlier = stg_rides.collect(), bikes.collect(), before.collect()
    assert rides.columns == ["date", "ride", "bike"], rides.columns
    assert looked_up.columns == ["bike", "colour"], looked_up.columns
    assert earlier.columns == ["date", "ride"], earlier.columns
    assert set(looked_up["bike"]) == set(rides["bike"]) & {"b1", "b2", "b3"}, looked_up
    assert looked_up["bike"].is_unique().all()
    (today,) = set(rides["date"])
    assert all(1 <= (today - day).days <= 2 for day in earlier["date"]), earlier
    return rides.lazy().select("date").head(1).join(bikes, how="cross")


INSPECT = table(
    contract=Contract(BikeUse, key=("bike",), owner=OWNER),
    partitions=DAYS,
    station=Station.FEATURE,
    reads={
        "stg_rides": ("date", "bike"),
        "bikes": Input("stg_bikes", ("colour",), lookup=Lookup("stg_rides", ("bike",))),
        "before": Input("stg_rides", ("date",), window=Window(-2, -1)),
    },
)(inspect)


def test_a_transform_is_handed_what_it_declared_and_nothing_else(home: Path) -> None:
    """What it could see beyond that, it could use; and a change there would concern it without anybody knowing."""
    deliver(home, RIDES, [(1, "b3", "Bern", "north", "south", 10), (2, "b3", "Bern", "x", "y", 10)], D[4])
    engine = engine_at(home, graph=Graph.of([*TABLES, INSPECT]))
    run_all(engine_at(home))
    outcomes = run(engine, "inspect")
    assert {key: o.verdict for key, o in outcomes.items() if isinstance(o, Withheld)} == {}
    assert executed(outcomes) == ALL
    assert [r["bike"] for r in published(engine, "inspect", [D[4]])] == ["b3"]


def exchanged(one: pl.LazyFrame, other: pl.LazyFrame) -> pl.LazyFrame:
    """What the first is handed."""
    return one.join(other, on="bike", how="anti").with_columns(pl.lit("any").alias("colour"))


def declared(**windows: Window) -> Table:
    reads = {name: Input("stg_rides", ("date", "bike"), window=window) for name, window in windows.items()}

    def one_per_bike(one: pl.LazyFrame, other: pl.LazyFrame) -> pl.LazyFrame:
        """Bikes of one that are not in the other, told of today."""
        return (
            exchanged(one, other)
            .select("bike", "colour")
            .unique()
            .join(other.select(pl.col("date").max()), how="cross")
        )

    return table(
        contract=Contract(BikeUse, key=("bike",), owner=OWNER),
        partitions=DAYS,
        station=Station.FEATURE,
        reads=reads,
        name="exchanged",
    )(one_per_bike)


def test_arguments_that_are_exchanged_in_the_declaration_are_another_question(home: Path) -> None:
    """Somebody saw that origin and destination were mixed up, and put it right: every row published before is wrong.

    The declaration is no part of the transform's code, and the same things are read.
    """
    engine = engine_at(home, graph=Graph.of([*TABLES, declared(one=Window(-1, -1), other=Window(0, 0))]))
    run(engine, "exchanged", D[1:])
    assert all_reused(run(engine, "exchanged", D[1:]))
    engine = engine_at(home, graph=Graph.of([*TABLES, declared(one=Window(0, 0), other=Window(-1, -1))]))
    assert executed(run(engine, "exchanged", D[1:])) == ALL[1:]


# ---- references


def unknown_bikes(n: int, of: int = 4) -> list[Row]:
    return [(i, f"ghost{i}" if i < n else "b1", "Bern", "north", "south", 1) for i in range(of)]


def test_a_day_in_which_too_much_refers_to_nothing_is_withheld_and_heals(home: Path) -> None:
    """The register is that of another company: nothing is set aside row by row, and nothing is published."""
    deliver(home, RIDES, unknown_bikes(3), D[0])
    deliver(home, RIDES, unknown_bikes(2), D[1])
    engine = engine_at(home)
    run(engine, "raw_rides")
    outcomes = run(engine, "stg_rides")
    withheld = outcomes[D[0]]
    assert isinstance(withheld, Withheld)
    assert isinstance(withheld.verdict, Broken)
    (breach,) = withheld.verdict.breaches
    assert breach.rule == "bike__in_stg_bikes"
    assert breach.detail == "3 of 4 rows refer to a key that stg_bikes lacks, e.g. ghost0"
    assert (breach.sample[0]["_file"], breach.sample[0]["_line"]) == (f"rides/rides_{D[0]}.csv", 2)
    assert withheld.quarantined == 0
    assert isinstance(outcomes[D[1]], Published)  # half of them may be without
    assert len(published(engine, "stg_rides", [D[0]])) == 3  # last good

    deliver(home, BIKES, [*GOOD_BIKES, *((f"ghost{i}", "white", 2) for i in range(3))])
    outcomes = run_all(engine)["stg_rides"]
    assert isinstance(outcomes[D[0]], Published)
    assert engine.ledger.incidents.open() == []
    assert len(published(engine, "stg_rides", [D[0]])) == 4


def test_what_refers_to_nothing_at_all_is_not_missing(home: Path) -> None:
    deliver(home, RIDES, [(i, None, "Bern", "north", "south", 1) for i in range(4)], D[0])
    engine = engine_at(home)
    run(engine, "raw_rides")
    assert isinstance(run(engine, "stg_rides")[D[0]], Published)


def test_a_register_that_has_not_come_is_waited_for(tmp_path: Path) -> None:
    """Publishing unchecked rows because there is nothing to check them with would be a second door."""
    deliver_all(tmp_path, D[:2])
    (tmp_path / "landing" / "bikes" / "bikes.csv").unlink()
    engine = engine_at(tmp_path)
    outcomes = run_all(engine)
    assert outcomes["raw_bikes"] == {"all": Waiting("all", ("file bikes.csv of feed bikes",))}
    assert outcomes["stg_rides"][D[0]] == Waiting(D[0], ("stg_bikes[all]",))
    deliver(tmp_path, BIKES, GOOD_BIKES)
    assert executed(run_all(engine)["stg_rides"]) == list(D[:2])


def test_what_a_register_says_beside_its_keys_concerns_nobody_who_refers_to_it(home: Path) -> None:
    deliver(home, BIKES, [(bike, "grey", 1) for bike, _, _ in GOOD_BIKES])
    outcomes = run_all(engine_at(home))
    assert changed(outcomes["stg_bikes"]) == ["all"]
    assert all_reused(outcomes["stg_rides"])


# ---- asking before running


def test_a_look_is_what_then_happens(home: Path) -> None:
    """What is due is found by asking; something left out there would never be repaired."""
    deliver(home, RIDES, [*GOOD_RIDES, (4, "b3", "Bern", "lake", "south", 5)], D[2])
    deliver(home, BIKES, [*GOOD_BIKES[:2], ("b3", "black", 3)])
    (home / "landing" / WEATHER.name / WEATHER.expected_file(D[3])).unlink()
    engine = engine_at(home)
    for name in [t.name for t in GRAPH.tables]:
        keys = GRAPH[name].partitions.keys()
        asked = engine.look(name, keys)
        outcomes = run(engine, name)
        assert sorted(asked.stale) == executed(outcomes)
        assert asked.waiting == {k: o.missing for k, o in outcomes.items() if isinstance(o, Waiting)}
        assert all(
            isinstance(o, Reused) for k, o in outcomes.items() if k not in asked.stale and k not in asked.waiting
        )


def test_how_partitions_are_cut_into_chunks_shows_nowhere(home: Path, tmp_path: Path) -> None:
    """Looked-up rows of many partitions are found in one pass."""
    deliver_all(tmp_path / "other")
    deliver(tmp_path / "other", RIDES, [], D[0])
    deliver(home, RIDES, [], D[0])
    run_all(engine_at(home))
    engine = engine_at(tmp_path / "other")
    for t in GRAPH.tables:
        list(engine.materialize(t.name, t.partitions.keys(), run_id="test", chunk=3))
    for t in GRAPH.tables:
        assert published(engine, t.name) == published(engine_at(home), t.name)
        if t.inputs:
            of_both = [e.ledger.publications.current(t.name) for e in (engine, engine_at(home))]
            assert len({tuple((k, s.trace.digest) for k, s in sorted(c.items())) for c in of_both}) == 1
