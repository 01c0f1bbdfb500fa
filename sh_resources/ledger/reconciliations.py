"""Reconciliations: how far placeholders were from the truth that replaced them.

Belongs here: keeping them and giving them back. Does not belong here: the comparison (``sh_core.reconciliation``).
Invariant: one belongs to the attempt that publishes the truth. It is written down before that is committed, and told of
only once the attempt is confirmed, by whoever confirms it: a crash in between neither loses nor repeats one.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select, true

from sh_core.reconciliation import Differs, Reconciliation
from sh_resources.ledger.codec import dumps, loads
from sh_resources.ledger.database import Database, conditions, insert_missing
from sh_resources.ledger.schema import CONFIRMED, attempts, reconciliations


@dataclass(frozen=True)
class Reconciled:
    """A placeholder that was replaced.

    Attributes:
        attempt_id: The attempt that published the truth.
        table: Table name.
        partition: Partition key.
        at_utc: When that was confirmed.
        found: The difference.
    """

    attempt_id: str
    table: str
    partition: str
    at_utc: datetime
    found: Reconciliation


class Reconciliations:
    """The reconciliations of one ledger. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def keep(self, table: str, found: Mapping[tuple[str, str], Reconciliation]) -> None:
        """Write down what attempts that were intended will have replaced; by partition key and attempt."""
        rows = [
            {"attempt_id": attempt, "table_name": table, "partition_key": key, "found": dumps(asdict(of))}
            for (key, attempt), of in found.items()
        ]
        if rows:
            with self._database.write() as connection:
                insert_missing(connection, reconciliations, rows)

    def of_attempts(self, ids: Collection[str]) -> dict[str, Reconciled]:
        """What these attempts replaced, for those that replaced a placeholder and are confirmed."""
        found: dict[str, Reconciled] = {}
        for condition in conditions(reconciliations.c.attempt_id, ids):
            found |= {r.attempt_id: r for r in self._newest(condition, None)}
        return found

    def newest(self, table: str | None = None, partition: str | None = None, *, limit: int) -> list[Reconciled]:
        """The newest, of one table or partition or of all, newest first."""
        condition: ColumnElement[bool] = true()
        if table is not None:
            condition &= reconciliations.c.table_name == table
        if partition is not None:
            condition &= reconciliations.c.partition_key == partition
        return self._newest(condition, limit)

    def _newest(self, condition: ColumnElement[bool], limit: int | None) -> list[Reconciled]:
        query = (
            select(reconciliations, attempts.c.decided_utc)
            .join_from(reconciliations, attempts)
            .where(condition, attempts.c.state == CONFIRMED)
            .order_by(attempts.c.decided_utc.desc(), attempts.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                Reconciled(row.attempt_id, row.table_name, row.partition_key, row.decided_utc, _decoded(row.found))
                for row in connection.execute(query)
            ]


def _decoded(text: str) -> Reconciliation:
    said = loads(text)
    columns = {name: Differs(**of) for name, of in said["columns"].items()}
    return Reconciliation(**{**said, "columns": columns})
