"""The parts of Dagster that are not public and that this project cannot do without.

Belongs here: every use of a name below ``dagster._core`` and of undocumented behaviour, each with its reason, but for
writing many events at once (``dagster_events``), runs (``dagster_runs``, ``dagster_health``) and the daemon
(``dagster_daemon``). Does not belong here: anything that the public API can do. Invariant:
``tests/graph/test_dagster_private.py`` fails when a release of Dagster changes one of them; the release is pinned in
``pyproject.toml``.
"""

import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.snap import JobSnap
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._grpc.client import DagsterGrpcClient
from typing_extensions import override

from sh_core.partitions import WHOLE

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
    return {
        key: Target(storage_id=r.storage_id, run_id=r.run_id, timestamp=r.timestamp)
        for key, r in _latest_records(instance, asset, partitions).items()
    }


def latest_tags(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, Mapping[str, str]]:
    """Tags of the newest materialization of each partition that has one.

    Dagster's own query for this knows its own tags only.
    """
    records = _latest_records(instance, asset, partitions)
    return {key: (event.tags or {}) for key, r in records.items() if (event := r.asset_materialization) is not None}


def _latest_records(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, dg.EventLogRecord]:
    ids = latest_ids(instance, asset, partitions)
    if not ids:
        return {}
    chosen = dg.AssetRecordsFilter(asset_key=asset, storage_ids=list(ids.values()))
    records = instance.fetch_materializations(chosen, limit=len(ids)).records
    return {r.partition_key or WHOLE: r for r in records if r.partition_key is not None or _is_whole(partitions)}


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


# ---- automation

AssetGraph = BaseAssetGraph[Any]
"""All assets of a code location, as a tick knows them."""

NOT_FINISHED: Sequence[dg.DagsterRunStatus] = NOT_FINISHED_STATUSES
"""Statuses of runs that are not over; with runs that nobody has launched yet."""

_PATIENCE_S = 2
"""How long a code server may take to say who it is."""

_ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


@dataclass(frozen=True)
class Tick:
    """One evaluation of a sensor.

    Attributes:
        sensor: Name of the sensor.
        id: Dagster's number of the tick, under which the web interface keeps evaluations, and which runs and backfills
            carry in their tag ``dagster/asset_evaluation_id``; 0 where no daemon evaluates.
        instance: Dagster's storage.
        graph: All assets.
    """

    sensor: str
    id: int
    instance: dg.DagsterInstance
    graph: AssetGraph

    @property
    def by_daemon(self) -> bool:
        """Whether Dagster's daemon evaluates, which then also starts the runs in the queue."""
        return self.id != 0


Asking = Callable[[Tick], AbstractContextManager[Sequence[str]]]


class AskingSensor(dg.AutomationConditionSensorDefinition):
    """An automation sensor that asks, once per tick, before Dagster evaluates the conditions of its assets one by one.

    Dagster tells a condition neither which tick it is evaluated in nor which other assets are.

    Args:
        name: Of the sensor.
        ask: Told the tick; holds while its conditions are evaluated, and says in lines what they will request.
        options: Those of ``AutomationConditionSensorDefinition``.
    """

    def __init__(self, name: str, *, ask: Asking, **options: Any) -> None:  # noqa: ANN401
        # A condition that is not Dagster's own exists in the code location only: in the daemon it would silently be
        # none at all.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            super().__init__(name, use_user_code_server=True, **options)
        self._ask = ask

    @override
    def with_attributes(self, *, jobs: object = None, metadata: Mapping[str, Any] | None = None) -> "AskingSensor":
        """A copy that asks too: Dagster's would be an ordinary sensor, whose conditions find no answer."""
        return AskingSensor(
            self.name,
            ask=self._ask,
            target=self._sensor_target,
            metadata=self._metadata if metadata is None else metadata,
            description=self.description,
            default_status=self.default_status,
            minimum_interval_seconds=self.minimum_interval_seconds,
        )

    @override
    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        if context.repository_def is None:
            msg = f"sensor {self.name} is evaluated without definitions: give the context its repository_def"
            raise ValueError(msg)
        tick = Tick(self.name, _tick_id(context), context.instance, context.repository_def.asset_graph)
        with self._ask(tick) as said:
            for line in said:
                context.log.info(line)
            with _quiet(context):
                return super().evaluate_tick(context)


@contextmanager
def _quiet(context: dg.SensorEvaluationContext) -> Iterator[None]:
    """Without Dagster's own lines: some come also where nothing is requested, others name every partition.

    The log of a tick is a file that is there once the log is looked at, and that nobody ever removes: one a second.
    """
    before = context._logger  # noqa: SLF001
    context._logger = _Quiet(before)  # type: ignore[assignment]  # noqa: SLF001
    try:
        yield
    finally:
        context._logger = before  # noqa: SLF001


class _Quiet(logging.Logger):
    """Says warnings, on the terminal."""

    def __init__(self, loud: Any) -> None:  # noqa: ANN401
        super().__init__("automation", logging.WARNING)
        self._loud = loud

    def has_captured_logs(self) -> bool:
        """Whether the tick has a log: what was said before."""
        return self._loud is not None and bool(self._loud.has_captured_logs())


def _tick_id(context: dg.SensorEvaluationContext) -> int:
    """The daemon names the log of a tick (repository, sensor, tick), and says nowhere else which tick it is."""
    last = (context.log_key or ["0"])[-1]
    return int(last) if last.isdigit() else 0


def ask_here(defs: dg.Definitions, instance: dg.DagsterInstance) -> dict[dg.AssetKey, set[str]]:
    """Evaluate the automation sensors of definitions in this process, and say what they request, by asset.

    Nothing is launched, and nothing of it is kept in Dagster's storage: what is requested is whoever asks to run.
    """
    repository = defs.get_repository_def()
    asked: dict[dg.AssetKey, set[str]] = {}
    for sensor in repository.sensor_defs:
        if isinstance(sensor, AskingSensor):
            context = dg.build_sensor_context(instance=instance, repository_def=repository)
            context.log.setLevel(logging.WARNING)  # it names every partition on the terminal
            with warnings.catch_warnings():
                # Dagster checks a request for a backfill by a function of its own that it has deprecated.
                warnings.filterwarnings("ignore", "Function `AssetSelection.keys` is deprecated")
                requests = sensor.evaluate_tick(context).run_requests or ()
            for request in requests:
                for asset, keys in _requested(request):
                    asked.setdefault(asset, set()).update(keys)
    return asked


def _requested(request: dg.RunRequest) -> Iterator[tuple[dg.AssetKey, Collection[str]]]:
    subset = request.asset_graph_subset
    if subset is None:
        keys = {WHOLE if request.partition_key is None else request.partition_key}
        yield from ((asset, keys) for asset in request.asset_selection or ())
        return
    for asset, partitions in subset.partitions_subsets_by_asset_key.items():
        yield asset, set(partitions.get_partition_keys())
    for asset in subset.non_partitioned_asset_keys:
        yield asset, {WHOLE}


def subset_of(context: dg.AutomationContext[dg.AssetKey], keys: Collection[str]) -> EntitySubset[dg.AssetKey]:
    """Those of some partitions of the asset in question that Dagster knows, as conditions return them."""
    view, partitions = context.asset_graph_view, context.partitions_def
    if not keys:
        return context.get_empty_subset()
    everything = view.get_full_subset(key=context.key)
    if partitions is None:
        return everything
    wanted = view.get_subset_from_partition_keys(context.key, partitions, set(keys))
    return everything.compute_intersection(wanted)


@dataclass(frozen=True)
class Backfill:
    """A backfill that is not over.

    Attributes:
        id: Dagster's id.
        since_utc: When it was asked for.
    """

    id: str
    since_utc: datetime
    _stored: PartitionBackfill
    _graph: AssetGraph

    def left(self) -> Iterator[tuple[dg.AssetKey, Collection[str]]]:
        """Partitions for which it has launched no run yet, by asset.

        Those with a run are in progress as long as their run is, whatever the backfill knows of it: it looks every half
        minute only. Those downstream of a failed one will get no run.
        """
        data = self._stored.get_asset_backfill_data(self._graph)
        left = data.target_subset - data.requested_subset - data.failed_and_downstream_subset
        for asset, partitions in left.partitions_subsets_by_asset_key.items():
            yield asset, set(partitions.get_partition_keys())
        for asset in left.non_partitioned_asset_keys:
            yield asset, {WHOLE}


def assets_of(instance: dg.DagsterInstance, run: dg.DagsterRun, graph: AssetGraph) -> Collection[dg.AssetKey]:
    """Assets that a run is to materialize: those selected, else those that its job has steps for.

    A job of which nothing more is known may be of any asset; the one that tidies is of none.
    """
    if run.asset_selection is not None:
        return run.asset_selection
    job = job_of(instance, run)
    if job is None:
        return graph.materializable_asset_keys
    return {asset for asset in graph.materializable_asset_keys if asset.to_python_identifier() in job.node_names}


def job_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> JobSnap | None:
    """The job of a run as it was when the run was made; None if nothing is known of it any more."""
    if run.job_snapshot_id is None or not instance.has_job_snapshot(run.job_snapshot_id):
        return None
    return instance.get_job_snapshot(run.job_snapshot_id)


def awaited(instance: dg.DagsterInstance, graph: AssetGraph) -> Iterator[Backfill]:
    """Backfills of assets that are not over."""
    for stored in instance.get_backfills(BulkActionsFilter(statuses=_ACTIVE)):
        if stored.is_asset_backfill:
            since_utc = datetime.fromtimestamp(stored.backfill_timestamp, UTC)
            yield Backfill(stored.backfill_id, since_utc, stored, graph)


# ---- the code server


def code_server_answers(socket: str) -> bool:
    """Whether the process that holds the code answers behind the code server at a socket.

    Dagster's own health check asks the one in front, which answers also when there is nothing behind it.
    """
    try:
        DagsterGrpcClient(socket=socket).get_server_id(timeout=_PATIENCE_S)
    except DagsterUserCodeUnreachableError:
        return False
    return True
