"""Runs whose process was killed are given up, and no others.

The incident: a killed `selfheal demo` left a run "started" for ever; what it was to materialize counted as in progress,
and automation never asked for it again.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import grpc  # type: ignore[import-untyped]
import pytest
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.__generated__.dagster_api_pb2 import GetServerIdReply
from dagster._grpc.__generated__.dagster_api_pb2_grpc import DagsterApiServicer, add_DagsterApiServicer_to_server
from dagster._grpc.client import DagsterGrpcClient

from sh_assets.dagster_runs import HOST_TAG, PROCESS_TAG, STARTERS_TAG, Launcher, give_up_dead_runs, give_up_if_dead
from sh_core.outcome import Outcome
from sh_core.table import Table
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance
from sh_defs.running import run_table
from sh_resources import settings
from tests.graph.domain import GOOD, GRAPH, KEYS, RAW, World

pytestmark = pytest.mark.graph

HERE = socket.gethostname()
GRPC = ".dagster/grpc_info"


@pytest.fixture(scope="module")
def gone() -> int:
    """Number of a process that was there."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def run(
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    *pids: int,
    parent: str | None = None,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
) -> dg.DagsterRun:
    """A run that says "started", and which processes it has."""

    @dg.job
    def job() -> None: ...

    made = instance.create_run_for_job(job, tags=tags, parent_run_id=parent, root_run_id=parent, status=status)
    for pid in pids:
        instance.report_engine_event("Started process for run", made, EngineEventData.in_process(pid))
    return made


def health(instance: dg.DagsterInstance, of: dg.DagsterRun) -> WorkerStatus:
    launcher = Launcher()
    launcher.register_instance(instance)
    return launcher.check_run_worker_health(of).status


def test_a_run_made_here_lives_as_long_as_its_process(instance: dg.DagsterInstance, gone: int) -> None:
    own = {HOST_TAG: HERE}
    alive = run(instance, {**own, PROCESS_TAG: str(os.getpid())})
    dead = run(instance, {**own, PROCESS_TAG: str(gone)})
    elsewhere = run(instance, {HOST_TAG: f"not-{HERE}", PROCESS_TAG: str(gone)})
    again = run(instance, {**own, PROCESS_TAG: str(gone)}, parent=dead.run_id)
    assert health(instance, alive) is WorkerStatus.RUNNING
    assert health(instance, dead) is WorkerStatus.NOT_FOUND
    assert health(instance, elsewhere) is WorkerStatus.RUNNING  # nobody can tell
    assert health(instance, again) is WorkerStatus.RUNNING  # whoever executes a run again copies its tags
    assert give_up_dead_runs(instance) == [dead.run_id]
    assert give_up_dead_runs(instance) == []


def test_a_run_behind_a_socket_lives_as_long_as_its_process_whatever_became_of_its_code_server(
    instance: dg.DagsterInstance, tmp_path: Path, gone: int
) -> None:
    """After "Reload definitions" the code server that answers does not know the runs that the old one goes on with."""
    nobody = {GRPC: json.dumps({"host": "localhost", "socket": str(tmp_path / "nobody.sock")})}
    assert health(instance, run(instance, {**nobody, HOST_TAG: HERE}, os.getpid())) is WorkerStatus.RUNNING
    assert health(instance, run(instance, {**nobody, HOST_TAG: HERE}, gone)) is WorkerStatus.NOT_FOUND
    assert health(instance, run(instance, {**nobody, HOST_TAG: HERE}, gone, os.getpid())) is WorkerStatus.RUNNING
    assert health(instance, run(instance, {**nobody, HOST_TAG: HERE})) is WorkerStatus.RUNNING  # has not said yet
    # Elsewhere, the code server is asked; one that does not answer may come back.
    assert health(instance, run(instance, {**nobody, HOST_TAG: f"not-{HERE}"}, gone)) is WorkerStatus.RUNNING


def test_a_run_without_a_process_lives_as_long_as_anybody_does_who_may_start_one(
    instance: dg.DagsterInstance, tmp_path: Path, gone: int
) -> None:
    """The daemon asks, the code server starts a process, and that one says that it is there: each may be killed."""
    nobody = {GRPC: json.dumps({"host": "localhost", "socket": str(tmp_path / "nobody.sock")}), HOST_TAG: HERE}
    now_s = time.time()

    def starting(launcher: int, session: int, of: str = "", *pids: int) -> WorkerStatus:
        made = run(instance, nobody, *pids, status=dg.DagsterRunStatus.STARTING)
        tag = json.dumps([of or made.run_id, launcher, session, now_s])
        instance.add_run_tags(made.run_id, {STARTERS_TAG: tag})
        found = instance.get_run_by_id(made.run_id)
        assert found is not None
        return health(instance, found)

    assert starting(os.getpid(), gone) is WorkerStatus.RUNNING
    assert starting(gone, os.getsid(0)) is WorkerStatus.RUNNING
    assert starting(gone, gone) is WorkerStatus.NOT_FOUND
    assert starting(gone, gone, "another run, of which this is a copy") is WorkerStatus.RUNNING
    assert starting(gone, gone, "", os.getpid()) is WorkerStatus.RUNNING  # it has one
    assert starting(os.getpid(), os.getsid(0), "", gone) is WorkerStatus.NOT_FOUND  # it had one


def test_what_starts_or_is_canceled_is_given_up_only_if_it_is_dead(instance: dg.DagsterInstance, gone: int) -> None:
    """The incident: for minutes a dead run has a place among those that may run at a time."""
    instance = with_launcher(instance)
    own = {HOST_TAG: HERE, PROCESS_TAG: str(gone)}
    starting = run(instance, own, status=dg.DagsterRunStatus.STARTING)
    assert give_up_if_dead(instance, starting)
    assert not give_up_if_dead(instance, starting)  # it is over: it is not as it was
    assert status(instance, starting) is dg.DagsterRunStatus.FAILURE
    canceled = run(instance, own)
    instance.report_run_canceling(canceled)
    assert give_up_if_dead(instance, instance.get_run_by_id(canceled.run_id))  # type: ignore[arg-type]
    assert status(instance, canceled) is dg.DagsterRunStatus.CANCELED
    alive = run(instance, {**own, PROCESS_TAG: str(os.getpid())}, status=dg.DagsterRunStatus.STARTING)
    assert not give_up_if_dead(instance, alive)
    assert status(instance, alive) is dg.DagsterRunStatus.STARTING


class DyingCodeServer(DagsterApiServicer):
    """Says who it is, and dies when it is asked to start a run: nobody hears what became of that."""

    def __init__(self) -> None:
        self.asked = 0

    def GetServerId(self, request: object, context: grpc.ServicerContext) -> GetServerIdReply:  # noqa: N802
        return GetServerIdReply(server_id="it")

    def StartRun(self, request: object, context: grpc.ServicerContext) -> None:  # noqa: N802
        self.asked += 1
        context.abort(grpc.StatusCode.UNAVAILABLE, "it died")


def test_only_a_run_that_nobody_was_asked_to_start_goes_back_into_the_queue(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """The incident: the code server dies while it starts a run, the run goes on, and the queue starts it once more."""
    place = str(tmp_path / "code.sock")
    location = GrpcServerCodeLocation.__new__(GrpcServerCodeLocation)  # one that is not asked what it holds
    location.client = DagsterGrpcClient(socket=place)
    code = LoadableTargetOrigin(module_name="somewhere")
    there = InProcessCodeLocationOrigin(loadable_target_origin=code, location_name="there")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(there, "__repository__"), "job")

    class Workspace:
        def get_code_location(self, name: str) -> GrpcServerCodeLocation:
            assert name == "there"
            return location

    made = run(instance, {}, status=dg.DagsterRunStatus.STARTING).with_job_origin(origin)
    launcher = Launcher()
    launcher.register_instance(instance)
    context = LaunchRunContext(dagster_run=made, workspace=Workspace())  # type: ignore[arg-type]
    with pytest.raises(DagsterUserCodeUnreachableError):  # which the queue takes for "later"
        launcher.launch_run(context)
    assert STARTERS_TAG not in instance.get_run_by_id(made.run_id).tags  # type: ignore[union-attr]
    served, dying = grpc.server(ThreadPoolExecutor(2)), DyingCodeServer()
    add_DagsterApiServicer_to_server(dying, served)
    served.add_insecure_port(f"unix:{place}")
    served.start()
    try:
        location.client = DagsterGrpcClient(socket=place)
        with pytest.raises(DagsterLaunchFailedError, match="has not answered"):  # which it takes for the end
            launcher.launch_run(context)
        tags = instance.get_run_by_id(made.run_id).tags  # type: ignore[union-attr]
        assert json.loads(tags[STARTERS_TAG])[:3] == [made.run_id, os.getpid(), os.getsid(0)]
        assert dying.asked == 1
    finally:
        served.stop(None).wait()


def with_launcher(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The same instance, with the project's launcher."""
    launcher = Launcher()
    launcher.register_instance(instance)
    instance._run_launcher = launcher  # a dagster.yaml of its own would take another instance
    return instance


def status(instance: dg.DagsterInstance, of: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(of.run_id)
    assert found is not None
    return found.status


def kill_in_the_middle(home: Path) -> None:
    """A `selfheal run` that is killed right after the first partition was published."""

    def on_outcome(table: Table, outcome: Outcome) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    found = settings.load({"SELFHEAL_HOME": str(home)})
    with dagster_instance(home.parent / "dagster") as instance:
        run_table(instance, definitions(GRAPH, found, on_outcome), RAW, KEYS[:1])


@pytest.mark.slow
def test_what_a_killed_process_was_running_is_given_up_by_the_next_one(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    victim = multiprocessing.get_context("spawn").Process(target=kill_in_the_middle, args=(world.home,))
    victim.start()
    victim.join(120)
    assert victim.exitcode == -signal.SIGKILL
    (left,) = world.instance.get_runs()
    assert left.status is dg.DagsterRunStatus.STARTED
    assert give_up_dead_runs(world.instance) == [left.run_id]
    (left,) = world.instance.get_runs()
    assert left.status is dg.DagsterRunStatus.FAILURE
