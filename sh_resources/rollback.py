"""Rollback: earlier content of a partition, sent through the gate again.

Belongs here: reading back a snapshot's rows, with what was set aside when they were published, and making them a
candidate like any other. Does not belong here: choosing the snapshot and what is barred (``sh_core``), publishing
(``publisher``). Invariant: nothing becomes visible but through ``Publisher.publish``, judged under the current
contract; what may not be published leaves the partition, its settlement and its quarantine as they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from sh_core.bars import Bar
from sh_core.columns import LINEAGE
from sh_core.conservation import Handed, shares_of
from sh_core.errors import DeclarationError, RollbackError
from sh_core.feed import Feed
from sh_core.gate import Judgement, judge_partitions, with_earlier
from sh_core.outcome import Outcome, Published, Reused
from sh_core.records import Action, ArrivalShare, Attempt, Snapshot
from sh_core.rollback import choose, options
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Unknown, Verdict
from sh_core.version import digest, row_hashes
from sh_resources.computing import breaches_of_references
from sh_resources.ledger import Ledger
from sh_resources.partition_files import DataFile
from sh_resources.publisher import Candidate, Claim, Publisher
from sh_resources.store import Store


@dataclass(frozen=True)
class Wish:
    """What somebody wants to return to.

    Attributes:
        to: How the snapshot's attempt id or root begins; None for the newest earlier content.
        made_by: Who wants it.
        why: For what reason.
    """

    to: str | None = None
    made_by: str = ""
    why: str = ""


def put_back(
    table: Table,
    upstream: Mapping[str, Table],
    claim: Claim,
    wish: Wish,
    store: Store,
    ledger: Ledger,
    publisher: Publisher,
    now_utc: datetime,
) -> Outcome:
    """Publish earlier content of the one partition of a claim, and bar what it replaces.

    Args:
        table: The table.
        upstream: Its input tables by name.
        claim: The lease on the partition.
        wish: What to return to.
        store: Where the files are.
        ledger: What was published.
        publisher: The one door.
        now_utc: Current time, aware.

    Returns:
        ``Published``; ``Reused`` if readers see that content already; ``Fenced`` if the lease was taken over.

    Raises:
        RollbackError: If there is no such snapshot, its files are gone or not what they were, or the gate refuses its
            rows. What readers see, and what was decided, stays.
    """
    (partition,) = claim.tokens
    current = claim.published(partition)
    if current is None:
        raise RollbackError(_nothing_published(claim, partition))
    history = ledger.publications.history(table.name, partition, limit=None)
    good = choose(history, current, ledger.bars.standing(table.name, [partition]).get(partition, ()), wish.to)
    if good is None:
        return _already(current)
    before = ledger.publications.last_by_path(table.name, good.path)
    if before is None:
        raise AssertionError(good)  # the ledger has no snapshot without a confirmed attempt
    rows, set_aside = _rows(table, store, good), _set_aside(table, store, good, before.attempt)
    findings = breaches_of_references(table, upstream, store, ledger, {partition: rows}, now_utc)
    judgement = judge_partitions({partition: rows}, table.contract, findings)[partition]
    left_out = set_aside.height + sum(share.duplicates for share in before.attempt.shares)
    judgement = with_earlier(judgement, before.attempt.verdict, left_out, table.contract)
    feeds = {of.feed.name: of.feed for of in (table, *upstream.values()) if of.feed is not None}
    shares = _shares(judgement, before.attempt, feeds, ledger) if table.keeps_lineage else ()
    if not judgement.publishable:
        refused = Candidate(judgement, None, good.trace, shares)
        publisher.refuse(
            claim, partition, refused, f"rollback to {good.attempt_id}: the gate refuses it; nothing changed"
        )
        others = [s for s in history if s.version.root != good.version.root]
        msg = (
            f"{table.name} {partition} cannot return to {good.attempt_id}, as today's contract refuses it: "
            f"{_why(judgement.verdict)}. What readers see stays; apart from that one, {options(others, current)}"
        )
        raise RollbackError(msg)
    version = digest(judgement.rows.select(table.contract.columns), table.contract.key).finish()
    version = version.marked(good.version.marks)  # what rests on a placeholder does so for ever
    if version.root == current.version.root:
        return _already(current)
    bar = Bar(table.name, partition, current.version.root, current.trace, good.trace, wish.made_by, wish.why)
    candidate = Candidate(judgement, version, good.trace, shares, bar=bar, set_aside=set_aside)
    (outcome,) = publisher.publish(claim, {partition: candidate})
    return replace(outcome, returned_to=good.attempt_id) if isinstance(outcome, Published) else outcome


def _already(current: Snapshot) -> Reused:
    return Reused(current.partition, Action.PUBLISH, Held(), current.version.root)


def _nothing_published(claim: Claim, partition: str) -> str:
    where = f"{claim.table.name} {partition}"
    if partition in claim.known or partition in claim.state.files:
        return f"Delta and the ledger disagree about {where}: materialize it first, then roll it back"
    return f"nothing of {where} was ever published, so there is nothing to return from"


def _rows(table: Table, store: Store, good: Snapshot) -> pl.DataFrame:
    """The rows of a snapshot, columns that the contract no longer has left out.

    Raises:
        RollbackError: If its file is gone, or no longer what was published.
    """
    delta = store.table(table)
    then = [c for c in good.version.columns if c in table.contract.columns]
    lineage = [*(LINEAGE if table.keeps_lineage else ())]
    file = DataFile(good.partition, good.path, good.version.rows, 0)
    try:
        rows = delta.scan([file], [c for c in table.contract.columns if c in then] + lineage).collect()
    except (OSError, pl.exceptions.PolarsError) as lost:
        msg = f"the file of snapshot {good.attempt_id}, {delta.folder / good.path}, cannot be read: {lost}"
        raise RollbackError(msg) from lost
    if not _is_what_it_was(rows, good):
        msg = (
            f"the file of snapshot {good.attempt_id}, {delta.folder / good.path}, is not what was published in it: "
            "something has changed it; restore it from a backup, or return to another snapshot"
        )
        raise RollbackError(msg)
    return rows


def _is_what_it_was(rows: pl.DataFrame, good: Snapshot) -> bool:
    was = good.version
    try:
        found = row_hashes(rows.drop(LINEAGE, strict=False), was.key, algorithm=was.root.partition("-")[0]).digest()
    except DeclarationError:  # a column of the key is gone from the contract: the gate will say so
        return rows.height == was.rows
    now = found.finish()
    return rows.height == was.rows and all(was.columns[name] == version for name, version in now.columns.items())


def _set_aside(table: Table, store: Store, good: Snapshot, before: Attempt) -> pl.DataFrame:
    """The evidence of the rows that were set aside when a snapshot was published, or last found unchanged.

    Raises:
        RollbackError: If it is gone.
    """
    quarantine = store.quarantine(table)
    if not before.quarantined:
        return quarantine.scan([]).collect()
    path = quarantine.path_of(good.partition, before.id)
    try:
        return quarantine.scan([DataFile(good.partition, path, before.quarantined, 0)]).collect()
    except (OSError, pl.exceptions.PolarsError) as lost:
        msg = (
            f"snapshot {good.attempt_id} had {before.quarantined:,} rows in quarantine, and their file "
            f"{quarantine.folder / path} cannot be read: {lost}"
        )
        raise RollbackError(msg) from lost


def _shares(
    judgement: Judgement, before: Attempt, feeds: Mapping[str, Feed], ledger: Ledger
) -> tuple[ArrivalShare, ...]:
    """Per arrival: what was left out when the content was first published stays left out, and counts."""
    arrivals = ledger.arrivals.by_id([s.arrival_id for s in before.shares])
    handed = [
        Handed(s.arrival_id, s.published, feeds[arrivals[s.arrival_id].feed], arrivals[s.arrival_id].part)
        for s in before.shares
    ]
    key = before.partition
    found = shares_of({key: judgement.rows}, {key: judgement.broken}, {key: judgement.duplicates}, {key: handed})
    now = {share.arrival_id: share for share in found[key]}
    return tuple(
        replace(
            then,
            published=now[then.arrival_id].published,
            quarantined=then.quarantined + now[then.arrival_id].quarantined,
            duplicates=then.duplicates + now[then.arrival_id].duplicates,
        )
        for then in before.shares
    )


def _why(verdict: Verdict) -> str:
    match verdict:
        case Broken(breaches):
            return "; ".join(f"{b.rule}: {b.detail.rstrip('.') or _rows_broken(b.count)}" for b in breaches)
        case Unknown(rule, cause):
            return f"{rule} crashed: {cause}"
        case _:
            return "it holds"


def _rows_broken(count: int) -> str:
    return "1 broken row" if count == 1 else f"{count:,} broken rows"
