"""Automation with Dagster's real daemon and code server, which are killed at the worst moments."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from sh_assets.dagster_health import STARTERS_TAG
from sh_defs.home import dagster_file
from tests.daemon import Services, running
from tests.graph.automated import Files

pytestmark = [pytest.mark.graph, pytest.mark.slow]

HEALED_S = 90.0
"""Less than the time after which run monitoring gives up whatever has not begun (120 s)."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The processes, with the project's own ``dagster.yaml``, on a folder of files."""
    home = tmp_path_factory.mktemp("daemon")
    own = dagster_file("dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(own.replace("poll_interval_seconds: 10", "poll_interval_seconds: 1"))
    with running(Services(home, "tests.graph.automated", {"TOY": str(home)})) as started:
        yield started


@pytest.fixture
def files(services: Services) -> Iterator[Files]:
    """Everything is running, and nothing is due."""
    found = Files(services.home)
    found.want({})
    for name in ("hold", "slow"):
        (services.home / name).unlink(missing_ok=True)
    services.start()
    yield found
    for name in ("hold", "slow"):
        (services.home / name).unlink(missing_ok=True)


def heal(services: Services, files: Files, wanted: dict[str, dict[str, str]]) -> list[str]:
    """Want something, wait until it is there, and say what was executed for it."""
    before = len(files.executed())
    files.want(wanted)
    services.wait_for(files.satisfied, HEALED_S, f"{wanted} was healed")
    return sorted(files.executed()[before:])


def lines(wanted: dict[str, dict[str, str]]) -> list[str]:
    return sorted(f"{table} {key} {content}" for table, keys in wanted.items() for key, content in keys.items())


def everywhere(*days: str) -> dict[str, dict[str, str]]:
    return {"first": dict.fromkeys(days, "a"), "second": dict.fromkeys(days, "a"), "month": {"2024-02-01": days[0]}}


def test_one_partition_is_a_run_and_several_are_a_backfill(services: Services, files: Files) -> None:
    """Both carry the number of the evaluation, by which the ledger's record is found."""
    one = {"first": {"2024-02-03": "a"}}
    assert heal(services, files, one) == lines(one)
    several = everywhere("2024-02-05", "2024-02-06", "2024-02-09")
    assert heal(services, files, several) == lines(several)
    with services.instance() as instance:
        runs, backfills = instance.get_runs(), instance.get_backfills()
    assert len(backfills) == 1
    numbers = {r.tags["dagster/asset_evaluation_id"] for r in runs}
    assert len(numbers) == 2
    assert backfills[0].tags["dagster/asset_evaluation_id"] == max(numbers, key=int)
    assert {r.tags["dagster/sensor_name"] for r in runs} == {"due"}
    assert {r.tags.get("dagster/backfill") for r in runs} == {None, backfills[0].backfill_id}


def test_a_killed_daemon_neither_loses_nor_doubles_a_request(services: Services, files: Files) -> None:
    wanted = everywhere("2024-03-01", "2024-03-02", "2024-03-05")
    before = len(files.executed())
    files.want(wanted)
    services.wait_for(lambda: len(files.executed()) > before, HEALED_S, "work began")
    services.kill("daemon")
    services.start_daemon()
    services.wait_for(files.satisfied, HEALED_S, "it was healed")
    assert sorted(files.executed()[before:]) == lines(wanted)


def test_a_run_that_died_with_its_code_server_is_given_up_and_its_partitions_run_again(
    services: Services, files: Files
) -> None:
    """It would say "started" for ever, and its partitions would never be requested again."""
    (services.home / "hold").touch()
    wanted = {"first": {"2024-04-01": "a"}}
    before = len(files.executed())
    files.want(wanted)
    services.wait_for(lambda: len(files.executed()) > before, HEALED_S, "work began")
    services.kill("code")
    (services.home / "hold").unlink()
    services.start_code_server()
    services.wait_for(files.satisfied, HEALED_S, "it was healed")
    assert files.executed()[before:] == lines(wanted) * 2
    with services.instance() as instance:
        newest, died = instance.get_runs(limit=2)
        services.wait_for(lambda: instance.get_run_by_id(newest.run_id).is_finished, HEALED_S, "the run ended")  # type: ignore[union-attr]
    assert died.status is dg.DagsterRunStatus.FAILURE


def processes(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run has said which process it has."""
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return any("pid" in entry.get_dagster_event().engine_event_data.metadata for entry in entries)


def starting(services: Services, files: Files, instance: dg.DagsterInstance, day: str) -> dg.DagsterRun:
    """Want a partition, and wait for a run that cannot begin."""
    before = instance.get_runs_count()
    (services.home / "slow").touch()
    files.want({"first": {day: "a"}})

    def asked_for() -> bool:
        newest = instance.get_runs(limit=1) if instance.get_runs_count() > before else ()
        return any(run.status is dg.DagsterRunStatus.STARTING and STARTERS_TAG in run.tags for run in newest)

    services.wait_for(asked_for, HEALED_S, "a run was asked for")
    return instance.get_runs(limit=1)[0]


def test_a_run_that_takes_long_to_begin_is_left_alone(services: Services, files: Files) -> None:
    """The incident: a slow machine, whose runs are given up before they begin, and asked for again, for ever."""
    with services.instance() as instance:
        run = starting(services, files, instance, "2024-06-01")
        services.wait_for(lambda: processes(instance, run), HEALED_S, "it has a process")
        time.sleep(5.0)  # run monitoring looks every second
        (same,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
        assert same.run_id == run.run_id
        (services.home / "slow").unlink()
        services.wait_for(files.satisfied, HEALED_S, "it was healed")
        assert files.executed()[-1:] == ["first 2024-06-01 a"]
        assert instance.get_runs(limit=1)[0].run_id == run.run_id


@pytest.mark.parametrize(
    ("day", "has_process", "killed"), [("2024-06-03", True, ("code",)), ("2024-06-05", False, ("code", "daemon"))]
)
def test_a_run_that_died_before_it_began_is_given_up_soon(
    services: Services, files: Files, day: str, has_process: bool, killed: tuple[str, ...]
) -> None:
    """The incident: run monitoring waits for it for two minutes, and everything else waits with it."""
    before = len(files.executed())
    with services.instance() as instance:
        run = starting(services, files, instance, day)
        if has_process:
            services.wait_for(lambda: processes(instance, run), HEALED_S, "it has a process")
        for name in killed:
            services.kill(name)
        assert processes(instance, run) is has_process
        # It never began; its status may be another already, as the daemon notices within a second.
        assert instance.get_run_record_by_id(run.run_id).start_time is None  # type: ignore[union-attr]
        (services.home / "slow").unlink()
        services.start()
        services.wait_for(files.satisfied, HEALED_S, "it was healed")
        assert files.executed()[before:] == [f"first {day} a"]
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]


def test_a_change_while_its_partition_runs_is_executed_after_it(services: Services, files: Files) -> None:
    """A lost update: what changes mid-run must run again, and not at the same time."""
    (services.home / "hold").touch()
    before = len(files.executed())
    files.want({"first": {"2024-05-01": "old"}})
    services.wait_for(lambda: len(files.executed()) > before, HEALED_S, "work began")
    files.want({"first": {"2024-05-01": "new"}})
    (services.home / "hold").unlink()
    services.wait_for(files.satisfied, HEALED_S, "it was healed")
    assert files.executed()[before:] == ["first 2024-05-01 old", "first 2024-05-01 new"]


def test_quiet_afterwards(services: Services, files: Files) -> None:
    """No tick requests anything when nothing is due."""
    with services.instance() as instance:
        count = instance.get_runs_count()
        (sensor,) = (s for s in instance.all_instigator_state() if s.name == "due")
        ticks = instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)
        services.wait_for(
            lambda: len(instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)) >= len(ticks) + 3,
            HEALED_S,
            "three more ticks",
        )
        assert instance.get_runs_count() == count
