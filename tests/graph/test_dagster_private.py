"""What we use of Dagster beyond its public API behaves as the adapter says."""

import logging
import multiprocessing
import random
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned as Planned
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    EngineEventData,
    EventSpecificData,
    StepMaterializationData,
)
from dagster._core.test_utils import instance_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon import controller, sensor
from dagster._daemon.backfill import execute_backfill_iteration_loop
from dagster._daemon.monitoring import run_monitoring
from dagster._daemon.sensor import execute_sensor_iteration_loop
from sqlalchemy.exc import IntegrityError

from sh_assets import dagster_events, dagster_runs, telling
from sh_assets.dagster_checks import make_room
from sh_assets.dagster_daemon import run_daemon
from sh_assets.dagster_events import one_transaction
from sh_assets.dagster_private import Target, latest_data_versions, latest_ids, latest_materializations
from tests.graph.domain import BROKEN, GOOD, GRAPH, KEYS, RAW, SPLIT, STG, World

pytestmark = pytest.mark.graph

Kind = dg.DagsterEventType
Rows = list[dict[str, Any]]

OURS = {
    kind.value
    for kind in (
        *(Kind.ASSET_MATERIALIZATION_PLANNED, Kind.ASSET_MATERIALIZATION, Kind.ASSET_OBSERVATION),
        *(Kind.ASSET_CHECK_EVALUATION_PLANNED, Kind.ASSET_CHECK_EVALUATION),
    )
}
CHANCE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b|\b1\d{9}\.\d+|\b20\d\d(-\d\d){2} \d\d(:\d\d){2}\.\d+"
    r"|\b20\d\d(-\d\d){2} \d\d:\d\d UTC|/\S+/home/quarantine/"
)
"""Ids made up, times of the clock and folders, of a run."""


def tables(database: Path) -> dict[str, Rows]:
    """Every column of every row in the order of writing, but for what SQLite's own clock set."""
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for (name,) in names}
    clock = {"create_timestamp", "migration_completed"}
    return {name: [{c: row[c] for c in set(row.keys()) - clock} for row in rows] for name, rows in found.items()}


def databases(home: Path) -> dict[str, dict[str, Rows]]:
    return {path.name.removesuffix(".db"): tables(path) for path in sorted((home / "history" / "runs").glob("*.db"))}


# ---- the rows are Dagster's


def written(world: World) -> list[dict[str, Rows]]:
    """Everything that the runs of a fixed story left in Dagster's storage, what differs by chance made equal."""
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: SPLIT})
    # The mart's preview is in no fixed order.
    ids = [run.run_id for _ in range(2) for table in (RAW, STG) for run in world.run(table, KEYS[:3])]
    found = databases(world.home.parent / "dagster")
    return [
        {name: [steady(row) for row in rows] for name, rows in found[database].items()} for database in ("index", *ids)
    ]


def steady(row: dict[str, Any]) -> dict[str, Any]:
    """Without the words of events that are none of ours: process ids, and how long something took."""
    words = row.get("dagster_event_type", "") not in OURS and "dagster_event_type" in row
    same = {c: CHANCE.sub("*", v) if isinstance(v, str) else v for c, v in row.items()}
    return {**same, "event": None} if words else same


@contextmanager
def plainly(_: dg.DagsterInstance) -> Iterator[bool]:
    yield False


def test_one_transaction_writes_the_rows_that_dagster_writes_plainly(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("plain", "fast"):
        home = tmp_path / name
        shutil.copytree(empty, home / "dagster")
        with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance, monkeypatch.context() as patched:
            if name == "plain":
                patched.setattr(telling, "one_transaction", plainly)
                patched.setattr(dagster_runs, "one_transaction", plainly)
            found.append(written(World.at(home / "home", instance)))
    plain, fast = found
    assert sum(len(r) for part in plain for r in part.values()) > 300
    assert fast == plain


THING, OTHER = dg.AssetKey("thing"), dg.AssetKey(["an", "other"])
DAY = [f"2024-01-{day:02}" for day in range(1, 11)]


class Story:
    """Events as Dagster would log them, with a clock of their own, so that two tellings differ in nothing."""

    def __init__(self) -> None:
        self.entries: list[dg.EventLogEntry] = []

    def add(self, run: str, kind: dg.DagsterEventType | None, data: EventSpecificData | None = None) -> None:
        event = None if kind is None else dg.DagsterEvent(kind.value, "job", step_key="step", event_specific_data=data)
        said = "" if kind else "A line of text."
        when = 1.7e9 + len(self.entries) / 8
        self.entries.append(dg.EventLogEntry(None, 20, said, run, when, "step", "job", event))

    def plan(self, run: str, key: dg.AssetKey, partition: str | None) -> None:
        self.add(run, Kind.ASSET_MATERIALIZATION_PLANNED, AssetMaterializationPlannedData(key, partition, None))

    def plan_check(self, run: str, check: str, partitions: Sequence[str] | None) -> None:
        subset = None if partitions is None else DefaultPartitionsSubset(set(partitions))
        planned = Planned(asset_key=THING, check_name=check, partitions_subset=subset)
        self.add(run, Kind.ASSET_CHECK_EVALUATION_PLANNED, planned)

    def materialize(self, run: str, key: dg.AssetKey, partition: str | None, version: str) -> None:
        tags = {"dagster/data_version": version, "dagster/code_version": "7"}
        metadata: dict[str, dg.MetadataValue | float] = {
            "rows": 3,
            "share": 0.5,
            "where": dg.MetadataValue.path("ä"),
            "md": dg.MetadataValue.md("*"),
        }
        event = dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags=tags)
        self.add(run, Kind.ASSET_MATERIALIZATION, StepMaterializationData(event, []))

    def observe(self, run: str, key: dg.AssetKey, partition: str | None) -> None:
        event = dg.AssetObservation(key, partition=partition, tags={"dagster/data_version": "o"}, metadata={"x": 1})
        self.add(run, Kind.ASSET_OBSERVATION, AssetObservationData(event))

    def evaluate(self, run: str, check: str, partition: str | None, target: int | None, *, passed: bool) -> None:
        event = dg.AssetCheckEvaluation(
            THING,
            check,
            passed=passed,
            metadata={"rows_broken": 1},
            target_materialization_data=None
            if target is None
            else Target(storage_id=target, run_id=run, timestamp=1.7e9),
            severity=dg.AssetCheckSeverity.WARN,
            description="Says why.",
            blocking=False,
            partition=partition,
        )
        self.add(run, Kind.ASSET_CHECK_EVALUATION, event)


def story(seed: int) -> list[dg.EventLogEntry]:
    """What is planned comes first; the rest, of every sort, in an order of its own per seed."""
    told = Story()
    for day in DAY[:4]:
        told.plan("run-1", THING, day)
    told.plan("run-2", OTHER, None)
    for check in ("c", "d"):
        told.plan_check("run-1", check, DAY[:4])
    told.plan_check("run-1", "whole", None)
    # The evaluation finds no row yet and adds one; so does the plan.
    told.evaluate("run-2", "late", None, 3, passed=True)
    told.plan_check("run-2", "late", None)
    for _ in range(2):
        told.observe("run-2", OTHER, None)
        told.materialize("run-2", OTHER, None, "z")
    told.observe("run-1", OTHER, None)
    start = len(told.entries)
    for run, day in (("run-1", DAY[0]), ("run-1", DAY[1]), ("run-2", DAY[0]), ("", DAY[5])):
        told.materialize(run, THING, day, f"{run}/{day}")
        told.evaluate(run, "c", day, 7, passed=True)  # planned for run-1 only
        if run:  # once only without a run
            told.evaluate(run, "c", day, None, passed=False)
        told.evaluate(run, "d", day, 8, passed=False)
        told.observe(run, THING, day)
    told.evaluate("run-1", "c", DAY[9], 9, passed=True)  # not planned for this day
    told.evaluate("run-1", "whole", None, 9, passed=False)
    told.evaluate("run-1", "new", None, None, passed=True)
    told.plan("run-2", THING, DAY[3])
    told.observe("run-2", dg.AssetKey("seen only"), None)
    told.add("run-1", None)
    told.add("run-1", Kind.ENGINE_EVENT, EngineEventData())
    told.add("run-2", Kind.RUN_START)
    rest = told.entries[start:]
    random.Random(seed).shuffle(rest)
    return told.entries[:start] + rest


@pytest.mark.parametrize("size", [1000, 3])
@pytest.mark.parametrize("seed", range(4))
def test_every_sort_of_event_leaves_the_rows_that_it_leaves_plainly(
    tmp_path: Path, empty: Path, seed: int, size: int
) -> None:
    entries, found = story(seed), []
    for wrap in (plainly, one_transaction):
        home = shutil.copytree(empty, tmp_path / wrap.__name__)
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            for start in range(0, len(entries), size):
                with wrap(instance) as together:
                    assert together == (wrap is one_transaction)
                    for entry in entries[start : start + size]:
                        instance.event_log_storage.store_event(entry)
        found.append(databases(home))
    plain, fast = found
    assert set(plain) == {"", "index", "run-1", "run-2"}
    assert len(plain["index"]["event_logs"]) == len(entries) - 2
    assert {len(plain["index"][t]) for t in ("asset_keys", "asset_event_tags", "asset_check_executions")} > {3}
    assert fast == plain


# ---- a block is one transaction


def log(instance: dg.DagsterInstance, partition: str, version: str = "1") -> None:
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetMaterialization("thing", partition=partition, tags=tags))


def test_an_exception_takes_back_the_whole_block(instance: dg.DagsterInstance) -> None:
    def log_and_raise() -> None:
        with one_transaction(instance) as together:
            assert together
            log(instance, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        log_and_raise()
    assert latest_ids(instance, dg.AssetKey("thing"), ["a"]) == {}
    log(instance, "b")
    assert set(latest_ids(instance, dg.AssetKey("thing"), ["a", "b"])) == {"b"}


def test_an_event_that_cannot_be_written_takes_back_the_whole_block_even_if_the_block_goes_on(
    instance: dg.DagsterInstance,
) -> None:
    told = Story()
    for _ in range(2):
        told.plan_check("run", "c", DAY[:1])  # once per run and partition

    def log_and_go_on() -> None:
        with one_transaction(instance):
            log(instance, "a")
            for entry in told.entries:
                instance.event_log_storage.store_event(entry)
            with pytest.raises(IntegrityError):
                latest_ids(instance, THING, ["a"])
            log(instance, "b")

    with pytest.raises(RuntimeError, match="none of them"):
        log_and_go_on()
    assert latest_ids(instance, THING, ["a", "b"]) == {}
    assert instance.all_logs("run") == []


def test_within_a_block_what_was_logged_is_read_back(instance: dg.DagsterInstance) -> None:
    thing = dg.AssetKey("thing")
    log(instance, "a", "1")
    with one_transaction(instance):
        log(instance, "a", "2")
        log(instance, "b", "3")
        assert latest_data_versions(instance, thing, ["a", "b", "c"]) == {"a": "2", "b": "3"}
        targets = latest_materializations(instance, thing, ["a", "b", "c"])
        assert {key: t.storage_id for key, t in targets.items()} == latest_ids(instance, thing, ["a", "b"])


def test_every_event_of_an_asset_has_a_millisecond_of_its_own(world: World) -> None:
    """The page of events takes those of one run, kind and millisecond for one: of five it listed three."""
    world.deliver(dict.fromkeys(KEYS, GOOD))
    (first,) = world.run(RAW, KEYS)
    (again,) = world.run(RAW, KEYS)
    kinds = (Kind.ASSET_MATERIALIZATION, Kind.ASSET_OBSERVATION)
    for ran in (first, again):
        logged = [(r.event_log_entry, r.storage_id) for r in world.instance.get_records_for_run(ran.run_id).records]
        told = [(e, i) for e, i in logged if e.is_dagster_event and e.dagster_event_type in kinds]
        assert len(told) == (2 if ran is first else 1) * len(KEYS)
        shown = [int(e.timestamp * 1000) for e, _ in sorted(told, key=lambda one: one[1])]
        assert shown == sorted(set(shown))
    records = world.instance.fetch_materializations(dg.AssetKey(RAW.name), limit=100).records
    assert [r.partition_key for r in reversed(records)] == [*KEYS, *KEYS]
    assert len({(r.run_id, int(r.timestamp * 1000)) for r in records}) == 2 * len(KEYS)


def test_other_threads_wait_and_lose_nothing(instance: dg.DagsterInstance) -> None:
    others = [threading.Thread(target=log, args=(instance, f"other-{i}")) for i in range(3)]
    with one_transaction(instance):
        for thread in others:
            thread.start()
        for i in range(20):
            log(instance, f"own-{i}")
    for thread in others:
        thread.join()
    assert len(instance.get_materialized_partitions(dg.AssetKey("thing"))) == 23


@pytest.mark.slow
@pytest.mark.parametrize("wraps", [("one_transaction", "plainly"), ("one_transaction", "one_transaction")])
def test_two_processes_at_once_lose_nothing_and_point_to_their_own_events(
    tmp_path: Path, empty: Path, wraps: tuple[str, str]
) -> None:
    home = shutil.copytree(empty, tmp_path / "dagster")
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    writers = [spawn.Process(target=write, args=(home, f"run-{i}", wrap, start)) for i, wrap in enumerate(wraps)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]

    found = databases(home)
    index = found["index"]
    log = {row["id"]: row for row in index["event_logs"]}
    days = ROUNDS * PER_ROUND
    ran = {run: [row["id"] for row in log.values() if run in row["event"]] for run in ("run-0", "run-1")}
    assert [len(ids) for ids in ran.values()] == [2 * days + 1] * 2
    assert max(map(min, ran.values())) < min(map(max, ran.values()))  # they did write at once
    assert len(found[""]["event_logs"]) == 2 * ROUNDS
    assert len(found["run-0"]["event_logs"]) == len(found["run-1"]["event_logs"]) == 2 * days + 1 - ROUNDS

    assert len(index["asset_event_tags"]) == 2 * days
    for tag in index["asset_event_tags"]:
        assert tag["value"] == log[tag["event_id"]]["partition"]
    assert len(index["asset_check_executions"]) == 2 * days
    for check in index["asset_check_executions"]:
        assert check["execution_status"] == "SUCCEEDED"
        evaluated = log[check["evaluation_event_storage_id"]]
        assert (evaluated["event"], evaluated["run_id"]) == (check["evaluation_event"], check["run_id"])
        materialized = log[check["materialization_event_storage_id"]]
        assert materialized["dagster_event_type"] == Kind.ASSET_MATERIALIZATION.value
        assert materialized["partition"] == check["partition"]
        assert check["run_id"] in materialized["event"]


ROUNDS, PER_ROUND = 25, 4


def write(home: Path, run: str, wrap: str, start: Barrier) -> None:
    """Materialize and check partitions of one's own; one of each round without a run, so in a file that both write."""
    rounds = [[f"{run}-{i}-{j}" for j in range(PER_ROUND)] for i in range(ROUNDS)]
    told, shared = Story(), 0 if run == "run-0" else PER_ROUND - 1  # the two need the same files in opposite order
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        store = instance.event_log_storage.store_event
        told.plan_check(run, "c", [key for keys in rounds for key in keys])
        store(told.entries.pop())
        start.wait(60)
        for keys in rounds:
            with globals()[wrap](instance):
                for i, key in enumerate(keys):
                    told.materialize("" if i == shared else run, THING, key, key)
                    store(told.entries.pop())
                    newest = latest_materializations(instance, THING, [key])
                    told.evaluate(run, "c", key, newest[key].storage_id, passed=True)
                    store(told.entries.pop())


def test_blocks_nest(instance: dg.DagsterInstance) -> None:
    with one_transaction(instance) as outer, one_transaction(instance) as inner:
        assert (outer, inner) == (True, False)
        log(instance, "a")
    assert instance.get_materialized_partitions(dg.AssetKey("thing")) == {"a"}


def test_any_other_storage_is_left_as_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with one_transaction(instance) as together:
            assert not together
            log(instance, "a")
        assert instance.get_materialized_partitions(dg.AssetKey("thing")) == {"a"}


def test_where_a_release_of_dagster_lacks_a_part_its_own_route_is_taken(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_events, "_PARTS", (*dagster_events._PARTS, "_gone"))
    with one_transaction(instance) as together:
        assert not together
        log(instance, "a")
    assert instance.get_materialized_partitions(dg.AssetKey("thing")) == {"a"}


# ---- runs


def test_a_run_made_here_can_be_found_and_executed_again_like_one_of_the_web_interface(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    (ran,) = world.run(GRAPH.tables[0], KEYS[:1])
    run = world.instance.get_run_by_id(ran.run_id)
    assert run is not None
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.job_name == run.job_name == "__ASSET_JOB"
    assert run.remote_job_origin.repository_origin.code_location_origin.location_name == "selfheal"
    assert run.asset_selection == {dg.AssetKey(GRAPH.tables[0].name)}


def test_a_run_made_here_is_silent_and_its_log_is_kept(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.deliver({KEYS[0]: BROKEN})
    world.run_all(KEYS[:1])
    assert capfd.readouterr() == ("", "")
    (ran,) = world.run(STG, KEYS[:1])
    said = [entry.user_message for entry in world.instance.all_logs(ran.run_id) if not entry.is_dagster_event]
    assert said == ["stg_visits: 1 withheld"]
    (ran,) = world.run(RAW, KEYS[:1])
    said = [entry.user_message for entry in world.instance.all_logs(ran.run_id) if not entry.is_dagster_event]
    assert said == ["raw_visits: 1 reused"]


def test_the_daemons_pace_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster reads both constants whenever a loop goes to sleep: 30 s between two looks at a backfill otherwise."""
    monkeypatch.setattr(controller, "DEFAULT_DAEMON_INTERVAL_SECONDS", 30)
    monkeypatch.setattr(sensor, "MIN_INTERVAL_LOOP_TIME", 5)
    for name in ("monitor_starting_run", "monitor_canceling_run"):  # put back afterwards
        monkeypatch.setattr(run_monitoring, name, getattr(run_monitoring, name))
    with pytest.raises(SystemExit) as ended:
        run_daemon(["run", "--help"], sensors_every_s=0.25, backfills_every_s=0.5)
    assert ended.value.code == 0

    class Naps(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.taken: list[float] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.taken.append(timeout or 0.0)
            return True

    with instance_for_test() as instance, WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        for loop, pace in ((execute_backfill_iteration_loop, 0.5), (execute_sensor_iteration_loop, 0.25)):
            naps = Naps()
            steps = loop(workspace, logging.getLogger("daemon"), naps)
            while len(naps.taken) < 2:
                next(steps)
            assert all(0 <= nap <= pace for nap in naps.taken)
            assert max(naps.taken) > pace / 2


def test_dagster_has_room_for_one_result_without_a_run_per_partition(tmp_path: Path) -> None:
    """Should the first half fail with a release of Dagster, ``dagster_checks`` can go."""
    asset, of_another = dg.AssetKey("a"), dg.AssetKey("b")

    def result(key: dg.AssetKey, partition: str, *, passed: bool) -> dg.AssetCheckEvaluation:
        return dg.AssetCheckEvaluation(asset_key=key, check_name="c", passed=passed, partition=partition)

    def shown(key: dg.AssetKey) -> list[tuple[str | None, str]]:
        check = dg.AssetCheckKey(key, "c")
        found = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
        return [(r.partition, r.status.value) for r in found]

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for key in (asset, of_another):
            for partition in ("x", "y"):
                instance.report_runless_asset_event(result(key, partition, passed=False))
        again = result(asset, "x", passed=True)
        with pytest.raises(IntegrityError):
            instance.report_runless_asset_event(again)
        make_room(instance, [again])
        instance.report_runless_asset_event(again)
        assert shown(asset) == [("x", "SUCCEEDED"), ("y", "FAILED")]
        assert shown(of_another) == [("y", "FAILED"), ("x", "FAILED")]
