"""Runs: made in this process, and given up when the process that they run in is gone.

Belongs here: the private parts of Dagster that runs are made and watched with, each with its reason. Does not belong
here: what a run does (``build``), cutting a wish into runs (``sh_defs.running``), other private parts
(``dagster_private``). Invariant: a run is given up only if it is known to be dead: its process, of this machine, is
there no more, or its code server says that it has no such run.

A process that is killed cannot say so, and its runs are "started" for ever: what they were to materialize would count
as in progress.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.api import execute_run_iterator
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value
from typing_extensions import override

from sh_assets.dagster_events import one_transaction

HOST_TAG = "selfheal/host"
"""Run tag: the machine that the run's process is on."""

PROCESS_TAG = "selfheal/process"
"""Run tag of a run without a code server: the number of its process."""

_REPOSITORY = "__repository__"
_SILENT_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_PATIENCE_S = 10
"""How long a code server may take to say which runs it has."""

_CLOCK_STEPS_S = 60.0
"""By how much the clock of events and that of processes may differ, before a number counts as given out anew."""


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


class Launcher(DefaultRunLauncher):
    """Dagster's own launcher, which also tells a run that works from one whose process is gone.

    A code server notices when one of its runs dies. When it dies itself, nobody does: run monitoring asks the launcher,
    and Dagster's cannot tell. ``dagster.yaml`` names this one.

    A run on this machine lives as long as its process, whichever code server started it: after "Reload definitions" the
    new one does not know the runs that the old one goes on with. Of a run elsewhere its code server is asked.
    """

    @property
    @override
    def supports_check_run_worker_health(self) -> bool:
        return True

    @override
    def launch_run(self, context: LaunchRunContext) -> None:
        self._instance.add_run_tags(context.dagster_run.run_id, {HOST_TAG: socket.gethostname()})
        super().launch_run(context)

    @override
    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if _is_here(run):
            return _RUNNING if _lives_here(self._instance, run) else _dead(_GONE)
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it runs on another machine: nobody can tell")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_PATIENCE_S)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer, and may come back")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return _RUNNING
        return _dead("its code server was started anew, and has no such run")


_RUNNING = CheckRunHealthResult(WorkerStatus.RUNNING)
_GONE = "its process is gone"


def _dead(why: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, why)


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
    """Whether one of the processes that a run has written into its log is there, or is not known yet."""
    own = _own_process(run)
    if own is not None:
        record = instance.get_run_record_by_id(run.run_id)
        return record is not None and process_lives(int(own), record.create_timestamp.timestamp())
    seen = list(_processes(instance, run.run_id))
    return not seen or any(process_lives(pid, seen_s) for pid, seen_s in seen)


def _processes(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """Numbers of processes that a run has written into its log, and when (Unix seconds)."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            yield int(str(pid.value)), entry.timestamp


def process_lives(pid: int, seen_s: float) -> bool:
    """Whether the process of this machine that had a number at some time (Unix seconds) is still there.

    Numbers are given out again. Where the system cannot say when a process began, one of that number counts as it.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, and it is there
    try:
        # After the name, which may hold anything: state, …, and as 20th the ticks from the system's start to its own.
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        (up,) = (line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, ValueError):
        return True
    began_s = int(up.split()[1]) + int(rest[18]) / os.sysconf("SC_CLK_TCK")
    return state not in _ENDED and began_s <= seen_s + _CLOCK_STEPS_S


_ENDED = frozenset("ZX")
"""States of a process of which only the number is left."""
