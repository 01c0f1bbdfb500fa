"""The engine: brings partitions of one table up to date.

Belongs here: the way of a partition from request to outcome, and looking whether it would lead anywhere. Does not
belong here: the parts of the way (``computing``, ``judging``, ``publisher``); Dagster, which asks for partitions and
shows outcomes; when to ask. Invariant: each requested partition gets exactly one outcome, and none depends on
another's.

Inputs are looked at only after the leases are held, so that of two runs of one partition the later publisher is also
the one that saw the newer inputs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import islice

from sh_core.bars import Bar, barring
from sh_core.clauses import clauses_as_text
from sh_core.code_version import CodeVersion, code_version
from sh_core.errors import DeclarationError
from sh_core.graph import Graph
from sh_core.lateness import Deadlines
from sh_core.mapping import width
from sh_core.outcome import Busy, Outcome, Reused, Waiting
from sh_core.reading import recipe
from sh_core.staleness import Astray, Look, Stale, compare
from sh_core.table import Table, Transform
from sh_core.trace import Trace
from sh_resources.clock import Calendar, Clock, VendorsClock
from sh_resources.computing import Prepared, prepare_raw, prepare_transform
from sh_resources.intake import Intake
from sh_resources.judging import judge
from sh_resources.landing import LandingZone
from sh_resources.ledger import Ledger
from sh_resources.ledger.publications import Recorded
from sh_resources.partition_files import DataFile
from sh_resources.publisher import Candidate, Claim, Publisher
from sh_resources.raw import reader_version
from sh_resources.rollback import Wish, put_back
from sh_resources.standing_in import with_placeholders
from sh_resources.store import Store
from sh_resources.tidying import Tidier

LOOK_AGAIN_S = 0.2
"""Seconds between looks at partitions that another run holds."""

CHUNK = 128
"""Partitions that are read, judged and committed together: bounds memory, and the work that a crash can undo."""

LOOKED_AT = 1024
"""Partitions that are looked at together."""


class Engine:
    """Materializes partitions of the tables of one graph."""

    def __init__(
        self,
        graph: Graph,
        store: Store,
        ledger: Ledger,
        landing: LandingZone,
        publisher: Publisher,
        clock: Clock,
        calendar: Calendar,
        *,
        patience_s: float = 0.0,
    ) -> None:
        """Join the adapters.

        Args:
            graph: The declared tables.
            store: Published rows and quarantine.
            ledger: Facts.
            landing: Delivered files and their archive.
            publisher: The one door.
            clock: Time.
            calendar: Time as vendors have it.
            patience_s: How long to wait for partitions that another run works on, once all others are done. A little
                more than the length of a lease, so that a run that was killed a moment ago holds nobody up.
        """
        self.graph, self.store, self.ledger = graph, store, ledger
        self.landing, self.patience_s, self._publisher, self._clock = landing, patience_s, publisher, clock
        self._vendors = VendorsClock(clock, calendar)
        self._intake = Intake(graph.feeds, landing, ledger, self._vendors)
        self.calendar, self.deadlines = calendar, Deadlines(graph, calendar.at)
        self.tidier = Tidier(store, ledger, landing, publisher, clock)

    def materialize(
        self, name: str, partitions: Sequence[str], *, run_id: str, force: bool = False, chunk: int = CHUNK
    ) -> Iterator[Outcome]:
        """Bring partitions of one table up to date, each on its own.

        Args:
            name: Table.
            partitions: Keys, each once.
            run_id: Unique name of who asks, e.g. the Dagster run and step.
            force: Compute also where nothing changed since the last time.
            chunk: Partitions handled together.

        Yields:
            One outcome per partition, chunk by chunk as they are done; those that another run held at first come last.

        Raises:
            DeclarationError: If the table or a partition does not exist.
        """
        table = self.graph[name]
        for key in partitions:
            table.partitions.check(key)
        if len(set(partitions)) != len(partitions):
            msg = f"table {name}: a partition was asked for twice"
            raise DeclarationError(msg)
        busy: list[str] = []
        for keys in _chunks(partitions, self._together(table, chunk)):
            outcomes = self._settle(table, keys, run_id, force=force)
            busy += [key for key in keys if key not in outcomes]
            yield from outcomes.values()
        deadline = self._clock.now_utc() + timedelta(seconds=self.patience_s)
        while busy and self._clock.now_utc() < deadline:
            self._clock.sleep(LOOK_AGAIN_S)
            outcomes = self._settle(table, busy, run_id, force=force)
            busy = [key for key in busy if key not in outcomes]
            yield from outcomes.values()
        yield from map(Busy, busy)

    def look(self, name: str, partitions: Collection[str], *, ingest: bool = True) -> Look:
        """What ``materialize`` would find of partitions now, and why it would compute those that are stale.

        Reading only, apart from ingesting files that have landed.

        Args:
            name: Table.
            partitions: Keys, each once.
            ingest: Whether to take in files that have landed; without, nothing at all is written.

        Raises:
            DeclarationError: If the table does not exist.
        """
        table = self.graph[name]
        stale, waiting = dict[str, Stale](), dict[str, tuple[str, ...]]()
        for keys in _chunks(partitions, LOOKED_AT):
            prepared = self._prepare(table, keys, ingest=ingest)
            recorded = self.ledger.publications.recorded(name, prepared.traces.keys())
            live = self.store.table(table).files(prepared.traces.keys())
            bars = self.ledger.bars.standing(name, prepared.traces.keys())
            due = [
                key
                for key, trace in prepared.traces.items()
                if not _is_settled(trace, recorded.get(key), live.get(key), bars.get(key, ()))
            ]
            traces = self.ledger.publications.traces(name, due)
            for key in due:
                reasons = compare(traces.get(key), prepared.traces[key])
                stale[key] = Stale(prepared.traces[key].digest, reasons or (Astray(),))
            waiting |= prepared.missing
        settled = frozenset(partitions).difference(stale, waiting)
        return Look(stale, waiting, settled)

    def astray(self, name: str, partitions: Collection[str] | None = None) -> list[str]:
        """Partitions of which readers see something else than was published.

        Args:
            name: Table.
            partitions: Of these; None for all.

        Raises:
            StoreError: If the table cannot be read.
            DeclarationError: If the table does not exist, or is laid out otherwise than declared.
        """
        live = {key: file.path for key, file in self.store.table(self.graph[name]).files(partitions).items()}
        known = {
            key: path for key, _, path in self.ledger.serials.published(name) if partitions is None or key in partitions
        }
        return [key for key in live.keys() | known.keys() if live.get(key) != known.get(key)]

    def recipe(self, name: str) -> int:
        """A number for everything but the data that decides the traces of a table (``sh_core.reading``)."""
        table, now = self.graph[name], self.today_utc()
        if table.feed is not None:
            return recipe(table, {}, reader_version(table.feed), now)
        if table.transform is None:
            raise AssertionError(table)  # a Table has a feed or a transform
        return recipe(table, {i.table: self.graph[i.table] for i in table.reads}, self._code(table.transform), now)

    def take_in(self, now_utc: datetime, *, everything: bool = True) -> dict[str, int]:
        """Take in what has landed.

        Args:
            now_utc: Files of periods that have not begun are not looked for.
            everything: Whether to look at every file; without, at those of the open windows and at one slice of the
                others (``sh_resources.intake``), which takes a bounded time.

        Returns:
            How many files with new content were taken in, by feed.

        Raises:
            FeedError: If that failed for a feed; of all others the files were taken in.
        """
        return self._intake.everything(now_utc) if everything else self._intake.tick(now_utc)

    def take_in_files(self, feed: str, names: Collection[str]) -> dict[str, str]:
        """Take in files of which somebody says that they have landed.

        Args:
            feed: Name of the feed.
            names: Names of the files, without folder.

        Returns:
            Per name ``new``, ``known``, or why it was not taken, in words.

        Raises:
            DeclarationError: If there is no such feed.
            FeedError: If the landing zone cannot be asked, or the archive not be written.
        """
        declared = {each.name: each for each in self.graph.feeds}
        if feed not in declared:
            msg = f"there is no feed {feed}; there are {', '.join(declared)}"
            raise DeclarationError(msg)
        return self._intake.files(declared[feed], names, self.today_utc())

    def rollback(self, name: str, partition: str, wish: Wish, *, run_id: str) -> Outcome:
        """Return one partition to earlier content, and keep the present one from coming back.

        Args:
            name: Table.
            partition: Partition key.
            wish: What to return to, and on whose word.
            run_id: Unique name of who asks.

        Returns:
            ``Published``; ``Reused`` if readers see that content already; ``Busy`` or ``Fenced`` if another run has the
            partition.

        Raises:
            DeclarationError: If the table or the partition does not exist.
            RollbackError: If there is no such snapshot, or it may not be published; everything stays as it was.
        """
        table = self.graph[name]
        table.partitions.check(partition)
        upstream = {i.table: self.graph[i.table] for i in table.reads}
        deadline = self._clock.now_utc() + timedelta(seconds=self.patience_s)
        while True:
            with self._publisher.claim(table, [partition], run_id) as claim:
                if claim.tokens:
                    return put_back(
                        table, upstream, claim, wish, self.store, self.ledger, self._publisher, self.today_utc()
                    )
            if self._clock.now_utc() >= deadline:
                return Busy(partition)
            self._clock.sleep(LOOK_AGAIN_S)

    def now_utc(self) -> datetime:
        """The time by the engine's clock, aware."""
        return self._clock.now_utc()

    def today_utc(self) -> datetime:
        """The time as vendors have it, aware: which periods have begun, what is late."""
        return self._vendors.now_utc()

    def landed(
        self, now_utc: datetime, wanted: Mapping[str, Collection[str]] | None = None
    ) -> dict[str, dict[str, str]]:
        """Files that have landed and would change something if they were taken in; nothing is written.

        Args:
            now_utc: Files of periods that have not begun are not looked for.
            wanted: For these partitions only, by table; None for all.

        Returns:
            Per raw table, per partition, the name of the file.
        """
        found: dict[str, dict[str, str]] = {}
        for table in self.graph.tables:
            feed = table.feed
            if feed is None or (wanted is not None and table.name not in wanted):
                continue
            new = self._intake.landed(feed, now_utc, None if wanted is None else wanted[table.name])
            if new:
                found[table.name] = new
        return found

    def recover(self, run_id: str) -> dict[str, int]:
        """Finish or discard what stopped processes left half-done in any table, without computing anything.

        Args:
            run_id: Unique name of who asks.

        Returns:
            Per table, how many partitions were dealt with; those under a live lease are left alone.
        """
        return {t.name: self._publisher.recover(t, run_id) for t in self.graph.tables}

    def _together(self, table: Table, chunk: int) -> int:
        """How many partitions are handled together: fewer where each reads many, a month's days for instance."""
        now = self.today_utc()
        widths = (width(i.window, table.partitions, self.graph[i.table].partitions, now) for i in table.reads)
        return max(1, chunk // max(widths, default=1))

    def _settle(self, table: Table, keys: Sequence[str], run_id: str, *, force: bool) -> dict[str, Outcome]:
        """Outcomes of those partitions whose lease is free, in the order asked for."""
        with self._publisher.claim(table, keys, run_id) as claim:
            outcomes = {o.partition: o for o in self._settle_claimed(table, claim, force=force)}
        return {key: outcomes[key] for key in keys if key in outcomes}

    def _settle_claimed(self, table: Table, claim: Claim, *, force: bool) -> list[Outcome]:
        keys = list(claim.tokens)
        if not keys:
            return []
        # Before the inputs are looked at: what changes meanwhile is then looked at once more.
        began_utc, looked, under = self._clock.now_utc(), self.ledger.serials.now(), self.recipe(table.name)
        prepared = self._prepare(table, keys)
        before = self.ledger.publications.settlements(table.name, prepared.traces.keys())
        bars = self.ledger.bars.standing(table.name, prepared.traces.keys())
        outcomes: list[Outcome] = [Waiting(key, gap) for key, gap in prepared.missing.items()]
        due = []
        for key, trace in prepared.traces.items():
            settled, snapshot, live = before.get(key), claim.known.get(key), claim.state.files.get(key)
            recorded = (settled.trace_digest, snapshot.path if snapshot else None) if settled else None
            if settled is None or force or not _is_settled(trace, recorded, live, bars.get(key, ())):
                due.append(key)
            else:
                root = snapshot.version.root if snapshot else None
                outcomes.append(Reused(key, settled.action, settled.verdict, root))
        reused = [outcome.partition for outcome in outcomes if isinstance(outcome, Reused)]
        if reused:  # whoever requested them under other code shall know that it was looked at all the same
            self.ledger.serials.acknowledge(table.name, reused, looked, under, self.graph.registers(table))
        if due:
            self._keep_sources(table)
            judged = judge(table, prepared.compute(due), prepared.traces, bars, force=force)
            seconds = max(0.0, (self._clock.now_utc() - began_utc).total_seconds()) / len(due)
            candidates = {
                key: Candidate(j.judgement, j.version, prepared.traces[key], j.shares, looked, under, seconds)
                for key, j in ((key, judged[key]) for key in due)
            }
            outcomes += self._publisher.publish(claim, candidates)
        return outcomes

    def _prepare(self, table: Table, keys: Collection[str], *, ingest: bool = True) -> Prepared:
        if table.feed is not None:
            return prepare_raw(table, table.feed, self.landing, self.ledger, self._vendors, keys, ingest=ingest)
        if table.transform is None:
            raise AssertionError(table)  # a Table has a feed or a transform
        upstream = {i.table: self.graph[i.table] for i in table.reads}
        code = self._code(table.transform)
        now = self.today_utc()
        prepared = prepare_transform(table, table.transform, code, upstream, self.store, self.ledger, keys, now)
        if table.if_late is None or not prepared.missing:
            return prepared
        late = [key for key in prepared.missing if self.deadlines.is_late(table.name, key, now)]
        return with_placeholders(table, table.if_late, upstream, prepared, late, self.store, self.ledger, now)

    @cache  # noqa: B019 - one engine lives as long as its process
    def _code(self, transform: Transform) -> CodeVersion:
        return code_version(transform)

    @cache  # noqa: B019 - likewise
    def _keep_sources(self, table: Table) -> None:
        """Keep what a table's code and contract say, so that people can be shown what changed since."""
        if table.transform is not None:
            code = self._code(table.transform)
            self.ledger.sources.keep(code.digest, code.source)
        self.ledger.sources.keep(table.contract.version, clauses_as_text(table.contract))


def _is_settled(trace: Trace, recorded: Recorded | None, live: DataFile | None, bars: Collection[Bar]) -> bool:
    """Whether nothing changed since the last decision; where Delta was changed behind the ledger's back, it did.

    A rollback decides about every trace that it bars.
    """
    if recorded is None:
        return False
    decided, path = recorded
    same = decided == trace.digest or barring(bars, trace) is not None
    return same and path == (live.path if live else None)


def _chunks(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while chunk := list(islice(rest, size)):
        yield chunk
