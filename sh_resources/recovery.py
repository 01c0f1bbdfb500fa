"""Recovery: what a process that stopped half-way intended is finished or discarded.

Belongs here: finding out from Delta what became of intents that nobody confirmed, and telling the ledger; letting the
quarantine show again what is settled. Does not belong here: when (``publisher``, whenever it has taken a lease), files
that no intent names (``tidying``), computing anew what was discarded.

Invariant: afterwards no partition whose lease the caller still holds has an unconfirmed intent, and none of its earlier
holders can commit any more. Delta decides which intents came true, by the paths of live files, and is asked only after
their transactions were burnt: before that, a commit might still be on its way.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial

import polars as pl

from sh_core.records import Action, Attempt
from sh_core.table import Table
from sh_core.verdict import Unknown
from sh_resources.delta import Change, StillMine
from sh_resources.ledger import Ledger
from sh_resources.partition_files import DataFile, stem_of
from sh_resources.store import Store


def recover(
    table: Table, tokens: Mapping[str, int], store: Store, ledger: Ledger, at_utc: datetime, new_id: Callable[[], str]
) -> None:
    """Finish or discard what earlier holders of some leases intended and did not confirm.

    Args:
        table: The table.
        tokens: Fencing token per partition whose lease the caller has taken.
        store: Tables and quarantines.
        ledger: Facts.
        at_utc: Current time, aware.
        new_id: A fresh, unique, file-name-safe id per call.

    Raises:
        CommitConflictError: If other writers of the table kept winning; the next recovery goes on.
    """
    left = ledger.publications.unconfirmed(table.name, tokens.keys())
    if not left:
        return
    mine = partial(ledger.leases.not_taken_over, table.name, tokens)
    burnt = store.table(table).burn({a.partition for a in left}, still_mine=mine)
    burnt &= store.quarantine(table).burn({a.partition for a in left}, still_mine=mine)
    live = store.table(table).state().files
    landed, dead = dict[str, int](), list[Attempt]()
    for attempt in left:
        if attempt.partition not in burnt:
            continue  # lost the lease meanwhile: its new holder does this
        file = live.get(attempt.partition)
        if attempt.action is Action.PUBLISH and file is not None and file.path == attempt.path:
            landed[attempt.id] = tokens[attempt.partition]
        else:
            dead.append(attempt)
    _restore_evidence(table, {a.partition for a in dead}, store, ledger, at_utc, new_id, mine)
    ledger.publications.recover(landed, at_utc)
    ledger.publications.discard([a.id for a in dead], at_utc, "its process stopped before the commit")
    store.table(table).unstage(a.path for a in dead if a.action is Action.PUBLISH and a.path is not None)


def _restore_evidence(
    table: Table,
    partitions: Collection[str],
    store: Store,
    ledger: Ledger,
    at_utc: datetime,
    new_id: Callable[[], str],
    mine: StillMine,
) -> None:
    """Let the quarantine show again what was set aside by what is settled, where a dead attempt came that far.

    Not every dead attempt is made up for by the next run: what was forced or rolled back is not due by itself.
    """
    if not partitions:
        return
    quarantine = store.quarantine(table)
    settled = ledger.publications.settlements(table.name, partitions)
    live, kept, wrong = quarantine.state().files, dict[str, tuple[str, pl.DataFrame]](), set[str]()
    for partition in partitions:
        last = settled.get(partition)
        if last is not None and isinstance(last.verdict, Unknown):
            continue  # it took no evidence away, so whose evidence is shown is not known from it
        wanted = last.attempt_id if last is not None and last.quarantined else ""
        shown = _attempt_of(live[partition].path) if partition in live else ""
        if shown == wanted:
            continue
        wrong.add(partition)
        if last is not None and wanted:
            file = DataFile(partition, quarantine.path_of(partition, wanted), last.quarantined, 0)
            if (quarantine.folder / file.path).exists():
                # Under a name of its own, as no path is ever added twice; it begins with that of its attempt.
                kept[partition] = f"{wanted}-{new_id()}", quarantine.scan([file]).collect()
    if wrong:
        seen, files = quarantine.prepare(wrong), quarantine.stage(kept)
        changes = {p: Change(n, n + 1, files.get(p)) for p, n in seen.transactions.items()}
        quarantine.commit(changes, at_utc=at_utc, still_mine=mine, seen=seen)


def _attempt_of(path: str) -> str:
    """The attempt whose evidence a quarantine file is."""
    return stem_of(path).split("-", 1)[0]
