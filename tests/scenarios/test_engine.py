"""From request to outcome: what is computed, what is reused, and what one bad partition does to the others."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from sh_core.graph import Graph
from sh_core.outcome import Outcome, Published, Reused, Waiting, Withheld
from sh_core.records import Action
from sh_core.table import Station, Table, raw_table, table
from sh_core.verdict import Broken, Unknown
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.little import DAYS, GRAPH, MEAN, NAMES, NOON, READINGS, deliver, engine_at, stg_readings

ONE, TWO, THREE = DAYS.keys()[:3]
GOOD = [("a", 1, 10.0), ("a", 2, 20.0), ("b", 1, 30.0)]
BAD = [("a", 1, 1000.0), ("a", 2, 1000.0), ("b", 1, 30.0)]


def run(engine: Engine, name: str, keys: Sequence[str] = (ONE,), **options: bool) -> dict[str, Outcome]:
    """Materialize partitions of one table."""
    return {o.partition: o for o in engine.materialize(name, keys, run_id="test", **options)}


def run_all(engine: Engine, keys: Sequence[str] = (ONE,)) -> dict[str, Outcome]:
    """Materialize the whole graph; the outcome of the first partition in each table."""
    return {name: run(engine, name, keys)[keys[0]] for name in NAMES}


def commits(home: Path) -> dict[str, int]:
    """How often each table was committed to."""
    return {n: DeltaTable(home / "tables" / n).version() for n in NAMES}


def test_the_same_file_again_computes_and_commits_nothing(tmp_path: Path) -> None:
    """A vendor resends; a scheduler runs twice."""
    deliver(tmp_path, ONE, GOOD)
    engine = engine_at(tmp_path)
    assert all(isinstance(o, Published) for o in run_all(engine).values())
    before = commits(tmp_path)
    deliver(tmp_path, ONE, GOOD)
    assert all(isinstance(o, Reused) for o in run_all(engine).values())
    assert commits(tmp_path) == before


def test_equal_content_from_another_file_stops_right_there(tmp_path: Path) -> None:
    """The vendor sorts the file differently: a new arrival, noted in the ledger, and nobody downstream stirs."""
    deliver(tmp_path, ONE, GOOD)
    engine = engine_at(tmp_path)
    run_all(engine)
    before = commits(tmp_path)
    deliver(tmp_path, ONE, reversed(GOOD))
    raw, staged, mart = run_all(engine).values()
    assert isinstance(raw, Published)
    assert raw.refreshed
    assert isinstance(staged, Reused)
    assert isinstance(mart, Reused)
    assert commits(tmp_path) == before
    assert len(engine.ledger.arrivals.all("readings")) == 2


def test_a_change_in_what_nobody_reads_stops_where_it_is_not_read(tmp_path: Path) -> None:
    """The mart reads values, not minutes: other minutes make another stg_readings, and the same mart.

    The minute is part of the key, so the mart is computed, and found to be equal.
    """
    deliver(tmp_path, ONE, GOOD)
    engine = engine_at(tmp_path)
    run_all(engine)
    before = commits(tmp_path)
    deliver(tmp_path, ONE, [(s, m + 100, v) for s, m, v in GOOD])
    _, staged, mart = run_all(engine).values()
    assert isinstance(staged, Published)
    assert isinstance(mart, Published)
    assert mart.refreshed
    assert commits(tmp_path)["mart_sensor_means"] == before["mart_sensor_means"]


def test_a_b_a_ends_at_a(tmp_path: Path) -> None:
    """The first content came again: it counts, although it was seen before."""
    engine = engine_at(tmp_path)
    roots = []
    for rows in (GOOD, GOOD[:2], GOOD):
        deliver(tmp_path, ONE, rows)
        outcome = run_all(engine)["stg_readings"]
        assert isinstance(outcome, Published)
        roots.append(outcome.version.root)
    assert roots[0] == roots[2] != roots[1]
    assert pl.read_delta(str(tmp_path / "tables" / "stg_readings")).height == 3


def test_a_file_that_is_gone_is_taken_from_the_archive(tmp_path: Path) -> None:
    """The landing zone is the vendor's; what was ingested is ours."""
    deliver(tmp_path, ONE, GOOD)
    engine = engine_at(tmp_path)
    run_all(engine)
    shutil.rmtree(tmp_path / "landing" / READINGS.name)
    outcome = run(engine, "raw_readings", force=True)[ONE]
    assert isinstance(outcome, Published)
    assert outcome.version.rows == 3


def test_an_archived_file_that_was_damaged_is_named_and_holds_up_no_other(tmp_path: Path) -> None:
    """A disk went bad: what is left of the file must not be published for what was delivered."""
    for key in (ONE, TWO):
        deliver(tmp_path, key, [*GOOD, (key, 1, 1.0)])
    engine = engine_at(tmp_path)
    run_all(engine, (ONE, TWO))
    shutil.rmtree(tmp_path / "landing" / READINGS.name)
    sha256 = engine.ledger.arrivals.current("readings")[ONE].sha256
    archived = tmp_path / "archive" / "readings" / sha256[:2] / sha256
    archived.chmod(0o600)
    archived.write_bytes(archived.read_bytes()[:-5])
    outcomes = run(engine, "raw_readings", (ONE, TWO), force=True)
    lost = outcomes[ONE]
    assert isinstance(lost, Withheld)
    assert isinstance(lost.verdict, Unknown)
    assert sha256[:12] in lost.verdict.cause
    assert isinstance(outcomes[TWO], Published)


def test_what_has_not_come_is_waited_for_by_name(tmp_path: Path) -> None:
    """And holds up nobody else."""
    deliver(tmp_path, TWO, GOOD)
    engine = engine_at(tmp_path)
    outcomes = run(engine, "raw_readings", (ONE, TWO))
    assert outcomes[ONE] == Waiting(ONE, (f"file readings_{ONE}.csv of feed readings",))
    assert isinstance(outcomes[TWO], Published)
    assert run(engine, "stg_readings", (ONE,))[ONE] == Waiting(ONE, (f"raw_readings[{ONE}]",))


def test_one_withheld_partition_holds_up_no_other_and_heals(tmp_path: Path) -> None:
    """Readers keep the last good content; the incident closes when a good file comes."""
    for key in (ONE, TWO):
        deliver(tmp_path, key, GOOD)
    engine = engine_at(tmp_path)
    run_all(engine, (ONE, TWO))
    last_good = engine.ledger.publications.current("stg_readings")[ONE].version.root
    deliver(tmp_path, ONE, BAD)
    deliver(tmp_path, TWO, GOOD[:2])
    run(engine, "raw_readings", (ONE, TWO))
    outcomes = run(engine, "stg_readings", (ONE, TWO))
    withheld = outcomes[ONE]
    assert isinstance(withheld, Withheld)
    assert isinstance(withheld.verdict, Broken)
    assert withheld.last_good == last_good
    assert withheld.quarantined == 2
    assert isinstance(outcomes[TWO], Published)
    shown = pl.read_delta(str(tmp_path / "tables" / "stg_readings")).filter(pl.col("date").cast(pl.String) == ONE)
    assert sorted(shown["value"]) == [10.0, 20.0, 30.0]
    (incident,) = engine.ledger.incidents.open()
    assert (incident.table, incident.partition, incident.cause_key) == (
        "stg_readings",
        ONE,
        "broken:stg_readings:value__le",
    )

    again = run(engine, "stg_readings")[ONE]
    assert isinstance(again, Reused)
    assert again.action is Action.WITHHOLD
    deliver(tmp_path, ONE, GOOD)
    healed = run_all(engine)["stg_readings"]
    assert isinstance(healed, Published)
    assert engine.ledger.incidents.open() == []
    assert engine.store.quarantined(GRAPH["stg_readings"], [ONE]).is_empty()


def test_the_quarantine_says_what_an_unreadable_cell_said(tmp_path: Path) -> None:
    """With rule, file and line; typed, there is nothing left of it."""
    deliver(tmp_path, ONE, [*GOOD, ("c", 7, "12,5x")])
    engine = engine_at(tmp_path)
    run_all(engine)
    deliver(tmp_path, ONE, [*GOOD, ("c", 7, "12.5x")])
    run_all(engine)
    (row,) = engine.store.quarantined(GRAPH["stg_readings"]).to_dicts()
    assert row["rules"] == ["parse:value"]
    assert (row["file"], row["line"]) == (f"readings/readings_{ONE}.csv", 5)
    assert "value=12.5x" in row["row"]


def test_a_table_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    """Somebody tidied up. The ledger still says published; Delta knows better."""
    deliver(tmp_path, ONE, GOOD)
    engine = engine_at(tmp_path)
    run_all(engine)
    assert engine.look("stg_readings", [ONE]).stale == {}
    shutil.rmtree(tmp_path / "tables" / "stg_readings")
    assert engine.look("stg_readings", [ONE]).stale.keys() == {ONE}
    outcome = run(engine, "stg_readings")[ONE]
    assert isinstance(outcome, Published)
    assert not outcome.refreshed
    assert pl.read_delta(str(tmp_path / "tables" / "stg_readings")).height == 3
    live = engine.store.table(GRAPH["stg_readings"]).state().files[ONE]
    assert engine.ledger.publications.current("stg_readings")[ONE].path == live.path


@table(contract=MEAN, partitions=DAYS, station=Station.MART)
def mart_that_panics(stg_readings: pl.LazyFrame) -> pl.LazyFrame:
    """Means, by code with which Polars panics on some days."""
    day = pl.when(pl.col("value") == 99).then(2**31 - 1).otherwise(0).cast(pl.Int32).cast(pl.Date)
    return (
        stg_readings.filter(day.dt.strftime("%Y") != "1969")
        .group_by("date", "sensor")
        .agg(readings=pl.len().cast(pl.Int64), value_mean=pl.col("value").mean())
    )


@table(contract=MEAN, partitions=DAYS, station=Station.MART)
def mart_that_crashes(stg_readings: pl.LazyFrame) -> pl.LazyFrame:
    """Means, by code that some days are too much for."""

    def refuse(rows: pl.DataFrame) -> pl.DataFrame:
        if rows["value"].max() == 99:
            msg = "99 was not foreseen"
            raise ValueError(msg)
        return rows

    return (
        stg_readings.map_batches(refuse)
        .group_by("date", "sensor")
        .agg(readings=pl.len().cast(pl.Int64), value_mean=pl.col("value").mean())
    )


def after_fault_on_the_second_day(home: Path, mart: Table) -> tuple[Engine, dict[str, Outcome]]:
    """Three days, of which the second has the value that a mart cannot bear."""
    graph = Graph.of([raw_table(READINGS), stg_readings, mart])
    engine = open_engine(load({"SELFHEAL_HOME": str(home)}), graph, clock=ManualClock(NOON))
    keys = (ONE, TWO, THREE)
    for day, highest in zip(keys, (50, 99, 50), strict=True):
        deliver(home, day, [("a", 1, highest)])
    for name in ("raw_readings", "stg_readings"):
        run(engine, name, keys)
    return engine, run(engine, mart.name, keys)


def test_a_crash_is_that_partitions_alone_and_publishes_nothing(tmp_path: Path) -> None:
    """An error is no verdict on rows: nothing is published or quarantined, last good stays, neighbours go on."""
    engine, outcomes = after_fault_on_the_second_day(tmp_path, mart_that_crashes)
    crashed = outcomes[TWO]
    assert isinstance(crashed, Withheld)
    assert isinstance(crashed.verdict, Unknown)
    assert "99 was not foreseen" in crashed.verdict.cause
    assert crashed.quarantined == 0
    assert [type(outcomes[key]) for key in (ONE, THREE)] == [Published, Published]
    (incident,) = engine.ledger.incidents.open()
    assert incident.cause_key == "unknown:mart_that_crashes:transform"


def test_a_panic_of_polars_is_that_partitions_alone(tmp_path: Path) -> None:
    """A panic is no Exception: it went past every boundary and ended the run of all partitions."""
    _, outcomes = after_fault_on_the_second_day(tmp_path, mart_that_panics)
    panicked = outcomes[TWO]
    assert isinstance(panicked, Withheld)
    assert isinstance(panicked.verdict, Unknown)
    assert panicked.verdict.cause.startswith("PanicException in test_engine.py, line ")
    assert panicked.verdict.cause.endswith(": out-of-range date")
    assert [type(outcomes[key]) for key in (ONE, THREE)] == [Published, Published]
