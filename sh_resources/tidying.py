"""Tidying: files that nothing can return to are removed.

Belongs here: which files of a table's folders can go, and removing them. Does not belong here: when it is asked for
(``sh_sensors``, the command line), how long history is kept (whoever asks). Invariants: what Delta says is live, what
the ledger can return to and what is not decided yet stays; so does whatever readers may have seen within ``YOUNG``;
archived deliveries are never touched.

What can go:

- **orphans**: files that neither Delta nor the ledger names. A process was killed between staging and its intent;
- **snapshots** that were replaced long ago, but for the newest few of each partition, and for content that was rolled
  back: returning to it is the only way to take it after all. The ledger gives them up first and the file goes next, so
  whoever stops in between leaves an orphan, and never a snapshot without a file;
- **evidence**: quarantine files of judgements that are not the last one of anything that can be returned to;
- **abandoned** files in the archive, which never got their name;
- **requests** in the ledger whose partition was settled since, as old as replaced snapshots have to be.

Files go only under the lease of their partition, which was recovered before. So a rollback keeps what it reads, and a
writer that was taken for dead cannot commit a file that went: taking the lease has refused its intent.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from sh_core.bars import refusing
from sh_core.table import Table
from sh_resources.clock import Clock
from sh_resources.landing import LandingZone
from sh_resources.ledger import Ledger
from sh_resources.partition_files import DataFile, FoundFile, stem_of
from sh_resources.publisher import Publisher, root_of
from sh_resources.store import Store

YOUNG = timedelta(hours=1)
"""Files that were written, or that readers saw, more recently than this are left alone: somebody may still read them,
or be about to publish them."""

KEEP_DAYS = 30
"""Days for which replaced snapshots are kept, and requests whose partition was settled since."""

KEEP_NEWEST = 2
"""Replaced snapshots of each partition that are kept, however old they are."""

CHUNK = 128
"""Partitions whose leases are held together while their files go."""


class Kind(StrEnum):
    """Why a file can go."""

    ORPHAN = "orphan"
    SNAPSHOT = "snapshot"
    EVIDENCE = "evidence"
    ABANDONED = "abandoned"


@dataclass(frozen=True)
class Removable:
    """A file that can go, or went.

    Attributes:
        kind: Why.
        table: Table or, of an abandoned file, feed that it belongs to.
        partition: Partition key; empty for an abandoned file.
        path: Relative to the folder of the table, of its quarantine, or of the feed's archive.
        size_bytes: Its size.
        snapshot: Of a replaced snapshot, the attempt that published it.
    """

    kind: Kind
    table: str
    partition: str
    path: str
    size_bytes: int
    snapshot: str = ""


@dataclass(frozen=True)
class Swept:
    """What became of some files.

    Attributes:
        files: Those that went; in a dry run, those that would go.
        busy: Partitions, by table, that were left for the next time, since a run holds their lease.
    """

    files: tuple[Removable, ...]
    busy: tuple[tuple[str, str], ...] = ()


class Tidier:
    """Removes what nothing can return to, from the tables of one graph."""

    def __init__(self, store: Store, ledger: Ledger, landing: LandingZone, publisher: Publisher, clock: Clock) -> None:
        """Join the adapters."""
        self._store, self._ledger, self._landing = store, ledger, landing
        self._publisher, self._clock = publisher, clock

    def plan(self, table: Table, keep_days: float = KEEP_DAYS, keep_newest: int = KEEP_NEWEST) -> Swept:
        """What of a table could go now, without touching anything.

        Args:
            table: The table.
            keep_days: Days for which replaced snapshots are kept.
            keep_newest: Replaced snapshots of each partition that are kept anyway.
        """
        files = [*self._removable(table, None, keep_days, keep_newest), *self._abandoned(table)]
        held = {lease.partition for lease in self._ledger.leases.held(table.name, self._clock.now_utc())}
        busy = sorted({f.partition for f in files} & held)
        return Swept(tuple(f for f in files if f.partition not in held), tuple((table.name, p) for p in busy))

    def tidy(
        self,
        table: Table,
        run_id: str,
        keep_days: float = KEEP_DAYS,
        keep_newest: int = KEEP_NEWEST,
        *,
        chunk: int = CHUNK,
    ) -> Iterator[Swept]:
        """Remove what of a table can go.

        Args:
            table: The table.
            run_id: Unique name of who asks.
            keep_days: Days for which replaced snapshots are kept.
            keep_newest: Replaced snapshots of each partition that are kept anyway.
            chunk: Partitions whose leases are held together.

        Yields:
            What went, chunk by chunk. Stopping in between loses nothing: the next time goes on.
        """
        abandoned = self._abandoned(table)
        if table.feed is not None and abandoned:
            for file in abandoned:
                (self._landing.shelf(table.feed).folder / file.path).unlink(missing_ok=True)
            yield Swept(tuple(abandoned))
        partitions = dict.fromkeys(f.partition for f in self._removable(table, None, keep_days, keep_newest))
        rest = iter(partitions)
        while keys := list(islice(rest, chunk)):
            with self._publisher.claim(table, keys, run_id) as claim:
                # Looked at anew: what went before may have been published, returned to or recovered since.
                mine = list(claim.tokens)
                files = self._removable(table, mine, keep_days, keep_newest)
                given_up = [f.snapshot for f in files if f.kind is Kind.SNAPSHOT]
                self._ledger.tidying.give_up(given_up, self._clock.now_utc())
                self._remove(table, files)
            yield Swept(tuple(files), tuple((table.name, p) for p in claim.busy))

    def forget(self, keep_days: float = KEEP_DAYS, *, dry_run: bool = False) -> int:
        """Remove requests, of whatever table, that are older than so many days and decide nothing any more.

        Args:
            keep_days: Days for which they are kept.
            dry_run: Whether to count only.

        Returns:
            How many went, or would go.
        """
        before = self._before(keep_days)
        return self._ledger.tidying.answered(before) if dry_run else self._ledger.tidying.forget(before)

    def _before(self, keep_days: float) -> datetime:
        """What is older than so many days, and not young, may be too old."""
        now = self._clock.now_utc()
        return min(now - YOUNG, now - timedelta(days=keep_days))

    def _remove(self, table: Table, files: Collection[Removable]) -> None:
        evidence = [f.path for f in files if f.kind is Kind.EVIDENCE]
        self._store.quarantine(table).unstage(evidence)
        self._store.table(table).unstage(f.path for f in files if f.kind in (Kind.ORPHAN, Kind.SNAPSHOT))

    def _removable(
        self, table: Table, keys: Collection[str] | None, keep_days: float, keep_newest: int
    ) -> list[Removable]:
        """Files of some partitions of a table and its quarantine that can go; None asks for all partitions."""
        # What readers see is looked at last: what was published in between is then neither an orphan nor old.
        young = self._clock.now_utc() - YOUNG
        before = self._before(keep_days)
        found = self._store.table(table).found(keys)
        there = {file.path for file in found}
        replaced = {r.path: r for r in self._ledger.tidying.replaced(table.name, before, keep_newest, keys)}
        needed = self._ledger.tidying.needed(table.name, keys)
        bars = self._ledger.bars.standing(table.name, keys)
        live = {f.path for f in self._store.table(table).live()}
        files = []
        for file in found:
            if file.path in live or file.written_utc > young:
                continue
            if refusing(bars.get(file.partition, ()), root_of(file.path)) is not None:
                continue
            if file.path in replaced:
                files.append(_as_removable(Kind.SNAPSHOT, table, file, replaced.pop(file.path).attempt_id))
            elif file.path not in needed.paths:
                files.append(_as_removable(Kind.ORPHAN, table, file))
        # What somebody else has removed can be returned to no more than what is removed here.
        gone = [r for r in replaced.values() if r.path not in live and r.path not in there]
        files += [Removable(Kind.SNAPSHOT, table.name, r.partition, r.path, 0, r.attempt_id) for r in gone]
        given_up = {f.snapshot for f in files if f.kind is Kind.SNAPSHOT}
        return [*files, *self._evidence(table, keys, young, needed.evidence - given_up)]

    def _evidence(
        self, table: Table, keys: Collection[str] | None, young: datetime, needed: Collection[str]
    ) -> list[Removable]:
        """Quarantine files that are not the evidence of anything any more."""
        quarantine = self._store.quarantine(table)
        found = quarantine.found(keys)
        if not found:
            return []
        live = {f.path for f in quarantine.live()}
        # When a quarantine file was replaced is not recorded, only when the partition was last decided upon.
        decided = self._ledger.tidying.last_decided(table.name, {f.partition for f in found})
        return [
            _as_removable(Kind.EVIDENCE, table, f)
            for f in found
            if f.path not in live
            and f.written_utc <= young
            and decided.get(f.partition, young) <= young
            and stem_of(f.path) not in needed
        ]

    def _abandoned(self, table: Table) -> list[Removable]:
        if table.feed is None:
            return []
        shelf = self._landing.shelf(table.feed)
        return [
            Removable(Kind.ABANDONED, table.feed.name, "", path.relative_to(shelf.folder).as_posix(), size)
            for path, size in shelf.abandoned(self._clock.now_utc() - YOUNG)
        ]


def disagreements(table: Table, store: Store, ledger: Ledger, now_utc: datetime) -> list[str]:
    """What Delta, the ledger and the files on disk say differently of a table, in sentences; nothing if all is well.

    Partitions that a run is working on, or left half-done, are passed over: the next claim recovers them.
    """
    name, delta = table.name, store.table(table)
    open_ones = _open(name, ledger, now_utc)
    known, needed = ledger.publications.current(name), ledger.tidying.needed(name)
    live: Mapping[str, DataFile] = delta.state().files
    there = {f.path for f in delta.found()}
    open_ones |= _open(name, ledger, now_utc)
    said = []
    for partition in sorted((known.keys() | live.keys()) - open_ones):
        shows = live[partition].path if partition in live else "nothing"
        says = known[partition].path if partition in known else "nothing"
        if shows != says:
            said.append(f"{name} {partition}: Delta shows {shows}, the ledger {says}; materialize it again")
        if partition in live and shows not in there:
            said.append(f"{name} {partition}: readers are shown {shows}, which is not there; force its run")
    lost = needed.paths - there - {f.path for f in live.values()} - _undecided(name, ledger)
    return said + [f"{name}: {path} can be returned to, and is not there" for path in sorted(lost)]


def _open(table: str, ledger: Ledger, now_utc: datetime) -> set[str]:
    held = {lease.partition for lease in ledger.leases.held(table, now_utc)}
    return held | {attempt.partition for attempt in ledger.publications.unconfirmed(table)}


def _undecided(table: str, ledger: Ledger) -> set[str]:
    return {attempt.path for attempt in ledger.publications.unconfirmed(table) if attempt.path is not None}


def _as_removable(kind: Kind, table: Table, file: FoundFile, snapshot: str = "") -> Removable:
    return Removable(kind, table.name, file.partition, file.path, file.size_bytes, snapshot)
