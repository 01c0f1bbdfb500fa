"""Dagster's folder: what stands in ``dagster.yaml``, and what one from an older release lacks.

The incident: a state folder goes on with the ``dagster.yaml`` that it was made with, and nobody hears that a repair
starts as many processes as there are spans of partitions.
"""

from pathlib import Path

import dagster as dg
import pytest

from sh_assets.dagster_runs import Launcher, Queue
from sh_defs.home import dagster_instance, outdated, prepare_dagster_home
from sh_resources.settings import load

OLD = """
run_coordinator:
  module: dagster.core.run_coordinator
  class: DefaultRunCoordinator
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return prepare_dagster_home(load({"SELFHEAL_HOME": str(tmp_path)}))


def most(instance: dg.DagsterInstance) -> int:
    queue = instance.run_coordinator
    assert isinstance(queue, Queue)
    return queue.get_run_queue_config().max_concurrent_runs


def test_a_new_folder_has_a_queue_and_a_watch_on_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(outdated(home)) == []
    monkeypatch.setenv("SELFHEAL_RUNS", "5")
    with dagster_instance(home) as instance:
        assert most(instance) == 5
        assert isinstance(instance.run_launcher, Launcher)
        assert {"QUEUED_RUN_COORDINATOR", "MONITORING"} <= set(instance.get_required_daemon_types())


def test_what_dagster_yaml_says_comes_before_the_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "dagster.yaml"
    interval = "    dequeue_interval_seconds: 1\n"
    file.write_text(file.read_text().replace(interval, f"{interval}    max_concurrent_runs: 3\n"))
    monkeypatch.setenv("SELFHEAL_RUNS", "5")
    with dagster_instance(home) as instance:
        assert most(instance) == 3


def test_an_old_file_is_left_and_said_what_it_lacks(home: Path) -> None:
    file = home / "dagster.yaml"
    file.write_text(OLD)
    watch, queue = outdated(home)
    assert "has no run_launcher and no run_monitoring" in watch
    assert "has no queue of runs" in queue
    assert file.read_text() == OLD
    file.write_text("")
    assert len(list(outdated(home))) == 1  # Dagster itself then has a queue, of ten runs
