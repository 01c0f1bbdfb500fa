"""Leases: who may write which partition.

Belongs here: taking, keeping and giving back leases, and the fencing tokens that later steps compare. Does not belong
here: heartbeats (whoever holds a lease renews it). Invariant: of one partition's tokens only the highest is current;
every acquisition makes a new highest one, so that whoever was taken over can be told by comparing numbers, whatever
its clock says.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from sh_resources.ledger.database import Database, conditions, insert
from sh_resources.ledger.schema import leases, utc


@dataclass(frozen=True)
class Lease:
    """The right to write one partition.

    Attributes:
        table: Table name.
        partition: Partition key.
        token: Fencing token.
        owner: Who holds it; unique per run.
        expires_utc: From when on others may take it.
    """

    table: str
    partition: str
    token: int
    owner: str
    expires_utc: datetime


class Leases:
    """The leases of one ledger."""

    def __init__(self, database: Database) -> None:
        """Keep leases in this database."""
        self._database = database

    def acquire(
        self, table: str, partitions: Iterable[str], owner: str, now_utc: datetime, ttl_s: float
    ) -> dict[str, int]:
        """Take the leases that are free or expired; does not wait for the others.

        An owner's own lease is not free either: an owner is one run, and two steps of it would otherwise write at once.

        Args:
            table: Table name.
            partitions: Partition keys.
            owner: Who asks; unique per run.
            now_utc: Current time, aware.
            ttl_s: After how many seconds without renewal others may take it.

        Returns:
            Token per partition obtained.

        Raises:
            ValueError: If the time has no time zone.
            LedgerError: If the ledger cannot be reached.
        """
        now = utc(now_utc)
        expires = now + timedelta(seconds=ttl_s)
        wanted = [
            {"table_name": table, "partition_key": partition, "token": 1, "owner": owner, "expires_utc": expires}
            for partition in sorted(set(partitions))
        ]
        if not wanted:
            return {}
        with self._database.write() as connection:
            statement = insert(connection, leases)
            taken = statement.on_conflict_do_update(
                index_elements=["table_name", "partition_key"],
                set_={
                    "token": leases.c.token + 1,
                    "owner": statement.excluded.owner,
                    "expires_utc": statement.excluded.expires_utc,
                },
                where=or_(leases.c.expires_utc.is_(None), leases.c.expires_utc <= now),
            ).returning(leases.c.partition_key, leases.c.token)
            return {row.partition_key: row.token for row in connection.execute(taken, wanted)}

    def renew(self, table: str, tokens: Mapping[str, int], now_utc: datetime, ttl_s: float) -> frozenset[str]:
        """Keep leases for longer. One that expired but that nobody took is still kept.

        Args:
            table: Table name.
            tokens: Token per partition, as obtained.
            now_utc: Current time, aware.
            ttl_s: After how many seconds without another renewal others may take it.

        Returns:
            The partitions lost: taken over by someone else, or released. Their work is to be discarded.

        Raises:
            ValueError: If the time has no time zone.
            LedgerError: If the ledger cannot be reached.
        """
        expires = utc(now_utc) + timedelta(seconds=ttl_s)
        with self._database.write() as connection:
            kept = _owned(connection, table, tokens)
            for condition in conditions(leases.c.partition_key, kept):
                connection.execute(
                    update(leases).where(leases.c.table_name == table, condition).values(expires_utc=expires)
                )
        return frozenset(tokens) - kept

    def release(self, table: str, tokens: Mapping[str, int]) -> None:
        """Give leases back. Those that are no longer held under these tokens are left alone.

        Raises:
            LedgerError: If the ledger cannot be reached.
        """
        with self._database.write() as connection:
            for condition in conditions(leases.c.partition_key, _owned(connection, table, tokens)):
                connection.execute(
                    update(leases).where(leases.c.table_name == table, condition).values(owner=None, expires_utc=None)
                )

    def current(self, table: str, partitions: Collection[str] | None = None) -> dict[str, int]:
        """The highest token per partition, whether expired or released or not; none where there never was a lease."""
        with self._database.read() as connection:
            return {
                row.partition_key: row.token
                for condition in conditions(leases.c.partition_key, partitions)
                for row in connection.execute(
                    select(leases.c.partition_key, leases.c.token).where(leases.c.table_name == table, condition)
                )
            }

    def not_taken_over(self, table: str, tokens: Mapping[str, int], partitions: Collection[str]) -> set[str]:
        """Of these partitions, those that nobody has taken over since they were obtained under these tokens.

        Args:
            table: Table name.
            tokens: Token per partition, as obtained.
            partitions: Some of these partitions.
        """
        current = self.current(table, partitions)
        return {p for p in partitions if current.get(p) == tokens[p]}

    def held(self, table: str | None, now_utc: datetime) -> list[Lease]:
        """Leases held and not expired, of one table or of all, in order; for people to see and for planning.

        Raises:
            ValueError: If the time has no time zone.
        """
        query = select(leases).where(leases.c.owner.is_not(None), leases.c.expires_utc > utc(now_utc))
        if table is not None:
            query = query.where(leases.c.table_name == table)
        with self._database.read() as connection:
            return [
                Lease(row.table_name, row.partition_key, row.token, row.owner, row.expires_utc)
                for row in connection.execute(query.order_by(leases.c.table_name, leases.c.partition_key))
            ]


def lock(connection: Connection, partitions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Current token per (table, partition), which nobody can raise before this transaction ends.

    On PostgreSQL it locks the rows, in one order whoever asks; on SQLite a write transaction is alone anyway.
    """
    by_table: dict[str, list[str]] = {}
    for table, partition in partitions:
        by_table.setdefault(table, []).append(partition)
    return {
        (table, partition): token
        for table in sorted(by_table)
        for partition, token, _ in _locked(connection, table, by_table[table])
    }


def _locked(connection: Connection, table: str, partitions: Collection[str]) -> Iterator[tuple[str, int, str | None]]:
    for condition in conditions(leases.c.partition_key, partitions):
        rows = connection.execute(
            select(leases.c.partition_key, leases.c.token, leases.c.owner)
            .where(leases.c.table_name == table, condition)
            .order_by(leases.c.partition_key)
            .with_for_update()
        )
        yield from ((row.partition_key, row.token, row.owner) for row in rows)


def _owned(connection: Connection, table: str, tokens: Mapping[str, int]) -> frozenset[str]:
    return frozenset(
        partition
        for partition, token, owner in _locked(connection, table, tokens)
        if token == tokens[partition] and owner is not None
    )
