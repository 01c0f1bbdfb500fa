"""Delta tables, one file per partition: staging, committing and reading.

Belongs here: the only code that talks to delta-rs. Does not belong here: leases, judgement, the ledger (``publisher``).

Invariant: a partition's live state changes only in a commit that carries ``Transaction(app_id=<partition>,
version=m)``, m > n, and was based on the table version at which the partition's transaction was ``n``. Without
transactions delta-rs lets two first publishes of one partition both append. With them it refuses two on the same view
(1.6.6), but on a fresh view it accepts a version that is lower than the one in place. So automatic retries are off
(``max_commit_retries=0``): a commit either lands right on top of the version that was looked at or fails, and after a
failure everything is looked at again, the lease as well.

Layout: ``<table>/<column>=<value>/<root>-<attempt>.parquet``, with a folder per partition column: two for a table of
two dimensions, none for one without partitions. A path is never written twice. Partition columns are in the path, not
in the file, as Delta wants it; their values are percent-encoded as delta-rs encodes them, since readers such as Polars
take them from there and not from the log.
"""

import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

import polars as pl
import stamina
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from sh_core.errors import CommitConflictError, DeclarationError, StoreError
from sh_core.partitions import Partitions
from sh_resources.delta_files import RecentFiles
from sh_resources.delta_types import delta_schema

CHECKPOINT_EVERY = 50
"""Commits between checkpoints of a table's log, each followed by a clean-up of what the checkpoint made superfluous."""

LOG_RETENTION = "interval 10 seconds"
"""Age below which log files are kept although a checkpoint covers them: the time that a reader has to load the log it
listed. History is kept by the ledger, not by Delta's log, so that opening a table costs the same after 10 and 10,000
commits."""

COMMIT_TRIES = 60
"""Commits that one change may lose against other writers before it is given up."""

StillMine = Callable[[Collection[str]], Collection[str]]
"""Of these partitions, those whose lease the caller still holds."""

_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of one partition.

    Attributes:
        partition: Partition key.
        path: Relative to the table's folder.
        rows: Row count.
        size_bytes: Size of the file.
    """

    partition: str
    path: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class FoundFile:
    """A Parquet file that is in a table's folder, whether a commit names it or not.

    Attributes:
        partition: Partition key that its folder stands for.
        path: Relative to the table's folder.
        size_bytes: Its size.
        written_utc: When it was last written.
    """

    partition: str
    path: str
    size_bytes: int
    written_utc: datetime


@dataclass(frozen=True)
class Change:
    """What one commit does to one partition.

    Attributes:
        after: Transaction version that the partition must be at before.
        transaction: Higher transaction version that the commit sets.
        add: File that becomes the partition's content. None leaves the partition without a file.
    """

    after: int
    transaction: int
    add: DataFile | None


@dataclass(frozen=True)
class TableState:
    """What Delta says of a table at one version.

    Attributes:
        files: The live file of each partition that has one.
        transactions: Transaction version of each partition asked about; 0 where there was none yet.
        delta: The opened table, so that a commit can be tried on top of exactly this state without looking again; None
            before the table exists.
    """

    files: Mapping[str, DataFile]
    transactions: Mapping[str, int]
    delta: DeltaTable | None = field(default=None, repr=False, compare=False)


class PartitionedDelta:
    """One Delta table with one file per partition."""

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, pl.DataType],
        partitions: Partitions,
        recent: RecentFiles | None = None,
    ) -> None:
        """Describe a table; nothing is read or written yet.

        Args:
            folder: The table's folder.
            columns: Columns of the files, partition columns left out.
            partitions: The partition set, which names and types the partition columns.
            recent: Remembers live files from one look to the next; tables may share one, to remember less.

        Raises:
            DeclarationError: If a column has a type that Delta cannot hold, or the name of a partition column.
        """
        self.folder = folder
        self.partitions = partitions
        self._recent = recent or RecentFiles()
        self.columns = pl.Schema(columns)
        self._by = partitions.columns
        """The partition columns with their types."""
        taken = sorted(self._by.keys() & columns.keys())
        if taken:
            of = folder.parent.name
            msg = f"table {folder.name}: {', '.join(taken)} is a column of {of} as well: partition by another name"
            raise DeclarationError(msg)
        self._schema = delta_schema({**self._by, **columns}, folder.name)
        self._partition_in = cache(self._read_folders)

    def path_of(self, partition: str, stem: str) -> str:
        """Where a file of a partition belongs, relative to the table's folder.

        Args:
            partition: Partition key.
            stem: Name of the file without its suffix, unique for ever.
        """
        stored = self.partitions.stored(partition)
        return "/".join([*(f"{column}={quote(value, safe='')}" for column, value in stored.items()), f"{stem}.parquet"])

    # ---- writing

    def prepare(self, partitions: Collection[str]) -> TableState:
        """The newest state of the table, which is created, or widened to the declared columns, where needed.

        Args:
            partitions: Whose transaction versions are wanted.

        Raises:
            DeclarationError: If a declared column has another type in the table, or the table other partitions.
            StoreError: If a partition has more than one live file.
        """
        return self._state(self._open(), partitions)

    def stage(self, files: Mapping[str, tuple[str, pl.DataFrame]]) -> dict[str, DataFile]:
        """Write files that no reader sees until they are committed.

        Args:
            files: Per partition, the file's stem (unique for ever) and its rows, partition column included or not.

        Returns:
            Per partition, the file that was written. A frame without rows gives a file with 0 rows.
        """

        def write(partition: str) -> DataFile:
            stem, frame = files[partition]
            path = self.path_of(partition, stem)
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            # Exclusive creation: a path that is written twice is a bug, and would change a file that readers may hold.
            with target.open("xb") as sink:
                frame.select(self.columns.names()).write_parquet(sink)
                size = sink.tell()
            return DataFile(partition, path, frame.height, size)

        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            return {f.partition: f for f in pool.map(write, files)}

    def unstage(self, paths: Iterable[str]) -> None:
        """Remove files that no commit names, and none will ever name; missing ones are fine."""
        for path in paths:
            (self.folder / path).unlink(missing_ok=True)

    def found(self, partitions: Collection[str] | None = None) -> list[FoundFile]:
        """Parquet files that are in the table's folder, in order of their path; the log's are none of them.

        Args:
            partitions: Partitions to look at; None looks at all that have a folder.
        """
        if partitions is None:
            columns = self.partitions.columns
            nested = self.folder.glob("/".join(f"{column}=*" for column in columns)) if columns else ()
            folders = {self._read_folders(folder.relative_to(self.folder).as_posix()): folder for folder in nested}
            if not columns:
                folders = {self._read_folders(""): self.folder}
        else:
            folders = {p: (self.folder / self.path_of(p, "any")).parent for p in partitions}
        files: list[FoundFile] = []
        for partition, folder in sorted(folders.items()):
            for path in sorted(folder.glob("*.parquet")):
                with suppress(FileNotFoundError):  # unstaged since it was listed
                    seen = path.stat()
                    written = datetime.fromtimestamp(seen.st_mtime, UTC)
                    files.append(FoundFile(partition, path.relative_to(self.folder).as_posix(), seen.st_size, written))
        return files

    def commit(
        self, changes: Mapping[str, Change], *, at_utc: datetime, still_mine: StillMine, seen: TableState | None = None
    ) -> set[str]:
        """Make changes visible, all of one try in a single Delta transaction.

        Args:
            changes: Per partition, what happens to it.
            at_utc: Time noted for added and replaced files.
            still_mine: Asked before each try.
            seen: What ``prepare`` returned for these partitions; the first try is made on top of it instead of looking
            again.

        Returns:
            Partitions whose change is live. The others were fenced: lease lost, or another writer published first.

        Raises:
            CommitConflictError: If other writers kept winning; none of the changes is live.
        """
        looks = itertools.chain([] if seen is None else [seen], iter(lambda: self.prepare(changes.keys()), None))
        return self._until_it_lands(lambda: self._try(changes, next(looks), at_utc, still_mine))

    def burn(self, partitions: Collection[str], *, still_mine: StillMine) -> set[str]:
        """Raise the transaction of partitions and leave their content, so that no earlier intent can commit any more.

        A writer that lost its lease may be anywhere, even right before its commit. After the burn that commit fails,
        and what Delta shows is final.

        Args:
            partitions: What to burn.
            still_mine: Asked before each try.

        Returns:
            Partitions that are burnt. The others are no longer the caller's.

        Raises:
            CommitConflictError: If other writers kept winning; nothing is burnt.
        """

        def burn_once() -> set[str]:
            seen = self.prepare(partitions)
            mine = set(still_mine(partitions))
            if mine:
                self._write(seen, {p: seen.transactions[p] + 1 for p in mine}, [])
            return mine

        return self._until_it_lands(burn_once) if partitions else set()

    def _until_it_lands(self, commit_once: Callable[[], set[str]]) -> set[str]:
        retries = stamina.retry_context(
            on=CommitFailedError,
            attempts=COMMIT_TRIES,
            timeout=None,
            wait_initial=0.005,
            wait_max=0.5,
            wait_jitter=0.02,
        )
        try:
            for attempt in retries:
                with attempt:
                    return commit_once()
        except CommitFailedError as lost:
            msg = (
                f"{self.folder.name}: {COMMIT_TRIES} commits in a row lost against other writers ({_first_line(lost)})"
            )
            raise CommitConflictError(msg) from lost
        raise AssertionError  # stamina either returns from the block or raises

    def _try(
        self, changes: Mapping[str, Change], seen: TableState, at_utc: datetime, still_mine: StillMine
    ) -> set[str]:
        """One commit on top of exactly what was seen, or none where nothing is left to do."""
        mine = set(still_mine(changes.keys()))
        landed, ready = set[str](), set[str]()
        for partition, change in changes.items():
            at, current = seen.transactions[partition], seen.files.get(partition)
            if at == change.transaction and current == change.add:
                landed.add(partition)  # by an earlier try of ours that was answered with an error
            elif at == change.after and partition in mine:
                ready.add(partition)
        if ready:
            actions = [a for p in ready for a in self._actions(p, seen.files.get(p), changes[p].add, at_utc)]
            self._write(seen, {p: changes[p].transaction for p in ready}, actions)
        return landed | ready

    def _state(self, delta: DeltaTable, partitions: Collection[str]) -> TableState:
        transactions = {p: delta.transaction_version(p) or 0 for p in partitions}
        return TableState({f.partition: f for f in _data_files(self._live(delta))}, transactions, delta)

    def _live(self, delta: DeltaTable) -> pl.DataFrame:
        """One row per live file, with the fields of ``DataFile``."""
        adds = pl.DataFrame(delta.get_add_actions(flatten=True))
        # delta-rs encodes a path once more for the log, and decodes it where one is given.
        paths = [unquote(logged) for logged in adds["path"]]
        live = pl.DataFrame(
            {
                "partition": [self._partition_in(path.rpartition("/")[0]) for path in paths],
                "path": paths,
                "rows": adds["num_records"],
                "size_bytes": adds["size_bytes"],
            },
            schema_overrides={"partition": pl.String(), "path": pl.String()},
        )
        twice = live.filter(pl.col("partition").is_duplicated())
        if not twice.is_empty():
            one, other = twice.filter(pl.col("partition") == twice["partition"][0])["path"][:2]
            msg = (
                f"{delta.table_uri}: partition {twice['partition'][0]} has two live files, {one} and {other}: "
                "something other than this project has written to the table"
            )
            raise StoreError(msg)
        return live

    def _read_folders(self, folders: str) -> str:
        """The partition whose files are in some folders, one within the other."""
        stored = (folder.split("=", 1) for folder in folders.split("/") if folder)
        return self.partitions.key_of({column: unquote(value) for column, value in stored})

    def _actions(
        self, partition: str, old: DataFile | None, new: DataFile | None, at_utc: datetime
    ) -> Iterator[AddAction | RemoveAction]:
        value: dict[str, str | None] = {**self.partitions.stored(partition)}
        at_ms = int(at_utc.timestamp() * 1000)
        if old is not None:
            yield RemoveAction(
                old.path, data_change=True, deletion_timestamp=at_ms, size=old.size_bytes, partition_values=value
            )
        if new is not None:
            stats = json.dumps({"numRecords": new.rows})
            yield AddAction(new.path, new.size_bytes, value, at_ms, data_change=True, stats=stats)

    def _write(
        self, seen: TableState, transactions: Mapping[str, int], actions: Sequence[AddAction | RemoveAction]
    ) -> None:
        """Commit on top of exactly the version that was seen, or fail."""
        if seen.delta is None:
            msg = f"table {self.folder.name}: a state without a table cannot be committed on"
            raise StoreError(msg)
        delta = seen.delta
        delta.create_write_transaction(
            list(actions),
            "append",
            delta.schema(),
            partition_by=list(self._by),
            commit_properties=CommitProperties(
                max_commit_retries=0, app_transactions=[Transaction(p, n) for p, n in transactions.items()]
            ),
            post_commithook_properties=_NO_HOOKS,
        )
        if (delta.version() + 1) % CHECKPOINT_EVERY == 0:
            self._shorten_log()

    def _shorten_log(self) -> None:
        try:
            delta = DeltaTable(self.folder)
            delta.create_checkpoint()
            delta.cleanup_metadata()
        except (DeltaError, OSError):
            # The commit itself is done, and another writer may be tidying the same log: the next multiple tries again.
            return

    def _open(self) -> DeltaTable:
        """The table at its newest version, created or widened to the declared columns where needed."""
        try:
            delta = self._found()
        except TableNotFoundError:
            self._create()
            delta = self._found()
        have = {f.name: f for f in delta.schema().fields}
        want = {f.name: f for f in self._schema.fields}
        changed = sorted(name for name in want.keys() & have.keys() if want[name].type != have[name].type)
        if changed:
            was_and_is = "; ".join(f"{n} was {have[n].type}, is {want[n].type}" for n in changed)
            msg = (
                f"table {self.folder.name}: a column cannot change its type in place ({was_and_is}): give it a new name"
            )
            raise DeclarationError(msg)
        new = [field for name, field in want.items() if name not in have]
        if new:
            delta.alter.add_columns(new)
            delta = DeltaTable(self.folder)
        return delta

    def _found(self) -> DeltaTable:
        """The table at its newest version, which must be laid out as declared."""
        try:
            delta = DeltaTable(self.folder)
        except TableNotFoundError:
            raise
        except DeltaError as unreadable:
            said = str(unreadable).partition("\n")[0]
            msg = f"{self.folder}: its log cannot be read ({said}); restore its _delta_log from a backup"
            raise StoreError(msg) from unreadable
        was, now = delta.metadata().partition_columns, list(self._by)
        if was != now:
            msg = (
                f"table {self.folder.name}: it is partitioned by {', '.join(was) or 'nothing'} and declared with "
                f"{', '.join(now) or 'nothing'}; a table cannot change that in place: give it a new name"
            )
            raise DeclarationError(msg)
        return delta

    def _create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            create_table_with_add_actions(
                str(self.folder),
                self._schema,
                [],
                mode="error",
                partition_by=list(self._by),
                configuration={
                    "delta.logRetentionDuration": LOG_RETENTION,
                    # Checkpoints are made here, each followed by a clean-up, not by delta-rs on its own.
                    "delta.checkpointInterval": "1000000000",
                },
            )
        except DeltaError:
            # Somebody else may have created it at the same moment; if not, the caller's opening says what is wrong.
            if not DeltaTable.is_deltatable(str(self.folder)):
                raise

    # ---- reading

    def state(self, partitions: Collection[str] = ()) -> TableState:
        """Live files of the whole table and transaction versions of some partitions, at one table version.

        Raises:
            StoreError: If a partition has more than one live file, which no publish leaves behind.
            DeclarationError: If the table is partitioned by other columns than declared.
        """
        try:
            delta = self._found()
        except TableNotFoundError:
            return TableState({}, dict.fromkeys(partitions, 0))
        return self._state(delta, partitions)

    def files(self, partitions: Collection[str] | None = None) -> dict[str, DataFile]:
        """The live file of each of these partitions that has one, at one table version; None asks for all.

        For looking, not for committing: a log that has not changed is not opened again.

        Raises:
            StoreError: If a partition has more than one live file, which no publish leaves behind.
            DeclarationError: If the table is partitioned by another column than declared.
        """
        live = self._recent.of(self.folder, self._read)
        if partitions is not None and live.height:
            live = live.filter(pl.col("partition").is_in(pl.Series(list(partitions), dtype=pl.String).implode()))
        return {file.partition: file for file in _data_files(live)}

    def _read(self) -> pl.DataFrame:
        try:
            return self._live(self._found())
        except TableNotFoundError:
            return pl.DataFrame()

    def live(self, partitions: Collection[str] | None = None) -> list[DataFile]:
        """Live files of those partitions that have one, in the order asked; None asks for all."""
        files = self.files(partitions)
        return list(files.values()) if partitions is None else [files[p] for p in partitions if p in files]

    def scan(self, files: Iterable[DataFile], columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Rows of some files, partition columns included.

        Args:
            files: Which; a file that was replaced meanwhile is still there.
            columns: Columns to read; None reads all. Columns that a file predates are null.

        Returns:
            One row per row of the files; columns as asked, else the partition columns first.
        """
        whole = pl.Schema({**self._by, **self.columns})
        wanted = list(columns) if columns is not None else whole.names()
        paths = [f"{self.folder}/{f.path}" for f in files]  # pathlib takes longer to join than Polars to read
        if not paths:
            return pl.LazyFrame(schema={c: whole[c] for c in wanted})
        return pl.scan_parquet(
            paths,
            schema=self.columns,
            hive_partitioning=bool(self._by),
            hive_schema=self._by or None,
            missing_columns="insert",
            extra_columns="ignore",
        ).select(wanted)


def _data_files(live: pl.DataFrame) -> Iterator[DataFile]:
    for partition, path, rows, size in live.iter_rows():
        yield DataFile(partition, path, rows, size)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
