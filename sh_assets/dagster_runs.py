"""Runs: made in this process, queued and launched by the daemon, and given up when their process is gone.

Belongs here: the private parts of Dagster that runs are made and watched with, each with its reason. Does not belong
here: what a run does (``build``), cutting a wish into runs (``sh_defs.running``), when a run is dead
(``dagster_health``), other private parts (``dagster_private``). Invariant: a run that is not dead is never given up.

A process that is killed cannot say so, and its runs are "started" for ever: what they were to materialize would count
as in progress.
"""

from collections.abc import Mapping
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
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import ConfigurableClassData
from typing_extensions import override

from sh_assets.dagster_events import one_transaction
from sh_assets.dagster_health import (
    PATIENCE_S,
    Signs,
    code_server_has,
    own_process,
    process_of_run_lives,
    tags_at_launch,
    tags_of_own,
)
from sh_resources import settings

_REPOSITORY = "__repository__"
_SILENT_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


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
            tags={**tags, **tags_of_own()},
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
    left = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    dead = [run for run in left if own_process(run) and process_of_run_lives(instance, run) is False]
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
    long as anybody does who may start one. Of a run elsewhere its code server is asked. Where that cannot say either, a
    run lives as long as it gives signs of life (``dagster_health``).
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """Have noted no sign of any run yet."""
        super().__init__(inst_data)
        self._signs = Signs()

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
        server_id = client.get_server_id(timeout=PATIENCE_S)
        run_id = context.dagster_run.run_id
        self._instance.add_run_tags(run_id, tags_at_launch(run_id, client, server_id))
        try:
            super().launch_run(context)
        except DagsterUserCodeUnreachableError as error:
            msg = "the code server was asked to start the run, and has not answered; the run is requested anew"
            raise DagsterLaunchFailedError(msg) from error

    @override
    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        lives = process_of_run_lives(self._instance, run)
        if lives is not None:
            return _RUNNING if lives else _dead(_GONE)
        client = self._get_grpc_client_for_termination(run.run_id)
        has = code_server_has(client, run) if client is not None else None
        if has is not None:
            return _RUNNING if has else _dead("its code server has no such run")
        if self._signs.are_missing(self._instance, run):
            return _dead("nobody can tell whether it lives, and it has been silent for too long and holds no lease")
        return CheckRunHealthResult(WorkerStatus.RUNNING, "nobody can tell whether it lives")


_RUNNING = CheckRunHealthResult(WorkerStatus.RUNNING)
_DEAD = frozenset({WorkerStatus.NOT_FOUND, WorkerStatus.FAILED})
_GONE = "its process is gone"


def _dead(why: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, why)


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
