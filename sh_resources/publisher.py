"""The one door: how judged rows become visible.

Belongs here: the order of lease, stage, intent, quarantine, commit and confirmation. Does not belong here: what is done
about a stop between any two of them (``recovery``), computing or judging rows (``computing``, ``judging``), SQL
(``ledger``), delta-rs (``delta``).

Invariant: whatever step a process dies at, readers see the old content or the new one, whole; and whoever takes the
lease next finishes or discards the intent before it goes on.

The steps of one publish, in order (``Step``):

    LEASED → [read, compute, judge] → STAGED → INTENDED → QUARANTINED → COMMITTED → CONFIRMED → RELEASED

Why this is safe: the intent is recorded only under a current lease. A successor first takes the lease (so the
predecessor can record no more intents), then burns the Delta transaction of every unconfirmed intent (so the
predecessor's commit either has landed already or never can), and only then reads from Delta which of the two happened.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial

import polars as pl

from sh_core.bars import Bar
from sh_core.columns import STANDS_IN
from sh_core.errors import LedgerError
from sh_core.gate import Judgement
from sh_core.masking import mask
from sh_core.outcome import Fenced, Outcome, Published, Withheld
from sh_core.placeholder import of_itself
from sh_core.reconciliation import Reconciliation, reconcile
from sh_core.records import Action, ArrivalShare, Attempt, Snapshot
from sh_core.table import Table
from sh_core.trace import Trace
from sh_core.verdict import Unknown
from sh_core.version import Version
from sh_resources.clock import Clock
from sh_resources.delta import Change, StillMine, TableState
from sh_resources.ledger import Ledger
from sh_resources.partition_files import stem_of
from sh_resources.quarantine import QUARANTINE_COLUMNS, as_evidence
from sh_resources.recovery import recover
from sh_resources.store import Store

PREVIEW_ROWS = 5
"""Rows shown of each published partition."""


class Step(StrEnum):
    """Named steps of a publish; a process may die right after any of them."""

    LEASED = "leased"
    STAGED = "staged"
    INTENDED = "intended"
    QUARANTINED = "quarantined"
    COMMITTED = "committed"
    CONFIRMED = "confirmed"
    RELEASED = "released"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A judged partition that wants to be settled.

    Attributes:
        judgement: What the gate made of it.
        version: Content version of the rows that hold; None where they may not be published.
        trace: What it was computed from.
        shares: Row account per arrival, as it will be if it is published; empty for tables without lineage.
        looked: Serial of the ledger before its inputs were looked at.
        recipe: The table's recipe at that moment.
        seconds: Its share of the time that was spent on it until now.
        bar: Of a rollback, what it bars once it is published.
        set_aside: Of a rollback, the evidence of rows that were set aside when the content was first published.
    """

    judgement: Judgement
    version: Version | None
    trace: Trace
    shares: tuple[ArrivalShare, ...]
    looked: int = 0
    recipe: int = 0
    seconds: float | None = None
    bar: Bar | None = None
    set_aside: pl.DataFrame = field(default_factory=QUARANTINE_COLUMNS.to_frame)

    @property
    def quarantined(self) -> int:
        """Rows of its quarantine."""
        return self.judgement.broken.height + self.set_aside.height


@dataclass(frozen=True, eq=False)
class Claim:
    """Leases held by this process on partitions of one table.

    Attributes:
        table: The table.
        run_id: Who holds them.
        tokens: Fencing token per partition that was obtained.
        busy: Partitions that somebody else holds.
        state: The table in Delta after recovery; nobody else publishes these partitions from here on.
        known: The same as the ledger has it. The two differ only where Delta was changed behind the project's back.
    """

    table: Table
    run_id: str
    tokens: Mapping[str, int]
    busy: tuple[str, ...]
    state: TableState
    known: Mapping[str, Snapshot]

    def published(self, partition: str) -> Snapshot | None:
        """What readers see of a partition, if Delta and the ledger agree on it."""
        known, live = self.known.get(partition), self.state.files.get(partition)
        return known if known is not None and live is not None and known.path == live.path else None


class Publisher:
    """Settles judged partitions: publishes, refreshes or withholds them."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        lease_s: float = 20.0,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        """Join store and ledger.

        Args:
            store: Tables and quarantines.
            ledger: Facts.
            clock: Time of leases and records.
            new_id: A fresh, unique, file-name-safe id per call.
            lease_s: Seconds that a lease lasts without a heartbeat; heartbeats come three times as often.
            on_step: Called right after each step; tests stop the process in it.
        """
        self._store, self._ledger, self._clock, self._new_id = store, ledger, clock, new_id
        self._lease_s, self._on_step = lease_s, on_step

    @contextmanager
    def claim(self, table: Table, partitions: Collection[str], run_id: str) -> Iterator[Claim]:
        """Hold leases on partitions, with whatever an earlier run left behind finished or discarded.

        Args:
            table: The table.
            partitions: Keys wanted.
            run_id: Unique name of who asks.

        Yields:
            What was obtained; ``busy`` names the partitions that another run is working on.
        """
        tokens = self._ledger.leases.acquire(table.name, partitions, run_id, self._clock.now_utc(), self._lease_s)
        self._on_step(Step.LEASED)
        beating = threading.Event()
        heart = threading.Thread(
            target=self._beat, args=(table.name, tokens, beating), name="lease-heartbeat", daemon=True
        )
        heart.start()
        try:
            recover(table, tokens, self._store, self._ledger, self._clock.now_utc(), self._new_id)
            state = self._store.table(table).prepare(tokens.keys())
            known = self._ledger.publications.current(table.name, tokens.keys())
            yield Claim(table, run_id, tokens, tuple(p for p in partitions if p not in tokens), state, known)
        finally:
            beating.set()
            heart.join()
            self._ledger.leases.release(table.name, tokens)
            self._on_step(Step.RELEASED)

    def _beat(self, table: str, tokens: Mapping[str, int], stopped: threading.Event) -> None:
        # A lease found lost needs no word from here: every later step asks the ledger again before it acts.
        # A beat that the ledger misses is made up for by the next: three of them fit into a lease.
        while not stopped.wait(self._lease_s / 3):
            with suppress(LedgerError):
                self._ledger.leases.renew(table, tokens, self._clock.now_utc(), self._lease_s)

    def refuse(self, claim: Claim, partition: str, candidate: Candidate, reason: str) -> None:
        """Record that judged content is not even to be withheld: whatever is settled and published stays.

        Args:
            claim: A lease on the partition.
            partition: Its key.
            candidate: What was judged, without a version.
            reason: Why, for the partition's history.
        """
        now_utc = self._clock.now_utc()
        attempt = self._attempt(claim, partition, candidate, now_utc)
        if self._ledger.publications.intend([attempt]):
            self._ledger.publications.discard([attempt.id], now_utc, reason)

    def recover(self, table: Table, run_id: str) -> int:
        """Finish or discard what stopped processes left behind in a whole table, without computing anything.

        Args:
            table: The table.
            run_id: Unique name of who asks.

        Returns:
            Number of intents that were dealt with; those under a live lease are left alone.
        """
        stranded = {a.partition for a in self._ledger.publications.unconfirmed(table.name)}
        if not stranded:
            return 0
        with self.claim(table, stranded, run_id) as claim:
            return len(claim.tokens)

    def publish(self, claim: Claim, candidates: Mapping[str, Candidate]) -> list[Outcome]:
        """Settle judged partitions of a claim, each on its own: one that is withheld holds up no other.

        Args:
            claim: Leases on them.
            candidates: Per partition key.

        Returns:
            One outcome per candidate, in their order: ``Published``, ``Withheld`` or ``Fenced``.

        Raises:
            CommitConflictError: If other writers of the table kept winning; whatever was committed is kept, the rest is
                discarded by the next claim.
        """
        table, delta = claim.table, self._store.table(claim.table)
        mine = partial(self._ledger.leases.not_taken_over, table.name, claim.tokens)
        now_utc = self._clock.now_utc()
        attempts = {p: self._attempt(claim, p, c, now_utc) for p, c in candidates.items()}
        staged = delta.stage(
            {
                p: (stem_of(a.path or ""), _as_stored(candidates[p]))
                for p, a in attempts.items()
                if a.action is Action.PUBLISH
            }
        )
        self._on_step(Step.STAGED)
        bars = [replace(c.bar, attempt_id=attempts[p].id) for p, c in candidates.items() if c.bar is not None]
        intended = {a.partition for a in self._ledger.publications.intend(list(attempts.values()), bars)}
        self._on_step(Step.INTENDED)
        self._set_aside(table, [(attempts[p], candidates[p]) for p in intended], now_utc, mine)
        self._reconcile(claim, [(attempts[p], candidates[p]) for p in intended if p in staged])
        self._on_step(Step.QUARANTINED)
        changes = {
            p: Change(claim.state.transactions[p], attempts[p].transaction or 0, staged[p])
            for p in intended
            if p in staged
        }
        live = delta.commit(changes, at_utc=now_utc, still_mine=mine, seen=claim.state) if changes else set[str]()
        self._on_step(Step.COMMITTED)
        beaten = changes.keys() - live
        done = self._ledger.publications.confirm(
            [attempts[p].id for p in intended if p not in beaten], self._clock.now_utc()
        )
        self._on_step(Step.CONFIRMED)
        # What was committed but could not be confirmed is left alone: it is live, and its new leaseholder confirms it.
        self._ledger.publications.discard([attempts[p].id for p in beaten], now_utc, "its lease was taken over")
        delta.unstage(f.path for p, f in staged.items() if p in beaten or p not in intended)
        return [_outcome(claim, attempts[p], c) if attempts[p].id in done else Fenced(p) for p, c in candidates.items()]

    def _attempt(self, claim: Claim, partition: str, candidate: Candidate, now_utc: datetime) -> Attempt:
        """How one candidate is to be settled."""
        attempt_id, published, known = self._new_id(), claim.published(partition), claim.known.get(partition)
        shares, version, path, transaction = candidate.shares, candidate.version, None, None
        if version is None:
            action = Action.WITHHOLD
            shares = tuple(ArrivalShare(s.arrival_id, arrived=s.arrived, pending=s.arrived) for s in shares)
        elif published is not None and published.version.root == version.root:
            action, path = Action.REFRESH, published.path
        else:
            # Above what either side has seen, so that a table that was deleted and grows anew goes on counting.
            seen = max(claim.state.transactions[partition], known.transaction if known else 0)
            action, transaction = Action.PUBLISH, seen + 1
            path = self._store.table(claim.table).path_of(partition, f"{version.root}-{attempt_id}")
        return Attempt(
            id=attempt_id,
            table=claim.table.name,
            partition=partition,
            token=claim.tokens[partition],
            run_id=claim.run_id,
            action=action,
            trace=candidate.trace,
            verdict=candidate.judgement.verdict,
            version=version,
            path=path,
            transaction=transaction,
            quarantined=candidate.quarantined,
            shares=shares,
            intended_utc=now_utc,
            looked=candidate.looked,
            recipe=candidate.recipe,
            seconds=candidate.seconds,
        )

    def _set_aside(
        self, table: Table, settled: Sequence[tuple[Attempt, Candidate]], now_utc: datetime, mine: StillMine
    ) -> None:
        """Replace the quarantine of the partitions by the evidence of this judgement."""
        quarantine = self._store.quarantine(table)
        broken = {a.partition: (a.id, _evidence(a.id, c)) for a, c in settled if a.quarantined}
        held = quarantine.state().files
        # A check that crashed says nothing about rows, so it takes no earlier evidence away either.
        cleared = {a.partition for a, _ in settled if a.partition in held and not isinstance(a.verdict, Unknown)}
        touched = broken.keys() | cleared
        if touched:
            seen, files = quarantine.prepare(touched), quarantine.stage(broken)
            changes = {p: Change(n, n + 1, files.get(p)) for p, n in seen.transactions.items()}
            quarantine.commit(changes, at_utc=now_utc, still_mine=mine, seen=seen)

    def _reconcile(self, claim: Claim, settled: Sequence[tuple[Attempt, Candidate]]) -> None:
        """Write down how far placeholders are from the truth that is about to replace them."""
        table, found = claim.table, dict[tuple[str, str], Reconciliation]()
        for attempt, candidate in settled:
            key, before = attempt.partition, claim.published(attempt.partition)
            if before is None or attempt.version is None or not of_itself(before.version.marks, table.name, key):
                continue
            if of_itself(attempt.version.marks, table.name, key):
                continue  # another placeholder
            columns = [c for c in table.contract.columns if c in before.version.columns]
            try:
                rows = self._store.table(table).scan([claim.state.files[key]], columns).collect()
            except (OSError, pl.exceptions.PolarsError):
                continue  # nobody can say any more what stood in; that must not keep the truth away
            mark = next(m for m in before.version.marks if of_itself([m], table.name, key))
            truth, contract = candidate.judgement.rows, table.contract
            found[key, attempt.id] = reconcile(rows, truth, contract.key, mark, contract.pii)
        self._ledger.reconciliations.keep(table.name, found)


def _as_stored(candidate: Candidate) -> pl.DataFrame:
    """Its rows, and beside them whether they rest on placeholders; a table that never does leaves that out."""
    rests = candidate.version is not None and bool(candidate.version.marks)
    return candidate.judgement.rows.with_columns(pl.lit(rests).alias(STANDS_IN))


def _evidence(attempt_id: str, candidate: Candidate) -> pl.DataFrame:
    new, old = candidate.judgement.broken, candidate.set_aside
    kept = old.select(QUARANTINE_COLUMNS.names()).with_columns(pl.lit(attempt_id).alias("attempt"))
    return pl.concat([kept, as_evidence(new, attempt_id)]) if new.height else kept


def root_of(path: str) -> str:
    """Content root that a published file's name carries."""
    return stem_of(path).rsplit("-", 1)[0]


def _outcome(claim: Claim, attempt: Attempt, candidate: Candidate) -> Outcome:
    judgement, live = candidate.judgement, claim.state.files.get(attempt.partition)
    if candidate.version is None:
        return Withheld(
            partition=attempt.partition,
            attempt_id=attempt.id,
            verdict=attempt.verdict,
            rows_judged=judgement.rows_judged,
            quarantined=attempt.quarantined,
            last_good=None if live is None else root_of(live.path),
        )
    return Published(
        partition=attempt.partition,
        attempt_id=attempt.id,
        version=candidate.version,
        refreshed=attempt.action is Action.REFRESH,
        verdict=attempt.verdict,
        rows_judged=judgement.rows_judged,
        quarantined=attempt.quarantined,
        duplicates=judgement.duplicates.height,
        shares=attempt.shares,
        preview=mask(judgement.rows.head(PREVIEW_ROWS), claim.table.contract.pii),
    )
