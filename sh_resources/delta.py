"""Delta tables, one file per partition: which file is live, and how that changes.

Belongs here: what a commit does to partitions, what a lost race leads to, which files are live. Does not belong here:
the files themselves (``partition_files``), how delta-rs is called (``delta_log``), leases, judgement, the ledger
(``publisher``).

Invariant: a partition's live state changes only in a commit that carries ``Transaction(app_id=<partition>,
version=m)``, m > n, and was based on the table version at which the partition's transaction was ``n``. Without
transactions delta-rs lets two first publishes of one partition both append. With them it refuses two on the same view
(1.6.6), but on a fresh view it accepts a version that is lower than the one in place. So automatic retries are off
(``max_commit_retries=0``): a commit either lands right on top of the version that was looked at or fails, and after a
failure everything is looked at again, the lease as well.
"""

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import stamina
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from sh_core.errors import CommitConflictError, StoreError
from sh_core.partitions import Partitions
from sh_resources.delta_files import RecentFiles
from sh_resources.delta_log import DeltaLog
from sh_resources.partition_files import DataFile, PartitionFiles

COMMIT_TRIES = 60
"""Commits that one change may lose against other writers before it is given up."""

StillMine = Callable[[Collection[str]], Collection[str]]
"""Of these partitions, those whose lease the caller still holds."""


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


class PartitionedDelta(PartitionFiles):
    """One Delta table with one file per partition: those of its folder's files that its log names."""

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
        super().__init__(folder, columns, partitions)
        self._recent = recent or RecentFiles()
        self._log = DeltaLog(folder, {**partitions.columns, **columns}, list(partitions.columns))

    # ---- writing

    def prepare(self, partitions: Collection[str]) -> TableState:
        """The newest state of the table, which is created, or widened to the declared columns, where needed.

        Args:
            partitions: Whose transaction versions are wanted.

        Raises:
            DeclarationError: If a declared column has another type in the table, or the table other partitions.
            StoreError: If a partition has more than one live file.
        """
        return self._state(self._log.open(), partitions)

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
                "partition": [self.partition_in(path.rpartition("/")[0]) for path in paths],
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
        if seen.delta is None:
            msg = f"table {self.folder.name}: a state without a table cannot be committed on"
            raise StoreError(msg)
        self._log.write(seen.delta, transactions, actions)

    # ---- reading

    def state(self, partitions: Collection[str] = ()) -> TableState:
        """Live files of the whole table and transaction versions of some partitions, at one table version.

        Raises:
            StoreError: If a partition has more than one live file, which no publish leaves behind.
            DeclarationError: If the table is partitioned by other columns than declared.
        """
        try:
            delta = self._log.newest()
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
            return self._live(self._log.newest())
        except TableNotFoundError:
            return pl.DataFrame()

    def live(self, partitions: Collection[str] | None = None) -> list[DataFile]:
        """Live files of those partitions that have one, in the order asked; None asks for all."""
        files = self.files(partitions)
        return list(files.values()) if partitions is None else [files[p] for p in partitions if p in files]


def _data_files(live: pl.DataFrame) -> Iterator[DataFile]:
    for partition, path, rows, size in live.iter_rows():
        yield DataFile(partition, path, rows, size)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
