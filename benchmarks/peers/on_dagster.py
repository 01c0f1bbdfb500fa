"""The chain on Dagster alone: its conditions, its mappings, its runs, with plain Polars and Parquet as transforms.

Belongs here: the definitions, the conditions as their users write them, ticks and runs in this process. Does not belong
here: this project's engine. Invariant: every partition has an explicit data version, a hash of its content, and every
asset a code version, kept by hand; without them Dagster takes every run for a change.

Each tick is what the daemon evaluates (an automation condition sensor, backfills allowed); what it requests is run
before the next one, upstream first, one run per partition for the assets that Dagster would run together. In a run of
several partitions Dagster takes one data version for all, so that only backfills can be had in ranges. Queues,
processes and the daemon's half minute between ticks are left out, and nothing changes while something runs.

    eager                 eager() without its limit to the latest time window
    eager_data_versions   the same with data_version_changed() for newly_updated(), as Dagster's documentation has it
    data_version_changed  any_deps_match(data_version_changed()), or a new code version, and nothing missing or running
    backfill              no condition: a person launches everything downstream of what was delivered or edited
    backfill_ranges       the same with BackfillPolicy.single_run(): one run for each span of days without gaps
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import dagster as dg
import polars as pl
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.events import AssetKeyPartitionKey

from benchmarks.peers.changes import Edit, word_of
from benchmarks.peers.contending import Done, Stopwatch, chain_in
from benchmarks.peers.plainly import Parquets, compute, content_version, delivered, partitions_of
from sh_assets.keys import partition_mapping, partition_name, partitions_definition
from sh_core.partitions import WHOLE, Unpartitioned
from sh_core.table import Table
from sh_defs.running import spans

_FIRST_TAG, _LAST_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_QUIET = {
    "telemetry": {"enabled": False},
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}
"""Dagster's own storage in SQLite files; it neither reports nor captures what runs print."""

MOST_TICKS = 20
"""A contender that still requests something then will not rest."""

_Auto = dg.AutomationCondition


def _eager() -> dg.AutomationCondition:
    return _Auto.eager().without(_Auto.in_latest_time_window())


def _data_version_changed() -> dg.AutomationCondition:
    # In a variable with its type: `|` with a condition of assets only would narrow it.
    edited: dg.AutomationCondition = _Auto.code_version_changed()
    changed: dg.AutomationCondition = _Auto.any_deps_match(_Auto.data_version_changed()) | edited
    rest = ~_Auto.any_deps_missing() & ~_Auto.any_deps_in_progress() & ~_Auto.in_progress()
    return changed.since_last_handled() & rest


CONDITIONS: Mapping[str, Callable[[], dg.AutomationCondition | None]] = {
    "eager": _eager,
    "eager_data_versions": lambda: _eager().replace("newly_updated", _Auto.data_version_changed()),
    "data_version_changed": _data_version_changed,
    "backfill": lambda: None,
    "backfill_ranges": lambda: None,
}

RANGES = ("backfill_ranges",)
"""Variants of which one run takes a span of partitions."""

SEES_CODE = ("data_version_changed",)
"""Variants whose condition looks at code versions. In the others a person backfills the table whose code was edited."""

Wanted = dict[str, set[str]]
"""Per table partitions that are to run."""


class OnDagster:
    """A contender."""

    def __init__(self, folder: Path, variant: str) -> None:
        """Define the chain, and open Dagster's storage in a folder.

        Args:
            folder: Of the case.
            variant: One of ``CONDITIONS``.
        """
        logging.getLogger("dagster").setLevel(logging.ERROR)
        self._folder, self._variant = folder, variant
        self._graph = chain_in(folder)
        self._rows = Parquets(folder / "parquet")
        storage = folder / "dagster"
        storage.mkdir(exist_ok=True)
        self._instance = dg.DagsterInstance.local_temp(str(storage), overrides=_QUIET)
        self._executed: dict[str, list[str]] = defaultdict(list)
        self._runs = self._ticks = 0
        self._defs = self._define()
        self._repository = self._defs.get_repository_def()
        self._job = self._defs.resolve_implicit_global_asset_job_def()

    # ---- definitions

    @property
    def _versions(self) -> Path:
        return self._folder / "code_versions.json"

    def _define(self) -> dg.Definitions:
        condition = CONDITIONS[self._variant]()
        by_hand = json.loads(self._versions.read_text()) if self._versions.is_file() else {}
        feeds = [
            dg.AssetSpec(f"landing_{feed.name}", partitions_def=partitions_definition(feed.partitions))
            for feed in self._graph.feeds
        ]
        tables = [self._asset(t, condition, by_hand.get(t.name, "1")) for t in self._graph.tables]
        sensor = dg.AutomationConditionSensorDefinition(
            "automation", target=dg.AssetSelection.all(), use_user_code_server=True
        )
        return dg.Definitions(assets=[*feeds, *tables], sensors=[sensor] if condition is not None else [])

    def _asset(self, table: Table, condition: dg.AutomationCondition | None, version: str) -> dg.AssetsDefinition:
        deps = [
            dg.AssetDep(
                i.table,
                partition_mapping=partition_mapping(i.window, table.partitions, self._graph[i.table].partitions),
            )
            for i in table.inputs
        ]
        if table.feed is not None:
            deps = [dg.AssetDep(f"landing_{table.feed.name}")]

        @dg.asset(
            name=table.name,
            deps=deps,
            partitions_def=partitions_definition(table.partitions),
            code_version=version,
            automation_condition=condition,
            backfill_policy=dg.BackfillPolicy.single_run() if self._variant in RANGES else None,
        )
        def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            keys = context.partition_keys if context.has_partition_key_range else [WHOLE]
            versions = [self._make(table, key) for key in keys]
            return dg.MaterializeResult(data_version=dg.DataVersion("-".join(versions)))

        return made

    def _make(self, table: Table, key: str) -> str:
        """Compute a partition; returns its data version."""
        rows = compute(self._graph, table, key, self._folder / "landing", self._rows.read)
        self._rows.write(table.name, key, rows)
        self._executed[table.name].append(key)
        return content_version(table, rows)

    # ---- steps

    def build(self) -> None:
        """Tell of every file, and run everything."""
        wanted: Wanted = defaultdict(set)
        for table, key in partitions_of(self._graph):
            if table.feed is not None:
                self._tell(table, key)
            wanted[table.name].add(key)
        self._run(wanted)

    def repair(self) -> Done:
        """Tell of the file, or load the edited code; then tick until quiet, or launch the backfill."""
        delivery, edit = word_of(self._folder)
        if edit is not None and edit.by_hand is not None:
            self._versions.write_text(json.dumps({edit.table: edit.by_hand}))
            self._defs = self._define()
            self._repository = self._defs.get_repository_def()
            self._job = self._defs.resolve_implicit_global_asset_job_def()
        self._executed.clear()
        self._runs = self._ticks = 0
        watch = Stopwatch()
        if delivery is not None:
            raw = self._graph[f"raw_{delivery.feed}"]
            self._tell(raw, delivery.partition)
        if CONDITIONS[self._variant]() is None:
            if delivery is not None:
                self._run(self._downstream(f"raw_{delivery.feed}", [delivery.partition]))
            elif edit is not None and edit.by_hand is not None:
                self._run(self._downstream(edit.table, self._graph[edit.table].partitions.keys()))
        else:
            self._edited(edit)
            self._tick_until_quiet()
        executed = {table: tuple(keys) for table, keys in self._executed.items()}
        return Done(executed, *watch.read(), self._runs, self._ticks)

    def content(self, table: str) -> pl.DataFrame:
        """All rows of a table."""
        found = self._graph[table]
        frames = [rows for key in found.partitions.keys() if (rows := self._rows.read(table, key)) is not None]  # noqa: SIM118
        return pl.concat(frames).select(found.contract.columns).collect()

    # ---- what the steps are made of

    def _edited(self, edit: Edit | None) -> None:
        if edit is not None and edit.by_hand is not None and self._variant not in SEES_CODE:
            self._run({edit.table: set(self._graph[edit.table].partitions.keys())})

    def _tell(self, raw: Table, key: str) -> None:
        """What a sensor on the landing zone reports: a file, and the hash of its bytes."""
        if raw.feed is None:
            raise AssertionError(raw)
        version = hashlib.sha256(delivered(self._folder / "landing", raw, key).read_bytes()).hexdigest()
        self._instance.report_runless_asset_event(
            dg.AssetMaterialization(
                f"landing_{raw.feed.name}",
                partition=partition_name(raw.partitions, key),
                tags={"dagster/data_version": version},
            )
        )

    def _tick_until_quiet(self) -> None:
        for _ in range(MOST_TICKS):
            wanted = self._tick()
            if not wanted:
                return
            self._run(wanted)
        raise AssertionError(f"{self._variant} still requests something after {MOST_TICKS} ticks")

    def _tick(self) -> Wanted:
        """What the condition requests now."""
        if CONDITIONS[self._variant]() is None:
            return {}
        self._ticks += 1
        sensor = self._repository.get_sensor_def("automation")
        cursor = self._folder / "cursor"
        context = dg.build_sensor_context(
            instance=self._instance,
            cursor=cursor.read_text() if cursor.is_file() else None,
            repository_def=self._repository,
        )
        told = sensor.evaluate_tick(context)
        if told.cursor is not None:
            cursor.write_text(told.cursor)
        wanted: Wanted = defaultdict(set)
        for request in told.run_requests or ():
            subset = request.asset_graph_subset
            asked = (
                [(key, request.partition_key) for key in request.asset_selection or ()]
                if subset is None
                else [(a.asset_key, a.partition_key) for a in subset.iterate_asset_partitions()]
            )
            for asset, partition in asked:
                wanted[asset.to_user_string()].add(partition or WHOLE)
        return wanted

    def _downstream(self, table: str, keys: Iterable[str]) -> Wanted:
        """Partitions of a table, and everything downstream of them by Dagster's mappings."""
        graph = self._defs.resolve_asset_graph()
        view = AssetGraphView.for_test(self._defs, self._instance)
        start = dg.AssetKey(table)
        if isinstance(self._graph[table].partitions, Unpartitioned):
            reached = {start: view.get_full_subset(key=start)}
        else:
            asked = {AssetKeyPartitionKey(start, key) for key in keys}
            reached = {start: view.get_asset_subset_from_asset_partitions(start, asked)}
        for key in graph.toposorted_asset_keys:
            for parent in graph.get(key).parent_keys & reached.keys():
                child = view.compute_child_subset(key, reached[parent])
                reached[key] = child if key not in reached else reached[key].compute_union(child)
        return {
            key.to_user_string(): {a.partition_key or WHOLE for a in subset.expensively_compute_asset_partitions()}
            for key, subset in reached.items()
        }

    def _run(self, wanted: Mapping[str, set[str]]) -> None:
        """Run partitions, upstream first."""
        for together in _STAGES:
            chosen: dict[tuple[str, ...], list[str]] = defaultdict(list)  # partitions of which the same tables are run
            for key in sorted({key for name in together for key in wanted.get(name, ())}):
                chosen[tuple(name for name in together if key in wanted.get(name, ()))].append(key)
            for names, keys in chosen.items():
                ranges = spans(self._graph[names[0]].partitions, keys)
                for some in ranges if self._variant in RANGES else ((key,) for key in keys):
                    done = self._job.execute_in_process(
                        instance=self._instance,
                        asset_selection=[dg.AssetKey(name) for name in names],
                        tags={} if some == (WHOLE,) else {_FIRST_TAG: some[0], _LAST_TAG: some[-1]},
                    )
                    if not done.success:
                        raise AssertionError(together, some)
                    self._runs += 1


_STAGES = (
    ("raw_planes", "stg_planes"),
    ("raw_flights_ewr", "raw_flights_jfk", "raw_flights_lga", "stg_flights", "int_flights_planes", "mart_daily"),
    ("mart_monthly",),
    ("feat_week",),
)
"""Tables of which one run makes the same partition: neighbours whose partitions depend one to one."""
