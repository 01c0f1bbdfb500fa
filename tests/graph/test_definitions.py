"""Definitions: what is loaded, what loading costs, and what is refused."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from sh_assets.keys import partitions_definition
from sh_core.errors import DeclarationError, SettingsError
from sh_core.partitions import Daily, Monthly, Periods, Weekly
from sh_defs.declaring import declared_graph
from sh_defs.definitions import defs
from sh_resources import settings
from sh_resources.publisher import Step
from sh_resources.wiring import open_engine
from sh_sensors.recovery import recovery
from tests.graph.domain import GOOD, GRAPH, KEYS, RAW, World

pytestmark = pytest.mark.graph

TODAY = datetime.now(UTC).date()
MONDAY = TODAY - timedelta(days=TODAY.weekday())


@pytest.mark.parametrize(
    "periods",
    [
        Daily(date(2013, 1, 1), date(2013, 12, 31)),
        Daily(date(2024, 2, 28), date(2024, 3, 1)),
        Daily(date(2024, 3, 10), date(2024, 3, 10)),
        Daily(date(1999, 12, 31), date(2000, 1, 1)),
        Daily(TODAY - timedelta(days=3), TODAY - timedelta(days=1)),
        Daily(TODAY - timedelta(days=3), TODAY),
        Daily(TODAY - timedelta(days=3), TODAY + timedelta(days=40)),
        Daily(TODAY, TODAY),
        Daily(TODAY + timedelta(days=1), TODAY + timedelta(days=1)),
        Daily(date(2090, 1, 1), date(2090, 12, 31)),
        Weekly(date(2012, 12, 31), date(2013, 12, 29)),
        Weekly(MONDAY, MONDAY + timedelta(days=6)),
        Weekly(MONDAY - timedelta(days=28), MONDAY - timedelta(days=1)),
        Weekly(MONDAY, MONDAY + timedelta(days=69)),
        Monthly(date(2013, 1, 1), date(2013, 12, 31)),
        Monthly(date(2024, 2, 1), date(2024, 2, 29)),
        Monthly(TODAY.replace(day=1), date(TODAY.year + 1, 12, 31)),
    ],
    ids=str,
)
def test_partition_keys_are_the_declared_ones(periods: Periods) -> None:
    made = partitions_definition(periods)
    assert made is not None
    keys = list(periods.keys())
    assert made.get_partition_keys() == keys
    assert (made.get_first_partition_key(), made.get_last_partition_key()) == (keys[0], keys[-1])
    assert made.get_num_partitions() == len(keys)
    assert made.get_partition_keys_in_range(dg.PartitionKeyRange(keys[0], keys[-1])) == keys
    assert made.has_partition_key(keys[-1])


@pytest.mark.parametrize("kind", [Daily, Weekly, Monthly])
def test_a_set_without_end_reaches_to_the_period_that_is_not_over(
    kind: type[Daily] | type[Weekly] | type[Monthly],
) -> None:
    """The file of today may land today; a partition that does not exist yet could not be asked for."""
    start = kind(date(2024, 1, 1)).floor(date(2024, 1, 1))
    made = partitions_definition(kind(start))
    assert made is not None
    assert made.get_partition_keys() == list(kind(start).between(start, datetime.now(UTC).date()))


def test_loading_touches_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "nowhere"
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.setenv("SELFHEAL_TABLES", "tests.graph.domain")
    loaded = defs()
    dg.Definitions.validate_loadable(loaded)
    assert {key.to_user_string() for key in loaded.resolve_asset_graph().get_all_asset_keys()} == {
        "landing/visits",
        *(t.name for t in GRAPH.tables),
    }
    assert not home.exists()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("x = 1", SettingsError, "declares no TABLES"),
        ("TABLES = ()", SettingsError, "declares no TABLES"),
        ("TABLES = ['raw']", DeclarationError, "which is no table"),
        (
            "import nothing_of_that_name",
            DeclarationError,
            r"tables_\w+\.py, line 1: ModuleNotFoundError: .*nothing_of_that_name",
        ),
    ],
)
def test_a_module_without_tables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: type[Exception], message: str
) -> None:
    name = f"tables_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error, match=message):
        declared_graph(name)


def test_a_module_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"SELFHEAL_TABLES is 'tests\.nowhere', but there is no module"):
        declared_graph("tests.nowhere")


@pytest.mark.parametrize("command", [("check", "defs"), ("list", "defs")])
def test_dg_works(tmp_path: Path, command: tuple[str, ...]) -> None:
    dg_command = Path(sys.executable).with_name("dg")
    home = {"SELFHEAL_HOME": str(tmp_path / "home"), "SELFHEAL_TABLES": "tests.graph.domain"}
    done = subprocess.run(
        [dg_command, *command],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **home, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    if command[0] == "list":
        assert "stg_visits" in done.stdout
    assert not (tmp_path / "home").exists()


def tick(world: World) -> str | None:
    with dg.build_sensor_context(instance=world.instance, resources=world.defs.resources) as context:
        return recovery.evaluate_tick(context).skip_message


def test_the_recovery_sensor_tells_what_it_did(world: World) -> None:
    assert recovery.default_status is dg.DefaultSensorStatus.RUNNING
    assert tick(world) == "Nothing was left half-done."

    def die(step: Step) -> None:
        if step is Step.COMMITTED:
            raise KeyboardInterrupt

    world.deliver(dict.fromkeys(KEYS[:2], GOOD))
    engine = open_engine(settings.load({"SELFHEAL_HOME": str(world.home)}), GRAPH, on_step=die)
    with pytest.raises(KeyboardInterrupt):
        list(engine.materialize(RAW.name, KEYS[:2], run_id="dies"))
    assert tick(world) == "Finished or discarded what stopped processes had left half-done: 2 of raw_visits."
    assert tick(world) == "Nothing was left half-done."
    assert set(engine.ledger.publications.current(RAW.name)) == set(KEYS[:2])
