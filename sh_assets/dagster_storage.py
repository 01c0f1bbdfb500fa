"""Dagster's SQLite storage, with a quicker answer to which checks passed on which partitions.

Belongs here: that answer, and the private parts of Dagster that it stands on. Does not belong here: writing
(``dagster_events``), other private parts (``dagster_private``). Invariant: the answer is the one that Dagster's own
storage gives of the same files; ``tests/graph/test_dagster_storage.py`` compares the two. Where a release of Dagster
lacks a part, or a history is one that this module does not foresee, Dagster's own answer is given.

Every page that shows a check asks for it, the web interface again every half minute. Dagster unites subsets of one
partition each, one after the other; the time grows with the square of the partitions. Here each subset is made once.

``dagster.yaml`` names ``Storage``, since the web interface and the daemon load no code of this project but that. Files
and tables are Dagster's, so the two may be exchanged at any time. PostgreSQL's storage (``dagster_postgres``) is
another class, and is as slow as it is.
"""
# ruff: noqa: SLF001  # private access is what this module is for

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.storage import asset_check_state
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus,
    AssetCheckExecutionResolvedStatus,
    AssetCheckPartitionInfo,
)
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.dagster_run import FINISHED_STATUSES, RunsFilter
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from typing_extensions import override

_PARTS = ("_process_run_statuses",)

Checked = tuple[dg.AssetCheckKey, dg.PartitionsDefinition | None]
Subset = SerializableEntitySubset[dg.AssetCheckKey]

_STATUS = {
    AssetCheckExecutionRecordStatus.SUCCEEDED: AssetCheckExecutionResolvedStatus.SUCCEEDED,
    AssetCheckExecutionRecordStatus.FAILED: AssetCheckExecutionResolvedStatus.FAILED,
}


class EventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite files."""

    @override
    def get_asset_check_state(self, keys: Sequence[Checked]) -> Mapping[dg.AssetCheckKey, AssetCheckState]:
        """Which partitions of some checks have passed, failed, are being judged, or were left out."""
        if not keys or not all(hasattr(asset_check_state, part) for part in _PARTS):
            return super().get_asset_check_state(keys)
        found: dict[dg.AssetCheckKey, list[AssetCheckPartitionInfo]] = defaultdict(list)
        for info in self.get_asset_check_partition_info([key for key, _ in keys], after_storage_id=0):
            found[info.check_key].append(info)
        planned = {i.latest_planned_run_id for infos in found.values() for i in infos if _is_planned(i)}
        ended = self._ended(planned) if planned else {}
        subsets = _Subsets()
        states: dict[dg.AssetCheckKey, AssetCheckState] = {}
        for key, partitions in keys:
            infos = found[key]
            if partitions is None or len({i.partition_key for i in infos}) != len(infos):
                states[key] = AssetCheckState.empty().with_updates(key, partitions, infos, ended)
                continue
            by_status, by_run = subsets.of(key, partitions, infos)
            by_status, by_run = asset_check_state._process_run_statuses(key, partitions, by_status, by_run, ended)
            seen = (max(i.latest_check_event_storage_id, i.latest_materialization_storage_id or 0) for i in infos)
            states[key] = AssetCheckState(
                latest_storage_id=max(seen, default=0), subsets=by_status, in_progress_runs=by_run
            )
        return states

    def _ended(self, runs: Collection[str]) -> Mapping[str, dg.DagsterRunStatus]:
        """How those of some runs ended that have."""
        over = RunsFilter(run_ids=list(runs), statuses=FINISHED_STATUSES)
        return {run.run_id: run.status for run in self._instance.get_runs(filters=over)}


class Storage(DagsterSqliteStorage):
    """Dagster's own storage in a folder, with the quicker event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> "Storage":
        """Open it in ``base_dir``."""
        return cls.from_local(config_value["base_dir"], inst_data)


class _Subsets:
    """Subsets of partitions, each made once: most checks of a table have passed on the same ones."""

    def __init__(self) -> None:
        self._keys: dict[dg.PartitionsDefinition, frozenset[str]] = {}
        self._made: dict[tuple[dg.PartitionsDefinition, frozenset[str]], dg.PartitionsSubset] = {}

    def of(
        self, key: dg.AssetCheckKey, partitions: dg.PartitionsDefinition, infos: Sequence[AssetCheckPartitionInfo]
    ) -> tuple[Mapping[AssetCheckExecutionResolvedStatus, Subset], Mapping[str, Subset]]:
        """Partitions by status, and by the run that is judging them."""
        if partitions not in self._keys:
            self._keys[partitions] = frozenset(partitions.get_partition_keys())
        exist = self._keys[partitions]
        by_status: dict[AssetCheckExecutionResolvedStatus, list[str]] = defaultdict(list)
        by_run: dict[str, list[str]] = defaultdict(list)
        for info in infos:
            if info.partition_key not in exist:
                continue
            if _is_planned(info):
                by_status[AssetCheckExecutionResolvedStatus.IN_PROGRESS].append(info.partition_key)
                by_run[info.latest_planned_run_id].append(info.partition_key)
            elif info.is_current and info.latest_execution_status in _STATUS:
                by_status[_STATUS[info.latest_execution_status]].append(info.partition_key)
        return (
            {status: self._subset(key, partitions, by_status[status]) for status in AssetCheckExecutionResolvedStatus},
            {run: self._subset(key, partitions, keys) for run, keys in by_run.items()},
        )

    def _subset(self, key: dg.AssetCheckKey, partitions: dg.PartitionsDefinition, keys: Sequence[str]) -> Subset:
        if not keys:
            return SerializableEntitySubset.empty(key, partitions)
        which = partitions, frozenset(keys)
        if which not in self._made:
            self._made[which] = partitions.subset_with_partition_keys(keys)
        return SerializableEntitySubset(key=key, value=self._made[which])


def _is_planned(info: AssetCheckPartitionInfo) -> bool:
    return info.latest_execution_status is AssetCheckExecutionRecordStatus.PLANNED
