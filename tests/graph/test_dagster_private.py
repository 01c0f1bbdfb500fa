"""What we use of Dagster beyond its public API behaves as the adapter says."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sh_assets import dagster_private, telling
from sh_assets.dagster_private import latest_data_versions, latest_ids, latest_materializations, one_transaction
from tests.graph.domain import BROKEN, GOOD, GRAPH, KEYS, RAW, SPLIT, STG, World

pytestmark = pytest.mark.graph

INDEX = {
    "event_logs": "dagster_event_type, asset_key, partition, step_key",
    "asset_event_tags": "asset_key, key, event_id",
    "asset_check_executions": "asset_key, check_name, partition, execution_status, evaluation_event_storage_id,"
    " materialization_event_storage_id",
    "asset_keys": "asset_key, last_materialization IS NOT NULL",
}
RUN = {"event_logs": "dagster_event_type, asset_key, partition, step_key"}


def rows(database: Path, tables: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    with sqlite3.connect(database) as connection:
        return {
            t: connection.execute(f"SELECT {columns} FROM {t} ORDER BY id").fetchall() for t, columns in tables.items()
        }


def written(world: World) -> list[dict[str, list[tuple[Any, ...]]]]:
    """Everything that the runs of a fixed story left in Dagster's storage, ids of runs and times left out."""
    world.deliver({KEYS[0]: GOOD, KEYS[1]: BROKEN, KEYS[2]: SPLIT})
    ids = [run.run_id for _ in range(2) for table in GRAPH.tables for run in world.run(table, KEYS[:3])]
    folder = world.home.parent / "dagster" / "history" / "runs"
    return [rows(folder / "index.db", INDEX), *(rows(folder / f"{run_id}.db", RUN) for run_id in ids)]


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
                patched.setattr(dagster_private, "one_transaction", plainly)
            found.append(written(World.at(home / "home", instance)))
    plain, fast = found
    assert sum(len(r) for part in plain for r in part.values()) > 500
    assert fast == plain


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


def test_within_a_block_what_was_logged_is_read_back(instance: dg.DagsterInstance) -> None:
    thing = dg.AssetKey("thing")
    log(instance, "a", "1")
    with one_transaction(instance):
        log(instance, "a", "2")
        log(instance, "b", "3")
        assert latest_data_versions(instance, thing, ["a", "b", "c"]) == {"a": "2", "b": "3"}
        targets = latest_materializations(instance, thing, ["a", "b", "c"])
        assert {key: t.storage_id for key, t in targets.items()} == latest_ids(instance, thing, ["a", "b"])


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
