"""Arrivals: which files came, in which order.

Belongs here: recording delivered files and asking which one counts. Does not belong here: their bytes (the landing zone
archives them) and their rows (``accounting``). Invariant: an arrival never changes; the arrivals of one partition form
one chain, each naming the one it supersedes, and the end of the chain is the current one.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, text, true

from sh_core.records import Arrival
from sh_resources.ledger.database import Database, conditions
from sh_resources.ledger.schema import arrivals, utc
from sh_resources.ledger.serials import tick


@dataclass(frozen=True)
class Delivery:
    """One file as found, not yet recorded.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Name it landed under.
        sha256: Content, hex.
        size_bytes: Size as delivered.
    """

    partition: str
    file_name: str
    sha256: str
    size_bytes: int


class Arrivals:
    """The arrivals of one ledger."""

    def __init__(self, database: Database) -> None:
        """Keep arrivals in this database."""
        self._database = database

    def record(self, feed: str, deliveries: Sequence[Delivery], now_utc: datetime) -> list[Arrival]:
        """Record deliveries in the order given.

        One with the content of its partition's current arrival changes nothing; any other becomes current. So the
        contents A, B, A end at a third arrival, with A's content.

        Returns:
            For each delivery the arrival that holds its content: the new one, or the current one found.

        Raises:
            ValueError: If the time has no time zone.
            LedgerError: If the ledger cannot be reached.
        """
        now = utc(now_utc)
        recorded: list[Arrival] = []
        with self._database.write() as connection:
            if connection.dialect.name == "postgresql":
                # Recorders take turns; readers and publishers are not held up.
                connection.execute(text("LOCK TABLE ledger_arrivals IN SHARE ROW EXCLUSIVE MODE"))
            chains = {a.partition: a for a in _current(connection, feed, {d.partition for d in deliveries})}
            for wave in _waves(deliveries):
                new = [d for d in wave if d.partition not in chains or chains[d.partition].sha256 != d.sha256]
                chains.update(_append(connection, feed, new, chains, now))
                recorded.extend(chains[d.partition] for d in wave)
        return recorded

    def current(self, feed: str, partitions: Collection[str] | None = None) -> dict[str, Arrival]:
        """The arrival that counts, per partition that has one.

        Args:
            feed: Name of the feed.
            partitions: Partition keys; None for all.
        """
        with self._database.read() as connection:
            return {arrival.partition: arrival for arrival in _current(connection, feed, partitions)}

    def all(self, feed: str | None = None) -> list[Arrival]:
        """Every arrival, of one feed or of all, in order of arrival."""
        with self._database.read() as connection:
            return select_arrivals(connection, true() if feed is None else arrivals.c.feed == feed)

    def by_id(self, ids: Collection[int]) -> dict[int, Arrival]:
        """Arrivals by their number, for those that there are."""
        with self._database.read() as connection:
            return {
                arrival.id: arrival
                for condition in conditions(arrivals.c.id, ids)
                for arrival in select_arrivals(connection, condition)
            }

    def since(self, after: int, most: int) -> list[Arrival]:
        """So many arrivals after the one with a number, in order; 0 asks for the first."""
        with self._database.read() as connection:
            ids = select(arrivals.c.id).where(arrivals.c.id > after).order_by(arrivals.c.id).limit(most)
            return select_arrivals(connection, arrivals.c.id.in_(ids))

    def superseded_by(self, ids: Collection[int]) -> dict[int, Arrival]:
        """Per arrival that superseded another one, that other one."""
        with self._database.read() as connection:
            found: dict[int, Arrival] = {}
            for condition in conditions(arrivals.c.id, ids):
                before = select(arrivals.c.supersedes).where(condition)
                for arrival in select_arrivals(connection, arrivals.c.id.in_(before)):
                    if arrival.superseded_by is not None:
                        found[arrival.superseded_by] = arrival
            return found


def select_arrivals(connection: Connection, condition: ColumnElement[bool]) -> list[Arrival]:
    """The arrivals that meet a condition, in order of arrival."""
    later = arrivals.alias("later")
    query = (
        select(arrivals, later.c.id.label("superseded_by"))
        .join_from(arrivals, later, later.c.supersedes == arrivals.c.id, isouter=True)
        .where(condition)
        .order_by(arrivals.c.id)
    )
    return [
        Arrival(
            id=row.id,
            feed=row.feed,
            partition=row.partition_key,
            file_name=row.file_name,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            arrived_utc=row.arrived_utc,
            superseded_by=row.superseded_by,
        )
        for row in connection.execute(query)
    ]


def _current(connection: Connection, feed: str, partitions: Collection[str] | None) -> Iterator[Arrival]:
    for condition in conditions(arrivals.c.partition_key, partitions):
        # Numbers increase along a chain, so that its end is found without reading all that it superseded.
        newest = (
            select(func.max(arrivals.c.id)).where(arrivals.c.feed == feed, condition).group_by(arrivals.c.partition_key)
        )
        yield from select_arrivals(connection, arrivals.c.id.in_(newest))


def _append(
    connection: Connection, feed: str, new: list[Delivery], chains: dict[str, Arrival], now: datetime
) -> dict[str, Arrival]:
    """Write the new ends of chains; at most one for each partition."""
    if not new:
        return {}
    serial = tick(connection)
    before = {d.partition: chains[d.partition].id if d.partition in chains else None for d in new}
    numbered = connection.execute(
        arrivals.insert().returning(arrivals.c.id, sort_by_parameter_order=True),
        [
            {
                "feed": feed,
                "partition_key": d.partition,
                "file_name": d.file_name,
                "sha256": d.sha256,
                "size_bytes": d.size_bytes,
                "arrived_utc": now,
                "supersedes": before[d.partition],
                "serial": serial,
            }
            for d in new
        ],
    ).scalars()
    return {
        d.partition: Arrival(number, feed, d.partition, d.file_name, d.sha256, d.size_bytes, now)
        for number, d in zip(numbered, new, strict=True)
    }


def _waves(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """The deliveries in order, cut where a partition comes again: its second needs the first one's number."""
    wave: dict[str, Delivery] = {}
    for delivery in deliveries:
        if delivery.partition in wave:
            yield list(wave.values())
            wave = {}
        wave[delivery.partition] = delivery
    yield list(wave.values())
