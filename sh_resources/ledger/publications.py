"""Publications: what is published, what was decided, and what is still in between.

Belongs here: the steps of a publication as single transactions, and every question about their outcome. Does not
belong here: the rules of a step (``settling``); files and Delta commits (the table store). Invariant: between
``intend`` and ``confirm`` a crash loses nothing: ``unconfirmed`` lists what must be recovered or discarded before
anything else is done.

The order of one publication::

    accepted = publications.intend(attempts)      # 1. the intent; what is not accepted was fenced off: drop its files
    …commit to Delta…                             # 2. readers see it from here on
    publications.confirm(ids, now_utc)            # 3. the ledger says so too
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from sh_core.bars import Bar
from sh_core.plan import Cost
from sh_core.records import Action, Attempt, Settlement, Snapshot
from sh_core.trace import Trace
from sh_core.version import Version
from sh_resources.ledger import settling
from sh_resources.ledger.codec import decode_verdict, decode_version
from sh_resources.ledger.database import Database, conditions
from sh_resources.ledger.schema import CONFIRMED, attempts, is_undecided, partitions, snapshots, utc
from sh_resources.ledger.settling import Tracked
from sh_resources.ledger.traces import load_shares, load_traces

COSTS_OF = 50
"""Settlements of a table, the newest, by which its cost is estimated."""


@dataclass(frozen=True)
class Activity:
    """What was decided about one table at one moment: most decisions are made for many partitions at once.

    Attributes:
        table: Table name.
        at_utc: When it was confirmed.
        action: How the partitions were settled.
        partitions: How many.
    """

    table: str
    at_utc: datetime
    action: Action
    partitions: int


@dataclass(frozen=True)
class Shown:
    """What readers see of a partition, in short.

    Attributes:
        attempt_id: The attempt that published its content.
        published_utc: When that was confirmed.
        marks: The placeholders that it rests on; none where all of it is real.
    """

    attempt_id: str
    published_utc: datetime
    marks: tuple[str, ...]


Recorded = tuple[str, str | None]
"""Digest of the trace under which a partition was last settled, and the path of what is published, if anything is."""


class Publications:
    """The publications of one ledger.

    Every method raises LedgerError if the ledger cannot be reached, and ValueError if handed a time without time zone.
    """

    def __init__(self, database: Database) -> None:
        """Keep publications in this database."""
        self._database = database

    def intend(self, wanted: Collection[Attempt], barring: Collection[Bar] = ()) -> list[Attempt]:
        """Record what is about to be done, before any of it becomes visible.

        Args:
            wanted: At most one attempt for each partition.
            barring: Of those that are rollbacks, the bars that come into force when they are confirmed.

        Returns:
            The attempts recorded, in order. Those missing are not to be carried out: their token is no longer current,
            or they were discarded.

        Raises:
            ValueError: If an attempt contradicts itself, or its id is known with other content.
            LedgerError: If an earlier attempt for a partition is undecided; nothing was recorded.
        """
        with self._database.write() as connection:
            return settling.intend(connection, wanted, barring)

    def confirm(self, ids: Collection[str], now_utc: datetime) -> frozenset[str]:
        """Record that attempts were carried out: what is published, settled and healed follows from it.

        Args:
            ids: At most one undecided attempt for each partition.
            now_utc: Current time, aware.

        Returns:
            Those of the attempts that are confirmed, now or from before. The others were taken over or discarded, and
            nothing of them was written.

        Raises:
            LedgerError: If an attempt is unknown or was replaced already; nothing was written.
        """
        now = utc(now_utc)
        with self._database.write() as connection:
            return settling.confirm(connection, ids, now)

    def recover(self, held: Mapping[str, int], now_utc: datetime) -> frozenset[str]:
        """Confirm what another writer carried out but did not live to confirm.

        Only for attempts whose commit is live in Delta. That also holds for one that was discarded: a writer that was
        taken for dead may commit late, and the ledger follows what readers see.

        Args:
            held: For each attempt (by id) the token that the caller holds for its partition.
            now_utc: Current time, aware.

        Returns:
            Those that are confirmed, now or from before; for the others the caller's token is not the current one.

        Raises:
            LedgerError: If an attempt is unknown or was replaced already; nothing was written.
        """
        now = utc(now_utc)
        with self._database.write() as connection:
            return settling.confirm(connection, list(held), now, held)

    def discard(self, ids: Collection[str], now_utc: datetime, reason: str) -> frozenset[str]:
        """Record that attempts were given up. Only for those that no reader can see.

        Returns:
            Those discarded, now or from before; the others are confirmed.

        Raises:
            LedgerError: If an attempt is unknown.
        """
        now = utc(now_utc)
        with self._database.write() as connection:
            return settling.discard(connection, ids, now, reason)

    def unconfirmed(self, table: str, keys: Collection[str] | None = None) -> list[Attempt]:
        """Attempts neither confirmed nor discarded: for whoever leases their partitions to recover or discard.

        Args:
            table: Table name.
            keys: Partition keys; None for all.
        """
        with self._database.read() as connection:
            return [
                found.attempt
                for condition in conditions(attempts.c.partition_key, keys)
                for found in settling.tracked(connection, and_(attempts.c.table_name == table, is_undecided, condition))
            ]

    def attempts(self, ids: Collection[str]) -> dict[str, Tracked]:
        """Attempts in any state, by id; e.g. of a live file that is not the current snapshot's."""
        with self._database.read() as connection:
            return {
                found.attempt.id: found
                for condition in conditions(attempts.c.id, ids)
                for found in settling.tracked(connection, condition)
            }

    def current(self, table: str, keys: Collection[str] | None = None) -> dict[str, Snapshot]:
        """The published snapshot per partition that has one.

        Args:
            table: Table name.
            keys: Partition keys; None for all.
        """
        with self._database.read() as connection:
            return {
                snapshot.partition: snapshot
                for condition in conditions(partitions.c.partition_key, keys)
                for snapshot in _snapshots(
                    connection,
                    select(snapshots)
                    .join_from(partitions, snapshots)
                    .where(partitions.c.table_name == table, condition),
                )
            }

    def shown(self, table: str, keys: Collection[str] | None = None) -> dict[str, Shown]:
        """In short what is published, per partition that anything is published of.

        Args:
            table: Table name.
            keys: Partition keys; None for all.
        """
        query = (
            select(*snapshots.c["partition_key", "attempt_id", "published_utc", "version"])
            .join_from(partitions, snapshots)
            .where(partitions.c.table_name == table)
        )
        with self._database.read() as connection:
            return {
                row.partition_key: Shown(row.attempt_id, row.published_utc, decode_version(row.version).marks)
                for condition in conditions(partitions.c.partition_key, keys)
                for row in connection.execute(query.where(condition))
            }

    def versions(self, table: str, paths: Collection[str]) -> dict[str, Version]:
        """The content version that was published under each path, for those under which one was."""
        wanted = select(snapshots.c.path, snapshots.c.version).where(snapshots.c.table_name == table)
        with self._database.read() as connection:
            return {
                path: decode_version(version)
                for condition in conditions(snapshots.c.path, paths)
                for path, version in connection.execute(wanted.where(condition))
            }

    def recorded(self, table: str, keys: Collection[str]) -> dict[str, Recorded]:
        """Under which trace each partition was last settled, and what it shows; for those that ever were."""
        query = (
            select(partitions.c.partition_key, attempts.c.trace_digest, snapshots.c.path)
            .join_from(partitions, attempts, partitions.c.settlement_id == attempts.c.id)
            .join(snapshots, partitions.c.snapshot_id == snapshots.c.attempt_id, isouter=True)
            .where(partitions.c.table_name == table)
        )
        with self._database.read() as connection:
            return {
                key: (trace, path)
                for condition in conditions(partitions.c.partition_key, keys)
                for key, trace, path in connection.execute(query.where(condition))
            }

    def traces(self, table: str, keys: Collection[str]) -> dict[str, Trace]:
        """The trace under which each partition was last settled, for those that ever were."""
        found: dict[str, Trace] = {}
        with self._database.read() as connection:
            for condition in conditions(partitions.c.partition_key, keys):
                settled = (
                    select(partitions.c.partition_key, attempts.c.trace_digest)
                    .join_from(partitions, attempts, partitions.c.settlement_id == attempts.c.id)
                    .where(partitions.c.table_name == table, condition)
                )
                traces = load_traces(connection, settled.with_only_columns(attempts.c.trace_digest))
                found |= {key: traces[digest] for key, digest in connection.execute(settled)}
        return found

    def last_by_path(self, table: str, path: str) -> Tracked | None:
        """The last confirmed attempt whose content a file is: the one that published it, or its last refresh."""
        condition = and_(attempts.c.table_name == table, attempts.c.path == path, attempts.c.state == CONFIRMED)
        newest = select(attempts.c.id).where(condition).order_by(attempts.c.token.desc(), attempts.c.decided_utc.desc())
        with self._database.read() as connection:
            found = settling.tracked(connection, attempts.c.id == newest.limit(1).scalar_subquery())
            return next(iter(found), None)

    def contents(self, table: str, keys: Collection[str]) -> dict[str, list[Version]]:
        """Every content that partitions ever had, newest first, for those that had any."""
        of_table = select(snapshots.c.partition_key, snapshots.c.version).where(snapshots.c.table_name == table)
        found: dict[str, list[Version]] = {}
        with self._database.read() as connection:
            for condition in conditions(snapshots.c.partition_key, keys):
                newest = of_table.where(condition).order_by(snapshots.c.transaction_version.desc())
                for key, version in connection.execute(newest):
                    found.setdefault(key, []).append(decode_version(version))
        return found

    def costs(self, tables: Collection[str]) -> dict[str, Cost]:
        """What a partition of a table costs: the medians of its newest settlements."""
        found: dict[str, Cost] = {}
        with self._database.read() as connection:
            for table in tables:
                newest = (
                    select(attempts.c.seconds, attempts.c.version)
                    .join_from(partitions, attempts, partitions.c.settlement_id == attempts.c.id)
                    .where(partitions.c.table_name == table)
                    .order_by(partitions.c.settled.desc(), partitions.c.partition_key)
                    .limit(COSTS_OF)
                )
                known = connection.execute(newest).all()
                rows = [float(decode_version(version).rows) for _, version in known if version is not None]
                seconds = [float(s) for s, _ in known if s is not None]
                found[table] = Cost(median(rows) if rows else None, median(seconds) if seconds else None)
        return found

    def history(self, table: str, partition: str, *, limit: int | None = 100) -> list[Snapshot]:
        """The snapshots of one partition, newest first; None gives all of them."""
        query = (
            select(snapshots)
            .where(snapshots.c.table_name == table, snapshots.c.partition_key == partition)
            .order_by(snapshots.c.transaction_version.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(_snapshots(connection, query))

    def settlements(self, table: str, keys: Collection[str] | None = None) -> dict[str, Settlement]:
        """The last decision per partition that was ever settled.

        Args:
            table: Table name.
            keys: Partition keys; None for all.
        """
        with self._database.read() as connection:
            return {
                settlement.partition: settlement
                for condition in conditions(partitions.c.partition_key, keys)
                for settlement in select_settlements(connection, and_(partitions.c.table_name == table, condition))
            }

    def log(self, table: str, partition: str | None = None, *, limit: int = 100) -> list[Tracked]:
        """Every attempt at a table, or at one partition of it, in any state, newest intent first."""
        newest = select(attempts.c.id).where(attempts.c.table_name == table)
        if partition is not None:
            newest = newest.where(attempts.c.partition_key == partition)
        # Equal times are common, as a chunk of partitions is intended at once; the token tells tries of one apart.
        newest = newest.order_by(attempts.c.intended_utc.desc(), attempts.c.token.desc(), attempts.c.id).limit(limit)
        with self._database.read() as connection:
            found = settling.tracked(connection, attempts.c.id.in_(newest.scalar_subquery()))
            by_id = {tracked.attempt.id: tracked for tracked in found}
            return [by_id[attempt_id] for attempt_id in connection.execute(newest).scalars()]

    def activity(self) -> list[Activity]:
        """Every decision about every table that was confirmed, by moment, oldest first."""
        what = (attempts.c.table_name, attempts.c.decided_utc, attempts.c.action)
        query = (
            select(*what, func.count())
            .where(attempts.c.state == CONFIRMED)
            .group_by(*what)
            .order_by(attempts.c.decided_utc, attempts.c.table_name, attempts.c.action)
        )
        with self._database.read() as connection:
            return [Activity(table, at, Action(action), int(n)) for table, at, action, n in connection.execute(query)]


def select_settlements(connection: Connection, condition: ColumnElement[bool]) -> Iterator[Settlement]:
    """The current settlements of the ``partitions`` that meet a condition."""
    shares = load_shares(connection, select(partitions.c.settlement_id).where(condition))
    query = select(attempts).join_from(partitions, attempts, partitions.c.settlement_id == attempts.c.id)
    for row in connection.execute(query.where(condition)):
        yield Settlement(
            table=row.table_name,
            partition=row.partition_key,
            attempt_id=row.id,
            action=Action(row.action),
            trace_digest=row.trace_digest,
            verdict=decode_verdict(row.verdict),
            quarantined=row.quarantined,
            shares=shares.get(row.id, ()),
            settled_utc=row.decided_utc,
        )


def _snapshots(connection: Connection, query: Select[tuple[object, ...]]) -> Iterator[Snapshot]:
    """The snapshots that a query over ``snapshots`` gives, in its order."""
    traces = load_traces(connection, query.with_only_columns(snapshots.c.trace_digest))
    for row in connection.execute(query):
        yield Snapshot(
            table=row.table_name,
            partition=row.partition_key,
            version=decode_version(row.version),
            path=row.path,
            transaction=row.transaction_version,
            trace=traces[row.trace_digest],
            published_utc=row.published_utc,
            attempt_id=row.attempt_id,
            tidied_utc=row.tidied_utc,
        )
