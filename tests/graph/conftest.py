import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.test.utils import execute_dagster_graphql

from sh_defs.running import LOCATION
from tests.graph.domain import World

Ask = Callable[[str], dict[str, Any]]
OVERRIDES = {"telemetry": {"enabled": False}}


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dagster's files before anything has happened: copying them is quicker than creating them for each test."""
    home = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.local_temp(str(home), overrides=OVERRIDES):
        return home


@pytest.fixture
def instance(tmp_path: Path, empty: Path) -> Iterator[dg.DagsterInstance]:
    """A persistent instance: SQLite, as with the project's own dagster.yaml."""
    home = shutil.copytree(empty, tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(str(home), overrides=OVERRIDES) as opened:
        yield opened


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> World:
    return World.at(tmp_path / "home", instance)


@contextmanager
def asking(instance: dg.DagsterInstance, home: Path, tables: str) -> Iterator[Ask]:
    """What the web interface would be answered, by GraphQL, from definitions loaded as `dagster dev` loads them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SELFHEAL_HOME", str(home))
        patched.setenv("SELFHEAL_TABLES", tables)
        code = LoadableTargetOrigin(module_name="sh_defs.definitions")
        origin = InProcessCodeLocationOrigin(loadable_target_origin=code, location_name=LOCATION)
        with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as process:

            def answer(query: str) -> dict[str, Any]:
                result = execute_dagster_graphql(process.create_request_context(), query)
                assert not result.errors, result.errors
                return dict(result.data)

            yield answer


@pytest.fixture
def ask(world: World) -> Iterator[Ask]:
    """The web interface over the hotel."""
    with asking(world.instance, world.home, "tests.graph.domain") as answer:
        yield answer
