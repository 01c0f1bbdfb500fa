"""Rollback and tidying as people ask for them: in Dagster, and at the command line.

The incidents: somebody takes a day back at night and nobody sees in the morning that, why and by whom; a command says
"done" and has done nothing; a script has to read prose.
"""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from sh_assets.build import PREVIOUS, ROLLBACK_TAG
from sh_core.outcome import Published, Reused
from sh_defs.cli import app
from sh_defs.running import Ran, run_rollback, what_was_raised
from sh_resources import settings
from sh_resources.engine import Engine
from sh_resources.rollback import Wish
from sh_resources.wiring import open_engine
from sh_sensors.tidying import tidying
from tests.graph.domain import BROKEN, GRAPH, KEYS, MART, RAW, SPLIT, STG, World
from tests.graph.test_runs import MATERIALIZED, SILENT, roots, shown

pytestmark = pytest.mark.graph

ONE = KEYS[0]
WRONG = (("Ada", "13", 3), ("Alan", "13", 1))


def engine_of(home: Path) -> Engine:
    return open_engine(settings.load({"SELFHEAL_HOME": str(home)}), GRAPH, patience_s=0)


@pytest.fixture
def hotel(world: World) -> World:
    """A good night with a row set aside, replaced by one in which all guests are in one room."""
    for rows in (SPLIT, WRONG):
        world.deliver({ONE: rows})
        assert world.run_all([ONE]) == [True, True, True]
    world.outcomes.clear()
    return world


def back(world: World, to: str = PREVIOUS) -> Ran:
    return run_rollback(world.instance, world.defs, STG, ONE, to, made_by="ada", why="one room for all")


def told(world: World, ran: Ran) -> dict[str, Any]:
    (event,) = world.events(ran, MATERIALIZED)
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_rollback_is_a_run_with_a_materialization_that_says_what_it_is(hotel: World) -> None:
    """With the version that readers see, the figures of that content, and the run's tag to find it by."""
    good = engine_of(hotel.home).ledger.publications.history(STG.name, ONE)[-1]
    ran = back(hotel)
    assert ran.success
    facts = told(hotel, ran)
    assert facts["rolled_back_to"] == good.attempt_id
    assert facts["executed"] is False
    assert (facts["dagster/partition_row_count"], facts["rows_quarantined"], facts["rows_judged"]) == (3, 1, 4)
    assert shown(hotel, STG.name) == roots(hotel, STG.name) == {ONE: good.version.root}
    run = hotel.instance.get_run_by_id(ran.run_id)
    assert run is not None
    assert run.tags[ROLLBACK_TAG] == PREVIOUS
    (bar,) = engine_of(hotel.home).ledger.bars.standing(STG.name)[ONE]
    assert (bar.made_by, bar.why) == ("ada", "one room for all")
    assert hotel.run(MART, [ONE])[0].success
    assert hotel.run_all([ONE]) == [True, True, True]
    assert shown(hotel, STG.name) == {ONE: good.version.root}
    assert back(hotel).success, "given twice it is no failure"
    assert isinstance(hotel.outcomes[-1][1], Reused)


def test_a_rollback_launched_in_the_web_interface(hotel: World) -> None:
    """Materialize, with a configuration: the only way that Dagster offers."""
    job = hotel.defs.resolve_implicit_global_asset_job_def()
    run = job.execute_in_process(
        instance=hotel.instance,
        partition_key=ONE,
        asset_selection=[dg.AssetKey(STG.name)],
        run_config={**SILENT, "ops": {STG.name: {"config": {"rollback": "previous", "why": "seen in the UI"}}}},
    )
    assert run.success
    ((_, outcome),) = hotel.outcomes
    assert isinstance(outcome, Published)
    (bar,) = engine_of(hotel.home).ledger.bars.standing(STG.name)[ONE]
    assert (bar.made_by, bar.why) == ("a run in Dagster", "seen in the UI")


def test_a_refused_rollback_fails_its_run_and_says_why(hotel: World) -> None:
    """And nothing is told of the partition, of which nothing has changed."""
    before = shown(hotel, STG.name)
    ran = back(hotel, "nonsense")
    assert not ran.success
    said = what_was_raised(hotel.instance, ran.run_id)
    assert said.startswith(
        f"{STG.name} {ONE} has no snapshot whose id or version begins with 'nonsense'; it can return"
    )
    assert hotel.events(ran, MATERIALIZED) == []
    assert shown(hotel, STG.name) == before


def test_a_rollback_of_a_range_is_refused(hotel: World) -> None:
    """Every partition has a history of its own: one snapshot cannot be meant for all of them."""
    job = hotel.defs.resolve_implicit_global_asset_job_def()
    run = job.execute_in_process(
        instance=hotel.instance,
        asset_selection=[dg.AssetKey(STG.name)],
        tags={
            "dagster/asset_partition_range_start": ONE,
            "dagster/asset_partition_range_end": KEYS[1],
            ROLLBACK_TAG: "previous",
        },
        run_config=SILENT,
        raise_on_error=False,
    )
    assert not run.success
    assert "A rollback is of one partition; this run was asked for 2" in what_was_raised(hotel.instance, run.run_id)
    assert hotel.outcomes == []


def test_every_day_what_nothing_returns_to_is_removed(hotel: World) -> None:
    """By a sensor that runs unless somebody stops it, once a day however often it ticks."""
    assert tidying.default_status is dg.DefaultSensorStatus.RUNNING
    repository = hotel.defs.get_repository_def()
    assert repository.has_sensor_def(tidying.name)
    today = engine_of(hotel.home).now_utc().date()
    yesterday = (today - timedelta(days=1)).isoformat()
    for cursor, keys in ((None, []), (today.isoformat(), []), (yesterday, [f"tidy-{today}"])):
        with dg.build_sensor_context(instance=hotel.instance, resources=hotel.defs.resources, cursor=cursor) as context:
            tick = tidying.evaluate_tick(context)
        assert [request.run_key for request in tick.run_requests or []] == keys
        assert tick.cursor == today.isoformat()
    engine = engine_of(hotel.home)
    orphan = engine.store.table(STG).folder / f"date={ONE}" / "sh1-dead-run.parquet"
    orphan.write_bytes(b"half")
    os.utime(orphan, (0, 0))
    run = repository.get_job("tidy").execute_in_process(instance=hotel.instance, run_config=SILENT)
    assert run.success
    assert not orphan.exists()
    assert shown(hotel, STG.name) == roots(hotel, STG.name)


# ------------------------------------------------------------------------------------------------------- command line


def command(home: Path, *arguments: str, code: int = 0) -> str:
    environment = {"COLUMNS": "100", "NO_COLOR": "1", "SELFHEAL_TABLES": "tests.graph.domain"}
    done = CliRunner().invoke(app, [*arguments, "--home", str(home)], env=environment)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else " ".join(done.stderr.split())


def asked(home: Path, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(command(home, *arguments, "--json"))


def test_a_rollback_from_the_first_look_to_the_last(hotel: World) -> None:
    """Look, try, do, do again, look, go forward: as the help says."""
    engine, key = engine_of(hotel.home), f"{STG.name}:{ONE}"
    bad, good = engine.ledger.publications.history(STG.name, ONE)
    (option,) = asked(hotel.home, "show", key)["can_return_to"]
    assert (option["attempt"], option["rows"], option["barred"]) == (good.attempt_id, 3, False)
    assert good.attempt_id in command(hotel.home, "show", key)

    tried = asked(hotel.home, "rollback", STG.name, ONE, "--dry-run")
    assert (tried["from"]["attempt"], tried["to"]["attempt"]) == (bad.attempt_id, good.attempt_id)
    assert (tried["downstream"], tried["done"]) == ([MART.name], False)
    assert f"{STG.name} {ONE} would go back to {good.attempt_id[:12]} (3 rows" in command(
        hotel.home, "rollback", key, "--dry-run"
    )
    assert roots(hotel, STG.name)[ONE] == bad.version.root

    done = asked(hotel.home, "rollback", STG.name, ONE, "--why", "one room for all")
    assert done["done"] is True
    assert roots(hotel, STG.name)[ONE] == good.version.root
    assert "Nothing to do" in command(hotel.home, "rollback", STG.name, ONE)

    facts = asked(hotel.home, "show", key)
    assert facts["readers_see"] == "rolled back"
    (bar,) = facts["bars"]
    assert (bar["root"], bar["why"]) == (bad.version.root, "one room for all")
    assert [kept["component"].split()[:2] for kept in bar["keeps_away"]] == [["read", RAW.name]]
    assert [option["barred"] for option in facts["can_return_to"]] == [True]
    text = command(hotel.home, "show", key)
    assert "Kept from coming back" in text
    assert "rolled back before" in text

    said = command(hotel.home, "rollback", STG.name, ONE, "--to", bad.attempt_id[:10])
    assert f"{STG.name} {ONE} is back at {bad.attempt_id[:12]} (2 rows" in said
    assert f"Due now, where they read it: {MART.name}." in said
    assert roots(hotel, STG.name)[ONE] == bad.version.root


def test_what_cannot_be_rolled_back_is_said_in_a_sentence(hotel: World) -> None:
    hotel.deliver({KEYS[1]: BROKEN})
    hotel.run_all([KEYS[1]])
    assert f"error: nothing of {STG.name} {KEYS[1]} is published" in command(
        hotel.home, "rollback", STG.name, KEYS[1], code=1
    )
    assert "begins with 'zz'; it can return to" in command(hotel.home, "rollback", STG.name, ONE, "--to", "zz", code=1)
    assert f"name the partition of {STG.name} to roll back" in command(hotel.home, "rollback", STG.name, code=1)
    engine = engine_of(hotel.home)
    good = engine.ledger.publications.history(STG.name, ONE)[-1]
    (engine.store.table(STG).folder / good.path).unlink()
    said = command(hotel.home, "rollback", STG.name, ONE, code=1)
    assert f"the file of snapshot {good.attempt_id}" in said
    assert "cannot be read" in said


def test_tidying_from_the_dry_run_to_nothing_left(hotel: World) -> None:
    """The dry run lists what then goes; what readers saw a moment ago stays; the exit code tells disagreement."""
    engine = engine_of(hotel.home)
    orphan = engine.store.table(STG).folder / f"date={ONE}" / "sh1-dead-run.parquet"
    orphan.write_bytes(b"half")
    assert asked(hotel.home, "tidy", "--keep-days", "0", "--keep-newest", "0")["files"] == 0
    os.utime(orphan, (0, 0))
    planned = asked(hotel.home, "tidy", "--dry-run")
    assert planned["tables"] == [{"table": STG.name, "files": 1, "size_bytes": 4, "kinds": {"orphan": 1}}]
    assert "1 file would go" in command(hotel.home, "tidy", "--dry-run")
    assert orphan.exists()
    done = asked(hotel.home, "tidy")
    assert {**done, "dry_run": True} == planned
    assert not orphan.exists()
    assert "Nothing to tidy" in command(hotel.home, "tidy")
    engine.rollback(STG.name, ONE, Wish(), run_id="undo")
    live = engine.store.table(STG).state().files[ONE]
    (engine.store.table(STG).folder / live.path).unlink()
    done = CliRunner().invoke(app, ["tidy", "--home", str(hotel.home)], env={"SELFHEAL_TABLES": "tests.graph.domain"})
    assert done.exit_code == 1
    assert f"{STG.name} {ONE}: readers are shown" in done.stdout


@pytest.mark.parametrize("name", ["rollback", "tidy"])
def test_help_teaches(name: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "100", "NO_COLOR": "1"}).stdout
    assert f"selfheal {name}" in said
    assert "Examples" in said
    assert not list(tmp_path.iterdir())
