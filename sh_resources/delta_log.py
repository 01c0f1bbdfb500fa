"""A table's Delta log: created, opened as declared, written to and kept short.

Belongs here: how delta-rs is called. Does not belong here: what a commit does to partitions, and what follows when it
fails (``delta``). Invariant: an opened table is partitioned as declared; a commit lands right on top of the version
that it was given or fails, and nothing here tries again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from sh_core.errors import DeclarationError, StoreError
from sh_resources.delta_types import delta_schema

CHECKPOINT_EVERY = 50
"""Commits between checkpoints of a table's log, each followed by a clean-up of what the checkpoint made superfluous."""

LOG_RETENTION = "interval 10 seconds"
"""Age below which log files are kept although a checkpoint covers them: the time that a reader has to load the log it
listed. History is kept by the ledger, not by Delta's log, so that opening a table costs the same after 10 and 10,000
commits."""

_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class DeltaLog:
    """The log of one table."""

    def __init__(self, folder: Path, columns: Mapping[str, pl.DataType], by: Sequence[str]) -> None:
        """Describe a log; nothing is read or written yet.

        Args:
            folder: The table's folder.
            columns: All columns, in order.
            by: Which of them are partition columns.

        Raises:
            DeclarationError: If a column has a type that Delta cannot hold.
        """
        self.folder = folder
        self._by = by
        self._schema = delta_schema(columns, folder.name)

    def newest(self) -> DeltaTable:
        """The table at its newest version.

        Raises:
            TableNotFoundError: If there is none yet.
            StoreError: If its log cannot be read.
            DeclarationError: If it is partitioned by other columns than declared.
        """
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

    def open(self) -> DeltaTable:
        """The table at its newest version, created or widened to the declared columns where needed.

        Raises:
            StoreError: If its log cannot be read.
            DeclarationError: If a declared column has another type in it, or it is partitioned by other columns.
        """
        try:
            delta = self.newest()
        except TableNotFoundError:
            self._create()
            delta = self.newest()
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

    def write(
        self, delta: DeltaTable, transactions: Mapping[str, int], actions: Sequence[AddAction | RemoveAction]
    ) -> None:
        """Commit on top of exactly the version that was opened, or fail.

        Args:
            delta: The table as opened.
            transactions: Transaction version per app that the commit sets.
            actions: Files that it adds and removes.

        Raises:
            CommitFailedError: If somebody else has committed since.
        """
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
            self.shorten()

    def shorten(self) -> None:
        """Make a checkpoint, and clean away what it makes superfluous."""
        try:
            delta = DeltaTable(self.folder)
            delta.create_checkpoint()
            delta.cleanup_metadata()
        except (DeltaError, OSError):
            # The commit itself is done, and another writer may be tidying the same log: the next multiple tries again.
            return
