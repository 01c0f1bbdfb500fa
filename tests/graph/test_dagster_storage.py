"""The quicker answer about checks is Dagster's own, whatever happened before.

The incident: after three years of days every page with a check on it took most of a minute, and a quicker way to count
that is wrong once would show a green check on a withheld partition.
"""

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage import asset_check_state
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.dagster_run import DagsterRun, DagsterRunStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from sh_assets import dagster_storage
from sh_assets.dagster_events import one_transaction
from sh_assets.dagster_storage import Checked, EventLog
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_resources import settings
from tests.graph.test_dagster_private import THING, Story

pytestmark = pytest.mark.graph

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-21")
MONTHS = dg.MonthlyPartitionsDefinition("2023-01-01", end_date="2024-01-01")
NAMES = ("c", "d", "never")
KEYS: list[Checked] = [
    *((dg.AssetCheckKey(THING, name), DAYS) for name in NAMES),
    *((dg.AssetCheckKey(THING, f"month_{name}"), MONTHS) for name in NAMES),
    (dg.AssetCheckKey(THING, "whole"), None),
    (dg.AssetCheckKey(THING, "whole_planned"), None),
]


def told(state: AssetCheckState) -> dict[str, Any]:
    """Everything that it says, comparable."""

    def keys(subset: Any) -> object:  # noqa: ANN401  # generic, in Dagster
        value = subset.value
        return value if isinstance(value, bool) else (type(value).__name__, sorted(value.get_partition_keys()))

    return {
        "id": state.latest_storage_id,
        "subsets": {status.value: keys(subset) for status, subset in state.subsets.items()},
        "runs": {run: keys(subset) for run, subset in state.in_progress_runs.items()},
    }


def both(home: Path, instance: dg.DagsterInstance) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """Dagster's answer, and ours."""
    answers = []
    for kind in (SqliteEventLogStorage, EventLog):
        storage = kind(str(home / "history" / "runs"))
        storage.register_instance(instance)
        answers.append({key: told(state) for key, state in storage.get_asset_check_state(KEYS).items()})
    return answers[0], answers[1]


@pytest.mark.parametrize("seed", range(6))
def test_of_any_history_the_answer_is_dagsters(tmp_path: Path, empty: Path, seed: int) -> None:
    draw = random.Random(seed)
    home = shutil.copytree(empty, tmp_path / "dagster")
    days = [*DAYS.get_partition_keys(), "2023-12-31", "2030-01-01", "no day"]
    months = [*MONTHS.get_partition_keys(), "2024-06-01"]
    statuses = (DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        story = Story()
        for number in range(8):
            run = f"run-{number}"
            instance.add_run(DagsterRun("job", run, status=draw.choice(statuses)))
            for prefix, keys in (("", days), ("month_", months)):
                some = draw.sample(keys, draw.randint(1, len(keys)))
                for name in draw.sample(NAMES[:2], draw.randint(0, 2)):
                    story.plan_check(run, prefix + name, some)
                for key in some:
                    if draw.random() < 0.6:
                        story.materialize(run, THING, key, str(draw.random()))
                    for name in NAMES[:2]:
                        if draw.random() < 0.5:
                            target = draw.choice([None, *range(1, 200, 7)])
                            story.evaluate(run, prefix + name, key, target, passed=draw.random() < 0.7)
            if draw.random() < 0.5:
                story.plan_check(run, "whole_planned", None)
                story.evaluate(run, "whole", None, None, passed=draw.random() < 0.5)
        with one_transaction(instance):
            for entry in story.entries:
                instance.event_log_storage.store_event(entry)
        plain, ours = both(home, instance)
    assert ours == plain
    seen = {
        status for answer in plain.values() for status, keys in answer["subsets"].items() if keys not in (False, ())
    }
    assert {"SUCCEEDED", "FAILED"} <= seen
    assert any(answer["runs"] for answer in plain.values()) or seed


def test_of_nothing_the_answer_is_dagsters(tmp_path: Path, empty: Path) -> None:
    home = shutil.copytree(empty, tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        plain, ours = both(home, instance)
    assert ours == plain


def test_where_a_release_of_dagster_lacks_a_part_its_own_answer_is_given(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, asked = shutil.copytree(empty, tmp_path / "dagster"), []
    plainly = asset_check_state.bulk_update_asset_check_state

    def noted(instance: dg.DagsterInstance, keys: Any, initial_states: Any) -> Any:  # noqa: ANN401  # as Dagster's
        asked.append(keys)
        return plainly(instance, keys, initial_states)

    monkeypatch.setattr(asset_check_state, "bulk_update_asset_check_state", noted)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        plain, ours = both(home, instance)
        assert (ours, len(asked)) == (plain, 1)
        monkeypatch.setattr(dagster_storage, "_PARTS", (*dagster_storage._PARTS, "_gone"))
        plain, ours = both(home, instance)
        assert (ours, len(asked)) == (plain, 3)


@pytest.mark.parametrize("moved", [False, True])
def test_a_new_home_has_it_and_an_old_one_stays_as_it_is(tmp_path: Path, moved: bool) -> None:
    """A home that is copied elsewhere must not go on writing to where it came from."""
    found = settings.load({"SELFHEAL_HOME": str(tmp_path / "home")})
    home = prepare_dagster_home(found)
    if moved:
        home = home.rename(tmp_path / "elsewhere")
    with dagster_instance(home) as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        instance.report_runless_asset_event(dg.AssetMaterialization("thing"))
        with one_transaction(instance) as together:
            assert together
    assert (home / "history" / "runs" / "index.db").is_file()
    # The same files with the dagster.yaml of before, and back.
    ours = (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dagster_instance(home) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert instance.get_latest_materialization_event(dg.AssetKey("thing")) is not None
        instance.report_runless_asset_event(dg.AssetMaterialization("other"))
    (home / "dagster.yaml").write_text(ours)
    with dagster_instance(home) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("other")) is not None
