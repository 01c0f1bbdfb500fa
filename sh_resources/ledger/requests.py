"""Requests: what automation has asked for, why, and what it must not ask for.

Belongs here: noting requests and finding them again, by partition or by who asked; pauses. Does not belong here:
deciding what to request (``sh_core.watch``). Invariant: a request is noted before anything is launched, so there is
none without its reasons; and a request decides nothing: deleting all of them changes only how soon something that
failed is tried again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, or_, select

from sh_core.book import Request, Tries
from sh_core.staleness import Reason, Stale
from sh_resources.ledger.codec import decode_reasons, encode_reasons
from sh_resources.ledger.database import Database, conditions, insert
from sh_resources.ledger.schema import attempts, partitions, pauses, requests, utc
from sh_resources.ledger.serials import tick


@dataclass(frozen=True)
class Requested:
    """One request, as noted.

    Attributes:
        at_utc: When.
        asked_by: Who asked: an evaluation of automation, a command.
        table: Table.
        partition: Partition key.
        trace: Digest of the trace under which it was to be settled.
        reasons: Why.
    """

    at_utc: datetime
    asked_by: str
    table: str
    partition: str
    trace: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Pause:
    """Nothing is requested of a table until somebody resumes it.

    Attributes:
        table: Table.
        downstream: Whether every table downstream is paused with it.
        since_utc: Since when.
        paused_by: Who paused it.
        reason: Why, in words.
    """

    table: str
    downstream: bool
    since_utc: datetime
    paused_by: str
    reason: str


class Requests:
    """The requests and pauses of one ledger. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def note(self, wanted: Collection[Request], asked_by: str, now_utc: datetime) -> int:
        """Note requests that are about to be made.

        Returns:
            The serial of this: whoever reads the serial afterwards reads this one or a later one.
        """
        now = utc(now_utc)
        rows = [
            {
                "at_utc": now,
                "asked_by": asked_by,
                "table_name": request.table,
                "partition_key": request.partition,
                "trace_digest": request.stale.trace,
                "reasons": encode_reasons(request.stale.reasons),
            }
            for request in wanted
        ]
        with self._database.write() as connection:
            if rows:
                connection.execute(requests.insert(), rows)
            return tick(connection)

    def tries(self, wanted: Mapping[tuple[str, str], Stale]) -> dict[tuple[str, str], Tries]:
        """How often partitions were requested under these traces since they were last settled, if they were."""
        by_table: dict[str, list[str]] = {}
        for table, key in wanted:
            by_table.setdefault(table, []).append(key)
        same = and_(
            partitions.c.table_name == requests.c.table_name, partitions.c.partition_key == requests.c.partition_key
        )
        query = (
            select(requests.c.partition_key, requests.c.trace_digest, func.count(), func.max(requests.c.at_utc))
            .join_from(requests, partitions, same, isouter=True)
            .join(attempts, attempts.c.id == partitions.c.settlement_id, isouter=True)
            .where(or_(attempts.c.decided_utc.is_(None), attempts.c.decided_utc < requests.c.at_utc))
            .group_by(requests.c.partition_key, requests.c.trace_digest)
        )
        found: dict[tuple[str, str], Tries] = {}
        with self._database.read() as connection:
            for table, keys in by_table.items():
                for condition in conditions(requests.c.partition_key, keys):
                    for key, trace, count, last in connection.execute(
                        query.where(requests.c.table_name == table, condition)
                    ):
                        if wanted[table, key].trace == trace:
                            found[table, key] = Tries(int(count), last)
        return found

    def by(self, asked_by: str) -> list[Requested]:
        """What somebody asked for, in order."""
        with self._database.read() as connection:
            return _requested(
                connection.execute(select(requests).where(requests.c.asked_by == asked_by).order_by(requests.c.id))
            )

    def of(self, table: str, partition: str | None = None, *, limit: int = 100) -> list[Requested]:
        """Requests of a table, or of one partition of it, newest first."""
        query = select(requests).where(requests.c.table_name == table)
        if partition is not None:
            query = query.where(requests.c.partition_key == partition)
        with self._database.read() as connection:
            return _requested(connection.execute(query.order_by(requests.c.id.desc()).limit(limit)))

    def pause(self, table: str, *, downstream: bool, by: str, reason: str, now_utc: datetime) -> None:
        """Have nothing requested of a table, or of it and all that is downstream, until it is resumed.

        A table that is paused already is paused as said now.
        """
        row = {
            "table_name": table,
            "downstream": downstream,
            "since_utc": utc(now_utc),
            "paused_by": by,
            "reason": reason,
        }
        with self._database.write() as connection:
            statement = insert(connection, pauses).values(row)
            said = {name: statement.excluded[name] for name in row if name != "table_name"}
            connection.execute(statement.on_conflict_do_update(index_elements=["table_name"], set_=said))

    def resume(self, table: str) -> bool:
        """Let a table be requested again; returns whether it had been paused."""
        with self._database.write() as connection:
            return connection.execute(delete(pauses).where(pauses.c.table_name == table)).rowcount > 0

    def pauses(self) -> list[Pause]:
        """All pauses, by table."""
        with self._database.read() as connection:
            return [
                Pause(row.table_name, row.downstream, row.since_utc, row.paused_by, row.reason)
                for row in connection.execute(select(pauses).order_by(pauses.c.table_name))
            ]


def _requested(rows: Iterable[Row[Any]]) -> list[Requested]:
    return [
        Requested(
            row.at_utc, row.asked_by, row.table_name, row.partition_key, row.trace_digest, decode_reasons(row.reasons)
        )
        for row in rows
    ]
