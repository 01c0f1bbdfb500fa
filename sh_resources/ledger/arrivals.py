"""Arrivals: which files came, in which order.

Belongs here: recording delivered files and what a person says of held ones, and asking which one counts. Does not
belong here: what a delivery is to earlier ones (``sh_core.deliveries``), its bytes (the landing zone archives them) and
its rows (``accounting``). Invariant: an arrival never changes; the arrivals of one partition, or of one part of it,
form one chain, each naming the one it supersedes, and the end of the chain is the current one. Beside the chain stand
those that came too late, each naming the one that was current then, and those that are held.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select, text, true

from sh_core.deliveries import Delivery, Place, Several, place, rank
from sh_core.errors import RulingError
from sh_core.records import Arrival, Said
from sh_resources.ledger.database import Database, conditions
from sh_resources.ledger.schema import arrivals, utc
from sh_resources.ledger.serials import tick

# Written as in the partial indexes: SQLite does not look for them otherwise.
_IN_CHAIN = text("behind IS NULL AND NOT held")
_IS_HELD = text("ledger_arrivals.held")

_Chain = tuple[str, str]
"""Partition and part."""


class Arrivals:
    """The arrivals of one ledger."""

    def __init__(self, database: Database) -> None:
        """Keep arrivals in this database."""
        self._database = database

    def record(
        self, feed: str, deliveries: Sequence[Delivery], now_utc: datetime, several: Several = Several.LATEST
    ) -> list[Arrival]:
        """Record deliveries in the order given.

        One with the content of its partition's current arrival changes nothing; any other becomes current. So the
        contents A, B, A end at a third arrival, with A's content. Where the vendor gives versions, an older one than
        the current is recorded and changes nothing else; where several files are held, any other content is.

        Args:
            feed: Name of the feed.
            deliveries: What was found.
            now_utc: When.
            several: What several files for one partition mean.

        Returns:
            For each delivery the arrival that holds its content: the new one, or the one found.

        Raises:
            ValueError: If the time has no time zone.
            LedgerError: If the ledger cannot be reached.
        """
        now = utc(now_utc)
        recorded: list[Arrival] = []
        with self._database.write() as connection:
            _take_turns(connection)
            current = {a.chain: a for a in _current(connection, feed, {d.partition for d in deliveries})}
            for wave in _waves(deliveries):
                recorded += _record(connection, feed, wave, current, now, several)
        return recorded

    def rule(
        self, feed: str, partition: str, of: Collection[int], accepts: int | None, said: Said, now_utc: datetime
    ) -> Arrival:
        """Take a person's word on the files of a partition that are held: one of them counts, or none.

        Args:
            feed: Name of the feed.
            partition: Partition key.
            of: Numbers of the held arrivals that the person was shown.
            accepts: The one of them that counts from now on; None if what is current stays.
            said: Whose word, and why.
            now_utc: When.

        Returns:
            The new end of the chain: the accepted file, or once more the one that was current.

        Raises:
            RulingError: If other arrivals are held by now.
            ValueError: If the time has no time zone.
            LedgerError: If the ledger cannot be reached.
        """
        with self._database.write() as connection:
            _take_turns(connection)
            waiting = {a.id: a for a in _held(connection, feed, [partition])}
            if waiting.keys() != set(of) or (accepts is not None and accepts not in waiting):
                now_held = ", ".join(f"{a.file_name} ({a.id})" for a in waiting.values()) or "none"
                msg = f"feed {feed} {partition}: held is {now_held}, which is not what was ruled on; look again"
                raise RulingError(msg)
            (before,) = _current(connection, feed, [partition])
            chosen = before if accepts is None else waiting[accepts]
            row = _row(feed, _delivery_of(chosen), utc(now_utc), before.id, tick(connection))
            row |= {"version": max(before.version, chosen.version, key=rank), "accepts": accepts}
            row["said"] = json.dumps({"by": said.by, "why": said.why})
            number = connection.execute(arrivals.insert().values(row).returning(arrivals.c.id)).scalar_one()
            (made,) = select_arrivals(connection, arrivals.c.id == number)
            return made

    def current(self, feed: str, partitions: Collection[str] | None = None) -> dict[str, Arrival]:
        """The arrival that counts, per partition that has one; where files are appended, the newest of them.

        Args:
            feed: Name of the feed.
            partitions: Partition keys; None for all.
        """
        return {key: max(those, key=lambda a: a.id) for key, those in self.counting(feed, partitions).items()}

    def counting(self, feed: str, partitions: Collection[str] | None = None) -> dict[str, tuple[Arrival, ...]]:
        """Every arrival that counts, per partition that has one: one, or one of each part, in the order of parts.

        Args:
            feed: Name of the feed.
            partitions: Partition keys; None for all.
        """
        with self._database.read() as connection:
            return _by_partition(_current(connection, feed, partitions))

    def held(self, feed: str, partitions: Collection[str] | None = None) -> dict[str, tuple[Arrival, ...]]:
        """The arrivals that wait for a person's word, per partition that has any, in order of arrival.

        Args:
            feed: Name of the feed.
            partitions: Partition keys; None for all.
        """
        with self._database.read() as connection:
            return _by_partition(_held(connection, feed, partitions))

    def all(self, feed: str | None = None) -> list[Arrival]:
        """Every arrival, of one feed or of all, in order of arrival."""
        with self._database.read() as connection:
            return select_arrivals(connection, true() if feed is None else arrivals.c.feed == feed)

    def first(self, feed: str, partitions: Collection[str] | None = None) -> dict[str, datetime]:
        """When the first file for a partition was recorded, whatever became of it; for those that have one.

        Args:
            feed: Name of the feed.
            partitions: Partition keys; None for all.
        """
        of_feed = select(arrivals.c.partition_key, func.min(arrivals.c.arrived_utc)).where(arrivals.c.feed == feed)
        with self._database.read() as connection:
            return {
                key: at
                for condition in conditions(arrivals.c.partition_key, partitions)
                for key, at in connection.execute(of_feed.where(condition).group_by(arrivals.c.partition_key))
            }

    def newest(self) -> int:
        """The number of the newest arrival; 0 if there is none."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(arrivals.c.id))).scalar() or 0

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
    later, accepted, ruling = arrivals.alias("later"), arrivals.alias("accepted"), arrivals.alias("ruling")
    ruled = select(func.min(ruling.c.id)).where(
        *(ruling.c[name] == arrivals.c[name] for name in ("feed", "partition_key", "part")),
        ruling.c.said.is_not(None),
        ruling.c.id > arrivals.c.id,
    )
    after = case((arrivals.c.held, ruled.scalar_subquery()), else_=func.coalesce(later.c.id, arrivals.c.behind))
    query = (
        select(arrivals, after.label("superseded_by"), accepted.c.id.is_not(None).label("is_accepted"))
        .join_from(arrivals, later, later.c.supersedes == arrivals.c.id, isouter=True)
        .join(accepted, accepted.c.accepts == arrivals.c.id, isouter=True)
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
            version=row.version,
            part=row.part,
            modified_ns=row.modified_ns,
            rows=row.rows,
            is_held=row.held,
            is_accepted=bool(row.is_accepted),
            said=None if row.said is None else Said(**json.loads(row.said)),
        )
        for row in connection.execute(query)
    ]


def _take_turns(connection: Connection) -> None:
    """Let recorders wait for each other, as SQLite's writers do anyway; readers and publishers are not held up."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE ledger_arrivals IN SHARE ROW EXCLUSIVE MODE"))


def _by_partition(found: Iterator[Arrival]) -> dict[str, tuple[Arrival, ...]]:
    by_partition: dict[str, list[Arrival]] = {}
    for arrival in found:
        by_partition.setdefault(arrival.partition, []).append(arrival)
    return {key: tuple(sorted(those, key=lambda a: (a.part, a.id))) for key, those in by_partition.items()}


def _current(connection: Connection, feed: str, partitions: Collection[str] | None) -> Iterator[Arrival]:
    for condition in conditions(arrivals.c.partition_key, partitions):
        # Numbers increase along a chain, so that its end is found without reading all that it superseded.
        newest = (
            select(func.max(arrivals.c.id))
            .where(arrivals.c.feed == feed, condition, _IN_CHAIN)
            .group_by(arrivals.c.partition_key, arrivals.c.part)
        )
        yield from select_arrivals(connection, arrivals.c.id.in_(newest))


def _held(connection: Connection, feed: str, partitions: Collection[str] | None) -> Iterator[Arrival]:
    for condition in conditions(arrivals.c.partition_key, partitions):
        of_feed = and_(arrivals.c.feed == feed, condition, _IS_HELD)
        yield from (arrival for arrival in select_arrivals(connection, of_feed) if arrival.waits)


def _record(
    connection: Connection,
    feed: str,
    wave: Collection[Delivery],
    current: dict[_Chain, Arrival],
    now: datetime,
    several: Several,
) -> list[Arrival]:
    """Record deliveries, at most one for each chain; ``current`` is brought up to date."""
    chains = _Chains(connection, feed, wave)
    places = {d.chain: place(d, lambda d=d: chains[d.chain], current.get(d.chain), several) for d in wave}  # type: ignore[misc]
    new = [d for d in wave if places[d.chain] is not Place.KNOWN]
    if new:
        before = {d.chain: current[d.chain] for d in new if d.chain in current}
        # Where nothing that counts has other content than before, readers need not look again: no serial is raised.
        silent = {d.chain for d in new if places[d.chain] is Place.LATE or _content(before, d.chain) == d.sha256}
        serial = tick(connection) if len(silent) < len(new) else 0
        rows = []
        for d in new:
            end = before.get(d.chain)
            row = _row(feed, d, now, None, 0 if d.chain in silent else serial)
            if end is not None:
                is_at = {Place.CURRENT: "supersedes", Place.LATE: "behind"}.get(places[d.chain])
                row |= {"held": True} if is_at is None else {is_at: end.id}
                row["version"] = d.version if d.version is not None else end.version
            rows.append(row)
        numbers = connection.execute(
            arrivals.insert().returning(arrivals.c.id, sort_by_parameter_order=True), rows
        ).scalars()
        made = {d.chain: _made(number, row) for d, number, row in zip(new, numbers, rows, strict=True)}
        current |= {chain: arrival for chain, arrival in made.items() if places[chain] is Place.CURRENT}
    else:
        made = {}
    return [made[d.chain] if d.chain in made else _known(d, current[d.chain], chains) for d in wave]


class _Chains:
    """Everything recorded of the chains of some deliveries, asked for at once when the first of them is."""

    def __init__(self, connection: Connection, feed: str, wave: Collection[Delivery]) -> None:
        self._connection, self._feed = connection, feed
        self._partitions = {d.partition for d in wave}
        self._found: dict[_Chain, list[Arrival]] | None = None

    def __getitem__(self, chain: _Chain) -> Sequence[Arrival]:
        if self._found is None:
            self._found = {}
            for condition in conditions(arrivals.c.partition_key, self._partitions):
                of_feed = and_(arrivals.c.feed == self._feed, condition)
                for arrival in select_arrivals(self._connection, of_feed):
                    self._found.setdefault(arrival.chain, []).append(arrival)
        return self._found.get(chain, ())


def _known(delivery: Delivery, current: Arrival, chains: _Chains) -> Arrival:
    """The arrival that a delivery is, which was recorded before."""
    if delivery.sha256 == current.sha256 and delivery.version in (None, current.version):
        return current
    same = [a for a in chains[delivery.chain] if a.sha256 == delivery.sha256]
    return next((a for a in reversed(same) if a.version == delivery.version), same[-1])


def _content(current: Mapping[_Chain, Arrival], chain: _Chain) -> str | None:
    return current[chain].sha256 if chain in current else None


def _row(feed: str, delivery: Delivery, now: datetime, supersedes: int | None, serial: int) -> dict[str, Any]:
    """What is written of a delivery, in its chain."""
    return {
        "feed": feed,
        "partition_key": delivery.partition,
        "file_name": delivery.file_name,
        "sha256": delivery.sha256,
        "size_bytes": delivery.size_bytes,
        "arrived_utc": now,
        "supersedes": supersedes,
        "serial": serial,
        "version": delivery.version,
        "part": delivery.part,
        "modified_ns": delivery.modified_ns,
        "rows": delivery.rows,
        "behind": None,
        "held": False,
    }


def _made(number: int, row: dict[str, Any]) -> Arrival:
    """The arrival that a row is, just after it was written."""
    as_they_are = ("feed", "file_name", "sha256", "size_bytes", "arrived_utc", "version", "part", "modified_ns", "rows")
    facts = {name: row[name] for name in as_they_are}
    return Arrival(number, partition=row["partition_key"], superseded_by=row["behind"], is_held=row["held"], **facts)


def _delivery_of(arrival: Arrival) -> Delivery:
    """An arrival as if it had come again."""
    return Delivery(
        arrival.partition,
        arrival.file_name,
        arrival.sha256,
        arrival.size_bytes,
        arrival.version,
        arrival.part,
        arrival.modified_ns,
        arrival.rows,
    )


def _waves(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """The deliveries in order, cut where a chain comes again: its second needs the first one's number."""
    wave: dict[_Chain, Delivery] = {}
    for delivery in deliveries:
        if delivery.chain in wave:
            yield list(wave.values())
            wave = {}
        wave[delivery.chain] = delivery
    yield list(wave.values())
