"""Incidents: which faults are open, and what happened to them.

Belongs here: opening and closing incidents as attempts are settled, and asking for them. Does not belong here: what is
late (``late``), deciding what to do about them (``sh_core.healing``). Invariant: a partition has at most one open
incident about one thing; events are only ever added.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import assert_never

from sqlalchemy import ColumnElement, Connection, Row, and_, select, update

from sh_core.records import About, Action, Attempt, Incident, IncidentEvent
from sh_core.verdict import Broken, Held, Level, Unknown, Verdict
from sh_resources.ledger.codec import dumps, encode_verdict, loads
from sh_resources.ledger.database import Database, conditions
from sh_resources.ledger.schema import incident_events, incidents


class Incidents:
    """The incidents of one ledger; ``publications`` opens and closes them."""

    def __init__(self, database: Database) -> None:
        """Keep incidents in this database."""
        self._database = database

    def open(self, table: str | None = None) -> list[Incident]:
        """Every open incident, oldest first: those of one table, or all, those of late files included."""
        condition: ColumnElement[bool] = incidents.c.closed_utc.is_(None)
        if table is not None:
            condition = and_(condition, _of_table(table))
        with self._database.read() as connection:
            return _load(connection, condition)

    def all(self, table: str | None = None, partition: str | None = None, *, limit: int = 1000) -> list[Incident]:
        """The newest incidents, open or closed, of one table or partition or of all; oldest of them first.

        Those of late files are of no table.
        """
        newest = select(incidents.c.id).order_by(incidents.c.id.desc()).limit(limit)
        if table is not None:
            newest = newest.where(_of_table(table))
        if partition is not None:
            newest = newest.where(incidents.c.partition_key == partition)
        with self._database.read() as connection:
            return _load(connection, incidents.c.id.in_(newest.scalar_subquery()))


def _of_table(name: str) -> ColumnElement[bool]:
    return and_(incidents.c.table_name == name, incidents.c.about != About.FILE.value)


def cause_of(table: str, verdict: Verdict) -> str:
    """What went wrong, without the partition: the same fault has the same cause, day after day.

    Of a partition that breaks rules of both levels the table-level ones are the cause: broken rows alone would have
    been set aside.

    Raises:
        ValueError: If nothing is wrong.
    """
    match verdict:
        case Broken(breaches, _):
            rules = [b.rule for b in breaches if b.level is Level.TABLE] or [b.rule for b in breaches]
            return f"broken:{table}:{'+'.join(rules)}"
        case Unknown(rule, _):
            return f"unknown:{table}:{rule}"
        case Held():
            msg = f"{table}: every rule holds, so there is no cause to name"
            raise ValueError(msg)
        case _:
            assert_never(verdict)


def follow(connection: Connection, settled: Collection[Attempt], now: datetime) -> None:
    """Open, continue and close incidents as these attempts, at most one for each partition, are confirmed."""
    known = {(row.table_name, row.partition_key): row for row in _open_for(connection, settled)}
    events: list[dict[str, object]] = []
    ended: list[int] = []
    faults: list[Attempt] = []

    def add(incident_id: int, kind: str, attempt: Attempt, **detail: object) -> None:
        events.append(
            {
                "incident_id": incident_id,
                "at_utc": now,
                "kind": kind,
                "attempt_id": attempt.id,
                "detail": dumps({"run_id": attempt.run_id, "action": attempt.action.value, **detail}),
            }
        )

    for attempt in settled:
        row = known.get((attempt.table, attempt.partition))
        if attempt.action is not Action.WITHHOLD:
            if row is not None:
                add(row.id, "closed", attempt)
                ended.append(row.id)
            continue
        cause = cause_of(attempt.table, attempt.verdict)
        if row is not None and row.cause_key == cause:
            add(row.id, "seen_again", attempt, verdict=loads(encode_verdict(attempt.verdict)))
            continue
        if row is not None:
            add(row.id, "replaced", attempt, cause_key=cause)
            ended.append(row.id)
        faults.append(attempt)

    for condition in conditions(incidents.c.id, ended):
        connection.execute(update(incidents).where(condition).values(closed_utc=now))
    for number, attempt in zip(_opened(connection, faults, now), faults, strict=True):
        add(number, "opened", attempt, verdict=loads(encode_verdict(attempt.verdict)))
    if events:
        connection.execute(incident_events.insert(), events)


def _open_for(connection: Connection, settled: Collection[Attempt]) -> Iterator[Row[tuple[object, ...]]]:
    for table in sorted({a.table for a in settled}):
        for condition in conditions(incidents.c.partition_key, [a.partition for a in settled if a.table == table]):
            yield from connection.execute(
                select(incidents).where(
                    incidents.c.about == About.CONTENT.value,
                    incidents.c.table_name == table,
                    incidents.c.closed_utc.is_(None),
                    condition,
                )
            )


def _opened(connection: Connection, faults: Collection[Attempt], now: datetime) -> list[int]:
    if not faults:
        return []
    numbers = connection.execute(
        incidents.insert().returning(incidents.c.id, sort_by_parameter_order=True),
        [
            {
                "cause_key": cause_of(a.table, a.verdict),
                "table_name": a.table,
                "partition_key": a.partition,
                "opened_utc": now,
            }
            for a in faults
        ],
    )
    return list(numbers.scalars())


def _load(connection: Connection, condition: ColumnElement[bool]) -> list[Incident]:
    events: dict[int, list[IncidentEvent]] = {}
    query = select(incident_events).join_from(incident_events, incidents).where(condition)
    for row in connection.execute(query.order_by(incident_events.c.id)):
        event = IncidentEvent(row.at_utc, row.kind, row.attempt_id, loads(row.detail))
        events.setdefault(row.incident_id, []).append(event)
    return [
        Incident(
            id=row.id,
            cause_key=row.cause_key,
            table=row.table_name,
            partition=row.partition_key,
            is_open=row.closed_utc is None,
            opened_utc=row.opened_utc,
            closed_utc=row.closed_utc,
            events=tuple(events.get(row.id, ())),
            about=About(row.about),
        )
        for row in connection.execute(select(incidents).where(condition).order_by(incidents.c.id))
    ]
