"""Traces and row accounts as rows, many at a time.

Belongs here: writing and reading the facts that attempts refer to. Does not belong here: what they mean (``sh_core``).
Invariant: a trace is stored once, under the digest of its content, however many attempts have it.
"""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Select, select

from sh_core.records import ArrivalShare, Attempt
from sh_core.trace import Read, Trace
from sh_resources.ledger.codec import decode_columns, encode_columns
from sh_resources.ledger.database import insert_missing
from sh_resources.ledger.schema import column_sets, reads, shares, traces

_KEY = ("trace_digest", "source", "partition_key", "column_set_id", "picked")


def store_traces(connection: Connection, new: Iterable[Trace]) -> None:
    """Keep traces; those already kept stay as they are.

    Raises:
        ValueError: If a trace has two digests for one (source, partition, column set).
    """
    by_digest = {trace.digest: trace for trace in new}
    sets: dict[str, str] = {}
    parts: dict[tuple[str, str, str, str, str], dict[str, Any]] = {}
    for digest, trace in by_digest.items():
        for read in trace.reads:
            set_id, names = encode_columns(read.columns)
            sets[set_id] = names
            key = (digest, read.source, read.partition, set_id, read.rows)
            if key in parts:
                msg = f"a trace reads {read.source}[{read.partition}] {list(read.columns)} with two digests"
                raise ValueError(msg)
            parts[key] = dict(zip(_KEY, key, strict=True), digest=read.digest)
    insert_missing(connection, column_sets, ({"id": set_id, "names": names} for set_id, names in sets.items()))
    insert_missing(
        connection,
        traces,
        ({"digest": d, "code": trace.code, "contract": trace.contract} for d, trace in by_digest.items()),
    )
    insert_missing(connection, reads, parts.values())


def load_traces(connection: Connection, digests: Select[tuple[str]]) -> dict[str, Trace]:
    """The traces whose digests a query gives, by digest."""
    wanted = digests.scalar_subquery()
    columns: dict[str, tuple[str, ...]] = {}
    found: dict[str, set[Read]] = {}
    query = select(
        reads.c.trace_digest, reads.c.source, reads.c.partition_key, reads.c.digest, column_sets.c.names, reads.c.picked
    ).join_from(reads, column_sets)
    of_these = query.where(reads.c.trace_digest.in_(wanted))
    for digest, source, partition, content, names, rows in connection.execute(of_these):
        if names not in columns:
            columns[names] = decode_columns(names)
        found.setdefault(digest, set()).add(Read(source, partition, columns[names], content, rows))
    return {
        digest: Trace(code, contract, frozenset(found.get(digest, ())))
        for digest, code, contract in connection.execute(select(traces).where(traces.c.digest.in_(wanted)))
    }


def store_shares(connection: Connection, attempts: Collection[Attempt]) -> None:
    """Keep the row accounts of new attempts."""
    rows = [
        {
            "attempt_id": attempt.id,
            "arrival_id": share.arrival_id,
            "arrived": share.arrived,
            "published": share.published,
            "quarantined": share.quarantined,
            "duplicates": share.duplicates,
            "pending": share.pending,
        }
        for attempt in attempts
        for share in attempt.shares
    ]
    if rows:
        connection.execute(shares.insert(), rows)


def load_shares(connection: Connection, attempt_ids: Select[tuple[str]]) -> dict[str, tuple[ArrivalShare, ...]]:
    """The row accounts of the attempts whose ids a query gives, by attempt, each in order of arrival."""
    found: dict[str, list[ArrivalShare]] = {}
    query = select(shares).where(shares.c.attempt_id.in_(attempt_ids.scalar_subquery())).order_by(shares.c.arrival_id)
    for attempt_id, *terms in connection.execute(query):
        found.setdefault(attempt_id, []).append(ArrivalShare(*terms))
    return {attempt_id: tuple(of_attempt) for attempt_id, of_attempt in found.items()}
