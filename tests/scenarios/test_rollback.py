"""Taking a partition back to what it was, and keeping the bad content away.

The incidents: a vendor's bad file passes every rule and is on the dashboards for a day; somebody restores the table by
hand, past every check, and the next run puts the bad rows back; or a rollback leaves rows that nobody can account for.
"""

from dataclasses import replace
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from sh_core.accounts import RowAccount
from sh_core.contract import Contract, Reference, Split, field
from sh_core.errors import RollbackError
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.outcome import Busy, Outcome, Published, Reused, Withheld
from sh_core.parsing import parse, text
from sh_core.partitions import WHOLE, Unpartitioned
from sh_core.records import Action
from sh_core.table import Station, Transform, raw_table, table
from sh_core.verdict import Broken
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.rollback import Wish
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.little import DAYS, GRAPH, NAMES, NOON, READINGS, Reading, deliver, engine_at, stg_readings


class StricterReading(Reading):
    """Sensors that have gone out of use are broken."""

    value: float = field(unit="°C", ge=0, le=5)


class WiderReading(Reading):
    """A column that did not exist when the first day was published."""

    noise: float = field(unit="dB", nullable=True)


def doubled(raw_readings: pl.LazyFrame) -> pl.LazyFrame:
    """A mistake."""
    return stg_readings.transform(raw_readings).with_columns(pl.col("value") * 2)  # type: ignore[misc]


def halved(raw_readings: pl.LazyFrame) -> pl.LazyFrame:
    """Its correction."""
    return stg_readings.transform(raw_readings).with_columns(pl.col("value") / 2)  # type: ignore[misc]


def noisy(raw_readings: pl.LazyFrame) -> pl.LazyFrame:
    """With a column that was given up later."""
    return stg_readings.transform(raw_readings).with_columns(noise=pl.lit(1.0))  # type: ignore[misc]


def tenth(raw_readings: pl.LazyFrame) -> pl.LazyFrame:
    """A later edit."""
    return stg_readings.transform(raw_readings).with_columns(pl.col("value") / 10)  # type: ignore[misc]


def engine_with(home: Path, transform: Transform) -> Engine:
    """The little graph after an edit of its staged table."""
    graph = Graph.of((raw_table(READINGS), replace(stg_readings, transform=transform)))
    return open_engine(load({"SELFHEAL_HOME": str(home)}), graph, clock=ManualClock(NOON))


STRICTER = Graph.of(
    (
        raw_table(READINGS),
        replace(stg_readings, contract=replace(stg_readings.contract, model=StricterReading)),
    )
)
SENSORS = Feed("sensors", "sensors.csv", ("sensor",), Unpartitioned(), owner="team:test")


class Sensor(pa.DataFrameModel):
    """One row per sensor in use."""

    sensor: str


@table(contract=Contract(Sensor, key=("sensor",)), partitions=Unpartitioned(), station=Station.STAGED)
def stg_sensors(raw_sensors: pl.LazyFrame) -> pl.LazyFrame:
    """The register."""
    return parse(raw_sensors, sensor=text("sensor"))


IN_USE = (Reference(("sensor",), "stg_sensors"),)
REGISTERED = Graph.of(
    (
        raw_table(READINGS),
        raw_table(SENSORS),
        stg_sensors,
        replace(stg_readings, contract=replace(stg_readings.contract, references=IN_USE)),
    )
)
ONE, TWO = DAYS.keys()[:2]
RAW, STAGED, MART = NAMES
GOOD = [("a", 1, 10.0), ("a", 2, 20.0), ("b", 1, 30.0), ("b", 1, 30.0), ("c", 1, 1000.0)]
BAD = [("a", 1, 11.0), ("b", 1, 31.0)]
BETTER = [("a", 1, 12.0), ("b", 1, 32.0)]


def run(engine: Engine, name: str, **options: bool) -> Outcome:
    (outcome,) = engine.materialize(name, [ONE], run_id="test", **options)
    return outcome


def run_all(engine: Engine) -> list[Outcome]:
    return [run(engine, name) for name in NAMES]


def roll_back(engine: Engine, name: str, to: str | None = None) -> Outcome:
    return engine.rollback(name, ONE, Wish(to, "ada", "wrong plug"), run_id="undo")


def due(engine: Engine) -> list[str]:
    return [name for name in NAMES if engine.look(name, [ONE]).stale]


def values(engine: Engine, name: str = STAGED) -> list[float | str]:
    column = "value_mean" if name == MART else "value"
    return sorted(engine.store.published(GRAPH[name], [ONE]).collect()[column])


def account(engine: Engine) -> list[RowAccount]:
    found = engine.ledger.accounts("readings", RAW, STAGED)
    assert all(a.is_read for a in found)
    assert [a.account for a in found if a.account.missing] == []
    return [a.account for a in found]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A good day, then a bad file for the same day that breaks no rule."""
    engine = engine_at(tmp_path)
    for rows in (GOOD, BAD):
        deliver(tmp_path, ONE, rows)
        run_all(engine)
    assert values(engine) == [11.0, 31.0]
    return engine


def test_a_staged_day_goes_back_and_stays_back(engine: Engine) -> None:
    """Downstream repairs itself, and no run brings the bad rows back, however often it is asked."""
    before = engine.ledger.publications.history(STAGED, ONE)
    outcome = roll_back(engine, STAGED)
    assert isinstance(outcome, Published)
    assert (outcome.returned_to, outcome.version.root) == (before[1].attempt_id, before[1].version.root)
    assert values(engine) == [10.0, 20.0, 30.0]
    assert due(engine) == [MART]
    assert isinstance(run(engine, MART), Published)
    assert values(engine, MART) == [15.0, 30.0]
    for _ in range(2):
        assert all(isinstance(o, Reused) for o in run_all(engine))
        assert due(engine) == []
    assert values(engine) == [10.0, 20.0, 30.0]
    assert engine.ledger.publications.current(STAGED)[ONE].trace == before[1].trace


def test_every_row_is_accounted_for_after_a_staged_and_after_a_raw_day_went_back(engine: Engine) -> None:
    """The rows of the bad file wait; those of the good one were replaced by it, and show."""
    roll_back(engine, STAGED)
    good, bad = account(engine)
    assert (good.arrived, good.superseded) == (5, 5)
    assert (bad.arrived, bad.pending) == (2, 2)
    assert engine.store.quarantined(GRAPH[STAGED], [ONE])["row"].str.contains("1000.0").to_list() == [True]
    roll_back(engine, RAW)
    run_all(engine)
    assert values(engine) == [10.0, 20.0, 30.0]
    good, bad = account(engine)
    assert (good.superseded, bad.pending) == (5, 2)


def test_a_good_file_heals_and_the_bad_one_delivered_again_does_not_come_back(tmp_path: Path, engine: Engine) -> None:
    """The vendor corrects the day, and later resends the bad file by mistake."""
    roll_back(engine, RAW)
    run_all(engine)
    deliver(tmp_path, ONE, BETTER)
    assert all(isinstance(o, Published) for o in run_all(engine))
    assert values(engine) == [12.0, 32.0]
    deliver(tmp_path, ONE, BAD)
    assert all(isinstance(o, Reused) for o in run_all(engine))
    assert values(engine) == [12.0, 32.0]
    assert account(engine)[-1] == RowAccount(arrived=2, pending=2)


def test_the_bad_content_in_another_file_is_withheld_and_an_incident_tells_it(tmp_path: Path, engine: Engine) -> None:
    """Other bytes, the same rows: only the content tells."""
    roll_back(engine, RAW)
    run_all(engine)
    deliver(tmp_path, ONE, reversed(BAD))
    outcome = run(engine, RAW)
    assert isinstance(outcome, Withheld)
    assert isinstance(outcome.verdict, Broken)
    (breach,) = outcome.verdict.breaches
    assert breach.rule == "rolled_back"
    assert "by ada (wrong plug)" in breach.detail
    (incident,) = engine.ledger.incidents.open(RAW)
    assert incident.cause_key == f"broken:{RAW}:rolled_back"
    assert values(engine, RAW) == sorted(str(v) for _, _, v in GOOD)
    assert account(engine)[-1] == RowAccount(arrived=2, pending=2)
    deliver(tmp_path, ONE, BETTER)
    run_all(engine)
    assert engine.ledger.incidents.open() == []


def test_a_forced_run_recomputes_and_still_does_not_publish_what_was_rolled_back(engine: Engine) -> None:
    """Force is a wish to try again, not to take the bad content after all."""
    roll_back(engine, STAGED)
    outcome = run(engine, STAGED, force=True)
    assert isinstance(outcome, Withheld)
    assert values(engine) == [10.0, 20.0, 30.0]


def test_twice_is_once(tmp_path: Path, engine: Engine) -> None:
    """Somebody does not know whether the command went through, and gives it again."""
    first = engine.ledger.publications.history(RAW, ONE)[-1].attempt_id
    assert isinstance(roll_back(engine, RAW), Published)
    log = engine.ledger.publications.log(RAW)
    assert isinstance(roll_back(engine, RAW), Reused)
    assert isinstance(roll_back(engine, RAW, first[:8]), Reused)
    assert engine.ledger.publications.log(RAW) == log
    assert len(engine.ledger.bars.standing(RAW)[ONE]) == 1


def test_going_forward_again_lifts_the_bar(engine: Engine) -> None:
    """It was the right content after all."""
    bad = engine.ledger.publications.current(STAGED)[ONE]
    roll_back(engine, STAGED)
    assert isinstance(roll_back(engine, STAGED, bad.version.root[:16]), Published)
    assert values(engine) == [11.0, 31.0]
    (bar,) = engine.ledger.bars.standing(STAGED)[ONE]
    assert bar.root != bad.version.root
    assert isinstance(run(engine, STAGED), Reused)
    outcome = run(engine, STAGED, force=True)
    assert isinstance(outcome, Published)
    assert outcome.refreshed


def test_a_rollback_that_todays_contract_refuses_changes_nothing(tmp_path: Path, engine: Engine) -> None:
    """The old content breaks a rule that was made since. It is told, kept in the history, and nothing else happens."""
    before = engine.ledger.publications.settlements(STAGED, [ONE])
    evidence = engine.store.quarantined(GRAPH[STAGED], [ONE])
    first = engine.ledger.publications.history(STAGED, ONE)[-1]
    stricter = open_engine(load({"SELFHEAL_HOME": str(tmp_path)}), STRICTER, clock=ManualClock(NOON))
    with pytest.raises(RollbackError, match=r"value__le: 4 broken rows.*What readers see stays"):
        roll_back(stricter, STAGED)
    assert values(engine) == [11.0, 31.0]
    assert engine.ledger.publications.settlements(STAGED, [ONE]) == before
    assert engine.store.quarantined(GRAPH[STAGED], [ONE]).equals(evidence)
    assert engine.ledger.incidents.open() == []
    assert engine.ledger.bars.standing(STAGED) == {}
    newest = engine.ledger.publications.log(STAGED, ONE)[0]
    assert (newest.attempt.action, newest.state) == (Action.WITHHOLD, "discarded")
    assert first.attempt_id in (newest.reason or "")
    assert engine.ledger.publications.unconfirmed(STAGED) == []


def test_old_content_without_a_column_that_is_promised_now_is_refused(tmp_path: Path, engine: Engine) -> None:
    """Readers of the new column must not be given rows that never had it."""
    wider = replace(stg_readings, contract=replace(stg_readings.contract, model=WiderReading))
    graph = Graph.of((raw_table(READINGS), wider))
    with pytest.raises(RollbackError, match=r"schema: .*noise"):
        roll_back(open_engine(load({"SELFHEAL_HOME": str(tmp_path)}), graph, clock=ManualClock(NOON)), STAGED)
    assert values(engine) == [11.0, 31.0]


def test_a_file_that_is_gone_or_changed_is_refused_by_name(engine: Engine) -> None:
    """A disk was cleaned up by hand; or somebody has "repaired" a file in place."""
    old = engine.ledger.publications.history(STAGED, ONE)[-1]
    file = engine.store.table(GRAPH[STAGED]).folder / old.path
    rows = pl.read_parquet(file)
    rows.with_columns(pl.col("value") + 1).write_parquet(file)
    with pytest.raises(RollbackError, match="is not what was published in it"):
        roll_back(engine, STAGED)
    rows.write_parquet(file)
    evidence = engine.ledger.publications.last_by_path(STAGED, old.path)
    assert evidence is not None
    aside = engine.store.quarantine(GRAPH[STAGED]).folder / f"date={ONE}" / f"{evidence.attempt.id}.parquet"
    aside.rename(aside.with_suffix(".gone"))
    with pytest.raises(RollbackError, match="had 1 rows in quarantine, and their file"):
        roll_back(engine, STAGED)
    aside.with_suffix(".gone").rename(aside)
    file.unlink()
    with pytest.raises(RollbackError, match="cannot be read"):
        roll_back(engine, STAGED)
    assert values(engine) == [11.0, 31.0]


def test_code_that_made_it_bad_is_barred_and_the_next_code_is_tried(tmp_path: Path) -> None:
    """A deploy doubles every value. Going back keeps the rows of the one file accounted for, set aside ones as well."""
    deliver(tmp_path, ONE, GOOD)
    first = engine_at(tmp_path)
    run_all(first)
    before = account(first)
    second, third = (engine_with(tmp_path, transform) for transform in (doubled, halved))
    assert isinstance(run(second, STAGED), Published)
    assert values(second) == [20.0, 40.0, 60.0]
    assert isinstance(roll_back(second, STAGED), Published)
    assert isinstance(run(second, STAGED), Reused)
    assert values(second) == [10.0, 20.0, 30.0]
    assert account(second) == before == [RowAccount(arrived=5, published=3, quarantined=1, duplicates=1)]
    assert second.store.quarantined(GRAPH[STAGED], [ONE]).height == 1
    assert isinstance(run(third, STAGED), Published)
    assert values(third) == [5.0, 10.0, 15.0]


def test_what_is_forced_after_a_repair_elsewhere_is_published_and_no_longer_barred(
    tmp_path: Path, engine: Engine
) -> None:
    """The bad file was right, the code read it wrongly. The corrected code has to be forced once, and then goes on."""
    roll_back(engine, STAGED)
    repaired = engine_with(tmp_path, halved)
    assert repaired.look(STAGED, [ONE]).stale == {}
    (bar,) = engine.ledger.bars.standing(STAGED)[ONE]
    assert isinstance(run(repaired, STAGED, force=True), Published)
    assert values(repaired) == [5.5, 15.5]
    (narrower,) = engine.ledger.bars.standing(STAGED)[ONE]
    assert (narrower.root, narrower.bad) == (bar.root, bar.bad)
    assert set(narrower.components) == {("code",)}
    assert isinstance(run(engine_with(tmp_path, tenth), STAGED), Published)
    assert isinstance(run(engine, STAGED), Reused)


def test_a_day_that_another_run_works_on_is_left_to_it(engine: Engine, tmp_path: Path) -> None:
    impatient = engine_at(tmp_path, patience_s=0)
    with engine._publisher.claim(GRAPH[STAGED], [ONE], "another"):
        assert roll_back(impatient, STAGED) == Busy(ONE)
    assert isinstance(roll_back(impatient, STAGED), Published)


def test_nothing_to_return_from_or_to_is_said(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(RollbackError, match=f"nothing of {STAGED} {TWO} was ever published"):
        engine.rollback(STAGED, TWO, Wish(), run_id="undo")
    with pytest.raises(RollbackError, match=r"begins with 'nonsense'; it can return to \w{12} \(3 rows"):
        roll_back(engine, STAGED, "nonsense")
    deliver(tmp_path, TWO, GOOD)
    assert isinstance(next(engine.materialize(RAW, [TWO], run_id="test")), Published)
    with pytest.raises(RollbackError, match="there is nothing that it can return to"):
        engine.rollback(RAW, TWO, Wish(), run_id="undo")


def register(engine: Engine, home: Path, *sensors: str) -> None:
    """Let the register land, and publish it."""
    folder = home / "landing" / "sensors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sensors.csv").write_text("".join(f"{line}\n" for line in ("sensor", *sensors)))
    for name in ("raw_sensors", "stg_sensors"):
        assert isinstance(next(engine.materialize(name, [WHOLE], run_id="register")), Published)


def test_old_rows_that_refer_to_what_is_no_longer_there_are_refused(tmp_path: Path) -> None:
    """A rule that looks at another table is asked about old rows as it is about new ones, against that table as it is.

    Sensor c was taken out of the register after the day was published with it.
    """
    engine = open_engine(load({"SELFHEAL_HOME": str(tmp_path)}), REGISTERED, clock=ManualClock(NOON))
    register(engine, tmp_path, "a", "b", "c")
    for rows in ([("a", 1, 1.0), ("c", 1, 2.0)], [("a", 1, 3.0), ("b", 1, 4.0)]):
        deliver(tmp_path, ONE, rows)
        for name in (RAW, STAGED):
            assert isinstance(run(engine, name), Published)
    register(engine, tmp_path, "a", "b")
    assert isinstance(run(engine, STAGED), Published)
    with pytest.raises(RollbackError, match=r"sensor__in_stg_sensors: "):
        roll_back(engine, STAGED)
    assert values(engine) == [3.0, 4.0]
    register(engine, tmp_path, "a", "b", "c", "d")
    assert isinstance(roll_back(engine, STAGED), Published)
    assert values(engine) == [1.0, 2.0]


def test_a_register_goes_back_whole(tmp_path: Path) -> None:
    """A table without partitions is one partition."""
    engine = open_engine(load({"SELFHEAL_HOME": str(tmp_path)}), REGISTERED, clock=ManualClock(NOON))
    register(engine, tmp_path, "a", "b", "c")
    register(engine, tmp_path, "a")
    assert isinstance(engine.rollback("stg_sensors", WHOLE, Wish(), run_id="undo"), Published)
    assert engine.store.published(REGISTERED["stg_sensors"]).collect()["sensor"].sort().to_list() == ["a", "b", "c"]
    assert engine.look("stg_sensors", [WHOLE]).stale == {}
    register_rows = engine.ledger.accounts("sensors", "raw_sensors", "stg_sensors")
    assert [(a.account.missing, a.account.pending) for a in register_rows] == [(0, 0), (0, 1)]
    list(engine.tidier.tidy(REGISTERED["stg_sensors"], "tidy", 0, 0))
    assert engine.store.published(REGISTERED["stg_sensors"]).collect().height == 3


def test_a_column_that_was_given_up_since_is_left_out_and_twice_is_still_once(tmp_path: Path) -> None:
    """The old rows without that column are another content than was published then: it must not bar itself."""
    wider = replace(stg_readings, contract=replace(stg_readings.contract, model=WiderReading), transform=noisy)
    before = open_engine(
        load({"SELFHEAL_HOME": str(tmp_path)}), Graph.of((raw_table(READINGS), wider)), clock=ManualClock(NOON)
    )
    deliver(tmp_path, ONE, GOOD)
    assert isinstance(run(before, RAW), Published)
    assert isinstance(run(before, STAGED), Published)
    engine = engine_at(tmp_path)
    deliver(tmp_path, ONE, BAD)
    run_all(engine)
    old = engine.ledger.publications.history(STAGED, ONE)[-1]
    assert "noise" in old.version.columns
    assert isinstance(roll_back(engine, STAGED, old.attempt_id), Published)
    assert values(engine) == [10.0, 20.0, 30.0]
    log = engine.ledger.publications.log(STAGED)
    assert isinstance(roll_back(engine, STAGED, old.attempt_id), Reused)
    assert engine.ledger.publications.log(STAGED) == log


@pytest.mark.parametrize(("most", "allowed"), [(0.2, True), (0.19, False)])
def test_what_was_set_aside_then_counts_against_what_may_be_broken_now(
    tmp_path: Path, engine: Engine, most: float, allowed: bool
) -> None:
    """Of five rows one was set aside, and one was a copy. A policy that became stricter is the policy."""
    contract = replace(stg_readings.contract, on_breach=Split(most))
    graph = Graph.of((raw_table(READINGS), replace(stg_readings, contract=contract)))
    stricter = open_engine(load({"SELFHEAL_HOME": str(tmp_path)}), graph, clock=ManualClock(NOON))
    if allowed:
        outcome = roll_back(stricter, STAGED)
        assert isinstance(outcome, Published)
        assert (outcome.rows_judged, outcome.quarantined, outcome.version.rows) == (5, 1, 3)
    else:
        with pytest.raises(RollbackError, match=r"value__le: 1 broken row\. .* there is nothing that it can return to"):
            roll_back(stricter, STAGED)
        assert values(engine) == [11.0, 31.0]
