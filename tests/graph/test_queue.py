"""How many runs there are at a time, with Dagster's real daemon and code server.

The incident: a repair of sixty scattered days became sixty processes of 300 MB at once, and the machine ran out of
memory.
"""

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from sh_defs.home import dagster_file
from tests.daemon import Services, running, ticks
from tests.graph.automated import Files

pytestmark = [pytest.mark.graph, pytest.mark.slow]

MOST = 2
HEALED_S = 200.0
AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
WAITS = [dg.DagsterRunStatus.QUEUED]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The processes, with the project's own ``dagster.yaml``, on a folder of files."""
    home = tmp_path_factory.mktemp("queue")
    own = dagster_file("dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(own.replace("poll_interval_seconds: 10", "poll_interval_seconds: 1"))
    environment = {"TOY": str(home), "SELFHEAL_RUNS": str(MOST)}
    with running(Services(home, "tests.graph.automated", environment)) as started:
        yield started


@pytest.fixture
def instance(services: Services) -> Iterator[dg.DagsterInstance]:
    with services.instance() as opened:
        yield opened


@pytest.fixture
def files(services: Services) -> Iterator[Files]:
    """Everything is running, nothing is due, and what is begun does not end."""
    services.start()
    (services.home / "hold").touch()
    yield Files(services.home)
    (services.home / "hold").unlink(missing_ok=True)


def scattered(month: int, days: int) -> dict[str, dict[str, str]]:
    """Days that are no neighbours, so that each is a run."""
    return {"first": {f"2024-{month:02d}-{2 * n + 1:02d}": "a" for n in range(days)}}


def day_of(run: dg.DagsterRun) -> str:
    """The only partition of a run, which of a backfill is a span."""
    return run.tags.get("dagster/partition") or run.tags["dagster/asset_partition_range_start"]


def runs(instance: dg.DagsterInstance, month: int, statuses: list[dg.DagsterRunStatus]) -> list[dg.DagsterRun]:
    found = instance.get_runs(dg.RunsFilter(statuses=statuses))
    return [run for run in found if day_of(run).startswith(f"2024-{month:02d}")]


def queued(services: Services, files: Files, instance: dg.DagsterInstance, month: int, days: int) -> None:
    """Want scattered days, of which as many are worked on as may be, and the others wait."""
    began = len(files.executed())
    files.want(scattered(month, days))
    services.wait_for(
        lambda: len(files.executed()) == began + MOST and len(runs(instance, month, WAITS)) == days - MOST,
        HEALED_S,
        "all have a run",
    )


def look(services: Services, instance: dg.DagsterInstance) -> None:
    """Let automation look again, as a whole."""
    since = time.time()
    services.wait_for(
        lambda: sum(tick.timestamp >= since and tick.is_completed for tick in ticks(instance, "due")) >= 2,
        HEALED_S,
        "two ticks",
    )


def most_at_a_time(instance: dg.DagsterInstance, month: int) -> int:
    """From the moment at which a run is launched until it has ended."""
    moments = list[tuple[float, int]]()
    for run in runs(instance, month, [dg.DagsterRunStatus.SUCCESS]):
        told = instance.get_run_stats(run.run_id)
        assert told.launch_time is not None
        assert told.end_time is not None
        moments += [(told.launch_time, 1), (told.end_time, -1)]
    now, most = 0, 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def test_scattered_partitions_run_a_few_at_a_time_and_once_each_also_if_the_daemon_dies(
    services: Services, files: Files, instance: dg.DagsterInstance
) -> None:
    days = 6
    queued(services, files, instance, 1, days)
    services.kill("daemon")
    services.start_daemon()
    look(services, instance)
    assert len(runs(instance, 1, AT_WORK)) == MOST
    assert len(runs(instance, 1, WAITS)) == days - MOST  # in progress: nobody requests them twice
    (services.home / "hold").unlink()
    services.wait_for(files.satisfied, HEALED_S, "it was healed")
    services.wait_for(lambda: not runs(instance, 1, AT_WORK + WAITS), HEALED_S, "the end of all runs")
    assert sorted(files.executed()) == [f"first {day} a" for day in scattered(1, days)["first"]]
    assert len(runs(instance, 1, list(dg.DagsterRunStatus))) == days
    assert most_at_a_time(instance, 1) == MOST


def test_runs_wait_for_a_code_server_that_is_started_anew(
    services: Services, files: Files, instance: dg.DagsterInstance
) -> None:
    """The incident: each fails, or is canceled with its backfill that fails, and counts as a try of its partition."""
    queued(services, files, instance, 3, MOST + 2)
    waiting = {run.run_id for run in runs(instance, 3, WAITS)}
    services.kill("code")  # with the runs that it has started, whose places are free now

    daemon = services.home / "daemon.log"
    seen = len(daemon.read_text())
    services.wait_for(
        lambda: "was unable to continue due to a missing asset" in daemon.read_text()[seen:],
        HEALED_S,
        "the backfill has noticed",
    )
    tried = [e.dagster_event.message or "" for run in waiting for e in instance.all_logs(run) if e.dagster_event]
    assert any("re-submitting the run into the queue" in said for said in tried)
    assert {run.run_id for run in runs(instance, 3, WAITS + AT_WORK)} >= waiting
    (services.home / "hold").unlink()
    services.start_code_server()
    services.wait_for(files.satisfied, HEALED_S, "it was healed")
    services.wait_for(lambda: not runs(instance, 3, AT_WORK + WAITS), HEALED_S, "the end of all runs")
    assert waiting <= {run.run_id for run in runs(instance, 3, [dg.DagsterRunStatus.SUCCESS])}


def test_a_run_that_is_canceled_in_the_queue_gives_its_partitions_free(
    services: Services, files: Files, instance: dg.DagsterInstance
) -> None:
    queued(services, files, instance, 5, MOST + 1)
    (waiting,) = runs(instance, 5, WAITS)
    assert instance.run_coordinator.cancel_run(waiting.run_id)
    services.wait_for(lambda: bool(runs(instance, 5, WAITS)), HEALED_S, "it is requested again, as it is still due")
    (anew,) = runs(instance, 5, WAITS)
    assert day_of(anew) == day_of(waiting)
    assert anew.run_id != waiting.run_id
    files.want({})
    assert instance.run_coordinator.cancel_run(anew.run_id)
    look(services, instance)
    assert not runs(instance, 5, WAITS)
