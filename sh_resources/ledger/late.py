"""What is late, as incidents: opened when a deadline has passed, closed when what was awaited is there.

Belongs here: the rows and events of these incidents. Does not belong here: what is late (``sh_core.lateness``), when to
look (``sh_resources.overdue``), incidents about content (``incidents``). Invariant: of two writers who find the same
partition late, or there, one opens or closes, and the other is told that it did not.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, text, update

from sh_core.records import About
from sh_resources.ledger.codec import dumps, loads
from sh_resources.ledger.database import Database, conditions, insert
from sh_resources.ledger.schema import arrivals, incident_events, incidents, utc

Late = tuple[About, str, str]
"""What is late: a feed's file or a table's partition, by name and partition key."""

CLOSED, WITHDRAWN = "closed", "withdrawn"


@dataclass(frozen=True)
class Opened:
    """An incident about something late, open or closed, without its events.

    Attributes:
        id: Ledger number.
        about: What is late.
        name: Of the feed, or of the table.
        partition: Partition key.
        opened_utc: When it was opened.
    """

    id: int
    about: About
    name: str
    partition: str
    opened_utc: datetime

    @property
    def late(self) -> Late:
        """What it is about."""
        return (self.about, self.name, self.partition)


class LateIncidents:
    """Incidents about what is late. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database

    def standing(self) -> dict[Late, Opened]:
        """Every one that is open, oldest first."""
        return {found.late: found for found in self._found(_all().where(incidents.c.closed_utc.is_(None)))}

    def newest(self, limit: int) -> list[Opened]:
        """The newest, open or closed, oldest of them first."""
        return sorted(self._found(_all(newest_first=True).limit(limit)), key=lambda found: found.id)

    def details(self, ids: Collection[int]) -> dict[int, dict[str, Any]]:
        """What was written down when they were opened, by number."""
        query = select(incident_events.c.incident_id, incident_events.c.detail).where(
            incident_events.c.kind == "opened"
        )
        with self._database.read() as connection:
            return {
                number: loads(detail)
                for condition in conditions(incident_events.c.incident_id, ids)
                for number, detail in connection.execute(query.where(condition))
            }

    def open(self, wanted: Mapping[Late, Mapping[str, object]], now_utc: datetime) -> dict[Late, int]:
        """Open an incident for each of these that has none open.

        Args:
            wanted: What is late, with plain JSON values for people: due since when, what it holds up.
            now_utc: Current time, aware.

        Returns:
            Those that were opened here, with their numbers. The others had one, got it from another writer, or their
            file has arrived.
        """
        if not wanted:
            return {}
        now = utc(now_utc)
        with self._database.write() as connection:
            statement = insert(connection, incidents).on_conflict_do_nothing(
                index_elements=["about", "table_name", "partition_key"], index_where=text("closed_utc IS NULL")
            )
            there = _arrived(connection, wanted)  # whoever looked a while ago may not know
            numbered = dict[Late, int]()
            # In one order for all writers, so that they wait for each other instead of dead-locking.
            for late in sorted(wanted.keys() - there):
                about, name, key = late
                row = {"cause_key": f"late:{name}", "about": about.value, "table_name": name, "partition_key": key}
                made = connection.execute(statement.values(**row, opened_utc=now).returning(incidents.c.id))
                number = made.scalar()
                if number is not None:
                    numbered[late] = number
            if numbered:
                connection.execute(
                    incident_events.insert(),
                    [_event(number, "opened", now, wanted[late]) for late, number in numbered.items()],
                )
        return numbered

    def close(self, ended: Mapping[int, Mapping[str, object]], kind: str, now_utc: datetime) -> frozenset[int]:
        """Close incidents, each once.

        Args:
            ended: By number, with plain JSON values for people: when it came, how late that was.
            kind: ``CLOSED`` if what was awaited is there, ``WITHDRAWN`` if it is owed no more.
            now_utc: Current time, aware.

        Returns:
            Those that were closed here; the others are closed already.
        """
        now, done = utc(now_utc), list[int]()
        with self._database.write() as connection:
            for condition in conditions(incidents.c.id, ended):
                still_open = (condition, incidents.c.closed_utc.is_(None), incidents.c.about != About.CONTENT.value)
                closing = update(incidents).where(*still_open).values(closed_utc=now).returning(incidents.c.id)
                done += connection.execute(closing).scalars()
            if done:
                connection.execute(incident_events.insert(), [_event(i, kind, now, ended[i]) for i in sorted(done)])
        return frozenset(done)

    def _found(self, query: Select[Any]) -> list[Opened]:
        with self._database.read() as connection:
            return [
                Opened(row.id, About(row.about), row.table_name, row.partition_key, row.opened_utc)
                for row in connection.execute(query)
            ]


def _all(*, newest_first: bool = False) -> Select[Any]:
    of_late = incidents.c.about.in_([About.FILE.value, About.DEADLINE.value])
    return select(incidents).where(of_late).order_by(incidents.c.id.desc() if newest_first else incidents.c.id)


def _arrived(connection: Connection, wanted: Collection[Late]) -> set[Late]:
    """Of late files, those that have arrived."""
    found = set[Late]()
    for feed in sorted({name for about, name, _ in wanted if about is About.FILE}):
        keys = [key for about, name, key in wanted if about is About.FILE and name == feed]
        for condition in conditions(arrivals.c.partition_key, keys):
            came = select(arrivals.c.partition_key).where(arrivals.c.feed == feed, condition)
            found.update((About.FILE, feed, key) for key in connection.execute(came).scalars())
    return found


def _event(number: int, kind: str, now: datetime, detail: Mapping[str, object]) -> dict[str, object]:
    return {"incident_id": number, "at_utc": now, "kind": kind, "attempt_id": None, "detail": dumps(detail)}
