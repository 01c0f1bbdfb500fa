"""Tidying in the ledger: which files are still needed, which snapshots are given up, and which requests are forgotten.

Belongs here: asking what nothing can return to, and noting that it is given up; requests that decide nothing any more.
Does not belong here: files (``sh_resources.tidying``). Invariants: a snapshot is given up before its file goes, so that
nobody is offered a snapshot without a file; what is published is never given up; forgetting requests changes no count
of tries (``requests``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, update

from sh_resources.ledger.database import Database, conditions
from sh_resources.ledger.schema import CONFIRMED, attempts, is_undecided, partitions, requests, snapshots, utc

TOGETHER = 5_000
"""Requests that are removed in one transaction: nobody else can write meanwhile."""


@dataclass(frozen=True)
class Needed:
    """What a sweep of a table's files must leave alone, beside what Delta says is live.

    Attributes:
        paths: Files of snapshots that are published or can be returned to, and of attempts that are not decided.
        evidence: Attempts whose quarantined rows belong to one of these.
    """

    paths: frozenset[str]
    evidence: frozenset[str]


@dataclass(frozen=True)
class Replaced:
    """A snapshot that was replaced.

    Attributes:
        attempt_id: The attempt that published it.
        partition: Partition key.
        path: Its file, relative to the table's folder.
        replaced_utc: When its successor was confirmed; readers saw it until shortly before.
    """

    attempt_id: str
    partition: str
    path: str
    replaced_utc: datetime


class Tidying:
    """What of one ledger's tables can go. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Ask this database."""
        self._database = database

    def needed(self, table: str, keys: Collection[str] | None = None) -> Needed:
        """What of a table, or of some partitions of it, must be left alone.

        Args:
            table: Table name.
            keys: Partition keys; None for all.
        """
        paths, evidence = set[str](), set[str]()
        with self._database.read() as connection:
            for here in conditions(snapshots.c.partition_key, keys):
                kept = and_(snapshots.c.table_name == table, snapshots.c.tidied_utc.is_(None), here)
                paths.update(connection.execute(select(snapshots.c.path).where(kept)).scalars())
                evidence.update(connection.execute(_evidence(kept)).scalars())
            for here in conditions(attempts.c.partition_key, keys):
                open_ones = and_(attempts.c.table_name == table, is_undecided, here)
                for attempt_id, path in connection.execute(select(attempts.c.id, attempts.c.path).where(open_ones)):
                    evidence.add(attempt_id)
                    paths.update([path] if path is not None else [])
        return Needed(frozenset(paths), frozenset(evidence))

    def replaced(
        self, table: str, before_utc: datetime, newest: int, keys: Collection[str] | None = None
    ) -> list[Replaced]:
        """Snapshots that were replaced before some time and are not given up yet, oldest first.

        Args:
            table: Table name.
            before_utc: When they were replaced at the latest, aware.
            newest: How many replaced snapshots of each partition are left out, the newest ones.
            keys: Partition keys; None for all.
        """
        of, number = snapshots.c.partition_key, snapshots.c.transaction_version
        found: list[Replaced] = []
        with self._database.read() as connection:
            for here in conditions(snapshots.c.partition_key, keys):
                ranked = (
                    select(
                        *snapshots.c["attempt_id", "partition_key", "path", "tidied_utc"],
                        func.lead(snapshots.c.published_utc, type_=snapshots.c.published_utc.type)
                        .over(partition_by=of, order_by=number)
                        .label("replaced_utc"),
                        func.row_number().over(partition_by=of, order_by=number.desc()).label("age"),
                    )
                    .where(snapshots.c.table_name == table, here)
                    .subquery()
                )
                old = select(*ranked.c["attempt_id", "partition_key", "path", "replaced_utc"]).where(
                    ranked.c.tidied_utc.is_(None),
                    ranked.c.age > 1 + newest,  # the first is the one that is published
                    ranked.c.replaced_utc <= utc(before_utc),
                )
                found += [Replaced(*row) for row in connection.execute(old)]
        return sorted(found, key=lambda r: (r.replaced_utc, r.path))

    def give_up(self, attempt_ids: Collection[str], now_utc: datetime) -> None:
        """Note that the files of replaced snapshots go. From here on nothing returns to them.

        Only for whoever holds the leases of their partitions: a rollback reads under one.
        """
        now = utc(now_utc)
        with self._database.write() as connection:
            for condition in conditions(snapshots.c.attempt_id, attempt_ids):
                published = select(partitions.c.snapshot_id).where(
                    partitions.c.table_name == snapshots.c.table_name,
                    partitions.c.partition_key == snapshots.c.partition_key,
                    partitions.c.snapshot_id == snapshots.c.attempt_id,
                )
                connection.execute(
                    update(snapshots)
                    .where(condition, snapshots.c.tidied_utc.is_(None), ~published.exists())
                    .values(tidied_utc=now)
                )

    def answered(self, before_utc: datetime) -> int:
        """How many requests ``forget`` would remove."""
        with self._database.read() as connection:
            return int(connection.execute(_answered(before_utc).with_only_columns(func.count())).scalar_one())

    def forget(self, before_utc: datetime) -> int:
        """Remove requests that were made before some time, and whose partition was settled after them.

        Those whose partition was not are tries that count, however old they are. ``why`` can tell of what is removed no
        more.

        Args:
            before_utc: Time, aware.

        Returns:
            How many were removed, in transactions of some thousands. Stopping in between loses nothing.
        """
        removed, last = 0, 0
        query = _answered(before_utc).order_by(requests.c.id).limit(TOGETHER)
        while True:
            with self._database.write() as connection:
                ids = list(connection.execute(query.where(requests.c.id > last)).scalars())
                for condition in conditions(requests.c.id, ids):
                    connection.execute(delete(requests).where(condition))
            removed += len(ids)
            if len(ids) < TOGETHER:
                return removed
            last = ids[-1]

    def last_decided(self, table: str, keys: Collection[str] | None = None) -> dict[str, datetime]:
        """When an attempt at a partition was last confirmed or discarded, per partition."""
        decided = func.max(attempts.c.decided_utc, type_=attempts.c.decided_utc.type)
        with self._database.read() as connection:
            return {
                partition: at
                for here in conditions(attempts.c.partition_key, keys)
                for partition, at in connection.execute(
                    select(attempts.c.partition_key, decided)
                    .where(attempts.c.table_name == table, attempts.c.decided_utc.is_not(None), here)
                    .group_by(attempts.c.partition_key)
                )
            }


def _answered(before_utc: datetime) -> Select[tuple[int]]:
    """Requests from before some time whose partition was settled since: just those that are no tries any more."""
    same = and_(
        partitions.c.table_name == requests.c.table_name, partitions.c.partition_key == requests.c.partition_key
    )
    return (
        select(requests.c.id)
        .join_from(requests, partitions, same)
        .join(attempts, attempts.c.id == partitions.c.settlement_id)
        .where(requests.c.at_utc < utc(before_utc), attempts.c.decided_utc >= requests.c.at_utc)
    )


def _evidence(kept: ColumnElement[bool]) -> Select[tuple[str]]:
    """Of each kept snapshot the last attempt that it is the content of, where that set rows aside."""
    ranked = (
        select(
            attempts.c.id,
            attempts.c.quarantined,
            func.row_number()
            .over(partition_by=attempts.c.path, order_by=(attempts.c.token.desc(), attempts.c.decided_utc.desc()))
            .label("age"),
        )
        .join_from(
            snapshots,
            attempts,
            and_(attempts.c.table_name == snapshots.c.table_name, attempts.c.path == snapshots.c.path),
        )
        .where(kept, attempts.c.state == CONFIRMED)
        .subquery()
    )
    return select(ranked.c.id).where(ranked.c.age == 1, ranked.c.quarantined > 0)
