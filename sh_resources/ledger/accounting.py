"""Row accounts of arrivals: where every delivered row went.

Belongs here: bringing together what the raw and the staged table made of each arrival. Does not belong here: the sum
(``sh_core.accounts``); counting rows (the engine, which hands each attempt its shares). Invariant: what the staged
table said counts only for the raw content that it read, by version; not for whatever replaced it since.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from sh_core.accounts import RowAccount, account_of
from sh_core.errors import DeclarationError
from sh_core.records import Action, Arrival, ArrivalShare, Settlement
from sh_core.version import Version
from sh_resources.ledger.arrivals import select_arrivals
from sh_resources.ledger.codec import decode_columns, decode_version
from sh_resources.ledger.publications import select_settlements
from sh_resources.ledger.schema import (
    CONFIRMED,
    arrivals,
    attempts,
    column_sets,
    partitions,
    reads,
    shares,
    snapshots,
)


@dataclass(frozen=True)
class ArrivalAccount:
    """The rows of one arrival.

    Attributes:
        arrival: The arrival.
        account: Where its rows are; all zero while unread.
        is_read: Whether the raw table ever judged it; before that nobody knows how many rows it has.
    """

    arrival: Arrival
    account: RowAccount
    is_read: bool


def accounts(connection: Connection, feed: str, raw_table: str, staged_table: str | None) -> list[ArrivalAccount]:
    """The account of every arrival of a feed, in order of arrival; see ``Ledger.accounts``."""
    raw_settled = {s.partition: s for s in select_settlements(connection, partitions.c.table_name == raw_table)}
    staged: dict[str, Settlement] = {}
    if staged_table is not None:
        fresh = _fresh(connection, raw_table, staged_table)
        settled = select_settlements(connection, partitions.c.table_name == staged_table)
        staged = {s.partition: s for s in settled if s.partition in fresh}
    delivered = select_arrivals(connection, arrivals.c.feed == feed)
    chains = {arrival.id: arrival.chain for arrival in delivered}
    same = _same_content(delivered)
    sizes = {same[arrival.id]: arrival.rows for arrival in delivered if arrival.rows is not None}
    sizes |= {same[arrival_id]: size for arrival_id, size in _sizes(connection, feed, raw_table).items()}
    found: list[ArrivalAccount] = []
    for arrival in delivered:
        settled_raw = raw_settled.get(arrival.partition)
        raw = _raw_share(arrival, settled_raw, sizes.get(same[arrival.id]), same)
        # Of an arrival that raw does not show, the staged table has seen nothing: what it holds is an earlier one's.
        # That no row is pending does not tell, since the file may have none.
        # One that waits to be accepted is not shown either, whatever an earlier one with the same bytes is.
        shown = settled_raw is not None and not arrival.waits and _shows(settled_raw, arrival, same)
        account = account_of(
            superseded=arrival.superseded_by is not None,
            raw=raw,
            staged=_staged_share(raw, staged.get(arrival.partition), chains) if raw is not None and shown else None,
        )
        found.append(ArrivalAccount(arrival, account, is_read=raw is not None))
    return found


def _same_content(delivered: Collection[Arrival]) -> dict[int, int]:
    """For each arrival the first one of its chain with the same bytes.

    A file that is delivered again after another one is an arrival of its own, but need not be read again: after a
    rollback to it, or where the one in between was rolled back or never read, the raw table still names the first.
    """
    first: dict[tuple[tuple[str, str], str], int] = {}
    return {a.id: first.setdefault((a.chain, a.sha256), a.id) for a in delivered}


def _shows(settlement: Settlement, arrival: Arrival, same: Mapping[int, int]) -> bool:
    """Whether a raw partition's readers see the rows of an arrival, as it was settled last."""
    is_of_it = any(same.get(share.arrival_id) == same[arrival.id] for share in settlement.shares)
    return is_of_it and settlement.action is not Action.WITHHOLD


def _raw_share(
    arrival: Arrival, settlement: Settlement | None, size: int | None, same: Mapping[int, int]
) -> ArrivalShare | None:
    for found in settlement.shares if settlement is not None else ():
        if same.get(found.arrival_id) == same[arrival.id]:
            share = replace(found, arrival_id=arrival.id)
            if settlement is not None and settlement.action is Action.WITHHOLD:
                return replace(share, pending=share.arrived)
            return share
    # Read before, but not by the current settlement, e.g. since a check crashed before it counted anything.
    return None if size is None else ArrivalShare(arrival.id, arrived=size, pending=size)


def _staged_share(
    raw: ArrivalShare, settlement: Settlement | None, chains: Mapping[int, tuple[str, str]]
) -> ArrivalShare | None:
    """What the staged table made of the rows of the one arrival of its chain whose rows the raw partition holds.

    All shares of the chain count, whichever arrival they name: after a delivery with equal content the raw table names
    the new arrival, while the staged one, for which nothing changed, still names the old one. The staged table may
    read other feeds as well.
    """
    if settlement is None:
        return None
    if settlement.action is Action.WITHHOLD:
        return ArrivalShare(raw.arrival_id, arrived=raw.published, pending=raw.published)
    own = chains[raw.arrival_id]
    ours = [share for share in settlement.shares if chains.get(share.arrival_id) == own]
    return ArrivalShare(
        raw.arrival_id,
        arrived=sum(share.arrived for share in ours),
        published=sum(share.published for share in ours),
        quarantined=sum(share.quarantined for share in ours),
        duplicates=sum(share.duplicates for share in ours),
    )


def _fresh(connection: Connection, raw_table: str, staged_table: str) -> set[str]:
    """Staged partitions whose current settlement read the raw partition's content as it is now."""
    versions = {
        row.partition_key: decode_version(row.version)
        for row in connection.execute(
            select(snapshots.c.partition_key, snapshots.c.version)
            .join_from(partitions, snapshots)
            .where(partitions.c.table_name == raw_table)
        )
    }
    query = (
        select(reads.c.partition_key, reads.c.digest, column_sets.c.names)
        .join_from(partitions, attempts, partitions.c.settlement_id == attempts.c.id)
        .join(reads, reads.c.trace_digest == attempts.c.trace_digest)
        .join(column_sets)
        .where(
            partitions.c.table_name == staged_table,
            reads.c.source == raw_table,
            reads.c.partition_key == partitions.c.partition_key,
        )
    )
    return {
        partition
        for partition, digest, names in connection.execute(query)
        if partition in versions and digest == _digest(versions[partition], decode_columns(names))
    }


def _digest(version: Version, columns: tuple[str, ...]) -> str | None:
    if not columns:
        return version.root
    try:
        return version.of(columns)
    except DeclarationError:  # the raw table lost a column since
        return None


def _sizes(connection: Connection, feed: str, raw_table: str) -> dict[int, int]:
    """Rows per arrival that the raw table ever counted, in any settlement of it."""
    query = (
        select(shares.c.arrival_id, func.max(shares.c.arrived))
        .join_from(shares, attempts)
        .join(arrivals)
        .where(arrivals.c.feed == feed, attempts.c.table_name == raw_table, attempts.c.state == CONFIRMED)
        .group_by(shares.c.arrival_id)
    )
    return {arrival_id: int(arrived) for arrival_id, arrived in connection.execute(query)}
