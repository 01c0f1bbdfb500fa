"""Serials: what the ledger confirmed, in order.

Belongs here: counting confirmations, and asking what came after a count. Does not belong here: what follows from a
change (``sh_core.suspects``). Invariant: serials become visible in their order; a transaction that raised the count
holds it until it ends.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from sh_core.book import Changes, LastLook
from sh_core.suspects import Standing
from sh_resources.ledger.database import Database, conditions, insert
from sh_resources.ledger.schema import arrivals, clock, partitions, snapshots


def tick(connection: Connection) -> int:
    """The next serial; everybody else who wants one waits until this transaction has ended."""
    first = insert(connection, clock).values(id=1, serial=1)
    raised = first.on_conflict_do_update(index_elements=["id"], set_={"serial": clock.c.serial + 1})
    return int(connection.execute(raised.returning(clock.c.serial)).scalar_one())


class Serials:
    """The serials of one ledger. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Ask this database."""
        self._database = database

    def now(self) -> int:
        """The serial of the newest confirmation."""
        with self._database.read() as connection:
            return _now(connection)

    def changes(self, after: int | None) -> Changes:
        """What was confirmed after a serial; None asks for the present serial only."""
        with self._database.read() as connection:
            now = _now(connection)
            if after is None or after >= now:
                return Changes(now)
            decided = select(*partitions.c["table_name", "partition_key"], partitions.c.content > after)
            settled, content = dict[str, list[str]](), dict[str, list[str]]()
            for table, key, moved in connection.execute(decided.where(partitions.c.settled > after)):
                settled.setdefault(table, []).append(key)
                if moved:
                    content.setdefault(table, []).append(key)
            came = select(*arrivals.c["feed", "partition_key"]).where(arrivals.c.serial > after)
            return Changes(now, settled, content, _grouped(connection, came))

    def standings(self, table: str) -> list[Standing]:
        """Every partition of a table that was ever settled: key, content, looked, recipe; in order of their keys."""
        columns = partitions.c["partition_key", "content", "looked", "recipe"]
        query = select(*columns).where(partitions.c.table_name == table).order_by(partitions.c.partition_key)
        with self._database.read() as connection:
            # As the driver has them: a sweep reads millions, and SQLAlchemy's rows would take half of its time.
            return list(connection.execute(query).cursor.fetchall())

    def settled(self, table: str) -> list[tuple[str, int]]:
        """Per partition of a table that was ever settled, the serial at which it last was."""
        query = select(*partitions.c["partition_key", "settled"]).where(partitions.c.table_name == table)
        with self._database.read() as connection:
            return [(key, int(serial)) for key, serial in connection.execute(query).all()]

    def published(self, table: str) -> list[tuple[str, int, str]]:
        """Every partition of a table that shows something: key, since which serial, path."""
        query = (
            select(*partitions.c["partition_key", "content"], snapshots.c.path)
            .join_from(partitions, snapshots)
            .where(partitions.c.table_name == table)
        )
        with self._database.read() as connection:
            return [(key, int(content), path) for key, content, path in connection.execute(query)]

    def arrivals(self, feed: str) -> list[tuple[str, int]]:
        """Per partition of a feed for which a file came, the serial of the newest."""
        query = (
            select(arrivals.c.partition_key, func.max(arrivals.c.serial))
            .where(arrivals.c.feed == feed)
            .group_by(arrivals.c.partition_key)
        )
        with self._database.read() as connection:
            return [(key, int(serial)) for key, serial in connection.execute(query).all()]

    def looks(self, table: str, keys: Collection[str]) -> dict[str, LastLook]:
        """How partitions of a table were last looked at; those that were never settled are left out."""
        query = select(*partitions.c["partition_key", "looked", "recipe"]).where(partitions.c.table_name == table)
        with self._database.read() as connection:
            return {
                key: LastLook(int(looked), int(recipe))
                for condition in conditions(partitions.c.partition_key, keys)
                for key, looked, recipe in connection.execute(query.where(condition))
            }

    def acknowledge(
        self, table: str, keys: Collection[str], looked: int, recipe: int, registers: Collection[str] = ()
    ) -> None:
        """Note that settled partitions were looked at and found up to date, as of a serial.

        What was decided about them since that serial stands as it is.

        Args:
            table: Table name.
            keys: Partition keys.
            looked: Serial that was read before they were looked at.
            recipe: Recipe under which they were.
            registers: Tables without partitions in which rows are looked up. If one of them shows something else since
                that serial, nothing is noted: it may be the one that was looked at, and to note the serial before it
                would be to say that these partitions have seen the register before.
        """
        moved = select(partitions.c.content).where(partitions.c.content > looked)
        with self._database.write() as connection:
            if registers and connection.execute(moved.where(partitions.c.table_name.in_(registers)).limit(1)).first():
                return
            for condition in conditions(partitions.c.partition_key, keys):
                connection.execute(
                    update(partitions)
                    .where(partitions.c.table_name == table, partitions.c.settled <= looked, condition)
                    .where((partitions.c.looked < looked) | (partitions.c.recipe != recipe))
                    .values(looked=looked, recipe=recipe)
                )


def _now(connection: Connection) -> int:
    return int(connection.execute(select(clock.c.serial).where(clock.c.id == 1)).scalar() or 0)


def _grouped(connection: Connection, query: Select[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, key in connection.execute(query):
        found.setdefault(name, []).append(key)
    return found
