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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.__generated__.dagster_api_pb2 import CanCancelExecutionReply, GetServerIdReply
from dagster._grpc.__generated__.dagster_api_pb2_grpc import DagsterApiServicer, add_DagsterApiServicer_to_server
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value, serialize_value

from sh_assets import dagster_health
from sh_assets.dagster_health import HOST_TAG, LEASES_TAG, PROCESS_TAG, SERVER_TAG, STARTERS_TAG, lease_owner
from sh_assets.dagster_runs import Launcher, give_up_dead_runs, give_up_if_dead
from sh_assets.processes import Place
from sh_core.outcome import Outcome
from sh_core.table import Table
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance
from sh_defs.running import run_table
from sh_resources import settings
from sh_resources.ledger import Ledger
from sh_resources.ledger.leases import Leases
from tests.graph.domain import GOOD, GRAPH, KEYS, RAW, World

pytestmark = pytest.mark.graph

HERE = Place.here().as_tag()
ELSEWHERE = replace(Place.here(), host=f"not-{socket.gethostname()}").as_tag()
OLD = socket.gethostname()
"""What earlier versions wrote."""
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
    steps: tuple[bool, ...] = (),
) -> dg.DagsterRun:
    """A run that says "started", and which processes it has; of each step, whether it works under leases."""

    @dg.job
    def job() -> None:
        for n, leases in enumerate(steps):
            dg.op(name=f"step_{n}", tags={LEASES_TAG: "true"} if leases else None)(lambda: None)()

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
    elsewhere = run(instance, {HOST_TAG: ELSEWHERE, PROCESS_TAG: str(gone)})
    again = run(instance, {**own, PROCESS_TAG: str(gone)}, parent=dead.run_id)
    old = run(instance, {HOST_TAG: OLD, PROCESS_TAG: str(gone)})
    assert health(instance, alive) is WorkerStatus.RUNNING
    assert health(instance, dead) is WorkerStatus.NOT_FOUND
    assert health(instance, elsewhere) is WorkerStatus.RUNNING  # nobody can tell
    assert health(instance, old) is WorkerStatus.RUNNING  # nobody can tell
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
    assert health(instance, run(instance, {**nobody, HOST_TAG: ELSEWHERE}, gone)) is WorkerStatus.RUNNING


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


def test_a_clock_put_forward_ends_no_run(instance: dg.DagsterInstance, gone: int) -> None:
    """The incident: the clock was put forward by an hour, and each run seemed to be of a process that began later."""
    now = Place.here()
    before, then_s = replace(now, booted_s=now.booted_s - 3600), time.time() - 3600
    for place, expected in ((before, WorkerStatus.RUNNING), (now, WorkerStatus.NOT_FOUND)):
        seen = run(instance, {HOST_TAG: place.as_tag()})
        kind, data = dg.DagsterEventType.ENGINE_EVENT, EngineEventData.in_process(os.getpid())
        event = dg.DagsterEvent(kind.value, seen.job_name, event_specific_data=data)
        instance.report_dagster_event(event, seen.run_id, timestamp=then_s)
        assert health(instance, seen) is expected
        starting = run(instance, {HOST_TAG: place.as_tag()}, status=dg.DagsterRunStatus.STARTING)
        tag = json.dumps([starting.run_id, os.getpid(), gone, then_s])
        instance.add_run_tags(starting.run_id, {STARTERS_TAG: tag})
        assert health(instance, instance.get_run_by_id(starting.run_id)) is expected  # type: ignore[arg-type]


def test_runs_from_before_the_machine_was_started_anew_are_dead(
    instance: dg.DagsterInstance, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not one that is executed again and has copied their tags: its own process is still to come."""
    now = replace(Place.here(), machine="m", numbers=0xEFFFFFFC)
    monkeypatch.setattr(Place, "here", lambda: now)
    before = {HOST_TAG: replace(now, boot="before").as_tag()}
    assert health(instance, run(instance, before, os.getpid())) is WorkerStatus.NOT_FOUND
    own = run(instance, {**before, PROCESS_TAG: str(os.getpid())})
    copied = {**before, STARTERS_TAG: json.dumps([own.run_id, gone, gone, time.time()])}
    starting = run(instance, copied, parent=own.run_id, status=dg.DagsterRunStatus.STARTING)
    assert health(instance, starting) is WorkerStatus.RUNNING
    assert give_up_dead_runs(instance) == [own.run_id]


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
    port = served.add_insecure_port("localhost:0")
    served.start()
    try:
        location.client = DagsterGrpcClient(socket=place)
        with pytest.raises(DagsterLaunchFailedError, match="has not answered"):  # which it takes for the end
            launcher.launch_run(context)
        tags = instance.get_run_by_id(made.run_id).tags  # type: ignore[union-attr]
        session = os.getsid(0)  # 0 where it began outside of this container: who may start the run is not known then
        starters = json.loads(tags[STARTERS_TAG])[:3] if STARTERS_TAG in tags else None
        assert starters == ([made.run_id, os.getpid(), session] if session else None)
        assert tags[SERVER_TAG] == "it"
        assert Place.of(tags[HOST_TAG]) == (Place.here() if session else None)
        assert dying.asked == 1
        # At a port, the code server may be anywhere, and of another one's process nothing is known.
        instance.add_run_tags(made.run_id, {HOST_TAG: HERE})  # of the run that this one is a copy of
        location.client = DagsterGrpcClient(port=port, host="localhost")
        with pytest.raises(DagsterLaunchFailedError, match="has not answered"):
            launcher.launch_run(context)
        assert instance.get_run_by_id(made.run_id).tags[HOST_TAG] == ""  # type: ignore[union-attr]
    finally:
        served.stop(None).wait()


class CodeServer(DagsterApiServicer):
    """Says who it is and which runs it has."""

    def __init__(self) -> None:
        self.name, self.runs = "first", set[str]()

    def GetServerId(self, request: object, context: grpc.ServicerContext) -> GetServerIdReply:  # noqa: N802
        return GetServerIdReply(server_id=self.name)

    def CanCancelExecution(  # noqa: N802
        self, request: dagster_api_pb2.CanCancelExecutionRequest, context: grpc.ServicerContext
    ) -> CanCancelExecutionReply:
        asked = deserialize_value(request.serialized_can_cancel_execution_request, CanCancelExecutionRequest)
        answer = serialize_value(CanCancelExecutionResult(can_cancel=asked.run_id in self.runs))
        return CanCancelExecutionReply(serialized_can_cancel_execution_result=answer)


@contextmanager
def at_a_port(server: DagsterApiServicer) -> Iterator[dict[str, str]]:
    """Serve; what a run has that was launched there."""
    served = grpc.server(ThreadPoolExecutor(2))
    add_DagsterApiServicer_to_server(server, served)
    port = served.add_insecure_port("localhost:0")
    served.start()
    try:
        yield {GRPC: json.dumps({"host": "localhost", "port": port}), HOST_TAG: "", SERVER_TAG: "first"}
    finally:
        served.stop(None).wait()


def test_only_the_code_server_that_was_asked_can_deny_a_run(instance: dg.DagsterInstance) -> None:
    """The incident: after "Reload definitions" each run that lived was given up within ten seconds.

    Another one answers at the same port, and does not know what the former goes on with.
    """
    server = CodeServer()
    with at_a_port(server) as tags:
        has, has_not = run(instance, tags), run(instance, tags)
        server.runs.add(has.run_id)
        begins = run(instance, tags, status=dg.DagsterRunStatus.STARTING)
        old = run(instance, {GRPC: tags[GRPC], HOST_TAG: OLD})
        assert health(instance, has) is WorkerStatus.RUNNING
        assert health(instance, has_not) is WorkerStatus.NOT_FOUND
        assert health(instance, begins) is WorkerStatus.RUNNING  # it may not know it yet
        assert health(instance, old) is WorkerStatus.RUNNING  # which one was asked, nobody knows
        server.name = "second"
        assert health(instance, has_not) is WorkerStatus.RUNNING
    assert health(instance, has_not) is WorkerStatus.RUNNING  # it may come back


SILENT_S = 0.3


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """That of the settings; silence is noticed sooner."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("SELFHEAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELFHEAL_LEDGER", raising=False)
    monkeypatch.setattr(dagster_health, "SILENT_S", SILENT_S)
    monkeypatch.setattr(dagster_health, "_LEASES", 0.0)
    opened = Ledger.open(settings.load().ledger_url)
    yield opened
    opened.close()


def after_silence(instance: dg.DagsterInstance, runs: list[dg.DagsterRun], looks: int = 12) -> list[bool]:
    """Which runs are dead, for somebody who has looked at them for as long as they may be silent."""
    launcher = Launcher()
    launcher.register_instance(instance)

    def look() -> list[bool]:
        return [launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND for run in runs]

    assert not any(look())
    for _ in range(looks):
        time.sleep(1.1 * SILENT_S / looks)
        found = look()
    return found


def test_a_silent_run_of_which_nobody_can_tell_is_given_up(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """The incident: a container was made anew under another name, and its runs held their places in the queue for ever.

    They were as many as may run at a time, so that nothing ran any more.
    """
    ours, nobody = (True, True), {GRPC: json.dumps({"host": "localhost", "socket": "/nobody.sock"})}
    lost = [
        run(instance, {HOST_TAG: ELSEWHERE}, steps=ours),
        run(instance, {HOST_TAG: OLD, **nobody}, steps=ours),
        run(instance, {HOST_TAG: ELSEWHERE}, steps=ours, status=dg.DagsterRunStatus.STARTING),
        run(instance, {HOST_TAG: ELSEWHERE}, steps=ours, status=dg.DagsterRunStatus.CANCELING),
    ]
    others = [
        run(instance, {HOST_TAG: ELSEWHERE}, steps=(False,)),  # may be silent for hours
        run(instance, {HOST_TAG: ELSEWHERE}, steps=(True, False)),
        run(instance, {HOST_TAG: ELSEWHERE}),
        run(instance, {HOST_TAG: HERE}, os.getpid(), steps=ours),  # is seen to live
        run(instance, {HOST_TAG: ELSEWHERE}, steps=ours, status=dg.DagsterRunStatus.NOT_STARTED),
    ]
    assert after_silence(instance, [*lost, *others]) == [True] * len(lost) + [False] * len(others)


def test_a_silent_run_that_its_code_server_has_is_not_given_up(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    server = CodeServer()
    with at_a_port(server) as tags:
        has, former = run(instance, tags, steps=(True,)), run(instance, tags, steps=(True,))
        server.name = "second"
        server.runs.add(has.run_id)
        assert after_silence(instance, [has, former]) == [False, True]


def test_a_run_that_holds_a_lease_or_says_something_is_not_silent(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """The incident: a partition takes an hour to compute, about which there is no event."""
    tags, now_utc = {HOST_TAG: ELSEWHERE}, datetime.now(UTC)
    holds, held, gave_back = (run(instance, tags, steps=(True,)) for _ in range(3))
    ledger.leases.acquire("a", ["1"], lease_owner(holds.run_id, "a"), now_utc, 60.0)
    ledger.leases.acquire("a", ["2"], lease_owner(held.run_id, "a"), now_utc - timedelta(seconds=60), 20.0)
    ledger.leases.release("a", ledger.leases.acquire("a", ["3"], lease_owner(gave_back.run_id, "a"), now_utc, 60.0))
    assert after_silence(instance, [holds, held, gave_back]) == [False, True, True]
    launcher = Launcher()
    launcher.register_instance(instance)
    for _ in range(12):
        time.sleep(SILENT_S / 8)
        instance.report_engine_event("on it", held)
        assert launcher.check_run_worker_health(held).status is WorkerStatus.RUNNING
    assert after_silence(instance, [held]) == [True]


def test_a_look_after_a_long_time_shows_no_silence(instance: dg.DagsterInstance, ledger: Ledger) -> None:
    """The incident: whoever looks was stopped meanwhile, and its first look falls between two leases."""
    assert after_silence(instance, [run(instance, {HOST_TAG: ELSEWHERE}, steps=(True,))], looks=1) == [False]


def test_whoever_waits_for_a_lease_may_be_silent_for_longer(
    instance: dg.DagsterInstance, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident: with leases of an hour, a run that waits for another one's has none itself and says nothing."""
    monkeypatch.setattr(dagster_health, "_LEASES", 3.0)
    monkeypatch.setenv("SELFHEAL_LEASE_S", "3600")
    assert after_silence(instance, [run(instance, {HOST_TAG: ELSEWHERE}, steps=(True,))]) == [False]


def test_without_a_ledger_nobody_can_tell(
    instance: dg.DagsterInstance, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = run(instance, {HOST_TAG: ELSEWHERE}, steps=(True,))
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere" / "ledger.sqlite", tmp_path / "empty" / "ledger.sqlite"):
        monkeypatch.setenv("SELFHEAL_LEDGER", f"sqlite:///{place}")
        assert after_silence(instance, [lost]) == [False]
    monkeypatch.setenv("SELFHEAL_LEDGER", "nonsense")
    assert after_silence(instance, [lost]) == [False]


def test_a_run_of_tables_says_so_and_holds_leases_as_itself(
    world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver({KEYS[0]: GOOD})
    assert world.run(RAW, KEYS[:1])[0].success
    with monkeypatch.context() as patched:
        patched.setattr(Leases, "release", lambda *_: None)
        assert world.run(RAW, KEYS[:1], force=True)[0].success
    holds, gave_back = world.instance.get_runs()
    silent = [replace_status(ended) for ended in (holds, gave_back)]
    assert after_silence(world.instance, silent) == [False, True]


def replace_status(ended: dg.DagsterRun) -> dg.DagsterRun:
    """A run as it was, from somewhere else."""
    return ended.with_status(dg.DagsterRunStatus.STARTED).with_tags({HOST_TAG: ELSEWHERE})


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
