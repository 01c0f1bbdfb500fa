"""Runs: made in this process, queued and launched by the daemon, and given up when their process is gone.

Belongs here: the private parts of Dagster that runs are made and watched with, each with its reason. Does not belong
here: what a run does (``build``), cutting a wish into runs (``sh_defs.running``), processes as such (``processes``),
other private parts (``dagster_private``). Invariant: a run is given up only if it is known to be dead: its process, of
this machine, is there no more, nor anybody who could still start one; or its code server says that it has no such run.

A process that is killed cannot say so, and its runs are "started" for ever: what they were to materialize would count
as in progress.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.execution.api import execute_run_iterator
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value
from typing_extensions import override

from sh_assets.dagster_events import one_transaction
from sh_assets.processes import process_lives, session_behind, session_lives
from sh_resources import settings

HOST_TAG = "selfheal/host"
"""Run tag: the machine that the run's process is on."""

PROCESS_TAG = "selfheal/process"
"""Run tag of a run without a code server: the number of its process."""

STARTERS_TAG = "selfheal/starters"
"""Run tag: who may start the run's process, until it is there: see ``_Starters``."""

_REPOSITORY = "__repository__"
_SILENT_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_PATIENCE_S = 10
"""How long a code server may take to say which runs it has."""


# ---- runs in this process


def open_for_runs_here(home: Path) -> dg.DagsterInstance:
    """Open the storage in a DAGSTER_HOME for runs in this process, whose output stays that of the process.

    To capture it, Dagster starts four processes for each step; and where a process is killed between the start of one
    that copies and that of the one which watches it, the first is left behind for ever, with the output in its hands.
    """
    quiet = {"module": NoOpComputeLogManager.__module__, "class": NoOpComputeLogManager.__name__}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"compute_logs": quiet}))


@dataclass(frozen=True)
class InProcessRun:
    """A run that is over.

    Attributes:
        run_id: Dagster's id.
        success: Whether it succeeded.
    """

    run_id: str
    success: bool


def _of_step(asset: dg.AssetKey, config: Mapping[str, object]) -> Mapping[str, object]:
    return {"ops": {asset.to_python_identifier(): {"config": dict(config)}}}


def run_here(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    asset: dg.AssetKey,
    tags: Mapping[str, str],
    location: str,
    config: Mapping[str, object] | None = None,
) -> InProcessRun:
    """Materialize one asset in this process and keep the run as if the web interface had launched it.

    ``execute_in_process`` records no origin, and without one the web interface cannot execute the run again.

    Args:
        instance: Where the run is kept.
        defs: All definitions.
        asset: What to materialize, with all its checks.
        tags: Of the run; they say which partitions.
        location: Name of the code location under which the web interface finds the definitions.
        config: Of the asset's step, if it differs from the default.
    """
    whole = defs.resolve_implicit_global_asset_job_def()
    job = whole.get_subset(asset_selection={asset})
    code = LoadableTargetOrigin(module_name=location)
    origin = RemoteJobOrigin(
        repository_origin=RemoteRepositoryOrigin(
            code_location_origin=InProcessCodeLocationOrigin(loadable_target_origin=code, location_name=location),
            repository_name=_REPOSITORY,
        ),
        job_name=whole.name,
    )
    with one_transaction(instance):  # one planned event per partition
        run = instance.create_run_for_job(
            job,
            asset_selection=frozenset({asset}),
            run_config={**_SILENT_CONSOLE, **(_of_step(asset, config) if config else {})},
            tags={**tags, HOST_TAG: socket.gethostname(), PROCESS_TAG: str(os.getpid())},
            remote_job_origin=origin,
        )
    for _ in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
    ended = instance.get_run_by_id(run.run_id)
    return InProcessRun(run.run_id, ended is not None and ended.is_success)


# ---- runs in the queue


class Queue(QueuedRunCoordinator[dg.DagsterInstance]):
    """Dagster's own queue, which has as many runs at a time as the settings say. ``dagster.yaml`` names this one.

    A ``max_concurrent_runs`` in ``dagster.yaml`` comes first.
    """

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        said = config_value.get("max_concurrent_runs")
        most = settings.load().runs_at_once if said is None else said
        return super().from_config_value(inst_data, {**config_value, "max_concurrent_runs": most})


# ---- runs that died


def give_up_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed what processes like this one were running on this machine when they were killed.

    Returns:
        Ids of those runs.
    """
    left = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags={HOST_TAG: socket.gethostname()})
    dead = [run for run in instance.get_runs(left) if _own_process(run) and not _lives_here(instance, run)]
    for run in dead:
        instance.report_run_failed(run, f"Given up: {_GONE}.")
    return [run.run_id for run in dead]


def give_up_if_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """End a run of which the launcher can tell that it is dead: one that is starting, or that a person cancels.

    Run monitoring asks the launcher of started runs only. It leaves the others as they are until a time is over, and
    until then they have a place among the runs at a time, and their partitions are in progress.

    Args:
        instance: Where the run is.
        run: As it was a moment ago.

    Returns:
        Whether it is over now.
    """
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health:
        return False
    health = launcher.check_run_worker_health(run)
    if health.status not in _DEAD:
        return False
    now = instance.get_run_by_id(run.run_id)
    if now is None or now.status is not run.status:
        return False
    if now.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(now, f"Canceled: {health.msg}.")
    else:
        instance.report_run_failed(now, f"Given up: {health.msg}.")
    return True


class Launcher(DefaultRunLauncher):
    """Dagster's own launcher, which also tells a run that works from one whose process is gone.

    A code server notices when one of its runs dies. When it dies itself, nobody does: run monitoring asks the launcher,
    and Dagster's cannot tell. ``dagster.yaml`` names this one.

    A run on this machine lives as long as its process, whichever code server started it: after "Reload definitions" the
    new one does not know the runs that the old one goes on with. Before it has said which process it has, it lives as
    long as anybody does who may start one. Of a run elsewhere its code server is asked.
    """

    @property
    @override
    def supports_check_run_worker_health(self) -> bool:
        return True

    @override
    def launch_run(self, context: LaunchRunContext) -> None:
        """Ask the code server to start a run.

        Raises:
            DagsterUserCodeUnreachableError: If it was not asked, since it does not answer; the queue asks again later.
            DagsterLaunchFailedError: If it was asked and did not say what became of it. It may have started the run, so
                nobody may ask again.
        """
        client = _code_server(context)
        client.get_server_id(timeout=_PATIENCE_S)
        tags = {HOST_TAG: socket.gethostname()}
        session = session_behind(client.socket) if client.socket else None
        if session is not None:
            tags[STARTERS_TAG] = _Starters(context.dagster_run.run_id, os.getpid(), session, time.time()).as_tag()
        self._instance.add_run_tags(context.dagster_run.run_id, tags)
        try:
            super().launch_run(context)
        except DagsterUserCodeUnreachableError as error:
            msg = "the code server was asked to start the run, and has not answered; the run is requested anew"
            raise DagsterLaunchFailedError(msg) from error

    @override
    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if _is_here(run):
            return _RUNNING if _lives_here(self._instance, run) else _dead(_GONE)
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it runs on another machine: nobody can tell")
        if run.status is not dg.DagsterRunStatus.STARTED:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server may not know it yet")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_PATIENCE_S)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer, and may come back")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return _RUNNING
        return _dead("its code server was started anew, and has no such run")


_RUNNING = CheckRunHealthResult(WorkerStatus.RUNNING)
_DEAD = frozenset({WorkerStatus.NOT_FOUND, WorkerStatus.FAILED})
_GONE = "its process is gone"


def _dead(why: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, why)


@dataclass(frozen=True)
class _Starters:
    """Who may start the process of a run, as long as it has none.

    Attributes:
        run_id: Of the run: whoever executes it again copies its tags to another one.
        launcher: Process that asks the code server for it.
        session: Of the code server, and so of the process behind it and of all runs that it starts.
        asked_s: When they were there (Unix seconds).
    """

    run_id: str
    launcher: int
    session: int
    asked_s: float

    def as_tag(self) -> str:
        return json.dumps([self.run_id, self.launcher, self.session, self.asked_s])

    @classmethod
    def of(cls, run: dg.DagsterRun) -> Self | None:
        said = run.tags.get(STARTERS_TAG)
        found = None if said is None else cls(*json.loads(said))
        return found if found is not None and found.run_id == run.run_id else None

    def live(self) -> bool:
        return process_lives(self.launcher, self.asked_s) or session_lives(self.session, self.asked_s)


def _code_server(context: LaunchRunContext) -> DagsterGrpcClient:
    """Client of the code server that is to start a run."""
    origin = context.dagster_run.remote_job_origin
    if origin is None or context.workspace is None:
        msg = f"run {context.dagster_run.run_id} has no code server that could start it"
        raise DagsterLaunchFailedError(msg)
    location = context.workspace.get_code_location(origin.repository_origin.code_location_origin.location_name)
    if not isinstance(location, GrpcServerCodeLocation):
        msg = f"code location {location.name} has no code server that could start run {context.dagster_run.run_id}"
        raise DagsterLaunchFailedError(msg)
    return location.client


def _own_process(run: dg.DagsterRun) -> str | None:
    """The process of a run made by ``run_here``. Whoever executes it again copies its tags to another kind of run."""
    is_copy = run.parent_run_id is not None or GRPC_INFO_TAG in run.tags
    return None if is_copy else run.tags.get(PROCESS_TAG)


def _is_here(run: dg.DagsterRun) -> bool:
    """Whether the process of a run is on this machine: that of whoever launched it, if its code server has no port."""
    if run.tags.get(HOST_TAG) != socket.gethostname():
        return False
    return _own_process(run) is not None or "socket" in json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))


def _lives_here(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether one of the processes that a run has written into its log is there, or may still come to be."""
    own = _own_process(run)
    if own is not None:
        record = instance.get_run_record_by_id(run.run_id)
        return record is not None and process_lives(int(own), record.create_timestamp.timestamp())
    seen = list(_processes(instance, run.run_id))
    if not seen:
        starters = _Starters.of(run)
        if starters is None or starters.live():
            return True
        seen = list(_processes(instance, run.run_id))  # it may have come to be between the two looks
    return any(process_lives(pid, seen_s) for pid, seen_s in seen)


def _processes(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """Numbers of processes that a run has written into its log, and when (Unix seconds)."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            yield int(str(pid.value)), entry.timestamp
