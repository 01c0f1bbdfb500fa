"""Deciding attempts: the transactions behind ``publications``.

Belongs here: recording intents, confirming and discarding them, inside a transaction of the caller's. Does not belong
here: asking what is published; staging and committing the content (the table store). Invariant: an attempt is decided
at most once; only under the current fencing token; and together with everything that follows from it, or not at all.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Connection, literal, select, update

from sh_core.bars import Bar
from sh_core.errors import LedgerError
from sh_core.records import Action, Attempt
from sh_core.verdict import Held, Unknown
from sh_resources.ledger import bars, incidents
from sh_resources.ledger.codec import decode_verdict, decode_version, encode_verdict, encode_version
from sh_resources.ledger.database import conditions, insert
from sh_resources.ledger.leases import lock
from sh_resources.ledger.schema import (
    CONFIRMED,
    DISCARDED,
    INTENDED,
    attempts,
    is_undecided,
    partitions,
    snapshots,
    utc,
)
from sh_resources.ledger.serials import tick
from sh_resources.ledger.traces import load_shares, load_traces, store_shares, store_traces


@dataclass(frozen=True)
class Tracked:
    """An attempt and how far it got.

    Attributes:
        attempt: The attempt.
        state: ``intended``, ``confirmed`` or ``discarded``.
        decided_utc: When it was confirmed or discarded, if it was.
        reason: Why it was discarded, if it was.
    """

    attempt: Attempt
    state: str
    decided_utc: datetime | None
    reason: str | None


def tracked(connection: Connection, condition: ColumnElement[bool]) -> Iterator[Tracked]:
    """The attempts that meet a condition on ``attempts``, with everything in them."""
    traces = load_traces(connection, select(attempts.c.trace_digest).where(condition))
    shares = load_shares(connection, select(attempts.c.id).where(condition))
    for row in connection.execute(select(attempts).where(condition)):
        attempt = Attempt(
            id=row.id,
            table=row.table_name,
            partition=row.partition_key,
            token=row.token,
            run_id=row.run_id,
            action=Action(row.action),
            trace=traces[row.trace_digest],
            verdict=decode_verdict(row.verdict),
            version=None if row.version is None else decode_version(row.version),
            path=row.path,
            transaction=row.transaction_version,
            quarantined=row.quarantined,
            shares=shares.get(row.id, ()),
            intended_utc=row.intended_utc,
            looked=row.looked,
            recipe=row.recipe,
            seconds=row.seconds,
        )
        yield Tracked(attempt, row.state, row.decided_utc, row.reason)


def check(attempt: Attempt) -> None:
    """Refuse an attempt that contradicts itself.

    Raises:
        ValueError: If it lacks what its action needs, would publish what could not be judged, or has a naive time.
    """
    utc(attempt.intended_utc)
    wrong = None
    has_content = attempt.version is not None and attempt.path is not None
    match attempt.action:
        case Action.PUBLISH if not has_content or attempt.transaction is None:
            wrong = "needs a version, a path and a Delta transaction"
        case Action.REFRESH if not has_content or attempt.transaction is not None:
            wrong = "needs the version and path of the snapshot kept, and no Delta transaction"
        case Action.WITHHOLD if (attempt.version, attempt.path, attempt.transaction) != (None, None, None):
            wrong = "makes nothing visible, so it has no version, path or Delta transaction"
        case Action.WITHHOLD if isinstance(attempt.verdict, Held):
            wrong = "needs a verdict that says why"
        case Action.PUBLISH | Action.REFRESH if isinstance(attempt.verdict, Unknown):
            wrong = "could not be judged; that is never published"
    if wrong is not None:
        msg = f"attempt {attempt.id} to {attempt.action} {attempt.table}[{attempt.partition}] {wrong}"
        raise ValueError(msg)


def intend(connection: Connection, wanted: Collection[Attempt], barring: Collection[Bar] = ()) -> list[Attempt]:
    """Record the attempts whose token is current, with the bars that they make; give those back, in order.

    One that is known already is given back too (the call may be repeated), unless it was discarded since.

    Raises:
        ValueError: If an attempt contradicts itself, or is known with other content.
        LedgerError: If an earlier attempt for the same partition is still undecided.
    """
    _once_each(wanted)
    for attempt in wanted:
        check(attempt)
    tokens = lock(connection, ((a.table, a.partition) for a in wanted))
    current = [a for a in wanted if tokens.get((a.table, a.partition)) == a.token]
    known = {t.attempt.id: t for t in _by_id(connection, {a.id for a in current})}
    for attempt in current:
        if attempt.id in known and known[attempt.id].attempt != _as_stored(attempt):
            msg = f"attempt {attempt.id} was recorded before with other content; every attempt needs an id of its own"
            raise ValueError(msg)
    new = [a for a in current if a.id not in known]
    _refuse_undecided(connection, new)
    store_traces(connection, (a.trace for a in new))
    if new:
        connection.execute(attempts.insert(), [_row(a) for a in new])
        store_shares(connection, new)
        recorded = {a.id for a in new}
        bars.keep(connection, [bar for bar in barring if bar.attempt_id in recorded])
    return [a for a in current if a.id not in known or known[a.id].state != DISCARDED]


def confirm(
    connection: Connection, ids: Collection[str], now: datetime, held: Mapping[str, int] | None = None
) -> frozenset[str]:
    """Confirm attempts, with all that follows; give back the ids of those that are confirmed now.

    Args:
        connection: A write transaction.
        ids: The attempts.
        now: When they are confirmed, UTC.
        held: For a recovery: current token, per attempt, of whoever found that the commit happened. None for the
            attempts' own writer, who holds the token they were intended under.

    Raises:
        LedgerError: If an attempt is unknown, or does not follow on what is published now.
    """
    found = _locked(connection, ids)
    done = {t.attempt.id for t, _ in found if t.state == CONFIRMED}
    decidable = {INTENDED} if held is None else {INTENDED, DISCARDED}
    due = [
        t.attempt
        for t, token in found
        if t.state in decidable and token == (t.attempt.token if held is None else held[t.attempt.id])
    ]
    _once_each(due)
    _refuse_out_of_order(connection, due)
    _decide(connection, due, CONFIRMED, now, None)
    _publish(connection, [a for a in due if a.action is Action.PUBLISH], now)
    serial = tick(connection) if due else 0
    _point(connection, [a for a in due if a.action is Action.PUBLISH], serial, moves_content=True)
    _point(connection, [a for a in due if a.action is not Action.PUBLISH], serial, moves_content=False)
    _renew_traces(connection, [a for a in due if a.action is Action.REFRESH])
    bars.follow(connection, due, now)
    incidents.follow(connection, due, now)
    return frozenset(done.union(a.id for a in due))


def discard(connection: Connection, ids: Collection[str], now: datetime, reason: str) -> frozenset[str]:
    """Discard those attempts that are undecided; give back the ids of all that are discarded now.

    Raises:
        LedgerError: If an attempt is unknown.
    """
    found = _locked(connection, ids)
    due = [t.attempt for t, _ in found if t.state == INTENDED]
    _decide(connection, due, DISCARDED, now, reason)
    return frozenset([a.id for a in due] + [t.attempt.id for t, _ in found if t.state == DISCARDED])


def _locked(connection: Connection, ids: Collection[str]) -> list[tuple[Tracked, int]]:
    """The attempts with their partitions' current tokens, neither of which can change before the transaction ends."""
    where = [
        (row.table_name, row.partition_key)
        for condition in conditions(attempts.c.id, ids)
        for row in connection.execute(select(attempts.c.table_name, attempts.c.partition_key).where(condition))
    ]
    tokens = lock(connection, where)
    # Read only now: another process may have decided them while this one waited for the lock.
    found = list(_by_id(connection, ids))
    unknown = sorted(set(ids) - {t.attempt.id for t in found})
    if unknown:
        msg = f"attempts {', '.join(unknown[:5])} are not in the ledger: intend them before committing anything"
        raise LedgerError(msg)
    return [(t, tokens[t.attempt.table, t.attempt.partition]) for t in found]


def _by_id(connection: Connection, ids: Collection[str]) -> Iterator[Tracked]:
    for condition in conditions(attempts.c.id, ids):
        yield from tracked(connection, condition)


def _once_each(wanted: Iterable[Attempt]) -> None:
    seen: set[tuple[str, str]] = set()
    for attempt in wanted:
        if (attempt.table, attempt.partition) in seen:
            msg = f"{attempt.table}[{attempt.partition}] has two attempts in one call; settle them one after the other"
            raise ValueError(msg)
        seen.add((attempt.table, attempt.partition))


def _refuse_undecided(connection: Connection, new: Collection[Attempt]) -> None:
    for condition in _partitions_of(new, attempts.c.table_name, attempts.c.partition_key):
        open_one = connection.execute(select(attempts).where(is_undecided, condition).limit(1)).first()
        if open_one is not None:
            msg = (
                f"attempt {open_one.id} for {open_one.table_name}[{open_one.partition_key}] is undecided: "
                "recover or discard what `unconfirmed` lists before a new intent"
            )
            raise LedgerError(msg)


def _refuse_out_of_order(connection: Connection, due: Collection[Attempt]) -> None:
    now_published = {
        (row.table_name, row.partition_key): row
        for condition in _partitions_of(due, partitions.c.table_name, partitions.c.partition_key)
        for row in connection.execute(
            select(*snapshots.c["table_name", "partition_key", "path", "transaction_version"])
            .join_from(partitions, snapshots)
            .where(condition)
        )
    }
    for a in due:
        now = now_published.get((a.table, a.partition))
        if a.action is Action.REFRESH and (now is None or now.path != a.path):
            msg = f"attempt {a.id} refreshes {a.table} {a.path}, but published is {None if now is None else now.path}"
            raise LedgerError(msg)
        if a.transaction is not None and now is not None and now.transaction_version >= a.transaction:
            msg = (
                f"attempt {a.id} is Delta transaction {a.transaction} of {a.table}[{a.partition}], but transaction "
                f"{now.transaction_version} is published already: it was replaced, so there is nothing to confirm"
            )
            raise LedgerError(msg)


def _decide(connection: Connection, due: Collection[Attempt], state: str, now: datetime, reason: str | None) -> None:
    for condition in conditions(attempts.c.id, [a.id for a in due]):
        connection.execute(update(attempts).where(condition).values(state=state, decided_utc=now, reason=reason))


def _publish(connection: Connection, due: Collection[Attempt], now: datetime) -> None:
    same = ("table_name", "partition_key", "path", "transaction_version", "version", "trace_digest")
    for condition in conditions(attempts.c.id, [a.id for a in due]):
        content = select(
            attempts.c.id, *(attempts.c[name] for name in same), literal(now, snapshots.c.published_utc.type)
        ).where(condition)
        connection.execute(snapshots.insert().from_select(["attempt_id", *same, "published_utc"], content))


def _point(connection: Connection, due: Collection[Attempt], serial: int, *, moves_content: bool) -> None:
    if not due:
        return
    statement = insert(connection, partitions)
    settled = ("settlement_id", "settled", "looked", "recipe")
    pointers = (*settled, "snapshot_id", "content") if moves_content else settled
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["table_name", "partition_key"],
            set_={pointer: statement.excluded[pointer] for pointer in pointers},
        ),
        [
            {
                "table_name": a.table,
                "partition_key": a.partition,
                "snapshot_id": a.id if moves_content else None,
                "settlement_id": a.id,
                "content": serial if moves_content else 0,
                "settled": serial,
                "looked": a.looked,
                "recipe": a.recipe,
            }
            for a in due
        ],
    )


def _renew_traces(connection: Connection, due: Collection[Attempt]) -> None:
    renewed = (
        select(attempts.c.trace_digest)
        .join_from(partitions, attempts, partitions.c.settlement_id == attempts.c.id)
        .where(
            partitions.c.table_name == snapshots.c.table_name,
            partitions.c.partition_key == snapshots.c.partition_key,
        )
        .scalar_subquery()
    )
    for table in sorted({a.table for a in due}):
        for condition in conditions(snapshots.c.path, [a.path for a in due if a.table == table and a.path is not None]):
            connection.execute(
                update(snapshots).where(snapshots.c.table_name == table, condition).values(trace_digest=renewed)
            )


def _partitions_of(
    of: Collection[Attempt], table: Column[str], partition: Column[str]
) -> Iterator[ColumnElement[bool]]:
    for name in sorted({a.table for a in of}):
        for condition in conditions(partition, [a.partition for a in of if a.table == name]):
            yield (table == name) & condition


def _row(a: Attempt) -> dict[str, object]:
    return {
        "id": a.id,
        "table_name": a.table,
        "partition_key": a.partition,
        "token": a.token,
        "run_id": a.run_id,
        "action": a.action.value,
        "trace_digest": a.trace.digest,
        "verdict": encode_verdict(a.verdict),
        "version": None if a.version is None else encode_version(a.version),
        "path": a.path,
        "transaction_version": a.transaction,
        "quarantined": a.quarantined,
        "intended_utc": a.intended_utc,
        "looked": a.looked,
        "recipe": a.recipe,
        "seconds": a.seconds,
        "state": INTENDED,
    }


def _as_stored(attempt: Attempt) -> Attempt:
    ordered = tuple(sorted(attempt.shares, key=lambda share: share.arrival_id))
    return replace(attempt, shares=ordered, intended_utc=utc(attempt.intended_utc))
