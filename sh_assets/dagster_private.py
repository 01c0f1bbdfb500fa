"""The parts of Dagster that are not public and that this project cannot do without.

Belongs here: every use of a name below ``dagster._core`` and of undocumented behaviour, each with its reason, but for
writing many events at once (``dagster_events``). Does not belong here: anything that the public API can do. Invariant:
``tests/graph/test_dagster_private.py`` fails when a release of Dagster changes one of them; the release is pinned in
``pyproject.toml``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from sh_assets.dagster_events import one_transaction
from sh_core.partitions import WHOLE

_REPOSITORY = "__repository__"
_SILENT_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


NEVER_OUTDATED = "NULL"
"""No pointer to an event of an input: Dagster then compares the newest event with itself, and finds nothing new. That
suits a feed: we say ourselves which of its arrivals were read."""

_NOTHING_SEEN = "1"
"""Pointer into an input that has no event yet: whatever comes is new."""

_OF_MANY = "UNKNOWN"
"""Dagster's word for the data version of an input of which many partitions may have been read."""

# ---- reading many events


def latest_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, Target]:
    """Point to the newest materialization of each partition that has one.

    The web interface counts a check's evaluation as current only if it points to the newest materialization of its
    partition, and in a run of several partitions nothing sets that pointer by itself.
    """
    ids = latest_ids(instance, asset, partitions)
    if not ids:
        return {}
    chosen = dg.AssetRecordsFilter(asset_key=asset, storage_ids=list(ids.values()))
    records = instance.fetch_materializations(chosen, limit=len(ids)).records
    return {
        r.partition_key or WHOLE: Target(storage_id=r.storage_id, run_id=r.run_id, timestamp=r.timestamp)
        for r in records
        if r.partition_key is not None or _is_whole(partitions)
    }


def latest_ids(instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]) -> Mapping[str, int]:
    """Storage id of the newest materialization of each partition that has one: one query."""
    if _is_whole(partitions):
        newest = _newest(instance, asset)
        return {WHOLE: newest[0].storage_id} if newest else {}
    return instance.event_log_storage.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, set(partitions)
    )


def latest_observations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, dg.EventLogRecord]:
    """The newest observation of each partition that has one."""
    if _is_whole(partitions):
        newest = instance.fetch_observations(asset, limit=1).records
        return {WHOLE: newest[0]} if newest else {}
    ids = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_OBSERVATION, set(partitions)
    )
    if not ids:
        return {}
    chosen = dg.AssetRecordsFilter(asset_key=asset, storage_ids=list(ids.values()))
    records = instance.fetch_observations(chosen, limit=len(ids)).records
    return {r.partition_key: r for r in records if r.partition_key is not None}


def latest_data_versions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, str]:
    """Data version of the newest materialization of each partition that has one: one query."""
    tag = "dagster/data_version"
    if _is_whole(partitions):
        version = _data_version(_newest(instance, asset))
        return {} if version is None else {WHOLE: version}
    found = instance.event_log_storage.get_latest_tags_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, [tag], list(partitions)
    )
    return {partition: tags[tag] for partition, tags in found.items() if tag in tags}


def newest_event(instance: dg.DagsterInstance, asset: dg.AssetKey, *, whole: bool) -> tuple[str, str]:
    """What Dagster compares an input with, to find readers stale: its data version, and a pointer to its newest event.

    Of an asset with partitions Dagster looks at the pointer only. It asks of each partition that was read whether there
    is an event behind the pointer that changed the data version, so one pointer serves all of them.

    Args:
        instance: Where events are.
        asset: The input.
        whole: Whether it has no partitions.
    """
    newest = _newest(instance, asset)
    pointer = str(newest[0].storage_id) if newest else _NOTHING_SEEN
    if not whole:
        return _OF_MANY, pointer
    return _data_version(newest) or "NULL", pointer


def _newest(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Sequence[dg.EventLogRecord]:
    return instance.fetch_materializations(asset, limit=1).records


def _data_version(newest: Sequence[dg.EventLogRecord]) -> str | None:
    """Data version of the newest materialization, if there is one that has it."""
    tags = next((r.asset_materialization.tags for r in newest if r.asset_materialization), None)
    return (tags or {}).get("dagster/data_version")


def _is_whole(partitions: Collection[str]) -> bool:
    """Whether they are those of a table without partitions, which Dagster's queries by partition pass over."""
    return tuple(partitions) == (WHOLE,)


# ---- the end of a step


def let_downstream_run(context: dg.AssetExecutionContext) -> dg.Output[None]:
    """The output of a step that has logged its materializations itself.

    Without an output Dagster skips the tables downstream in the same run; with an ordinary one it would add a
    materialization of every requested partition, one version for all. Dagster's own observable assets end like this.
    """
    # The checks were logged as events, so Dagster would now complain, at length, that their outputs are missing.
    context.log.addFilter(lambda record: "did not yield or return expected outputs" not in record.getMessage())
    output = context.assets_def.get_output_name_for_asset_key(context.assets_def.key)
    return dg.Output(None, output_name=output, metadata={"__source_asset_observation__": True})


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
            tags=dict(tags),
            remote_job_origin=origin,
        )
    for _ in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
    ended = instance.get_run_by_id(run.run_id)
    return InProcessRun(run.run_id, ended is not None and ended.is_success)
