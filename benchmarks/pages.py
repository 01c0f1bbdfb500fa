"""Pages with checks on them: how long Dagster takes to say which checks passed on which partitions.

Belongs here: a made-up history of many tables, days and checks, and the question that every page with checks asks.
Does not belong here: the rest of a page. Invariant: both storages answer over the same files, and answer the same.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned as Planned
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import StepMaterializationData
from dagster._core.storage.dagster_run import DagsterRun, DagsterRunStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from sh_assets.dagster_events import one_transaction
from sh_assets.dagster_private import Target, latest_ids
from sh_assets.dagster_storage import Checked, EventLog

START = date(2023, 1, 1)
FAILING = 397
"""One check in so many fails."""


def run(
    tables: int = 2, checks: int = 12, days: int = 1095, rounds: int = 3, say: Callable[[str], None] = lambda _: None
) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Seconds per question, about all tables and about one.

    Args:
        tables: How many, each with partitions of days; the time is proportional to it.
        checks: Per table.
        days: Partitions per table.
        rounds: How often each is asked; medians are given.
        say: Told what is being done.

    Raises:
        AssertionError: If the two answers differ.
    """
    end = START + timedelta(days=days)
    partitions = dg.DailyPartitionsDefinition(START.isoformat(), end_date=end.isoformat())
    keys = [dg.AssetKey(f"table_{i}") for i in range(tables)]
    asked = [(dg.AssetCheckKey(key, f"check_{j}"), partitions) for key in keys for j in range(checks)]
    with tempfile.TemporaryDirectory() as scratch, dg.DagsterInstance.local_temp(scratch) as instance:
        for number, key in enumerate(keys, 1):
            say(f"pages: history of table {number}/{tables}")
            _history(instance, key, checks, partitions.get_partition_keys())
        files = Path(scratch) / "history" / "runs"
        figures: dict[str, dict[str, float]] = {}
        for what, wanted in ((f"all {tables} tables", asked), ("one table", asked[:checks])):
            taken: dict[str, list[float]] = {"Dagster's s": [], "s": []}
            for turn in range(rounds):
                say(f"pages: {what}, round {turn + 1}/{rounds}")
                answers = []
                for column, kind in zip(taken, (SqliteEventLogStorage, EventLog), strict=True):
                    storage = kind(str(files))
                    storage.register_instance(instance)
                    answers.append(_timed(storage, wanted, taken[column]))
                if answers[0] != answers[1]:
                    raise AssertionError(what)
            medians = {column: statistics.median(seconds) for column, seconds in taken.items()}
            figures[what] = {**medians, "x Dagster's": medians["s"] / medians["Dagster's s"]}
    return {f"pages: which of {checks} checks passed on {days:,} days": figures}


def _timed(storage: SqliteEventLogStorage, wanted: Sequence[Checked], taken: list[float]) -> list[list[list[str]]]:
    begun = time.perf_counter()
    states = storage.get_asset_check_state(wanted)
    taken.append(time.perf_counter() - begun)
    return [[sorted(s.subset_value.get_partition_keys()) for s in states[key].subsets.values()] for key, _ in wanted]


def _history(instance: dg.DagsterInstance, key: dg.AssetKey, checks: int, days: Sequence[str]) -> None:
    """One run that published every day of a table and judged it by every check."""
    run = f"run-{key.to_user_string()}"
    instance.add_run(DagsterRun("job", run, status=DagsterRunStatus.SUCCESS))
    kind, clock = dg.DagsterEventType, iter(range(10**9))

    def store(of: dg.DagsterEventType, data: object) -> None:
        event = dg.DagsterEvent(of.value, "job", step_key="step", event_specific_data=data)  # type: ignore[arg-type]
        at = 1.7e9 + next(clock) / 500
        instance.event_log_storage.store_event(dg.EventLogEntry(None, 20, "", run, at, "step", "job", event))

    with one_transaction(instance):
        for check in range(checks):
            subset = DefaultPartitionsSubset(set(days))
            store(
                kind.ASSET_CHECK_EVALUATION_PLANNED,
                Planned(asset_key=key, check_name=f"check_{check}", partitions_subset=subset),
            )
        for day in days:
            store(kind.ASSET_MATERIALIZATION, StepMaterializationData(dg.AssetMaterialization(key, partition=day), []))
        newest = latest_ids(instance, key, days)
        for number, day in enumerate(days):
            for check in range(checks):
                evaluation = dg.AssetCheckEvaluation(
                    asset_key=key,
                    check_name=f"check_{check}",
                    passed=(number * checks + check) % FAILING != 0,
                    metadata={},
                    partition=day,
                    target_materialization_data=Target(storage_id=newest[day], run_id=run, timestamp=1.7e9),
                )
                store(kind.ASSET_CHECK_EVALUATION, evaluation)
