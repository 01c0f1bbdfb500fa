"""Many events in Dagster's SQLite event log at once.

Belongs here: ``one_transaction`` and the private parts of Dagster's storage that it stands on, each with its reason.
Does not belong here: what is logged (``telling``); everything else that is private in Dagster (``dagster_private``).

Invariant: the rows are those that Dagster would have written for the same events one by one, ids included;
``tests/graph/test_dagster_private.py`` compares them. With another storage, or where a release of Dagster no longer has
one of the parts, Dagster's own route is taken.
"""
# ruff: noqa: SLF001  # private access is what this module is for

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.event_log import schema
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from sqlalchemy import Connection, Update, bindparam, create_engine
from sqlalchemy.pool import NullPool

from sh_assets.dagster_storage import EventLog

BUSY_S = 60
"""Seconds that a transaction waits for other writers of Dagster's SQLite files, twice as long as Dagster's own do."""

_PARTS = (
    *("_connect", "_db_lock", "_event_to_row", "_initdb", "_initialized_dbs", "_store_asset_event"),
    *("_store_asset_event_tags", "conn_string_for_shard", "has_table", "store_asset_check_event", "store_event"),
)
_TABLES = ("AssetCheckExecutionsTable", "SqlEventLogStorageTable")
_SQLITE = (3, 35)  # for the ids of inserted rows

_Kind = dg.DagsterEventType
_CHECKS = frozenset({_Kind.ASSET_CHECK_EVALUATION_PLANNED, _Kind.ASSET_CHECK_EVALUATION})
_SHOWN = frozenset({_Kind.ASSET_MATERIALIZATION, _Kind.ASSET_OBSERVATION})
_ASSETS = frozenset({_Kind.ASSET_MATERIALIZATION_PLANNED, *_SHOWN})


@contextmanager
def one_transaction(instance: dg.DagsterInstance) -> Iterator[bool]:
    """Make what this thread logs within the block one transaction per SQLite file, instead of several per event.

    Dagster opens an engine, a connection and a transaction about four times per event, which takes 5 to 13 ms, and
    serialises it up to once per partition. Here events on assets and checks are collected, and written together before
    anything is read or any other event is written, and at the end. Other threads wait for Dagster's own lock, as they
    always do, and other processes for SQLite's.

    Of events of one kind on assets, each gets a millisecond of its own: the web interface lists one of those only that
    it takes for the same by run, kind and millisecond.

    If the block raises, or one of its events cannot be written, nothing is. The run's file is committed before the
    index: a process killed in between leaves what it would leave between Dagster's own two commits.

    Args:
        instance: Whose event log is written.

    Yields:
        Whether it is so. With any other storage than the SQLite default, nothing is changed.

    Raises:
        RuntimeError: If the block went on after an event could not be written.
    """
    storage = instance.event_log_storage
    if (
        (type(storage) is not SqliteEventLogStorage and type(storage) is not EventLog)
        or "_connect" in vars(storage)
        or not _has_all_parts(storage)
    ):
        yield False
        return
    with storage._db_lock, ExitStack() as stack:  # leaving the stack commits, or rolls back if anything was raised
        block = _Block(storage, stack)
        mine = {"_connect": block.connect, "has_table": block.has_table, "store_event": block.store_event}
        vars(storage).update(mine)
        try:
            yield True
            block.finish()
        finally:
            for name in mine:
                del vars(storage)[name]


def _has_all_parts(storage: SqliteEventLogStorage) -> bool:
    parts = all(hasattr(storage, name) for name in _PARTS) and all(hasattr(schema, name) for name in _TABLES)
    return parts and sqlite3.sqlite_version_info >= _SQLITE


class _Event(NamedTuple):
    """An event with the row of it, in which it is serialised.

    Attributes:
        entry: What Dagster logs.
        row: Column → value, without the id.
    """

    entry: dg.EventLogEntry
    row: dict[str, Any]

    @property
    def kind(self) -> dg.DagsterEventType:
        return self.entry.get_dagster_event().event_type

    @property
    def data(self) -> Any:  # noqa: ANN401  # as in Dagster
        return self.entry.get_dagster_event().event_specific_data


_Stored = tuple[_Event, int]
"""An event and its id in the index."""


class _Block:
    """Stands in for methods of a storage within one block."""

    def __init__(self, storage: SqliteEventLogStorage, stack: ExitStack) -> None:
        self._storage = storage
        self._stack = stack
        self._plain_connect, self._plain_store_event = storage._connect, storage.store_event
        self._plain_has_table = storage.has_table
        self._owner = threading.get_ident()
        self._connections: dict[str, Connection] = {}
        self._tables: dict[str, bool] = {}
        self._pending: list[_Event] = []
        self._failed = False

    # ---- instead of the storage's own

    def store_event(self, event: dg.EventLogEntry) -> None:
        kind = event.dagster_event_type if event.is_dagster_event else None
        if self._owner == threading.get_ident() and (kind in _ASSETS or kind in _CHECKS):
            timed = _apart(event) if kind in _SHOWN else event
            self._pending.append(_Event(timed, self._storage._event_to_row(timed)))
        else:
            self._plain_store_event(event)  # it connects, so what is pending is written first

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        if self._owner != threading.get_ident():
            with self._plain_connect(shard) as connection:
                yield connection
            return
        self._flush()
        yield self._connection(shard)

    def has_table(self, name: str) -> bool:
        if name not in self._tables:
            self._tables[name] = self._plain_has_table(name)
        return self._tables[name]

    # ---- writing

    def finish(self) -> None:
        """Write what is pending.

        Raises:
            RuntimeError: If something could not be written before: a part of it may be, and must not be committed.
        """
        self._flush()
        if self._failed:
            raise RuntimeError("an event within this block could not be written, so none of them is")

    def _flush(self) -> None:
        events, self._pending = self._pending, []
        if not events:
            return
        try:
            self._write(events)
        except BaseException:
            self._failed = True
            raise

    def _write(self, events: Sequence[_Event]) -> None:
        log, index = schema.SqlEventLogStorageTable, self._connection(INDEX_SHARD_NAME)
        by_run: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            by_run.setdefault(event.entry.run_id, []).append(event.row)
        for run_id, rows in by_run.items():
            self._connection(run_id).execute(log.insert(), rows)
        insert = log.insert().returning(log.c.id, sort_by_parameter_order=True)
        ids = index.execute(insert, [event.row for event in events]).scalars()
        stored = list(zip(events, ids, strict=True))
        _store_assets(self._storage, index, [(event, i) for event, i in stored if event.kind in _ASSETS])
        checks = [(event, i) for event, i in stored if event.kind in _CHECKS]
        # Planned or evaluated first makes a difference to the rows, so the order of the two kinds is kept.
        for kind, some in groupby(checks, key=lambda one: one[0].kind):
            store = _store_evaluations if kind is _Kind.ASSET_CHECK_EVALUATION else _store_planned
            store(self._storage, index, list(some))

    def _connection(self, shard: str) -> Connection:
        # Always the index's lock first: two blocks that need each other's file cannot wait for one another.
        for needed in (INDEX_SHARD_NAME, shard):
            if needed not in self._connections:
                self._connections[needed] = self._stack.enter_context(_open_shard(self._storage, needed))
        return self._connections[shard]


class _Taken(NamedTuple):
    """Milliseconds that the last events of one kind have: all from the first to the last, both included."""

    run_id: str
    first: int
    last: int


_taken: dict[dg.DagsterEventType, _Taken] = {}
"""By kind, of the run that logged last in this process."""


def _apart(event: dg.EventLogEntry) -> dg.EventLogEntry:
    """The event, in the next free millisecond if others of its kind and run have its own."""
    kind, own = event.get_dagster_event().event_type, int(event.timestamp * 1000)
    before = _taken.get(kind)
    if before is None or before.run_id != event.run_id or not before.first <= own <= before.last:
        _taken[kind] = _Taken(event.run_id, own, own)
        return event
    _taken[kind] = before._replace(last=before.last + 1)
    # In the middle of it, so that no rounding leads into its neighbour.
    return event._replace(timestamp=(before.last + 1.5) / 1000)


@contextmanager
def _open_shard(storage: SqliteEventLogStorage, shard: str) -> Iterator[Connection]:
    address = storage.conn_string_for_shard(shard)
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_S})
    try:
        if shard not in storage._initialized_dbs:
            storage._initdb(engine)
            storage._initialized_dbs.add(shard)
        with engine.begin() as connection:
            # Python's driver would begin with the first write only. Nobody else writes from here to the commit, so
            # ids that were read or assigned in the block are those that will be there after it.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    finally:
        engine.dispose()


# ---- what goes with an event in the index


def _store_assets(storage: SqliteEventLogStorage, index: Connection, stored: Sequence[_Stored]) -> None:
    storage._store_asset_event_tags(index, [event.entry for event, _ in stored], [i for _, i in stored])
    # Each event overwrites columns of its asset's one row, and each kind other columns: the last of each kind, in
    # order, leave what all of them would.
    last: dict[dg.AssetKey | None, dict[dg.DagsterEventType, _Stored]] = {}
    for event, i in stored:
        kinds = last.setdefault(event.entry.get_dagster_event().asset_key, {})
        kinds.pop(event.kind, None)
        kinds[event.kind] = event, i
    for kinds in last.values():
        for event, i in kinds.values():
            storage._store_asset_event(index, event.entry, i)


def _store_planned(_: SqliteEventLogStorage, index: Connection, stored: Sequence[_Stored]) -> None:
    rows = [
        {
            "asset_key": event.data.asset_key.to_string(),
            "check_name": event.data.check_name,
            "partition": partition,
            "run_id": event.entry.run_id,
            "execution_status": Status.PLANNED.value,
            **_evaluation_columns(event, i),
        }
        for event, i in stored
        for partition in (event.data.partitions_subset.get_partition_keys() if event.data.partitions_subset else [None])
    ]
    index.execute(schema.AssetCheckExecutionsTable.insert(), rows)


def _store_evaluations(storage: SqliteEventLogStorage, index: Connection, stored: Sequence[_Stored]) -> None:
    # Per run and partition, an index of Dagster's allows one row at most. So if as many rows are found as there are
    # events, each found its own; anything else is left to Dagster, for which writing a row again changes nothing.
    if all(event.entry.run_id and event.data.partition is not None for event, _ in stored):
        found = index.execute(_planned_row(), [_updated(event, i) for event, i in stored])
        if found.rowcount == len(stored):
            return
    for event, i in stored:
        storage.store_asset_check_event(event.entry, i)


def _planned_row() -> Update:
    table = schema.AssetCheckExecutionsTable
    return table.update().where(
        table.c.asset_key == bindparam("of_asset"),
        table.c.check_name == bindparam("of_check"),
        table.c.run_id == bindparam("of_run"),
        table.c.partition == bindparam("of_partition"),
    )


def _updated(event: _Event, i: int) -> dict[str, Any]:
    target = event.data.target_materialization_data
    return {
        "of_asset": event.data.asset_key.to_string(),
        "of_check": event.data.check_name,
        "of_run": event.entry.run_id,
        "of_partition": event.data.partition,
        "execution_status": (Status.SUCCEEDED if event.data.passed else Status.FAILED).value,
        "materialization_event_storage_id": target.storage_id if target else None,
        **_evaluation_columns(event, i),
    }


def _evaluation_columns(event: _Event, i: int) -> dict[str, Any]:
    return {
        "evaluation_event": event.row["event"],
        "evaluation_event_timestamp": event.row["timestamp"],
        "evaluation_event_storage_id": i,
    }
