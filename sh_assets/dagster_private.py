"""The parts of Dagster that are not public and that this project cannot do without.

Belongs here: every use of a name below ``dagster._core`` and of undocumented behaviour, each with its reason. Does not
belong here: anything that the public API can do. Invariant: ``tests/graph/test_dagster_private.py`` fails when a
release of Dagster changes one of them; the release is pinned in ``pyproject.toml``.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

BUSY_S = 60
"""Seconds that a transaction waits for other writers of Dagster's SQLite files, as long as Dagster's own do."""

_REPOSITORY = "__repository__"
_SILENT_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


# ---- reading and writing many events


@contextmanager
def one_transaction(instance: dg.DagsterInstance) -> Iterator[bool]:
    """Make what this thread logs within the block one transaction per SQLite file, instead of several per event.

    Dagster opens an engine, a connection and a transaction about four times per event, which takes 7 to 13 ms. Here all
    statements go through one connection each to the run's file and to the index: 0.7 ms per event, and the same rows.
    Other threads wait for Dagster's own lock, as they always do.

    Args:
        instance: Whose event log is written.

    Yields:
        Whether it is so. With any other storage than the SQLite default, nothing is changed.
    """
    storage = instance.event_log_storage
    if type(storage) is not SqliteEventLogStorage or "_connect" in vars(storage):
        yield False
        return
    owner, plain_connect, plain_has_table = threading.get_ident(), storage._connect, storage.has_table  # noqa: SLF001
    connections: dict[str, Connection] = {}
    tables: dict[str, bool] = {}

    with storage._db_lock, ExitStack() as stack:  # noqa: SLF001

        @contextmanager
        def connect(shard: str) -> Iterator[Connection]:
            if threading.get_ident() != owner:
                with plain_connect(shard) as connection:
                    yield connection
                return
            if shard not in connections:
                connections[shard] = stack.enter_context(_open_shard(storage, shard))
            yield connections[shard]

        def has_table(name: str) -> bool:
            if name not in tables:
                tables[name] = plain_has_table(name)
            return tables[name]

        vars(storage).update(_connect=connect, has_table=has_table)
        try:
            yield True
        finally:
            del vars(storage)["_connect"], vars(storage)["has_table"]
            # Leaving the stack commits, or rolls back if the block raised.


@contextmanager
def _open_shard(storage: SqliteEventLogStorage, shard: str) -> Iterator[Connection]:
    address = storage.conn_string_for_shard(shard)
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_S})
    try:
        if shard not in storage._initialized_dbs:  # noqa: SLF001
            storage._initdb(engine)  # noqa: SLF001
            storage._initialized_dbs.add(shard)  # noqa: SLF001
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


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
        r.partition_key: Target(storage_id=r.storage_id, run_id=r.run_id, timestamp=r.timestamp)
        for r in records
        if r.partition_key is not None
    }


def latest_ids(instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]) -> Mapping[str, int]:
    """Storage id of the newest materialization of each partition that has one: one query."""
    return instance.event_log_storage.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, set(partitions)
    )


def latest_data_versions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, str]:
    """Data version of the newest materialization of each partition that has one: one query."""
    tag = "dagster/data_version"
    found = instance.event_log_storage.get_latest_tags_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, [tag], list(partitions)
    )
    return {partition: tags[tag] for partition, tags in found.items() if tag in tags}


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


@dataclass(frozen=True)
class InProcessRun:
    """A run that is over.

    Attributes:
        run_id: Dagster's id.
        success: Whether it succeeded.
    """

    run_id: str
    success: bool


def run_here(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    asset: dg.AssetKey,
    tags: Mapping[str, str],
    location: str,
) -> InProcessRun:
    """Materialize one asset in this process and keep the run as if the web interface had launched it.

    ``execute_in_process`` records no origin, and without one the web interface cannot execute the run again.

    Args:
        instance: Where the run is kept.
        defs: All definitions.
        asset: What to materialize, with all its checks.
        tags: Of the run; they say which partitions.
        location: Name of the code location under which the web interface finds the definitions.
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
            run_config=_SILENT_CONSOLE,
            tags=dict(tags),
            remote_job_origin=origin,
        )
    for _ in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
    ended = instance.get_run_by_id(run.run_id)
    return InProcessRun(run.run_id, ended is not None and ended.is_success)
