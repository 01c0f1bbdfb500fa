"""Bars in the ledger: what rollbacks keep from coming back.

Belongs here: keeping bars with the attempts that make them, lifting and narrowing them as content is published, and
asking which are in force. Does not belong here: what a bar stands against (``sh_core.bars``). Invariant: a bar is in
force from the moment its rollback is confirmed, whoever confirms it, until it is lifted; it is never deleted.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, update

from sh_core.bars import Bar, after_publishing
from sh_core.records import Action, Attempt
from sh_resources.ledger.codec import dumps, loads
from sh_resources.ledger.database import Database, conditions, insert_missing
from sh_resources.ledger.schema import CONFIRMED, attempts, bars
from sh_resources.ledger.traces import load_traces, store_traces


class Bars:
    """The bars of one ledger; ``publications`` keeps, lifts and narrows them."""

    def __init__(self, database: Database) -> None:
        """Keep bars in this database."""
        self._database = database

    def standing(self, table: str, keys: Collection[str] | None = None) -> dict[str, tuple[Bar, ...]]:
        """The bars in force, per partition that has any, oldest first.

        Args:
            table: Table name.
            keys: Partition keys; None for all.
        """
        found: dict[str, list[Bar]] = {}
        with self._database.read() as connection:
            for condition in conditions(bars.c.partition_key, keys):
                for bar in _load(connection, (bars.c.table_name == table) & condition):
                    found.setdefault(bar.partition, []).append(bar)
        return {partition: tuple(of_it) for partition, of_it in found.items()}


def keep(connection: Connection, new: Iterable[Bar]) -> None:
    """Write bars along with the intents of the rollbacks that make them; those that are known already stay."""
    wanted = list(new)
    if not wanted:
        return
    store_traces(connection, [trace for bar in wanted for trace in (bar.bad, bar.good)])
    insert_missing(
        connection,
        bars,
        (
            {
                "attempt_id": bar.attempt_id,
                "table_name": bar.table,
                "partition_key": bar.partition,
                "root": bar.root,
                "bad_trace": bar.bad.digest,
                "good_trace": bar.good.digest,
                "said": dumps({"by": bar.made_by, "why": bar.why}),
            }
            for bar in wanted
        ),
    )


def follow(connection: Connection, settled: Collection[Attempt], now: datetime) -> None:
    """Lift or narrow bars as these attempts, at most one for each partition, are confirmed."""
    shown = [a for a in settled if a.action is not Action.WITHHOLD]
    for table in sorted({a.table for a in shown}):
        by_partition = {a.partition: a for a in shown if a.table == table}
        for condition in conditions(bars.c.partition_key, by_partition.keys()):
            for bar in _load(connection, (bars.c.table_name == table) & condition):
                attempt = by_partition[bar.partition]
                root = attempt.version.root if attempt.version is not None else ""
                left = after_publishing(bar, root, attempt.trace)
                if left is not bar:
                    change = {"lifted_utc": now} if left is None else {"good_trace": left.good.digest}
                    connection.execute(update(bars).where(bars.c.attempt_id == bar.attempt_id).values(change))


def _load(connection: Connection, condition: ColumnElement[bool]) -> list[Bar]:
    query = (
        select(bars, attempts.c.decided_utc)
        .join_from(bars, attempts)
        .where(condition, bars.c.lifted_utc.is_(None), attempts.c.state == CONFIRMED)
        .order_by(attempts.c.decided_utc, attempts.c.token, bars.c.attempt_id)
    )
    rows = connection.execute(query).all()
    if not rows:
        return []
    traces = {
        digest: trace
        for column in (bars.c.bad_trace, bars.c.good_trace)
        for digest, trace in load_traces(connection, select(column).where(condition)).items()
    }
    return [
        Bar(
            table=row.table_name,
            partition=row.partition_key,
            root=row.root,
            bad=traces[row.bad_trace],
            good=traces[row.good_trace],
            made_by=loads(row.said)["by"],
            why=loads(row.said)["why"],
            attempt_id=row.attempt_id,
            made_utc=row.decided_utc,
        )
        for row in rows
    ]
